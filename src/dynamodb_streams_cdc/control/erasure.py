"""Erase what the pipeline holds of items that were deleted from the table.

The function `lambdas/erasure` runs this, with a role of its own, which alone may delete
from the change log, the large images and the archive.

    {"operation": "find", "at": ..., "Records": [{"Keys": ...}]}
                               count the traces of the items, a part of a place at a time
    {"operation": "erase", ...}
                               erase them
    {"operation": "complete", "Records": [{"Keys": ..., "revision": ..., "receipt": ...}]}
                               turn the record of an erasure into a receipt, which names no item;
                               a repeated request gets the same receipt

A place is a store that holds traces, such as the change log. A response says `at` which place and
part the next request goes on.

The rules, each of which the simulation holds against late deliveries, redrives and crashes:

- Traces are read first, **then** the item with a consistent read, and what was read is erased. In
  the other order, an entry of an item that has just come back would be erased.
- The record of the erasure is written before a trace is erased: it remembers for how long nothing
  may be called done, when the trace that told so is gone.
- Tombstones go last, and no sooner than `TOMBSTONE_SECONDS` after the newest trace. Until then a
  late delivery may bring a change back, and only the tombstone refuses it. Afterwards a processor
  repairs the item of such a change (see `processor`). The marker of an effect is a tombstone too:
  nothing else refuses a change whose effect was done. While a fill is open, none goes; see `notes`.
- Nothing of an item is erased while a copy shows it: its delete has not been applied. A dead letter
  of a sink that is not known here may be that delete, so it is redriven or deleted first.
- An erasure is complete once that time has passed and every place was read and has nothing.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypedDict, cast

from dynamodb_streams_cdc.change import Attributes
from dynamodb_streams_cdc.control.notes import OperatorNotes, open_fill
from dynamodb_streams_cdc.control.parts import keyed
from dynamodb_streams_cdc.control.slices import Slices
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.errors import DeadlineExceeded, MalformedRecord, RetryableError
from dynamodb_streams_cdc.names import ErasureOperation
from dynamodb_streams_cdc.sinks.base import TOMBSTONE_SECONDS, WholeTable

MOST_ITEMS = 100
"""Items of one request: those of one BatchGetItem
(https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html)."""

Start = Any
"""Where a walk over a place goes on, as JSON can carry it; `None` is the beginning."""


@dataclass(frozen=True)
class Trace:
    """What one object, row or document of a place holds of items.

    Attributes:
        items: identities of the items that it is of.
        since: when it was written, in seconds since 1970; `inf` for a trace that may still move.
        erase: erases what it holds of these items, unless it has moved meanwhile.
        number: number of entries that it stands for.
        is_tombstone: whether it holds the key of a deleted item alone.
        blocked: says that the delete of the item has not been applied, or may not have been.
    """

    items: frozenset[str]
    since: float
    erase: Callable[[frozenset[str], Deadline], object]
    number: int = 1
    is_tombstone: bool = False
    blocked: str = ""


@dataclass(frozen=True)
class Found:
    """The traces in a part of a place.

    Attributes:
        following: where the walk goes on; None at the end.
        again: whether to read this part again once its traces are erased: it has more.
        unclear: names of objects that cannot be read and may be of one of the items.
    """

    traces: Sequence[Trace] = ()
    following: Start = None
    again: bool = False
    unclear: Sequence[str] = ()


class HoldingPlace(Protocol):
    """A store that holds traces of items."""

    def find(self, items: Mapping[str, Attributes], start: Start, deadline: Deadline) -> Found:
        """Return the traces of items in the next part; `items` has their keys by identity.

        Raises:
            RetryableError: the store cannot be read at the moment.
            DeadlineExceeded: the deadline has passed.
        """


@dataclass(frozen=True)
class ErasureRecord:
    """The record of an erasure that is not complete.

    Attributes:
        receipt: name of the receipt that it becomes; says nothing of the item.
        began_at: when the first trace was erased, in seconds since 1970.
        since: when the newest trace was written.
        revision: raised by every write of the record.
    """

    receipt: str
    began_at: float
    since: float
    revision: int


class ErasureRecords(Protocol):
    """Store of the records of erasures."""

    def read(self, item_ids: Collection[str], deadline: Deadline) -> Mapping[str, ErasureRecord]:
        """Return the records of erasures that are not complete, by item, read consistently.

        Raises:
            RetryableError: they cannot be read at the moment.
        """

    def note(self, item_id: str, since: float, deadline: Deadline) -> None:
        """Make the record of an item, or raise its `since`.

        Raises:
            RetryableError: it cannot be written at the moment.
        """

    def complete(self, item_id: str, record: ErasureRecord, deadline: Deadline) -> bool:
        """Write the receipt and delete the record in one transaction; return False if it moved.

        Raises:
            RetryableError: they cannot be written at the moment.
        """

    def find_receipts(self, names: Collection[str], deadline: Deadline) -> Collection[str]:
        """Return which of these receipts have been written, read consistently.

        Raises:
            RetryableError: they cannot be read at the moment.
        """


class ErasureResponse(TypedDict):
    """The response to `find` and `erase`; counts are by item.

    Attributes:
        place: name of the place that was read.
        found: traces that hold more than the key.
        tombstones: traces that hold the key alone.
        present: items that are in the table; nothing of them is erased. `find` does not look.
        blocked: by item, which copy still shows it, or may; nothing of it is erased, likewise.
        unclear: objects that cannot be read and may be of one of the items.
        revisions: revision of the record of each erasure that is not complete, by item.
        receipts: name of the receipt that each of these records becomes, by item.
        due: when nothing relies on the tombstones any more, in seconds since 1970, by item.
        fill: which fill is open, during which no tombstone is erased; empty if none is.
        at: where the next request goes on; None at the end.
        problem: why the request ended early, if a store was at fault; ask again.
    """

    place: str
    found: dict[str, int]
    tombstones: dict[str, int]
    present: list[str]
    blocked: dict[str, str]
    unclear: list[str]
    revisions: dict[str, int]
    receipts: dict[str, str]
    due: dict[str, float]
    fill: str
    at: Sequence[Any] | None
    problem: str


class CompleteResponse(TypedDict):
    """The response to `complete`.

    Attributes:
        receipts: the receipts, by item; an item that is missing is not done.
        problem: why the request did not come to all items, if a store was at fault; ask again.
    """

    receipts: dict[str, str]
    problem: str


@dataclass(frozen=True)
class Erasure:
    """The function that erases.

    Attributes:
        table: logical name of the source table.
        source_table: the table itself.
        places: the places by name, in the order in which they are erased.
        copies: the last of them, which hold the tombstones.
        records: records of erasures.
        notes: notes of open fills.
        horizon: how long a tombstone outlives the newest trace, in seconds.
    """

    table: str
    source_table: WholeTable
    places: Mapping[str, HoldingPlace]
    copies: Mapping[str, HoldingPlace]
    records: ErasureRecords
    notes: OperatorNotes
    horizon: float = field(default=TOMBSTONE_SECONDS)

    def respond(self, event: Mapping[str, Any], deadline: Deadline) -> Any:
        """Return the response to a request.

        Raises:
            MalformedRecord: the request is not of its form. Nothing was done.
        """
        records = event.get("Records")
        if not isinstance(records, list) or len(records) > MOST_ITEMS:
            message = f"Records: expected a list of at most {MOST_ITEMS} items"
            raise MalformedRecord(message)
        items = dict(keyed(record, self.table) for record in records)
        match event.get("operation"):
            case ErasureOperation.FIND | ErasureOperation.ERASE as operation:
                erases = operation == ErasureOperation.ERASE
                return self._walk(event, items, deadline, erases=erases)
            case ErasureOperation.COMPLETE:
                wanted = {keyed(each, self.table)[0]: each for each in records}
                return self._complete(wanted, deadline)
        message = (
            f"operation: expected one of {', '.join(ErasureOperation)}, got "
            f"{event.get('operation')!r}"
        )
        raise MalformedRecord(message)

    def _walk(
        self,
        event: Mapping[str, Any],
        items: Mapping[str, Attributes],
        deadline: Deadline,
        *,
        erases: bool,
    ) -> ErasureResponse:
        every = {**self.places, **self.copies}
        name, start = event.get("at") or (next(iter(every)), None)
        place = every.get(name)
        if place is None:
            message = f"at: expected one of {', '.join(every)}, got {name!r}"
            raise MalformedRecord(message)
        response = _empty(name, [name, start])
        try:
            response["fill"] = open_fill(self.notes, deadline)
            found = place.find(items, start, deadline)
            traces = found.traces
            if erases:
                response["blocked"] = _blocked(traces) | self._blocked(items, deadline)
                response["present"] = self._present(items, deadline)
            _count(traces, response)
            response["unclear"] = list(found.unclear)
            if erases:
                refused = {*response["present"], *response["blocked"]}
                if response["fill"]:
                    traces = [trace for trace in traces if not trace.is_tombstone]
                self._erase(traces, items.keys() - refused, deadline)
            self._tell(items, found.traces, response, deadline)
        except (RetryableError, DeadlineExceeded) as error:
            response["problem"] = str(error)
            return response
        if not (erases and found.again):
            later = [*every][[*every].index(name) + 1 :]
            following = [later[0], None] if later else None
            response["at"] = following if found.following is None else [name, found.following]
        return response

    def _blocked(self, items: Mapping[str, Attributes], deadline: Deadline) -> dict[str, str]:
        """Return which copy still shows an item, by item."""
        found: dict[str, str] = {}
        for place in self.copies.values():
            found |= _blocked(place.find(items, None, deadline).traces)
        return found

    def _tell(
        self,
        items: Collection[str],
        traces: Sequence[Trace],
        response: ErasureResponse,
        deadline: Deadline,
    ) -> None:
        """Add the records, and when they and the tombstones are due, to the response."""
        newest: dict[str, float] = {}
        for trace in traces:
            for item in trace.items if trace.is_tombstone and not trace.blocked else ():
                newest[item] = max(trace.since, newest.get(item, trace.since))
        for item, record in self.records.read(items, deadline).items():
            response["revisions"][item] = record.revision
            response["receipts"][item] = record.receipt
            newest[item] = max(record.since, newest.get(item, record.since))
        response["due"] = {item: since + self.horizon for item, since in newest.items()}

    def _present(self, items: Mapping[str, Attributes], deadline: Deadline) -> list[str]:
        """Return the items that are in the table; read after the traces."""
        found = Slices(self.source_table, deadline).items(list(items.values()))
        return [name for name, item in zip(items, found, strict=True) if item is not None]

    def _erase(self, traces: Sequence[Trace], items: Collection[str], deadline: Deadline) -> None:
        allowed = frozenset(items)
        now = deadline.now()
        for trace in traces:
            of = trace.items & allowed
            if not of:
                continue
            if trace.is_tombstone:
                of = self._due(of, trace.since, now, deadline)
            deadline.check()
            for item in sorted(of):
                self.records.note(item, min(trace.since, now), deadline)
            if of:
                trace.erase(of, deadline)

    def _due(
        self, items: frozenset[str], since: float, now: float, deadline: Deadline
    ) -> frozenset[str]:
        """Return the items whose tombstone nothing relies on any more."""
        records = self.records.read(items, deadline)
        return frozenset(
            item
            for item in items
            if max(since, records[item].since if item in records else since) + self.horizon <= now
        )

    def _complete(
        self, wanted: Mapping[str, Mapping[str, Any]], deadline: Deadline
    ) -> CompleteResponse:
        """Complete the erasures whose records are as they were read, and due."""
        response = CompleteResponse(receipts={}, problem="")
        try:
            records = self.records.read(wanted.keys(), deadline)
            for item, record in records.items():
                is_due = record.since + self.horizon <= deadline.now()
                if is_due and _is_as_read(record, wanted[item]):
                    deadline.check()
                    self._complete_one(item, record, response, deadline)
            self._recall(wanted, records, response, deadline)
        except (RetryableError, DeadlineExceeded) as error:
            response["problem"] = str(error)
        return response

    def _complete_one(
        self, item: str, record: ErasureRecord, response: CompleteResponse, deadline: Deadline
    ) -> None:
        """Complete one erasure. A store that refuses it may take the next one."""
        try:
            if self.records.complete(item, record, deadline):
                response["receipts"][item] = record.receipt
        except RetryableError as error:
            response["problem"] = str(error)

    def _recall(
        self,
        wanted: Mapping[str, Mapping[str, Any]],
        records: Mapping[str, ErasureRecord],
        response: CompleteResponse,
        deadline: Deadline,
    ) -> None:
        """Add the receipts of earlier requests, whose answer was lost, to the response."""
        receipts = response["receipts"]
        lost = {
            item: name
            for item, each in wanted.items()
            if item not in receipts
            and (name := each.get("receipt"))
            and (item not in records or records[item].receipt == name)
        }
        if lost:
            written = self.records.find_receipts({*lost.values()}, deadline)
            receipts |= {item: name for item, name in lost.items() if name in written}


def _is_as_read(record: ErasureRecord, wanted: Mapping[str, Any]) -> bool:
    """Return whether a record is the one that a request was made for, unchanged."""
    same = wanted.get("receipt", record.receipt) == record.receipt
    return same and record.revision == wanted.get("revision")


def _empty(place: str, at: Sequence[Any]) -> ErasureResponse:
    return ErasureResponse(
        place=place,
        found={},
        tombstones={},
        present=[],
        blocked={},
        unclear=[],
        revisions={},
        receipts={},
        due={},
        fill="",
        at=at,
        problem="",
    )


def _blocked(traces: Sequence[Trace]) -> dict[str, str]:
    return {item: trace.blocked for trace in traces if trace.blocked for item in trace.items}


def _count(traces: Sequence[Trace], response: ErasureResponse) -> None:
    for trace in traces:
        for item in trace.items:
            kind = "tombstones" if trace.is_tombstone else "found"
            counts = cast("dict[str, int]", response[kind])  # type: ignore[literal-required]
            counts[item] = counts.get(item, 0) + trace.number
