"""Fill the copies of a sink from the table, a part at a time.

    {"operation": "backfill", "streamArn": ..., "segment": 0, "segments": 8, ...}
    {"operation": "backfill", "streamArn": ..., "Records": [{"Keys": ...}]}
    {"operation": "backfill", "streamArn": ..., "exportTime": ..., "Records": [{"Item": ...}]}

Each item becomes a change of kind BACKFILL at the floor of the table's current stream: above every
change of an earlier stream, and below every change of this one. So a change that is under way wins,
whether it comes before or after, and the sink takes the item as it takes any change.

An item of an export may have been deleted since, and only its tombstone refuses it. So each request
refuses an export that is older than a tombstone's life: the operator's machine may have slept since
the backfill began.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypedDict

from dynamodb_streams_cdc.applier import SinkApplier
from dynamodb_streams_cdc.change import Attributes, Change, ChangeKind, Source, ViewType
from dynamodb_streams_cdc.control.parts import (
    Page,
    Part,
    PartResponse,
    size_of,
    take,
    whole_table,
)
from dynamodb_streams_cdc.control.slices import Slices
from dynamodb_streams_cdc.dead_letters import reason_of
from dynamodb_streams_cdc.errors import (
    DeadlineExceeded,
    MalformedRecord,
    PermanentError,
    RetryableError,
    form_of,
    text_of,
)
from dynamodb_streams_cdc.identity import floor_of, stream_label
from dynamodb_streams_cdc.sinks.base import LATE_SECONDS, Skip
from dynamodb_streams_cdc.sinks.comparison import Place

PAGE_ITEMS = 200
"""Items of one call of the sink."""

FIRST_ITEMS = 3
"""Items that are read at first of those that a request names. An item of 400 KB with many small
values takes up to 54 MB until it is written: as an item, as a change, and as an entry of the log.
"""

MOST_TEXT = 1000
"""Characters of an error in a response."""


class FillFailure(TypedDict):
    """An item that the sink does not take."""

    item: str
    reason: str
    error: str


class FillResponse(PartResponse):
    """The response to a part that fills copies.

    Attributes:
        applied: number of copies written.
        held: number of items whose copy is as new already, or newer.
        skipped: number of items that the sink does not hold.
    """

    applied: int
    held: int
    skipped: int
    failures: list[FillFailure]


def begun(place: Place | None, failures: list[FillFailure]) -> FillResponse:
    """Return the response before anything is read; `failures` is its list of them."""
    return FillResponse(
        batchItemFailures=[],
        read=0,
        applied=0,
        held=0,
        skipped=0,
        units=0.0,
        place=place,
        done=False,
        failures=failures,
        problem="",
    )


@dataclass(frozen=True)
class BackfillPart:
    """The part that a request asks for.

    Attributes:
        part: segment, place, limit, entity and keys of the table; see `verification.Part`.
        stream: label of the table's current stream.
        items: items to fill instead of a segment, as DynamoDB JSON.
        time: when these items were in the table, in seconds since 1970.
        named: keys of items to read and fill instead of a segment, as DynamoDB JSON.
    """

    part: Part
    stream: str
    items: Sequence[Attributes] = ()
    time: float = float("-inf")
    named: Sequence[Attributes] = ()

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> "BackfillPart":
        """Return the part that an event asks for.

        Raises:
            MalformedRecord: a field has another form.
        """
        records = event["Records"]
        for record in records:
            if not isinstance(record.get("Item", record.get("Keys")), Mapping):
                message = "Records: expected an item under Item, or its key under Keys"
                raise MalformedRecord(message)
        items = [record["Item"] for record in records if "Item" in record]
        return cls(
            Part.from_event({**event, "Records": []}, "table"),
            stream_label(str(event.get("streamArn"))),
            items,
            _time_of(event.get("exportTime")) if items else float("-inf"),
            [record["Keys"] for record in records if "Item" not in record],
        )


@dataclass
class Backfill:
    """The backfill of one part.

    Attributes:
        applier: knows the sink, the table and the deadline.
        source: names the table in identities.
    """

    applier: SinkApplier
    source: Source
    failures: list[FillFailure] = field(default_factory=list, init=False)

    def run(self, wanted: BackfillPart) -> FillResponse:
        """Fill the part up to its limit, and as long as there is time.

        Raises:
            MalformedRecord: the function has no table to read, or the items are of an export that
                is older than the tombstones that refuse what was deleted since. Nothing was done.
        """
        if wanted.items and self.applier.deadline.now() - wanted.time > LATE_SECONDS:
            message = (
                f"exportTime: the export is more than {LATE_SECONDS // 3600} hours old: sinks may "
                "have forgotten what was deleted since. Export again, or backfill from the table"
            )
            raise MalformedRecord(message)
        response = begun(wanted.part.place, self.failures)
        take(self._pages(wanted, response), wanted.part, response, self.applier.deadline)
        return response

    def _pages(self, wanted: BackfillPart, response: FillResponse) -> Iterator[Page]:
        """Fill the items of each page, then yield it."""
        if wanted.items or wanted.named:
            yield self._given(wanted, response)
            return
        table, part = whole_table(self.applier), wanted.part
        place, most = part.place, part.page(PAGE_ITEMS)
        while True:
            page = table.scan(part.segment, place, most, self.applier.deadline, consistent=True)
            before = len(self.failures)
            self._fill(page.items, wanted, response)
            self.failures[before:] = _fitting(self.failures[before:], part.page_bytes)
            place = page.following
            yield Page(len(page.items), page.units, place, size_of(self.failures[before:]))

    def _given(self, wanted: BackfillPart, response: FillResponse) -> Page:
        """Fill the items of the request, and those that it names by their keys."""
        self._fill(wanted.items, wanted, response)
        read, units = len(wanted.items), 0.0
        if wanted.named:
            table, deadline = whole_table(self.applier), self.applier.deadline
            slices = Slices(table, deadline, at_once=FIRST_ITEMS)
            for some in slices.read(wanted.named):
                items = [item for _, item in some if item is not None]
                self._fill(items, wanted, response)
                read += len(items)
            units = slices.units
        return Page(read, units, None)

    def _fill(
        self, items: Iterable[Attributes], wanted: BackfillPart, response: FillResponse
    ) -> None:
        """Apply items; all of them are taken, or refused for good, when it returns.

        Raises:
            RetryableError: the sink does not take some of them at the moment.
        """
        changes: list[Change] = []
        skipped = 0
        for item in items:
            change = self._change(item, wanted)
            if self._is_wanted(change, wanted.part.entity):
                changes.append(change)
            else:
                skipped += 1
        outcome = self.applier.apply(changes)
        applied, held = outcome.applied, outcome.stale
        attempt = 0
        while waiting := [c for c in changes if _is_retryable(outcome.failures.get(c))]:
            if not self.applier.deadline.pause(attempt):
                raise RetryableError(str(outcome.failures[waiting[0]]))
            attempt += 1
            for change in waiting:
                del outcome.failures[change]
            again = self.applier.apply(waiting)
            applied, held = applied + again.applied, held + again.stale
            outcome.failures |= again.failures
        self.failures += [refusal(c.item_id, error) for c, error in outcome.failures.items()]
        response["applied"] += applied
        response["held"] += held
        response["skipped"] += skipped

    def _is_wanted(self, change: Change, entity: str | None) -> bool:
        if entity is not None and self.applier.entity_of(change.keys) != entity:
            return False
        try:
            return not isinstance(self.applier.sink_of(change.keys), Skip)
        except PermanentError:
            return True

    def _change(self, item: Attributes, wanted: BackfillPart) -> Change:
        keys = {name: item[name] for name in wanted.part.keys if name in item}
        if len(keys) != len(wanted.part.keys) or not keys:
            message = f"an item has the keys {', '.join(wanted.part.keys)}; got {', '.join(item)}"
            raise MalformedRecord(message)
        now = float(int(self.applier.deadline.now()))
        # Behind the change log, a processor repairs the item of a change that arrives too late.
        timestamp = float(int(wanted.time)) if wanted.items else now
        return Change.made(
            kind=ChangeKind.BACKFILL,
            table=self.source.table,
            version=floor_of(self.source.epoch, wanted.stream),
            sequence_number="0",
            event_id="",
            timestamp=timestamp,
            recorded_at=now,
            view_type=ViewType.NEW_AND_OLD_IMAGES,
            expired=False,
            actor=None,
            raw_keys=keys,
            raw_old=None,
            raw_new=item,
            image_loader=None,
        )


def refusal(item_id: str, error: Exception) -> FillFailure:
    """Return the report of an item that a sink does not take."""
    return FillFailure(item=item_id, reason=reason_of(error), error=text_of(error)[:MOST_TEXT])


def _time_of(text: object) -> float:
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC).timestamp()
    except (ValueError, OverflowError) as error:
        message = f"exportTime: expected a moment in ISO 8601, got {form_of(text)}"
        raise MalformedRecord(message) from error


def _fitting(failures: Sequence[FillFailure], most_bytes: int) -> Sequence[FillFailure]:
    """Return the failures of a page with texts as short as it takes to fit into a response."""
    length, found = MOST_TEXT, failures
    while size_of(found) > most_bytes and length:
        length //= 2
        found = [{**each, "error": each["error"][:length]} for each in failures]
    return found


def _is_retryable(error: Exception | None) -> bool:
    return isinstance(error, RetryableError | DeadlineExceeded)
