"""The simulation catches eight mistakes within 200 schedules, and lets their correct twins pass."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from dynamodb_streams_cdc.examples.mistakes import MISTAKES, Mistake, ports
from dynamodb_streams_cdc.examples.mistakes.ports import MOST_OFTEN
from dynamodb_streams_cdc.testing.simulation import Simulation, generate
from tests.schedules import schedules

SCHEDULES = 200
PASSED = schedules(SCHEDULES)

EVERY_MISTAKE = pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)

HARMLESS_WITHOUT_FAULTS = {
    "delete_without_tombstone",
    "marker_before_effect",
    "new_minus_old",
    "swallowed_exception",
}


@EVERY_MISTAKE
def test_the_mistake_is_caught(mistake: Mistake) -> None:
    seeds = range(SCHEDULES)
    assert any(Simulation(generate(seed), mistake.wrong).run().problems for seed in seeds)


@EVERY_MISTAKE
def test_the_correct_twin_passes(
    mistake: Mistake,
    record_property: Callable[[str, object], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Even where an effect may be repeated a third as often."""
    record_property("schedules", PASSED)
    monkeypatch.setattr(ports, "MOST_OFTEN", MOST_OFTEN // 3)
    failing = {
        seed: problems
        for seed in range(PASSED)
        if (problems := Simulation(generate(seed), mistake.right).run().problems)
    }
    assert failing == {}


@EVERY_MISTAKE
def test_four_of_them_show_only_when_something_goes_wrong(mistake: Mistake) -> None:
    fair = [replace(generate(seed), faults=()) for seed in range(SCHEDULES // 4)]
    fails = any(Simulation(schedule, mistake.wrong).run().problems for schedule in fair)
    assert fails is (mistake.name not in HARMLESS_WITHOUT_FAULTS)


@pytest.mark.parametrize("name", ["event_id_as_identifier", "continuing_past_a_failure"])
def test_a_wrong_response_repeats_effects_most_often(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mistake = next(mistake for mistake in MISTAKES if mistake.name == name)
    monkeypatch.setattr(ports, "MOST_OFTEN", MOST_OFTEN * 3)
    wrong = (Simulation(generate(seed), mistake.wrong) for seed in range(SCHEDULES // 2))
    problems = (problem for simulation in wrong for problem in simulation.run().problems)
    assert any("was ordered" in problem for problem in problems)
