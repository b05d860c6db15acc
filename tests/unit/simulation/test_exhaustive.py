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
from dynamodb_streams_cdc.sinks.documents import CDC, Held, Upsert
from dynamodb_streams_cdc.sinks.search import Search
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters, MemoryIndex, MemoryLedger
from tests.factories import STREAM, FakeContext, ManualClock, record
from tests.schedules import SCHEDULES
from tests.unit.simulation.exhaustive import Actor, Exploration, Gate

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
    records: list[Any] = field(default_factory=list)

    def write(self) -> None:
        before, after = self.states[self.position : self.position + 2]
        self.position += 1
        self.records.append(record(self.position, before, after, keys=("id",)))

    @property
    def image(self) -> Image | None:
        return self.states[self.position]

    def record(self, number: int) -> Any:
        return self.records[number]

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


class Sums(MemoryLedger):
    """The aggregation as one of two copies to explore."""

    @staticmethod
    def sink(port: Any) -> Any:
        return Aggregation(port, contributions)

    def text(self) -> str:
        rows = sorted((r.version, r.revision, str(r.contribution)) for r in self.rows.values())
        return f"{rows}{sorted(self.totals.items())}"

    def shown(self) -> Any:
        return {name: dict(of) for name, of in self.totals.items() if of}

    @staticmethod
    def wanted(image: Image | None) -> Any:
        return {} if image is None else contributions(image)


class Documents(MemoryIndex):
    """The index as the other."""

    @staticmethod
    def sink(port: Any) -> Any:
        return Search(port, document)

    def replace(self, held: Held | None, upsert: Upsert, deadline: Deadline) -> bool:
        """Take an equal document for the one held, which may be of another run."""
        now = self.read(upsert.item_id, deadline)
        return super().replace(now if now == held else held, upsert, deadline)

    def text(self) -> str:
        return str([(d.get("group"), d[CDC]["version"]) for d in self.documents.values()])

    def shown(self) -> Any:
        return self.search()

    @staticmethod
    def wanted(image: Image | None) -> Any:
        return {} if image is None else {ITEM: document(image)}


COPIES: Mapping[str, type[Sums | Documents]] = {"sums": Sums, "documents": Documents}


def function(kept: Any, table: Any, clock: ManualClock) -> Processor:
    return Processor(
        "copy", Source("orders"), kept, MemoryDeadLetters(), clock=clock, source_table=table
    )


def operate(function: Processor, clock: ManualClock, operator: str) -> None:
    asked: dict[str, Any] = {"operation": operator, "streamArn": STREAM, "Records": []}
    if operator == "repair":
        asked |= {"Records": [{"Keys": serialize_item(KEYS)}], "countMissing": True}
    else:
        asked["keys"] = {"id": "S"}
    function(asked, FakeContext(clock))


class Shop:
    """The item and one copy of it."""

    def __init__(
        self, copy: type[Sums | Documents], states: Sequence[Image | None], operator: str
    ) -> None:
        self.item, self.copy, self.operator = Item(states), copy(), operator

    def has(self, number: int) -> bool:
        """Return whether the record of a change is there."""
        return len(self.item.records) > number

    def state(self) -> str:
        return f"{self.item.position}{self.copy.text()}"

    def check(self) -> None: ...

    def check_end(self, results: Sequence[Any]) -> None:
        if self.item.states[0] is not None:
            # It is older than the stream: the copy is filled once all else is done.
            clock = ManualClock()
            filled = function(self.copy.sink(self.copy), self.item, clock)
            operate(filled, clock, self.operator)
        assert self.copy.shown() == self.copy.wanted(self.item.image)


def explored(name: str, life: str, operator: str) -> Exploration:
    copy, states = COPIES[name], LIVES[life]

    def processor(gate: Gate, clock: ManualClock) -> Processor:
        return function(copy.sink(gate.port("copy", copy)), gate.port("item", Item), clock)

    def writer(gate: Gate) -> None:
        for _ in states[1:]:
            gate.ask("item", "write")

    def worker(gate: Gate, changes: int) -> None:
        clock = ManualClock()
        applying = processor(gate, clock)
        for number in range(changes):
            delivered = gate.ask("item", "record", number, ready=partial(Shop.has, number=number))
            applying({"Records": [delivered]}, FakeContext(clock))

    def operating(gate: Gate) -> None:
        clock = ManualClock()
        operate(processor(gate, clock), clock, operator)

    actors = [
        Actor("writer", writer),
        Actor("worker", partial(worker, changes=len(states) - 1), may_crash=True),
        Actor("late", partial(worker, changes=1), may_crash=True),
        Actor(operator, operating, may_crash=True),
    ]
    return Exploration(actors, lambda: Shop(copy, states, operator)).run()


SHORT, FIRST, *OTHERS = LIVES
CASES = (
    [
        ("documents", FIRST, "repair"),
        *(("documents", life, "backfill") for life in (FIRST, *OTHERS)),
        ("sums", FIRST, "backfill"),
        ("sums", SHORT, "repair"),
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
    assert found.ends > 1
    record_property("states", found.states)


def test_a_backfill_above_the_changes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfills, "floor_of", lambda epoch, label: f"{epoch}/{label}/{'9' * 40}")
    for copy in COPIES:
        with pytest.raises(AssertionError):
            explored(copy, FIRST, "backfill")


@dataclass
class Log:
    """A world that tells how it came about; `ends` is shared by all."""

    ends: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def state(self) -> str:
        return "".join(self.log)

    def check(self) -> None: ...

    def check_end(self, results: Sequence[Any]) -> None:
        self.ends.append(self.state())


def logging(name: str) -> Actor:
    def work(gate: Gate) -> None:
        gate.ask("log", "append", name)
        gate.ask("log", "append", name)

    return Actor(name, work, may_crash=name == "c")


def test_every_interleaving_is_tried() -> None:
    ends: list[str] = []
    Exploration([logging("a"), logging("b")], lambda: Log(ends)).run()
    assert sorted(ends) == ["aabb", "abab", "abba", "baab", "baba", "bbaa"]


def test_an_actor_dies_before_any_call_and_begins_again() -> None:
    ends: list[str] = []
    Exploration([logging("c")], lambda: Log(ends)).run()
    assert sorted(ends) == ["cc", "cc", "ccc"]


def test_a_wrong_state_is_told_with_its_steps() -> None:
    class Short(Log):
        def check(self) -> None:
            assert self.state() != "aba"

    with pytest.raises(AssertionError) as caught:
        Exploration([logging("a"), logging("b")], Short).run()
    assert caught.value.__notes__ == ["after the steps: a, b, a"]
