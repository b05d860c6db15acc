"""Redrive dead letters in any order, at any later time, with anything between: copies converge.

Each of the schedules (2,000 in CI) has poison in it; days of waits, further writes, redrives and
purged tombstones follow. In the end all poison is fixed, and every dead letter is redriven.
"""

from collections import Counter
from collections.abc import Callable

import pytest

from dynamodb_streams_cdc import processor
from dynamodb_streams_cdc.applier import SinkApplier
from dynamodb_streams_cdc.operations.redrive import RedriveStatus
from dynamodb_streams_cdc.sinks.aggregation import Aggregation
from dynamodb_streams_cdc.sinks.search import Search
from dynamodb_streams_cdc.testing.simulation import Simulation, generate_dead_letters
from tests.schedules import parts_of, schedules
from tests.unit.simulation.mutants import assert_wrong, seeds
from tests.unit.simulation.test_simulation_mutations import LedgerWithoutRevision

SCHEDULES = schedules(2_000)


@pytest.mark.parametrize("seeds", parts_of(SCHEDULES), ids=str)
def test_every_schedule_ends_consistent_without_dead_letters(
    seeds: range, record_property: Callable[[str, object], None]
) -> None:
    record_property("schedules", len(seeds))
    seen: Counter[str] = Counter()
    for seed in seeds:
        result = Simulation(generate_dead_letters(seed)).run()
        assert not result.problems, f"make simulate DEAD_LETTERS=1 SEED={seed} replays it"
        statuses = {each.status for each in result.redriven}
        seen.update(statuses)
        seen["purged"] += bool(result.purged)
        seen["repaired"] += any(each.repaired for each in result.redriven)
        seen["stale"] += any(each.stale for each in result.redriven)
        seen["by a mapping"] += bool(result.dead_letters)
    assert all(
        seen[what] > 0.2 * len(seeds)
        for what in (RedriveStatus.ARCHIVED, RedriveStatus.KEPT, "stale")
    )
    assert all(seen[what] > 0.05 * len(seeds) for what in ("by a mapping", "purged", "repaired"))
    assert seen[RedriveStatus.SPLIT]
    assert seen[RedriveStatus.WAITING]


def test_without_the_revision_a_concurrent_repair_counts_twice() -> None:
    assert_wrong(generate_dead_letters, seeds(67), ledger=LedgerWithoutRevision)


def test_without_late_repair_a_purged_item_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "LATE_SECONDS", float("inf"))
    assert_wrong(generate_dead_letters, seeds(38))


def test_without_repair_after_replay_a_dead_letter_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SinkApplier, "repair", lambda self, changes: {})
    assert_wrong(generate_dead_letters, seeds(0, 3, 4))


def test_a_repair_that_reads_the_item_first_undoes_a_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for sink in (Aggregation, Search):
        monkeypatch.setattr(sink, "repair", item_first(sink.repair))
    assert_wrong(generate_dead_letters, seeds(248))


def item_first(repair: Callable[..., bool]) -> Callable[..., bool]:
    def wrong(sink: object, item_id: str, read_item: Callable[[], object], *rest: object) -> bool:
        image = read_item()
        return repair(sink, item_id, lambda: image, *rest)

    return wrong
