"""Parallelization: concurrent batches per shard, order per item, one checkpoint."""

from itertools import pairwise
from typing import Any

from dynamodb_streams_cdc.esm import Engine, Invoke, Policies, SaveCheckpoint, lane_by_item
from tests.unit.esm.driver import (
    SHARD,
    START,
    Driver,
    description,
    drive,
    ignore,
    numbers,
    raising,
    reading,
    record,
    records,
    sequence,
)


def by_last_digit(keys: Any, lanes: int) -> int:
    """Put item-12 into lane 2: a test can say which lane a record goes to."""
    return int(keys["id"]["S"][-1]) % lanes


def two_lanes(source: list[dict[str, Any]]) -> tuple[Engine, list[Invoke]]:
    """Return an engine with the first batches of both lanes under way."""
    policies = Policies(lane_of=by_last_digit)
    engine = reading(source, policies=policies, ParallelizationFactor=2, BatchSize=2)
    invokes = [c for c in engine.commands(START) if isinstance(c, Invoke)]
    return engine, sorted(invokes, key=lambda invoke: invoke.lane)


def saved(engine: Engine) -> list[str]:
    return [c.place for c in engine.commands(START) if isinstance(c, SaveCheckpoint)]


def test_rule_50_lanes_have_batches_under_way_at_once() -> None:
    _, invokes = two_lanes(records(6))

    assert [(i.lane, numbers(i.event)) for i in invokes] == [(0, [2, 4]), (1, [1, 3])]


def test_rule_50_an_item_keeps_its_order_and_its_lane() -> None:
    source = [record(number, key=f"item-{number % 7}") for number in range(1, 200)]

    run = drive(description(ParallelizationFactor=10, BatchSize=3), ignore, source)

    for item in range(7):
        mine = [n for batch in run.batches for n in batch if n % 7 == item]
        assert all(before < after for before, after in pairwise(mine))
        lanes = {
            invoke.lane
            for _, invoke in run.invocations
            if any(n % 7 == item for n in numbers(invoke.event))
        }
        assert len(lanes) == 1
    assert len({invoke.lane for _, invoke in run.invocations}) > 1


def test_rule_50_the_item_is_partition_and_sort_key() -> None:
    def keys(sort: str) -> dict[str, Any]:
        return {"customer": {"S": "00004"}, "order": {"S": sort}}

    lanes = {lane_by_item(keys(str(n)), 10) for n in range(100)}

    assert lanes == set(range(10))
    assert lane_by_item(keys("1"), 10) == lane_by_item(dict(reversed(keys("1").items())), 10)
    assert lane_by_item({"id": {"S": "item-1"}}, 10) == 7


def test_rule_50_the_checkpoint_is_that_of_the_slowest_lane() -> None:
    engine, (even, odd) = two_lanes(records(6))

    engine.answered(even.token, None, START)
    assert saved(engine) == []
    assert engine.unfinished == 4
    engine.answered(odd.token, None, START)
    assert saved(engine) == [sequence(4)]


def test_rule_50_a_restart_repeats_the_work_of_faster_lanes() -> None:
    source = [record(1), record(2), record(4)]
    engine, (even, _) = two_lanes(source)
    engine.answered(even.token, None, START)
    engine.commands(START)

    run = drive(description(), ignore, source, checkpoints=engine.checkpoints)
    assert run.batches == [[1, 2, 4]]


def test_rule_50_other_lanes_go_on_until_reading_pauses() -> None:
    engine = Engine(
        description(ParallelizationFactor=2, BatchSize=1),
        policies=Policies(lane_of=by_last_digit, read_ahead=5),
    )
    driver = Driver(engine, raising(1), {SHARD: records(2000)}).run(3600)

    assert driver.deliveries(3) == 0
    assert driver.deliveries(2) == driver.deliveries(1000) == 1
    assert driver.deliveries(1002) == 0
    assert driver.saved == []


def test_policy_lane_of() -> None:
    policies = Policies(lane_of=lambda keys, lanes: lanes - 1)
    run = drive(description(ParallelizationFactor=3), ignore, records(6), policies=policies)

    assert run.batches == [[1, 2, 3, 4, 5, 6]]
    assert run.invocations[0][1].lane == 2
