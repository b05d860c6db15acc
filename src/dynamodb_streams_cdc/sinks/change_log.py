"""The audit sink: a log of every change of every item, which can only grow.

One entry per change, under the key (item, version): a grow-only set. A redelivered change finds its
entry there and that is success. Entries of one item are separate items of the log, written in any
order; read back by version, they are the item's history. `log_entries` describes an entry.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol, TypeAlias

from dynamodb_streams_cdc.change import BACKFILL, REMOVE, UNKNOWN_TIME, Attributes, Change, Image
from dynamodb_streams_cdc.dead_letters import reason_of
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.diff import diff
from dynamodb_streams_cdc.errors import (
    DeadlineExceeded,
    MalformedRecord,
    PermanentError,
    RetryableError,
)
from dynamodb_streams_cdc.guards.preparation import Preparation
from dynamodb_streams_cdc.sinks.base import Outcome
from dynamodb_streams_cdc.sinks.comparison import (
    CopyDifference,
    CopyPage,
    DifferenceKind,
    Place,
    Segment,
    same,
)
from dynamodb_streams_cdc.sinks.log_entries import (
    Entry,
    ImageStore,
    change_from_entry,
    entry_of,
    fits,
    name_of,
    packed,
)

Inserted: TypeAlias = bool | Exception
"""Result of one entry: written (True), there already (False), or the error."""


@dataclass(frozen=True, slots=True)
class LogPage:
    """Some items of a log, by the newest entry of each.

    Attributes:
        newest: kind of each item's newest entry, by identity; None for an altered one.
        following: where the walk goes on; None at the end.
        read: number of entries read.
        units: read capacity units that DynamoDB consumed.
    """

    newest: Mapping[str, str | None]
    following: Place | None
    read: int
    units: float = 0.0


class LogStore(Protocol):
    """Store of entries."""

    def insert(self, entries: Sequence[Entry], deadline: Deadline) -> Sequence[Inserted]:
        """Write entries that are not there; return each result, in order.

        No two entries have the same key. An entry that is there is left as it is.

        Raises:
            RetryableError: none of them could be written.
        """

    def read(self, item_id: str) -> Iterable[Attributes]:
        """Return the entries of an item in the order of their versions, read consistently."""

    def newest(self, item_ids: Collection[str], deadline: Deadline) -> Mapping[str, Attributes]:
        """Return the newest entry of each item that has any, read consistently.

        Raises:
            RetryableError: they cannot be read at the moment.
        """

    def walk(self, segment: Segment, place: Place | None, most: int, deadline: Deadline) -> LogPage:
        """Return the next items of a segment, about `most` entries.

        An item whose entries lie on two pages is on both, and its newest entry on the second.

        Raises:
            RetryableError: they cannot be read at the moment.
        """


@dataclass(frozen=True)
class ChangeLog:
    """The sink, and its reading back.

    Attributes:
        log: store of the entries.
        image_store: store of images that are too large for an entry; without it, a change with such
            images can never be written.
    """

    log: LogStore
    image_store: ImageStore | None = None

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Outcome:
        """Write an entry for each change.

        An item of a backfill has none if the log knows a change of it in the same stream: what was
        read may be newer than that, and its place in the history is below.
        """
        outcome = Outcome()
        entries: dict[tuple[str, str], tuple[Entry, list[Change]]] = {}
        known = self._known(changes, deadline)
        preparation = Preparation(deadline)
        for change in changes:
            if change.item_id in known and known[change.item_id] > change.version:
                outcome.stale += 1
                continue
            try:
                entry = self._entry(change, preparation)
            except Exception as error:
                outcome.failures[change] = error
                continue
            entries.setdefault((change.item_id, change.version), (entry, []))[1].append(change)
        try:
            results = self.log.insert([entry for entry, _ in entries.values()], deadline)
        except (RetryableError, DeadlineExceeded) as error:
            results = [error] * len(entries)
        for (_, alike), result in zip(entries.values(), results, strict=True):
            if isinstance(result, Exception):
                outcome.failures |= dict.fromkeys(alike, result)
            else:
                outcome.applied += result
                outcome.stale += len(alike) - result
        return outcome

    def _known(self, changes: Sequence[Change], deadline: Deadline) -> Mapping[str, str]:
        """Return the newest versions that the log has of the items of a backfill."""
        items = {change.item_id for change in changes if change.kind is BACKFILL}
        newest = self.log.newest(items, deadline) if items else {}
        return {item_id: entry["version"]["S"] for item_id, entry in newest.items()}

    def _entry(self, change: Change, preparation: Preparation) -> Entry:
        entry = entry_of(change)
        if self.image_store is None:
            return entry
        text = packed(change.images)
        if fits(text, change.images):
            return entry
        read = text if change.kind is BACKFILL else ""
        name = name_of(change.item_id, change.version, read)
        preparation.begin()
        preparation.request(partial(self.image_store.keep, name, text))
        for attribute in ("before", "after", "changed"):
            entry.pop(attribute, None)
        return {**entry, "overflow": {"S": name}}

    @property
    def store(self) -> object:
        """The log."""
        return self.log

    def compare(
        self, items: Mapping[str, Image | None], deadline: Deadline
    ) -> Iterator[CopyDifference]:
        """Yield the items that the newest entry does not leave as they are; see `Comparable`."""
        entries = self.log.newest(items.keys(), deadline)
        for item_id, image in items.items():
            entry = entries.get(item_id)
            if entry is None:
                if image is not None:
                    yield CopyDifference(item_id, DifferenceKind.MISSING)
                continue
            try:
                newest = change_from_entry(entry, self.image_store)
                if newest.image_loader is not None:
                    deadline.check()
                left = newest.new_image
            except (PermanentError, MalformedRecord) as error:
                # Its large image is gone, or another writer altered it.
                yield CopyDifference(item_id, DifferenceKind.WRONG, detail=reason_of(error))
                continue
            if same(left, image):
                continue
            kind = DifferenceKind.WRONG if image is not None else DifferenceKind.EXTRA
            if left is None:
                kind = DifferenceKind.MISSING
            names = sorted({str(each.path[0]) for each in diff(left or {}, image or {})})
            detail = ", ".join(names)
            yield CopyDifference(item_id, kind, newest.version, newest.version, detail)

    def copies(
        self, segment: Segment, place: Place | None, most: int, deadline: Deadline
    ) -> CopyPage:
        """Return the next items that the log says are in the table; see `Comparable`."""
        page = self.log.walk(segment, place, most, deadline)
        live = [item_id for item_id, kind in page.newest.items() if kind != REMOVE]
        return CopyPage(live, page.following, page.read, units=page.units)

    def history(self, item_id: str) -> list[Change]:
        """Return the changes of an item, oldest first; empty if the log knows none.

        Raises:
            MalformedRecord: another writer made or altered an entry.
        """
        return [self._change(entry) for entry in self.log.read(item_id)]

    def _change(self, entry: Attributes) -> Change:
        try:
            return change_from_entry(entry, self.image_store)
        except MalformedRecord as error:
            item, version = entry["item"]["S"], entry["version"]["S"]
            message = f"another writer made or altered entry {version} of {item}: {error}"
            raise MalformedRecord(message) from error

    def state_at(self, item_id: str, moment: datetime) -> Image | None:
        """Return the item as it was at the end of the second of `moment`; `None` if there was none.

        Raises:
            ValueError: `moment` has no time zone.
        """
        return replay(known_at(self.history(item_id), moment))


def known_at(changes: Iterable[Change], moment: datetime) -> list[Change]:
    """Return those of an item's changes, oldest first, made by the end of the second of `moment`.

    A change of unknown time counts as made when the change before it was.

    Raises:
        ValueError: `moment` has no time zone.
    """
    if moment.tzinfo is None:
        error = f"moment must have a time zone, got {moment!r}"
        raise ValueError(error)
    second = int(moment.timestamp())
    known: list[Change] = []
    time = UNKNOWN_TIME
    for change in changes:
        time = time if change.timestamp == UNKNOWN_TIME else change.timestamp
        if time <= second:
            known.append(change)
    return known


def replay(changes: Iterable[Change]) -> Image | None:
    """Return the state of an item after its changes; `None` for none, or if the last removed it."""
    last = max(changes, key=lambda change: change.version, default=None)
    return last.new_image if last else None
