"""The three sinks as deployed, over ports in memory, and what must hold of them in the end."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dynamodb_streams_cdc.change import BACKFILL, Attributes, Change, Image, Source
from dynamodb_streams_cdc.control.erasure import Erasure
from dynamodb_streams_cdc.control.erasure_copies import IndexPlace, LedgerPlace, LogPlace
from dynamodb_streams_cdc.control.erasure_objects import DeadLettersPlace
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.identity import item_id
from dynamodb_streams_cdc.names import ARCHIVE, DEAD_LETTERS, GIVEN_UP_BY_LAMBDA
from dynamodb_streams_cdc.processor import Processor, RecordParser
from dynamodb_streams_cdc.sinks.aggregation import Aggregation
from dynamodb_streams_cdc.sinks.base import TOMBSTONE_SECONDS, Repairable, Sink, WholeTable
from dynamodb_streams_cdc.sinks.change_log import ChangeLog, Inserted
from dynamodb_streams_cdc.sinks.contributions import Contribution, add
from dynamodb_streams_cdc.sinks.documents import SearchIndex, encoded
from dynamodb_streams_cdc.sinks.log_entries import Entry, change_from_log_record
from dynamodb_streams_cdc.sinks.search import Search
from dynamodb_streams_cdc.testing.memory import (
    MemoryDeadLetterStore,
    MemoryErasureRecords,
    MemoryIndex,
    MemoryLedger,
    MemoryLog,
    MemoryNotes,
    MemoryObjects,
)
from dynamodb_streams_cdc.testing.simulation.faults import FaultInjector
from dynamodb_streams_cdc.testing.simulation.faulty import faulty
from dynamodb_streams_cdc.testing.simulation.poller import Handler
from dynamodb_streams_cdc.testing.simulation.scene import POISON
from dynamodb_streams_cdc.testing.simulation.stream import SimulatedStream
from dynamodb_streams_cdc.testing.simulation.table import SimulatedTable
from dynamodb_streams_cdc.testing.simulation.virtual_clock import VirtualClock

SOURCE = Source("items")

Repair = Callable[[str, Callable[[], Image | None], FaultInjector], object]


@dataclass(frozen=True)
class Consumer:
    """A function behind a mapping, and what must be true of its copy once all is quiet.

    Attributes:
        name: of the function.
        build: makes the function; its ports are subject to faults.
        problems: returns what is wrong with the copy, in words; nothing if it is right.
        stream: what it reads, if not the table's stream.
        repair: makes the copy of an item what the table says, given the item's identity, a function
            that reads the item, and the fault injector.
        dead_letters: store of the dead letters of the function and its mapping. Without one, a dead
            letter that cannot be redriven is not a problem.
        purge: forgets what was deleted long enough ago.
        erasure: makes the function that erases in all copies; of one of the consumers.
    """

    name: str
    build: Callable[[VirtualClock, FaultInjector], Handler]
    problems: Callable[[SimulatedTable], Iterable[str]]
    stream: SimulatedStream | None = None
    repair: Repair | None = None
    dead_letters: MemoryDeadLetterStore | None = None
    purge: Callable[[FaultInjector], int] | None = None
    erasure: Callable[[FaultInjector], Erasure] | None = None


Consumers = Callable[[VirtualClock], Sequence[Consumer]]
"""Returns the consumers of a table, on the clock of the simulation."""


class StreamedLog(MemoryLog):
    """A change log whose entries make a stream of their own."""

    def __init__(self, virtual_clock: VirtualClock) -> None:
        super().__init__()
        self.virtual_clock = virtual_clock
        self.stream = SimulatedStream(
            "change-log-3C4D", now=virtual_clock.now(), view_type="NEW_IMAGE", partitions=2
        )

    def insert(self, entries: Sequence[Entry], deadline: Deadline) -> Sequence[Inserted]:
        """Write entries that are not there, each with its record."""
        results = super().insert(entries, deadline)
        for entry, inserted in zip(entries, results, strict=True):
            if inserted is True:
                self.stream.append(entry["item"]["S"], self._record(entry))
        return results

    def _record(self, entry: Attributes) -> dict[str, Any]:
        return {
            "eventID": f"log-{len(self.entries)}",
            "eventName": "INSERT",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "us-east-1",
            "dynamodb": {
                "ApproximateCreationDateTime": float(int(self.virtual_clock.now())),
                "Keys": {"item": entry["item"], "version": entry["version"]},
                "NewImage": entry,
                "StreamViewType": "NEW_IMAGE",
            },
        }


class PoisonError(Exception):
    """A permanent error: no retry helps."""


class UnexpectedError(Exception):
    """An error that the processor does not know."""


def _raise_if_poisoned(image: Image) -> None:
    match image.get(POISON):
        case None:
            return
        case "strange":
            raise UnexpectedError
    raise PoisonError


def contributions(image: Image) -> Contribution:
    """Return what an item adds to its group."""
    _raise_if_poisoned(image)
    return {f"group#{image['group']}": {"count": 1, "amount": image["amount"]}}


def document(image: Image) -> dict[str, Any]:
    """Return what a search finds of an item."""
    _raise_if_poisoned(image)
    return {"group": image["group"], "amount": image["amount"]}


def pipeline(virtual_clock: VirtualClock) -> Sequence[Consumer]:
    """Return the three sinks as deployed."""
    return PipelineUnderTest(virtual_clock).consumers()


@dataclass
class PipelineUnderTest:
    """The three copies of a table: ledger and sums, log, index."""

    virtual_clock: VirtualClock
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    index: MemoryIndex = field(default_factory=MemoryIndex)
    dead_letters: MemoryDeadLetterStore = field(default_factory=MemoryDeadLetterStore)
    erasures: MemoryErasureRecords = field(default_factory=MemoryErasureRecords)
    notes: MemoryNotes = field(default_factory=MemoryNotes)

    def __post_init__(self) -> None:
        self.log = StreamedLog(self.virtual_clock)

    def consumers(self) -> list[Consumer]:
        """Return the pipeline: aggregation and audit on the table, search behind the log."""
        log = self.log.stream
        return [
            self._consumer("aggregation", self.wrong_sums, self._sums, repair=True),
            self._consumer("audit", self.wrong_histories, self._histories),
            self._consumer("search", self.wrong_documents, self._documents, stream=log),
        ]

    def _consumer(
        self,
        name: str,
        problems: Callable[[SimulatedTable], Iterable[str]],
        make: Callable[[FaultInjector], Sink],
        *,
        stream: SimulatedStream | None = None,
        repair: bool = False,
    ) -> Consumer:
        read: RecordParser = Change.from_record if stream is None else change_from_log_record

        def build(virtual_clock: VirtualClock, faults: FaultInjector) -> Handler:
            return Processor(
                name,
                SOURCE,
                make(faults),
                self.dead_letters,
                read=read,
                permanent=(PoisonError,),
                clock=virtual_clock,
                source_table=faults.source_table,
                notes=self.notes,
            )

        def repaired(
            item_id: str, read_item: Callable[[], Image | None], faults: FaultInjector
        ) -> object:
            sink = make(faults)
            assert isinstance(sink, Repairable)
            return sink.repair(item_id, read_item, self._deadline())

        def purged(faults: FaultInjector) -> int:
            sink = make(faults)
            if isinstance(sink, Aggregation | Search):
                return sink.purge(TOMBSTONE_SECONDS, self._deadline())
            return 0

        return Consumer(
            name,
            build,
            problems,
            stream,
            repair=repaired if repair else None,
            dead_letters=self.dead_letters,
            purge=purged,
            erasure=self.erasure if name == "audit" else None,
        )

    def erasure(self, faults: FaultInjector) -> Erasure:
        """Return the function that erases; its ports are subject to faults."""
        assert isinstance(faults.source_table, WholeTable)
        stored = MemoryObjects(self.dead_letters.objects, self.dead_letters.written)
        objects = faulty(stored, faults)

        def indexes(deadline: Deadline) -> Sequence[SearchIndex]:
            return [faulty(each, faults) for each in self.index.every(deadline)]

        def dead_letters(prefix: str) -> DeadLettersPlace:
            waits = prefix != ARCHIVE
            return DeadLettersPlace(objects, prefix, SOURCE.table, may_move=waits, readers=1)

        return Erasure(
            SOURCE.table,
            faults.source_table,
            places={
                "given-up": dead_letters(GIVEN_UP_BY_LAMBDA),
                "dead-letters": dead_letters(DEAD_LETTERS),
                "archive": dead_letters(ARCHIVE),
                "change-log": LogPlace(faulty(self.log, faults)),
            },
            copies={
                "search": IndexPlace(indexes),
                "aggregation": LedgerPlace(faulty(self.ledger, faults)),
            },
            records=faulty(self.erasures, faults),
            notes=self.notes,
        )

    def _deadline(self) -> Deadline:
        return Deadline(self.virtual_clock, self.virtual_clock.now() + 10)

    def _sums(self, faults: FaultInjector) -> Sink:
        return Aggregation(faulty(self.ledger, faults), contributions)

    def _histories(self, faults: FaultInjector) -> Sink:
        return ChangeLog(faulty(self.log, faults))

    def _documents(self, faults: FaultInjector) -> Sink:
        return Search(faulty(self.index, faults), document)

    def wrong_sums(self, table: SimulatedTable) -> Iterable[str]:
        """Say which sums are not what the items add up to."""
        expected = add(contributions(item) for item in table.items.values())
        held = self.ledger.live()
        for aggregate in sorted(expected.keys() | held.keys()):
            want, got = expected.get(aggregate, {}), held.get(aggregate, {})
            if want != got:
                yield f"{aggregate}: the items add up to {dict(want)}, the sum is {dict(got)}"

    def wrong_documents(self, table: SimulatedTable) -> Iterable[str]:
        """Say which documents are not what the items say."""
        expected = {identity(table, item): encoded(document(item)) for item in table.items.values()}
        held = self.index.search()
        for name in sorted(expected.keys() | held.keys()):
            want, got = expected.get(name, "nothing"), held.get(name, "nothing")
            if want != got:
                yield f"{name}: the item says {want}, the index shows {got}"

    def wrong_histories(self, table: SimulatedTable) -> Iterable[str]:
        """Say which histories are not what was written, change by change."""
        log = ChangeLog(self.log)
        written = {
            identity(table, next(filter(None, states))): (
                states,
                table.unrecorded.get(key, 0),
                table.forgotten.get(key, 0),
            )
            for key, states in table.history.items()
        }
        for name in sorted({name for name, _ in self.log.entries} | written.keys()):
            states, unrecorded, forgotten = written.get(name, ([], 0, 0))
            want = states[max(unrecorded, forgotten) :]
            entries = log.history(name)
            got = [change.new_image for change in entries if change.kind is not BACKFILL]
            erased = got[: len(got) - len(want)] if forgotten else []
            if want != got[len(erased) :] or not all(each in states for each in erased):
                yield f"{name}: {len(want)} changes were written, {want}; the log tells {got}"
            elif states and not entries and not (forgotten and not want):
                yield f"{name}: the item is in the table, and the log knows nothing of it"


def identity(table: SimulatedTable, item: Image) -> str:
    """Return the identity of an item of the simulated table."""
    return item_id(SOURCE.table, {name: item[name] for name in table.keys})
