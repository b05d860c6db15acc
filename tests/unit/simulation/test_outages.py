"""A search cluster that is down: nothing else waits, and nothing that expired is lost."""

from dataclasses import replace

import pytest

from dynamodb_streams_cdc.operations.redrive import RedriveStatus
from dynamodb_streams_cdc.testing.simulation import (
    Consumer,
    Fault,
    FaultKind,
    Operation,
    PipelineUnderTest,
    Schedule,
    Simulation,
    VirtualClock,
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
        self.copies: PipelineUnderTest | None = None
        self.simulation = Simulation(outage(hours), self._consumers)
        self.wrong: dict[str, list[str]] = {}
        self.dead_letters_then = 0
        virtual_clock = self.simulation.virtual_clock
        virtual_clock.at(virtual_clock.now() + hours * HOUR, self._inspect)
        self.result = self.simulation.run()

    def _consumers(self, virtual_clock: VirtualClock) -> list[Consumer]:
        self.copies = PipelineUnderTest(virtual_clock)
        return self.copies.consumers()

    def _inspect(self) -> None:
        table = self.simulation.table
        for actor in self.simulation.actors:
            self.wrong[actor.consumer.name] = list(actor.consumer.problems(table))
        assert self.copies is not None
        self.dead_letters_then = len(list(self.copies.dead_letters.dead_letters()))


def test_ten_hours_cost_time_and_nothing_else() -> None:
    observed = Observed(10)
    assert observed.wrong["aggregation"] == []
    assert observed.wrong["audit"] == []
    assert observed.wrong["search"], "there was no outage to speak of"
    assert observed.dead_letters_then == 0
    assert not observed.result.problems
    assert (observed.result.dead_letters, observed.result.redriven) == (0, ())


def test_a_redrive_restores_changes_that_expired_in_30_hours() -> None:
    observed = Observed(30)
    assert observed.wrong["aggregation"] == []
    assert observed.wrong["audit"] == []
    assert observed.result.dead_letters > 0
    statuses = {each.status for each in observed.result.redriven}
    assert statuses == {RedriveStatus.ARCHIVED}
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
