"""Purge the tombstones of a sink, a part at a time.

    {"operation": "purge", "olderThan": 604800, "segment": 0, "segments": 4, "place": ...}
    {... "dryRun": true}    only count them

A tombstone is old enough by the time at which it was *written*, and that is past the age from which
on a late change is repaired after it is applied (`sinks.base.LATE_SECONDS`): what the tombstone
would have refused cannot come back. While a fill is open, nothing is purged; see `notes`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dynamodb_streams_cdc.applier import SinkApplier
from dynamodb_streams_cdc.control.notes import open_fill
from dynamodb_streams_cdc.control.parts import Page, Part, PartResponse, take
from dynamodb_streams_cdc.errors import MalformedRecord, form_of
from dynamodb_streams_cdc.sinks.base import (
    PURGED_AT_ONCE,
    TOMBSTONE_SECONDS,
    Purgeable,
    Repairable,
    purge_horizon,
)


class PurgeResponse(PartResponse):
    """The response to a purge of a part.

    Attributes:
        purgeable: false, and nothing was done, for a sink that has no tombstones.
        refusal: why nothing may be purged; empty if something may.
        tombstones: number of tombstones met, the young ones included.
        purged: number of those deleted, or old enough to be in a dry run.
    """

    purgeable: bool
    refusal: str
    tombstones: int
    purged: int


@dataclass
class Purge:
    """The purge of one part.

    Attributes:
        applier: knows the sinks, the table, the notes and the deadline.
    """

    applier: SinkApplier

    def __post_init__(self) -> None:
        self.sinks: list[Purgeable] = []
        for sink in self.applier.sinks:
            if isinstance(sink, Purgeable) and not any(
                known.store is sink.store or known.store == sink.store for known in self.sinks
            ):
                self.sinks.append(sink)

    def run(self, event: Mapping[str, Any]) -> PurgeResponse:
        """Purge the part up to its limit, and as long as there is time.

        Raises:
            MalformedRecord: a field has another form, or the age is too low.
            RetryableError: the notes cannot be read at the moment.
        """
        part = Part.from_event({**event, "Records": []}, "copies")
        before = self._before(event.get("olderThan", TOMBSTONE_SECONDS))
        response = PurgeResponse(
            batchItemFailures=[],
            purgeable=bool(self.sinks),
            refusal="",
            read=0,
            tombstones=0,
            purged=0,
            units=0.0,
            place=part.place,
            done=True,
            problem="",
        )
        if not self.sinks:
            return response
        response["refusal"] = self._refusal()
        if not response["refusal"]:
            response["done"] = False
            dry_run = event.get("dryRun") is True
            pages = self._pages(part, before, response, dry_run=dry_run)
            take(pages, part, response, self.applier.deadline)
        return response

    def _before(self, older_than: object) -> float:
        if not isinstance(older_than, int | float) or isinstance(older_than, bool):
            message = f"olderThan: expected seconds, got {form_of(older_than)}"
            raise MalformedRecord(message)
        try:
            return purge_horizon(older_than, self.applier.deadline)
        except ValueError as error:
            message = f"olderThan: {error}"
            raise MalformedRecord(message) from error

    def _refusal(self) -> str:
        """Return why nothing may be purged; empty if something may."""
        if self.applier.source_table is None:
            return "the function reads no source table, so it cannot repair what comes late"
        if self.applier.notes is None:
            return "the function keeps no notes of open fills, during which nothing may be purged"
        if any(isinstance(sink, Repairable) and sink.retains for sink in self.applier.sinks):
            return "the ledger cannot be purged while it keeps what expired (Expiry.KEEP)"
        return open_fill(self.applier.notes, self.applier.deadline)

    def _pages(
        self, part: Part, before: float, response: PurgeResponse, *, dry_run: bool
    ) -> Iterator[Page]:
        number, place = part.place or (0, None)
        while number is not None:
            sink = self.sinks[number]
            page = sink.purge_page(
                before,
                part.segment,
                place,
                min(PURGED_AT_ONCE, part.limit),
                self.applier.deadline,
                dry_run=dry_run,
            )
            response["tombstones"] += page.tombstones
            response["purged"] += page.purged
            place = page.following
            if place is None:
                number = number + 1 if number + 1 < len(self.sinks) else None
            yield Page(page.read, page.units, None if number is None else [number, place])
