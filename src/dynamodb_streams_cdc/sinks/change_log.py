"""The audit sink: a log of every change of every item, which can only grow.

One entry per change, under the key (item, version): a grow-only set. A redelivered change finds its
entry there and that is success. Entries of one item are separate items of the log, written in any
order; read back by version, they are the item's history. `log_entries` describes an entry.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from dynamodb_streams_cdc.change import UNKNOWN_TIME, Attributes, Change, Image
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.errors import DeadlineExceeded, RetryableError
from dynamodb_streams_cdc.sinks.base import Outcome
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
        """Write an entry for each change."""
        outcome = Outcome()
        entries: dict[tuple[str, str], tuple[Entry, list[Change]]] = {}
        for change in changes:
            try:
                entry = self._entry(change, deadline)
            except Exception as error:
                outcome.failures[change] = error
                continue
            entries.setdefault((change.item_id, change.version), (entry, []))[1].append(change)
        try:
            results = self.log.insert([entry for entry, _ in entries.values()], deadline)
        except (RetryableError, DeadlineExceeded) as error:
            results = [error] * len(entries)
        for (_, same), result in zip(entries.values(), results, strict=True):
            if isinstance(result, Exception):
                outcome.failures |= dict.fromkeys(same, result)
            else:
                outcome.applied += result
                outcome.stale += len(same) - result
        return outcome

    def _entry(self, change: Change, deadline: Deadline) -> Entry:
        entry = entry_of(change)
        if self.image_store is None:
            return entry
        text = packed(change.images)
        if fits(text, change.images):
            return entry
        name = name_of(change.item_id, change.version)
        deadline.check()
        self.image_store.keep(name, text)
        for attribute in ("before", "after", "changed"):
            entry.pop(attribute, None)
        return {**entry, "overflow": {"S": name}}

    def history(self, item_id: str) -> list[Change]:
        """Return the changes of an item, oldest first; empty if the log knows none."""
        return [change_from_entry(entry, self.image_store) for entry in self.log.read(item_id)]

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
