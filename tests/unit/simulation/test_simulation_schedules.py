"""For every schedule the three sinks equal the table; and every fault gets its chance."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import find, given, settings

from dynamodb_streams_cdc.examples.mistakes import MISTAKES
from dynamodb_streams_cdc.testing.simulation import FaultKind, Schedule, Simulation, generate
from dynamodb_streams_cdc.testing.simulation.schedule import UNASKED
from dynamodb_streams_cdc.testing.simulation.shrink import shrink
from dynamodb_streams_cdc.testing.simulation.strategies import schedules
from tests.schedules import long
from tests.schedules import schedules as share_of

SCHEDULES = share_of(2_000)
AT_LEAST = 0.05
TIMESTAMP = next(mistake for mistake in MISTAKES if mistake.name == "timestamp_as_version")


@dataclass
class Runs:
    """The results of the seeds from 0 on."""

    failing: list[int] = field(default_factory=list)
    struck: Counter[FaultKind] = field(default_factory=Counter)
    schedules: set[Schedule] = field(default_factory=set)
    redelivered: int = 0
    dead_letters: int = 0


@pytest.fixture(scope="module")
def runs() -> Runs:
    done = Runs()
    for seed in range(SCHEDULES):
        schedule = generate(seed)
        result = Simulation(schedule).run()
        if result.problems:
            done.failing.append(seed)
        done.struck.update(result.struck.keys())
        done.schedules.add(replace(schedule, seed=None))
        done.redelivered += result.deliveries > 3 * result.writes
        done.dead_letters += result.dead_letters > 0
    return done


def test_for_every_schedule_the_sinks_equal_the_table(
    runs: Runs, record_property: Callable[[str, object], None]
) -> None:
    record_property("schedules", SCHEDULES)
    assert not runs.failing, f"make simulate SEED={runs.failing[0]} replays it"


def test_the_schedules_are_distinct(runs: Runs) -> None:
    assert len(runs.schedules) == SCHEDULES


@pytest.mark.parametrize("kind", UNASKED)
def test_each_fault_occurs_in_a_twentieth_of_the_schedules(runs: Runs, kind: FaultKind) -> None:
    assert runs.struck[kind] >= AT_LEAST * SCHEDULES


def test_what_the_faults_bring_about_is_there(runs: Runs) -> None:
    assert runs.redelivered > SCHEDULES / 4
    assert runs.dead_letters >= AT_LEAST * SCHEDULES


@settings(max_examples=60)
@given(schedules())
def test_in_every_drawn_schedule_the_sinks_equal_the_table(schedule: Schedule) -> None:
    result = Simulation(schedule).run()
    assert not result.problems, Simulation(schedule, timeline=True).run()


def wrong_by_timestamps(schedule: Schedule) -> bool:
    return bool(Simulation(schedule, TIMESTAMP.wrong).run().problems)


def two_changes_of_one_item(schedule: Schedule) -> bool:
    items = {operation.item for operation in schedule.operations}
    return len(schedule.operations) == 2 and len(items) == 1 and not schedule.faults


@long
def test_hypothesis_shrinks_a_failing_schedule() -> None:
    minimal = find(
        schedules(), wrong_by_timestamps, settings=settings(database=None, derandomize=True)
    )
    assert two_changes_of_one_item(minimal)


def test_a_seed_that_fails_is_shrunk_to_what_matters() -> None:
    failing = next(filter(wrong_by_timestamps, map(generate, range(200))))
    shrunk = shrink(failing, wrong_by_timestamps)
    assert two_changes_of_one_item(shrunk)
    assert (shrunk.partitions, shrunk.lanes, shrunk.window) == (1, 1, 0)


@long
def test_a_seed_tells_the_same_story_each_time() -> None:
    first = [str(Simulation(generate(seed), timeline=True).run()) for seed in range(20)]
    random.seed(7)
    again = [str(Simulation(generate(seed), timeline=True).run()) for seed in range(20)]
    assert again == first


def test_a_simulation_leaves_the_random_numbers_of_others_alone() -> None:
    random.seed(1)
    expected = [random.random(), random.random()]
    random.seed(1)
    found = [random.random()]
    Simulation(generate(1)).run()
    assert [*found, random.random()] == expected


def test_a_failure_names_its_seed_or_prints_itself() -> None:
    schedule = generate(2)
    assert str(Simulation(schedule).run()).startswith("seed 2\n")
    drawn = replace(schedule, seed=None)
    assert str(Simulation(drawn).run()).startswith("Schedule(operations=(Operation(at=")
