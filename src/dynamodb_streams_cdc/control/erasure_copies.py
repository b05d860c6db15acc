"""The places of an erasure that are sinks: the change log, markers, indexes, and the ledger."""

from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import NamedTuple, Protocol

from dynamodb_streams_cdc.change import REMOVE, UNKNOWN_TIME, Attributes
from dynamodb_streams_cdc.control.erasure import Found, Start, Trace
from dynamodb_streams_cdc.control.parts import LAST_PAGE_SECONDS
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.sinks.contributions import Contribution
from dynamodb_streams_cdc.sinks.documents import CDC, Held, SearchIndex, token_of
from dynamodb_streams_cdc.sinks.generations import Generations, spread
from dynamodb_streams_cdc.sinks.ledger import (
    LedgerRow,
    RowUpdate,
    WriteConflict,
    difference,
    emptying,
)

ENTRIES = 500
"""Entries of an item that are erased in one request."""


class ErasableLog(Protocol):
    """A change log whose entries can be deleted."""

    def read(self, item_id: str) -> Iterable[Attributes]:
        """Return the entries of an item in the order of their versions, read consistently.

        Raises:
            RetryableError: they cannot be read at the moment.
        """

    def newest(self, item_ids: Collection[str], deadline: Deadline) -> Mapping[str, Attributes]:
        """Return the newest entry of each item that has any, read consistently.

        Raises:
            RetryableError: they cannot be read at the moment.
        """

    def delete(self, item_id: str, versions: Sequence[str], deadline: Deadline) -> None:
        """Delete entries of an item; that one is gone already is success.

        Raises:
            RetryableError: they cannot be deleted at the moment.
        """


@dataclass(frozen=True)
class LogPlace:
    """The change log."""

    log: ErasableLog

    def find(self, items: Mapping[str, Attributes], start: Start, deadline: Deadline) -> Found:
        """Return the entries of the next item; `start` counts the items."""
        names = sorted(items)
        number = start or 0
        if number >= len(names):
            return Found()
        item = names[number]
        deadline.check()
        versions: list[str] = []
        newest: Attributes = {}
        # One at a time: with their images, so many may take a gigabyte.
        for newest in islice(self.log.read(item), ENTRIES):
            versions.append(newest["version"]["S"])
        following = number + 1 if number + 1 < len(names) else None
        if not versions:
            return Found((), following)
        has_more = len(versions) == ENTRIES
        if has_more:
            newest = self.log.newest([item], deadline)[item]
        return Found([self._trace(item, versions, newest)], following, again=has_more)

    def _trace(self, item: str, versions: Sequence[str], newest: Attributes) -> Trace:
        def erase(allowed: frozenset[str], deadline: Deadline) -> None:
            self.log.delete(item, versions, deadline)

        since = _deleted_at(newest)
        if since is None:
            since = float("inf")  # the entry of the delete, with the last state, may still come
        return Trace(frozenset({item}), since, erase, len(versions))


class Marker(NamedTuple):
    """A marker of `idempotency.Once`: its key, and when it was written, in seconds since 1970."""

    key: str
    written_at: float


class ErasableMarkers(Protocol):
    """The markers of `idempotency.Once`."""

    def walk(self, start: Start, deadline: Deadline) -> tuple[Iterable[Marker], Start]:
        """Return the next markers, and where to go on.

        Raises:
            RetryableError: they cannot be read at the moment.
        """

    def delete(self, keys: Sequence[str], deadline: Deadline) -> None:
        """Delete markers; that one is gone already is success.

        Raises:
            RetryableError: they cannot be deleted at the moment.
        """


@dataclass(frozen=True)
class MarkersPlace:
    """The markers of effects, `once/<effect>/<item>/<version>`; nothing else finds them by item.

    A marker is a tombstone: nothing else refuses a change whose effect was done.
    """

    markers: ErasableMarkers

    def find(self, items: Mapping[str, Attributes], start: Start, deadline: Deadline) -> Found:
        """Return the markers of items in the next part of the table that has some."""
        following = start
        while True:
            markers, following = self.markers.walk(following, deadline)
            of: dict[str, list[Marker]] = {}
            for marker in markers:
                item = item_of_marker(marker.key, items)
                if item is not None:
                    of.setdefault(item, []).append(marker)
            if of or following is None or deadline.remaining() < LAST_PAGE_SECONDS:
                return Found([self._trace(item, found) for item, found in of.items()], following)

    def _trace(self, item: str, found: Sequence[Marker]) -> Trace:
        def erase(allowed: frozenset[str], deadline: Deadline) -> None:
            self.markers.delete([marker.key for marker in found], deadline)

        newest = max(marker.written_at for marker in found)
        return Trace(frozenset({item}), newest, erase, len(found), is_tombstone=True)


def item_of_marker(key: str, items: Container[str]) -> str | None:
    """Return the one of some items that a marker is of; a version has three parts."""
    rest = key.rsplit("/", 3)[0]
    while rest:  # the name of an effect may have slashes
        _, _, rest = rest.partition("/")
        if rest in items:
            return rest
    return None


@dataclass(frozen=True)
class IndexPlace:
    """The indexes of a name: the live one, the second one of a rebuild, and leftovers.

    Attributes:
        every: returns them.
    """

    every: Callable[[Deadline], Sequence[SearchIndex]]

    def find(self, items: Mapping[str, Attributes], start: Start, deadline: Deadline) -> Found:
        """Return the documents and tombstones of the items, in every index."""
        traces = [
            self._trace(index, item, held)
            for index in self.every(deadline)
            for item, held in index.read_many(list(items), deadline).items()
        ]
        return Found(traces)

    def _trace(self, index: SearchIndex, item: str, held: Held) -> Trace:
        about = held.source.get(CDC)
        about = about if isinstance(about, Mapping) else {}

        def erase(allowed: frozenset[str], deadline: Deadline) -> None:
            index.remove(item, token_of(held), deadline)

        is_tombstone, written_at = about.get("deleted") is True, about.get("written_at")
        since = float(written_at) if isinstance(written_at, float | int) else float("inf")
        blocked = ""
        if not is_tombstone:
            blocked = "search still shows a document of the item"
        elif since == float("inf"):
            blocked = "search has a tombstone without its time (delete it there)"
        return Trace(
            frozenset({item}),
            since,
            erase,
            is_tombstone=is_tombstone,
            blocked=blocked,
        )


class ErasableLedger(Protocol):
    """A ledger whose rows can be deleted."""

    def read(self, item_ids: Sequence[str], deadline: Deadline) -> Mapping[str, LedgerRow]:
        """Return the rows that exist, by item, read consistently.

        Raises:
            RetryableError: they cannot be read at the moment.
        """

    def commit(self, updates: Sequence[RowUpdate], deltas: Contribution) -> None:
        """Write the rows and add the deltas to the sums, all or nothing; see `LedgerStore`."""

    def generations(self, deadline: Deadline) -> Generations:
        """Return the generations of the sums, read consistently."""

    def forget(self, row: LedgerRow) -> bool:
        """Delete a row that has not changed; return False if it has.

        Raises:
            RetryableError: it cannot be deleted at the moment.
        """


@dataclass(frozen=True)
class LedgerPlace:
    """The ledger. The sums lose what they retain of an item that expired."""

    ledger: ErasableLedger

    def find(self, items: Mapping[str, Attributes], start: Start, deadline: Deadline) -> Found:
        """Return the rows of the items."""
        rows = self.ledger.read(list(items), deadline).values()
        # Once the sums have lost it, what is left of the row is a tombstone.
        again = any(row.contribution for row in rows)
        return Found([self._trace(row) for row in rows], again=again)

    def _trace(self, row: LedgerRow) -> Trace:
        def erase(allowed: frozenset[str], deadline: Deadline) -> None:
            if row.contribution:
                generations = self.ledger.generations(deadline)
                delta = spread(difference(row, {}), generations.counting(row.generation))
                with suppress(WriteConflict):
                    self.ledger.commit([emptying(row)], delta)
            else:
                self.ledger.forget(row)

        blocked = "" if row.deleted else "aggregation still counts the item"
        if row.lacks:
            blocked = "the aggregation's row of the item is damaged (see cdc rebuild aggregation)"
        return Trace(
            frozenset({row.item_id}),
            row.written_at,
            erase,
            is_tombstone=row.deleted and not row.contribution,
            blocked=blocked,
        )


def _deleted_at(newest: Attributes) -> float | None:
    """Return when an item was deleted, in seconds since 1970; None if its entry does not tell."""
    try:
        moment = datetime.fromisoformat(newest["changed_at"]["S"]).timestamp()
        return None if newest["kind"]["S"] != REMOVE or moment == UNKNOWN_TIME else moment
    except (LookupError, TypeError, ValueError):  # another writer's
        return None
