"""Items from before the stream, and backfills, repairs and redrives next to live changes."""

from collections.abc import Callable
from typing import Any

import pytest

from dynamodb_streams_cdc.control import backfill
from dynamodb_streams_cdc.testing.simulation import FaultKind, Simulation
from dynamodb_streams_cdc.testing.simulation.operator import SimulatedSourceTable
from dynamodb_streams_cdc.testing.simulation.schedule import generate_operations
from tests.schedules import parts_of, schedules
from tests.unit.simulation.mutants import assert_wrong

SCHEDULES = schedules(2_000)
MUTANTS_SCHEDULES = 400


@pytest.mark.parametrize("seeds", parts_of(SCHEDULES), ids=str)
def test_the_copies_equal_the_table_after_every_schedule(
    seeds: range, record_property: Callable[[str, object], None]
) -> None:
    record_property("schedules", len(seeds))
    filled = 0
    for seed in seeds:
        result = Simulation(generate_operations(seed)).run()
        assert not result.problems, result
        filled += FaultKind.BACKFILL in result.struck
    assert filled > len(seeds) / 2


def above_all_changes(epoch: str, label: str) -> str:
    return f"{epoch}/{label}/{'9' * 40}"


def test_a_backfill_above_the_floor_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "floor_of", above_all_changes)
    assert_wrong(generate_operations, range(MUTANTS_SCHEDULES))


def test_a_backfill_with_eventually_consistent_reads_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scan = SimulatedSourceTable.scan

    def eventual(*arguments: Any, consistent: bool) -> Any:
        return scan(*arguments, consistent=False)

    monkeypatch.setattr(SimulatedSourceTable, "scan", eventual)
    assert_wrong(generate_operations, range(MUTANTS_SCHEDULES))


def test_without_a_backfill_older_items_are_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Simulation, "_backfill", lambda *_: True)
    assert_wrong(generate_operations, range(10))
