"""Sums are compared with the contributions of the ledger that holds them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from dynamodb_streams_cdc import Aggregation, Change, Image, Outcome, Sink, serialize_item
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.processor import Processor
from dynamodb_streams_cdc.sinks.base import SinkChoice
from dynamodb_streams_cdc.testing.memory import MemoryLedger
from dynamodb_streams_cdc.testing.simulation.pipeline import contributions
from tests.unit.damage import ITEMS, alter_a_sum
from tests.unit.operated import SINKS, Operated


def test_sums_are_compared_while_another_sink_is_out(filled: Operated) -> None:
    def fail(processor: str, event: Any) -> None:
        filled.fails = {"search"} if event.get("of") == "table" else set()

    filled.before = fail
    alter_a_sum(filled, 5)
    report = filled.verify().run()
    assert len(report.problems) == 1
    assert report.differences == {"aggregation": {"sum": 1}}


def test_sums_that_move_are_read_again(filled: Operated) -> None:
    asked: list[str] = []

    def move(processor: str, event: Any) -> None:
        if event.get("of") == "sums":
            asked.append(processor)
            if len(asked) == 2:  # between the first sums and the second
                group = f"group#{filled.item(5)['group']}"
                filled.copies.ledger.moved[group] += 1

    filled.before = move
    report = filled.verify().run()
    assert (report.complete, report.moving, len(asked)) == (True, 0, 4)
    assert report.read["search"] == 2 * ITEMS


@dataclass(frozen=True)
class ByNumber(SinkChoice):
    """Gives odd items another sink."""

    even: Sink
    odd: Sink

    @property
    def sinks(self) -> Mapping[str, Sink]:
        return {"even": self.even, "odd": self.odd}

    def entity_of(self, keys: Image) -> str:
        return ("even", "odd")[int(keys["id"][-1]) % 2]

    def sink_of(self, keys: Image) -> Sink:
        return self.sinks[self.entity_of(keys)]


def divide(o: Operated, odd: Sink) -> None:
    """Give the odd items of the aggregation a sink of their own, and fill the copies."""
    processor = o.handlers["aggregation"]
    assert isinstance(processor, Processor)
    sink = ByNumber(Aggregation(o.copies.ledger, contributions), odd)
    o.handlers["aggregation"] = replace(processor, sink=sink)
    o.backfill().run()


WITHOUT_SUMS = "its sums: those of the aggregation alone can be compared, and of one ledger"


def test_sums_of_several_ledgers_are_not_compared() -> None:
    """The rows of one would be added up with those of the other."""
    o = Operated(ITEMS)
    divide(o, Aggregation(MemoryLedger(), contributions))
    report = o.verify().run()
    assert (report.count, report.verified) == (0, True)
    assert report.left_out == {"aggregation": [WITHOUT_SUMS]}
    assert o.verify("part", share=0.5).run().left_out == {}


@pytest.mark.parametrize("ledgers", [1, 2])
def test_sums_of_a_further_sink_are_its_own(ledgers: int) -> None:
    """Its rows were added to the ledger's, and several ledgers of it left out the sums of both."""
    o = Operated(ITEMS)
    o.backfill().run()
    processor = o.handlers["aggregation"]
    assert isinstance(processor, Processor)
    even, odd = (Aggregation(MemoryLedger(), contributions) for _ in range(2))
    sink = ByNumber(even, odd if ledgers == 2 else even)
    o.handlers["board"] = replace(processor, name="board", sink=sink)
    work = o.backfill("board")
    work.processors = ["board"]
    work.run()
    alter_a_sum(o, 5)
    verification = o.verify()
    verification.processors = {"board": "board", **SINKS}
    report = verification.run()
    assert report.differences == {"aggregation": {"sum": 1}}
    assert report.left_out == {"board": [WITHOUT_SUMS]}


def test_an_entity_that_cannot_be_compared_is_named() -> None:
    class Mails:
        def apply(self, changes: Sequence[Change], deadline: Deadline) -> Outcome:
            return Outcome(applied=len(changes))

    o = Operated(ITEMS)
    divide(o, Mails())
    report = o.verify().run()
    assert (report.count, report.verified) == (0, True)
    left_out = {"aggregation": ["entity odd: the copies of its sink cannot be read one by one"]}
    assert report.left_out == left_out
    assert o.verify("one", entity="even").run().left_out == {}
    keys = [serialize_item({"id": f"item-{number}"}) for number in range(2)]
    assert o.verify("even-item").run_items(keys[:1]).left_out == {}
    assert o.verify("odd-item").run_items(keys[1:]).left_out == left_out


def test_sums_that_always_move_are_not_verified(filled: Operated) -> None:
    """Every round reads the ledger, and the first alone looks up the items of its rows."""
    alter_a_sum(filled, 5)

    def move(processor: str, event: Any) -> None:
        if event.get("of") == "sums":
            for aggregate in filled.copies.ledger.totals:
                filled.copies.ledger.moved[aggregate] += 1

    filled.before = move
    filled.invocations.clear()
    report = filled.verify().run()
    assert (report.count, report.moving, report.complete) == (0, 7, False)
    assert report.unverified == {"aggregation"}
    rounds = Counter(
        event.get("lookUp", True)
        for processor, event in filled.invocations
        if processor == "aggregation" and event.get("of") == "copies"
    )
    assert rounds[False] == 2 * rounds[True] > 0


def test_rows_that_are_added_up_are_not_looked_up(filled: Operated) -> None:
    asked = {"operation": "verify", "of": "copies", "keys": {"id": "S"}, "Records": []}
    whole = filled.invoke("aggregation", asked)
    added = filled.invoke("aggregation", {**asked, "lookUp": False})
    assert added["sums"] == whole["sums"] != {}
    assert added["units"] < whole["units"]
