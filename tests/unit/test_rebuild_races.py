"""One item, three changes, two workers, one move, one crash: every order of their steps.

A step is one request to the ledger or the table. The first worker applies the changes; the second
one delivers the first of them again; the builder moves the item's row, by the table or by the
ledger. A process may die before one of its requests, and its work is then begun again; in the end
the changes are delivered once more.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from dynamodb_streams_cdc import Aggregation, Change, Contribution, Image
from dynamodb_streams_cdc.applier import SinkApplier
from dynamodb_streams_cdc.change import Attributes
from dynamodb_streams_cdc.control.sums_rebuild import SumsRebuild
from dynamodb_streams_cdc.deserializer import serialize_item
from dynamodb_streams_cdc.sinks.base import TablePage
from dynamodb_streams_cdc.sinks.generations import WAIT_SECONDS, Generations
from dynamodb_streams_cdc.testing.memory import MemoryLedger
from tests.factories import SOURCE, STREAM, change, deadline, order
from tests.unit.simulation.exhaustive import Actor, Exploration, Gate

STATES = [order(total="1"), order(total="2"), order(total="4")]
CHANGES = [
    change(number, before, after)
    for number, (before, after) in enumerate(zip([None, *STATES], STATES, strict=False), 1)
]
WALKS = ("table", "copies")
"""What the builder walks."""
KEYS = {"customer_id": "S", "order_id": "S"}


def contributions(image: Image) -> Contribution:
    return {"all": {"total": image["total"]}}


class Table:
    """The item is as the last change left it."""

    def read(self, *_: Any) -> Image:
        return STATES[-1]

    def read_many(self, keys: Sequence[Attributes], _: Any) -> Sequence[Attributes | None]:
        return [serialize_item(STATES[-1])] * len(keys)

    def scan(self, *_: Any, **__: Any) -> TablePage:
        return TablePage([serialize_item(STATES[-1])], None)


class Rebuild:
    """The ledger after the first change, when a generation is begun, and the table."""

    def __init__(self) -> None:
        self.table, self.ledger = Table(), MemoryLedger()
        self.apply(CHANGES[:1])
        self.ledger.state = Generations().begun(deadline().now() - WAIT_SECONDS)

    def apply(self, changes: Sequence[Change]) -> None:
        assert not Aggregation(self.ledger, contributions).apply(changes, deadline()).failures

    def state(self) -> str:
        return repr(self.ledger)

    def check(self) -> None:
        """At any moment, sums are what the ledger says."""
        [row] = self.ledger.rows.values()
        assert self.ledger.sums_of(0) == row.contribution
        assert self.ledger.sums_of(1) == (row.contribution if row.generation == 1 else {})

    def check_end(self, _: Sequence[Any]) -> None:
        self.apply(CHANGES[1:])
        assert self.ledger.sums_of(0) == self.ledger.sums_of(1) == {"all": {"total": 4}}


def work(gate: Gate, batches: Sequence[Sequence[Change]]) -> None:
    sink = Aggregation(gate.port("ledger", MemoryLedger), contributions)
    for batch in batches:
        assert sink.apply(batch, deadline()).failures == {}


def build(gate: Gate, of: str) -> None:
    sink = Aggregation(gate.port("ledger", MemoryLedger), contributions)
    applier = SinkApplier(sink, deadline(), lambda error: False, 1, gate.port("table", Table))
    event = {"step": "move", "of": of, "generation": 1, "keys": KEYS, "streamArn": STREAM}
    answer = SumsRebuild(applier, SOURCE).run(event)
    assert (answer["refusal"], answer["problem"]) == ("", "")


@pytest.mark.parametrize("of", WALKS)
@pytest.mark.parametrize(
    "batches", [[CHANGES[1:2], CHANGES[2:]], [CHANGES[1:]]], ids=["one by one", "together"]
)
def test_every_order_of_a_move_ends_right(
    of: str,
    batches: Sequence[Sequence[Change]],
    record_property: Callable[[str, object], None],
) -> None:
    actors = [
        Actor("worker", partial(work, batches=batches), may_crash=True),
        Actor("late", partial(work, batches=[CHANGES[:2]]), may_crash=True),
        Actor("builder", partial(build, of=of), may_crash=True),
    ]
    found = Exploration(actors, Rebuild).run()
    assert found.ends > 1
    record_property("states", found.states)
