"""The audit sink: a log that holds every change of every item, and can only grow.

One entry per change, under the key (item, version): a grow-only set. A redelivered change finds its
entry there and that is success. Entries of one item are separate items of the log, written in any
order; read back by version, they are the item's history.

Attributes of an entry:

    item, version  the key (S, S)
    table, kind    logical name of the table; INSERT, MODIFY or REMOVE (S)
    keys           the item's key attributes (M)
    before, after  the images (M); absent where there is none
    changed        names of the attributes that differ, of a MODIFY (L of S)
    overflow       in place of these three where they are too large: the object with the images (S)
    changed_at     when DynamoDB recorded the change, ISO 8601, whole seconds, UTC (S)
    event_id       of the stream record (S)
    expired        whether Time to Live deleted the item (BOOL)
    actor          who made the change, where that is known (S)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Protocol, TypeAlias

from dynamodb_streams_cdc.budget import Budget
from dynamodb_streams_cdc.change import UNKNOWN_TIME, Attributes, Change, ChangeKind, Image
from dynamodb_streams_cdc.deserializer import with_bytes
from dynamodb_streams_cdc.difference import diff
from dynamodb_streams_cdc.errors import OutageError, OutOfTime
from dynamodb_streams_cdc.overflow import Images, Overflow, fits, name_of, packed
from dynamodb_streams_cdc.sink import Outcome

Entry: TypeAlias = dict[str, dict[str, Any]]
"""An entry as DynamoDB JSON, binary values as `bytes`."""

Inserted: TypeAlias = bool | Exception
"""What became of one entry: written, there already, or why it was not written."""


class Log(Protocol):
    """Where entries are kept."""

    def insert(self, entries: Sequence[Entry], budget: Budget) -> Sequence[Inserted]:
        """Write entries that are not there; return what became of each, in order.

        No two entries have the same key. An entry that is there is left as it is.

        Raises:
            OutageError: none of them could be written.
        """

    def read(self, item_id: str) -> Iterable[Attributes]:
        """Return the entries of an item in the order of their versions, read consistently."""


@dataclass(frozen=True)
class ChangeLog:
    """The sink, and its reading back.

    Attributes:
        log: where entries are kept.
        overflow: where images are kept that no entry can hold; without it, a change that carries
            them can never be written.
    """

    log: Log
    overflow: Overflow | None = None

    def apply(self, changes: Sequence[Change], budget: Budget) -> Outcome:
        """Write an entry for each change."""
        outcome = Outcome()
        entries: dict[tuple[str, str], tuple[Change, Entry]] = {}
        for change in changes:
            try:
                entry = self._entry(change, budget)
            except Exception as error:
                outcome.failures[change] = error
                continue
            entries.setdefault((change.item_id, change.version), (change, entry))
        pairs = list(entries.values())
        try:
            results = self.log.insert([entry for _, entry in pairs], budget)
        except (OutageError, OutOfTime) as error:
            results = [error] * len(pairs)
        for (change, _), result in zip(pairs, results, strict=True):
            if isinstance(result, Exception):
                outcome.failures[change] = result
            else:
                outcome.applied += result
        outcome.stale = len(changes) - outcome.applied - len(outcome.failures)
        return outcome

    def _entry(self, change: Change, budget: Budget) -> Entry:
        entry = entry_of(change)
        if self.overflow is None:
            return entry
        text = packed(change.images)
        if fits(text, change.images):
            return entry
        name = name_of(change.item_id, change.version)
        budget.check()
        self.overflow.keep(name, text)
        for attribute in ("before", "after", "changed"):
            entry.pop(attribute, None)
        return {**entry, "overflow": {"S": name}}

    def history(self, item_id: str) -> list[Change]:
        """Return the changes of an item, oldest first; empty if the log knows none."""
        return [Change.from_entry(entry, self.overflow) for entry in self.log.read(item_id)]

    def state_at(self, item_id: str, moment: datetime) -> Image | None:
        """Return the item as it was at the end of the second of `moment`; `None` if there was none.

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
        for change in self.history(item_id):
            time = time if change.timestamp == UNKNOWN_TIME else change.timestamp
            if time <= second:
                known.append(change)
        return replay(known)


def replay(changes: Iterable[Change]) -> Image | None:
    """Return the state of an item after its changes; `None` for none, or if the last removed it."""
    last = max(changes, key=lambda change: change.version, default=None)
    return last.new_image if last else None


def entry_of(change: Change) -> Entry:
    """Return the entry that keeps a change.

    Raises:
        MissingImage: the stream's view type does not carry both images.
        MalformedValue: an image is not DynamoDB JSON.
    """
    entry: Entry = {
        "item": {"S": change.item_id},
        "version": {"S": change.version},
        "table": {"S": change.table},
        "kind": {"S": change.kind.value},
        "keys": {"M": with_bytes(change.raw_keys)},
        "changed_at": {"S": _moment(change.timestamp)},
        "event_id": {"S": change.event_id},
        "expired": {"BOOL": change.expired},
    }
    old, new = change.old_image or {}, change.new_image or {}  # nothing unreadable gets in
    images = change.images
    if images.before is not None:
        entry["before"] = {"M": with_bytes(images.before)}
    if images.after is not None:
        entry["after"] = {"M": with_bytes(images.after)}
    if change.kind is ChangeKind.MODIFY:
        entry["changed"] = {"L": [{"S": name} for name in _changed(images, old, new)]}
    if change.actor is not None:
        entry["actor"] = {"S": change.actor}
    return entry


@lru_cache(maxsize=64)  # the changes of a batch are of few seconds
def _moment(timestamp: float) -> str:
    return f"{datetime.fromtimestamp(timestamp, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _changed(images: Images, old: Image, new: Image) -> list[str]:
    """Return the names of the attributes that differ; what is equal as it came is not compared."""
    before, after = images.before or {}, images.after or {}
    suspects = [name for name in old.keys() | new.keys() if before.get(name) != after.get(name)]
    return sorted(name for name in suspects if _differs(name, old, new))


def _differs(name: str, old: Image, new: Image) -> bool:
    both = [{name: image[name]} if name in image else {} for image in (old, new)]
    return bool(diff(*both))
