"""A search cluster that is down: nothing else waits, and nothing that expired is lost."""

from dataclasses import replace

import pytest

from dynamodb_streams_cdc.operations.redrive import Fate
from dynamodb_streams_cdc.testing.simulation import (
    Consumer,
    Copies,
    Fault,
    FaultKind,
    Operation,
    Schedule,
    Simulation,
    World,
    Write,
)

HOUR = 3600.0
SEARCH = 2
"""Search is the third processor of the pipeline."""


def every_ten_minutes(hours: float) -> tuple[Operation, ...]:
    """Return three writes to one item after the other; every fifth write is a delete."""
    writes = [Write.PUT, Write.PUT, Write.PUT, Write.PUT, Write.DELETE]
    moments = range(0, int(hours * HOUR), 600)
    return tuple(
        Operation(at, writes[number % 5], number // 3, amount=number + 1)
        for number, at in enumerate(moments)
    )


def outage(hours: float) -> Schedule:
    down = Fault(60.0, FaultKind.OUTAGE, SEARCH, hours * HOUR)
    return Schedule(every_ten_minutes(hours + 1), (down,), lanes=2, seed=1)


class Observed:
    """The pipeline's copies, looked at just before the outage ends."""

    def __init__(self, hours: float) -> None:
        self.copies: Copies | None = None
        self.simulation = Simulation(outage(hours), self._consumers)
        self.wrong: dict[str, list[str]] = {}
        self.letters_then = 0
        world = self.simulation.world
        world.at(world.now() + hours * HOUR, self._look)
        self.result = self.simulation.run()

    def _consumers(self, world: World) -> list[Consumer]:
        self.copies = Copies(world)
        return self.copies.consumers()

    def _look(self) -> None:
        table = self.simulation.table
        for actor in self.simulation.actors:
            self.wrong[actor.consumer.name] = list(actor.consumer.problems(table))
        assert self.copies is not None
        self.letters_then = len(list(self.copies.letters.letters()))


def test_ten_hours_cost_time_and_nothing_else() -> None:
    observed = Observed(10)
    assert observed.wrong["aggregation"] == []
    assert observed.wrong["audit"] == []
    assert observed.wrong["search"], "there was no outage to speak of"
    assert observed.letters_then == 0
    assert not observed.result.problems
    assert (observed.result.letters, observed.result.redriven) == (0, ())


def test_what_thirty_hours_let_expire_is_in_the_bucket_and_a_redrive_makes_it_equal() -> None:
    observed = Observed(30)
    assert observed.wrong["aggregation"] == []
    assert observed.wrong["audit"] == []
    assert observed.result.letters > 0
    fates = {each.fate for each in observed.result.redriven}
    assert fates == {Fate.ARCHIVED}
    assert sum(each.repaired for each in observed.result.redriven) + sum(
        each.applied for each in observed.result.redriven
    ), "the redrive had nothing to do"
    assert not observed.result.problems


def test_without_the_redrive_thirty_hours_leave_search_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Simulation, "_redrive_all", lambda self: None)
    assert not Simulation(replace(outage(10), faults=())).run().problems
    assert not Observed(10).result.problems
    problems = Observed(30).result.problems
    assert problems
    assert all(problem.startswith("search") for problem in problems)
