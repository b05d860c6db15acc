"""One item, three changes, two workers, one move, one crash: every order of their steps.

A step is one request to the ledger or the table. The first worker applies the changes; the second
one delivers the first of them again; the builder moves the item's row, by the table or by the
ledger. The process of the first worker dies before one of its requests, or does not; its batch is
then delivered again in the end.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from dynamodb_streams_cdc import Aggregation, Contribution, Image
from dynamodb_streams_cdc.applier import SinkApplier
from dynamodb_streams_cdc.change import Attributes
from dynamodb_streams_cdc.control.sums_rebuild import SumsRebuild
from dynamodb_streams_cdc.deserializer import serialize_item
from dynamodb_streams_cdc.sinks.base import TablePage
from dynamodb_streams_cdc.sinks.generations import WAIT_SECONDS, Generations
from dynamodb_streams_cdc.testing.memory import MemoryLedger
from tests.factories import SOURCE, STREAM, change, deadline, order
from tests.schedules import long
from tests.unit.test_redrive_races import Actor, Step, every_order

STATES = [order(total="1"), order(total="2"), order(total="4")]
CHANGES = [
    change(number, before, after)
    for number, (before, after) in enumerate(zip([None, *STATES], STATES, strict=False), 1)
]
DEATHS = (None, 0, 1, 2, 3)
"""Requests of the first worker before which it dies."""
WALKS = ("table", "copies")
"""What the builder walks."""
KEYS = {"customer_id": "S", "order_id": "S"}


def contributions(image: Image) -> Contribution:
    return {"all": {"total": image["total"]}}


class Stepping:
    """A ledger, and the table, that wait for their turn before each request."""

    def __init__(self, ledger: MemoryLedger, step: Step) -> None:
        self.ledger, self.step = ledger, step

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.ledger, name)

        def called(*args: Any, **options: Any) -> Any:
            if name in ("read", "commit", "walk"):
                self.step()
            return method(*args, **options)

        return called

    # The table: the item is as the last change left it.

    def read(self, *args: Any) -> Any:
        self.step()
        return self.ledger.read(*args) if len(args) > 1 else STATES[-1]

    def read_many(self, keys: Sequence[Attributes], _: Any) -> Sequence[Attributes | None]:
        self.step()
        return [serialize_item(STATES[-1])] * len(keys)

    def scan(self, *_: Any, **__: Any) -> TablePage:
        return TablePage([serialize_item(STATES[-1])], None)


class Died(Exception):
    """The process was killed."""


def worker(ledger: MemoryLedger, batches: Sequence[Sequence[Any]], dies_at: int | None) -> Actor:
    def act(step: Step) -> None:
        requests = iter(range(100))

        def before() -> None:
            if next(requests) == dies_at:
                raise Died
            step()

        sink = Aggregation(Stepping(ledger, before), contributions)
        try:
            for batch in batches:
                assert sink.apply(batch, deadline()).failures == {}
        except Died:
            return

    return act


def builder(ledger: MemoryLedger, of: str) -> Actor:
    def act(step: Step) -> None:
        port: Any = Stepping(ledger, step)
        applier = SinkApplier(
            Aggregation(port, contributions), deadline(), lambda error: False, 1, port
        )
        event = {"step": "move", "of": of, "generation": 1, "keys": KEYS, "streamArn": STREAM}
        answer = SumsRebuild(applier, SOURCE).run(event)
        assert (answer["refusal"], answer["problem"]) == ("", "")

    return act


def stories(of: str, dies_at: int | None) -> Iterator[list[int]]:
    """Run every order; check the sums at each end."""
    ledgers: list[MemoryLedger] = []

    def begin() -> tuple[Sequence[Actor], Step]:
        ledger = MemoryLedger()
        Aggregation(ledger, contributions).apply(CHANGES[:1], deadline())
        ledger.state = Generations().begun(deadline().now() - WAIT_SECONDS)
        ledgers[:] = [ledger]
        actors = [
            worker(ledger, [CHANGES[1:2], CHANGES[2:]], dies_at),
            worker(ledger, [CHANGES[:2]], None),
            builder(ledger, of),
        ]
        return actors, lambda: check(ledger)

    for order_ in every_order(begin):
        [ledger] = ledgers
        Aggregation(ledger, contributions).apply(CHANGES[1:], deadline())
        assert ledger.sums_of(0) == ledger.sums_of(1) == {"all": {"total": 4}}, order_
        yield order_


def check(ledger: MemoryLedger) -> None:
    """At any moment, sums are what the ledger says."""
    [row] = ledger.rows.values()
    assert ledger.sums_of(0) == row.contribution
    assert ledger.sums_of(1) == (row.contribution if row.generation == 1 else {})


@long
@pytest.mark.parametrize("of", WALKS)
def test_every_order_of_a_move_ends_right(
    of: str, record_property: Callable[[str, object], None]
) -> None:
    number = sum(1 for dies_at in DEATHS for _ in stories(of, dies_at))
    record_property("orders", number)
    print(f"{number:,} orders of a move by the {of}")
    assert number > 1_000
