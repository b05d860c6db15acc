"""One item, three changes, two workers, one crash, and an operator: every order of their calls."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from dynamodb_streams_cdc import Processor, Source
from dynamodb_streams_cdc.change import Attributes, Image
from dynamodb_streams_cdc.control import backfill as backfills
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.deserializer import serialize_item
from dynamodb_streams_cdc.sinks.aggregation import Aggregation
from dynamodb_streams_cdc.sinks.base import TablePage
from dynamodb_streams_cdc.sinks.documents import CDC
from dynamodb_streams_cdc.sinks.search import Search
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters, MemoryIndex, MemoryLedger
from tests.factories import STREAM, FakeContext, ManualClock, record
from tests.schedules import SCHEDULES
from tests.unit.simulation.exhaustive import Actor, Explored, Gate, World, explore

ITEM, KEYS = "orders/S=1", {"id": "1"}
A, B, C = ({"id": "1", "group": name} for name in "abc")

LIVES: Mapping[str, Sequence[Image | None]] = {
    "is made, changed": (None, A, B),
    "is made, changed twice": (None, A, B, C),
    "is made, deleted, made again": (None, A, None, B),
    "was there, changed, deleted, made": (A, B, None, C),
    "was there, changed, changed back, deleted": (A, B, A, None),
}
"""The states of the item; what it was before the stream was on comes first."""


@dataclass
class Item:
    """The item in its table, and the records of its changes."""

    states: Sequence[Image | None]
    position: int = 0
    consistent: bool = True
    records: list[Any] = field(default_factory=list)

    def write(self) -> None:
        before, after = self.states[self.position : self.position + 2]
        self.position += 1
        self.records.append(record(self.position, before, after, keys=("id",)))

    @property
    def image(self) -> Image | None:
        return self.states[self.position]

    def has(self, number: int) -> bool:
        """Return whether the record of a change is there."""
        return len(self.records) > number

    def read(self, keys: Attributes) -> Image | None:
        return self.image

    def read_many(self, keys: Any, deadline: Deadline) -> Any:
        return [None if self.image is None else serialize_item(self.image)]

    def scan(self, segment: Any, place: Any, most: int, deadline: Any, *, consistent: bool) -> Any:
        return TablePage([] if self.image is None else [serialize_item(self.image)], None)


def contributions(image: Image) -> Any:
    return {f"group#{image['group']}": {"items": 1}}


def document(image: Image) -> Any:
    return {"group": image["group"]}


class Sums:
    """The aggregation as one of two copies to explore."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()

    def sink(self, gate: Gate) -> Any:
        return Aggregation(gate.port(self.ledger), contributions)

    def state(self) -> str:
        rows = sorted(
            (r.version, r.revision, str(r.contribution)) for r in self.ledger.rows.values()
        )
        return f"{rows}{sorted(self.ledger.totals.items())}"

    def shown(self) -> Any:
        return {name: dict(of) for name, of in self.ledger.totals.items() if of}

    def wanted(self, image: Image | None) -> Any:
        return {} if image is None else contributions(image)


class Documents:
    """The index as the other."""

    def __init__(self) -> None:
        self.index = MemoryIndex()

    def sink(self, gate: Gate) -> Any:
        return Search(gate.port(self.index), document)

    def state(self) -> str:
        return str([(d.get("group"), d[CDC]["version"]) for d in self.index.documents.values()])

    def shown(self) -> Any:
        return self.index.search()

    def wanted(self, image: Image | None) -> Any:
        return {} if image is None else {ITEM: document(image)}


COPIES: Mapping[str, Callable[[], Any]] = {"sums": Sums, "documents": Documents}


def made(copy: Callable[[], Any], states: Sequence[Image | None], operator: str) -> World:
    item, kept, clock = Item(states), copy(), ManualClock()

    def processor(gate: Gate) -> Processor:
        return Processor(
            "copy",
            Source("orders"),
            kept.sink(gate),
            MemoryDeadLetters(),
            clock=clock,
            source_table=_Gated(gate, item),
        )

    def writer(gate: Gate) -> None:
        for _ in states[1:]:
            gate.pass_()
            item.write()

    def worker(gate: Gate) -> None:
        function = processor(gate)
        for number in range(len(states) - 1):
            gate.pass_(partial(item.has, number))
            function({"Records": [item.records[number]]}, FakeContext(clock))

    def late(gate: Gate) -> None:
        function = processor(gate)
        gate.pass_(partial(item.has, 0))
        function({"Records": [item.records[0]]}, FakeContext(clock))

    def operate(gate: Gate) -> None:
        asked: dict[str, Any] = {"operation": operator, "streamArn": STREAM, "Records": []}
        if operator == "repair":
            asked |= {"Records": [{"Keys": serialize_item(KEYS)}], "countMissing": True}
        else:
            asked["keys"] = {"id": "S"}
        processor(gate)(asked, FakeContext(clock))

    existing = states[0] is not None

    def finish(gate: Gate) -> None:
        """Fill the copy once all else is done, if the item is older than the stream."""
        gate.pass_(lambda: all(done))
        if existing:
            operate(gate)

    done = [False] * 4

    def ended(number: int, work: Callable[[Gate], None], gate: Gate) -> None:
        work(gate)
        done[number] = True

    works = [("writer", writer), ("worker", worker), ("late", late), (operator, operate)]
    actors = [
        Actor(name, partial(ended, number, work), may_crash=name != "writer")
        for number, (name, work) in enumerate(works)
    ]
    return World(
        [*actors, Actor("end", finish)],
        lambda: f"{item.position}{kept.state()}{done}",
        lambda: (
            []
            if kept.shown() == kept.wanted(item.image)
            else [f"{kept.shown()} is shown, and the item is {item.image}"]
        ),
    )


class _Gated:
    """The table, each read of which is a step."""

    def __init__(self, gate: Gate, item: Item) -> None:
        port = gate.port(item)
        self.read, self.read_many, self.scan = port.read, port.read_many, port.scan


def explored(copy: str, life: str, operator: str) -> Explored:
    return explore(lambda: made(COPIES[copy], LIVES[life], operator))


SHORT, FIRST, *OTHERS = LIVES
CASES = (
    [
        ("documents", FIRST, "repair"),
        *(("documents", life, "backfill") for life in (FIRST, *OTHERS)),
        ("sums", FIRST, "backfill"),
    ]
    if SCHEDULES == "all"
    else [("documents", SHORT, "backfill")]
)
"""A laptop goes through a life of two changes, CI through those of three."""


@pytest.mark.parametrize(("copy", "life", "operator"), CASES)
def test_every_order_ends_right(
    copy: str, life: str, operator: str, record_property: Callable[[str, object], None]
) -> None:
    found = explored(copy, life, operator)
    assert found.wrong == ""
    assert found.ends > 1
    record_property("states", found.states)


def test_a_backfill_above_the_changes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfills, "floor_of", lambda epoch, label: f"{epoch}/{label}/{'9' * 40}")
    assert explored("sums", FIRST, "backfill").wrong
    assert explored("documents", FIRST, "backfill").wrong
