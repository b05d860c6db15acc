"""Tumbling windows: state between invocations, and the invocation that ends a window."""

from typing import Any

import pytest

from dynamodb_streams_cdc.esm import SHARD_END, ConfigurationError, Engine, Policies
from dynamodb_streams_cdc.esm.batch import LARGEST_PAYLOAD
from dynamodb_streams_cdc.esm.poller.invocation import payload_of
from tests.unit.esm.driver import (
    DEAD_LETTERS,
    SHARD,
    START,
    STREAM,
    Driver,
    description,
    ignore,
    in_turn,
    numbers,
    record,
    records,
    report,
    reporting,
    sequence,
)

MINUTE = 1_732_549_620.0
"""The beginning of START's minute: 15:47:00Z."""


def count(event: dict[str, Any]) -> dict[str, Any]:
    """Count the records of a window."""
    return {"state": {"count": event["state"].get("count", 0) + len(event["Records"])}}


def windowed(
    source: list[dict[str, Any]],
    handler: Any = count,
    *,
    policies: Policies | None = None,
    now: float = START,
    seconds: float = 600,
    closed: bool = False,
    **settings: Any,
) -> Driver:
    engine = Engine(
        description(**{"TumblingWindowInSeconds": 60, "BatchSize": 2, **settings}),
        policies=policies,
    )
    driver = Driver(engine, handler, {SHARD: source}, now, closed={SHARD} if closed else set())
    return driver.run(seconds)


def told(run: Driver) -> list[tuple[list[int], Any, bool]]:
    return [
        (numbers(i.event), i.event["state"], i.event["isFinalInvokeForWindow"])
        for _, i in run.invocations
    ]


def test_rule_19_the_state_is_in_the_6_mb_of_the_event() -> None:
    """Lambda refuses a larger event as often as it comes: the shard would not move for a day."""
    large = {"text": {"S": "x" * 2_900_000}}
    state = {"state": "x" * 900_000}
    source = [record(number, image=large) for number in range(3, 5)]
    assert windowed(source, lambda event: state).batches[:1] == [[3, 4]]
    run = windowed([*records(2), *source], lambda event: state)
    assert run.batches[:3] == [[1, 2], [3], [4]]


@pytest.mark.parametrize(
    ("raises", "refused", "batches"),
    [
        (False, 3, [[1, 2, 3, 4], [3], [3], [4], []]),
        (True, 0, [[1, 2, 3, 4], [1, 2], [3], [4], []]),
        (True, 2, [[1, 2, 3, 4], [1, 2], [2], [2], [3], [4], []]),
    ],
    ids=["retried", "the other half", "the other half after a record that is given up"],
)
def test_rule_19_a_state_that_grew_parts_the_next_batch(
    raises: bool, refused: int, batches: list[list[int]]
) -> None:
    """What a retry or the other half of a batch carries was chosen before the state grew."""
    large = {"text": {"S": "x" * 2_900_000}}
    source = [*records(2), *(record(number, image=large) for number in (3, 4))]

    def handler(event: dict[str, Any]) -> dict[str, Any]:
        assert len(payload_of(event)) <= LARGEST_PAYLOAD
        if raises and len(event["Records"]) == 4:
            raise RuntimeError
        state = {"state": "x" * 900_000}
        return state | report(*(number for number in numbers(event) if number == refused))

    run = windowed(
        source,
        handler,
        BatchSize=4,
        MaximumRetryAttempts=1,
        BisectBatchOnFunctionError=True,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
    assert run.batches == batches


def test_rule_51_the_event_carries_window_and_state() -> None:
    run = windowed([record(1)])

    assert {k: v for k, v in run.invocations[0][1].event.items() if k != "Records"} == {
        "window": {"start": "2024-11-25T15:47:00Z", "end": "2024-11-25T15:48:00Z"},
        "state": {},
        "shardId": SHARD,
        "eventSourceARN": STREAM,
        "isFinalInvokeForWindow": False,
        "isWindowTerminatedEarly": False,
    }


def test_rule_51_the_state_goes_from_one_invocation_to_the_next() -> None:
    run = windowed(records(3))

    assert told(run) == [([1, 2], {}, False), ([3], {"count": 2}, False), ([], {"count": 3}, True)]


def test_rule_51_without_a_window_an_event_has_records_only() -> None:
    driver = Driver(Engine(description()), ignore, {SHARD: [record(1)]}).run()

    assert driver.invocations[0][1].event.keys() == {"Records"}


def test_rule_51_a_partial_failure_keeps_its_state() -> None:
    engine = Engine(reporting(TumblingWindowInSeconds=60))
    handler = in_turn({"state": 1} | report(2), {"state": 2}, {"state": 3})
    driver = Driver(engine, handler, {SHARD: records(2)}).run()

    assert told(driver) == [([1, 2], {}, False), ([2], 1, False), ([], 2, True)]


def test_rule_52_a_record_of_the_next_window_ends_this_one() -> None:
    source = [record(1), record(2, time=MINUTE + 60), record(3, time=MINUTE + 61)]

    run = windowed(source, now=MINUTE + 62)

    assert told(run)[:4] == [
        ([1], {}, False),
        ([], {"count": 1}, True),
        ([2, 3], {}, False),
        ([], {"count": 2}, True),
    ]
    assert [time - MINUTE for time, _ in run.invocations][:3] == [62, 62, 62]


def test_rule_52_a_record_of_the_next_window_closes_the_batch() -> None:
    settings = {"MaximumBatchingWindowInSeconds": 300, "TumblingWindowInSeconds": 60}
    source = [record(1), record(2), record(3, time=MINUTE + 60)]
    driver = Driver(Engine(description(**settings)), count, {SHARD: source}, MINUTE + 61).run(1)

    assert told(driver) == [([1, 2], {}, False), ([], {"count": 2}, True)]
    driver.run(300)
    assert told(driver)[2:3] == [([3], {}, False)]


def test_rule_52_the_clock_ends_a_fully_read_window() -> None:
    run = windowed([record(1)])

    assert [time - MINUTE for time, _ in run.invocations] == [40, 60]


def test_rule_52_the_end_of_the_shard_ends_the_window() -> None:
    engine = Engine(description(TumblingWindowInSeconds=900))
    driver = Driver(
        engine,
        count,
        {"parent": [record(1)], "child": [record(2)]},
        closed={"parent"},
        parents={"child": "parent"},
    ).run(10)

    assert told(driver) == [([1], {}, False), ([], {"count": 1}, True), ([2], {}, False)]
    assert engine.checkpoints["parent"] == SHARD_END


def test_rule_52_a_state_over_1_mb_ends_the_window_early() -> None:
    bloated = {"state": "x" * (1024 * 1024 - 1)}
    run = windowed(records(3), lambda event: bloated, seconds=1)
    early = [i.event["isWindowTerminatedEarly"] for _, i in run.invocations]

    assert [batch for batch, _, _ in told(run)] == [[1, 2], [], [3], []]
    assert [final for _, _, final in told(run)] == [False, True, False, True]
    assert early == [False, True, False, True]
    assert told(run)[2][1] == {}


def test_rule_52_a_remainder_precedes_the_early_end() -> None:
    large = "x" * (1024 * 1024)
    engine = Engine(reporting(TumblingWindowInSeconds=60))
    handler = in_turn({"state": large} | report(2), {"state": large}, {"state": 0})
    driver = Driver(engine, handler, {SHARD: records(2)}).run(1)
    early = [i.event["isWindowTerminatedEarly"] for _, i in driver.invocations]

    assert early == [False, False, True]


def test_rule_52_a_state_of_1_mb_does_not() -> None:
    run = windowed([record(1)], lambda event: {"state": "x" * (1024 * 1024 - 2)}, seconds=1)

    assert len(run.invocations) == 1


def test_rule_52_a_failing_final_invocation_suspends_the_shard() -> None:
    def fails_at_the_end(event: dict[str, Any]) -> dict[str, Any]:
        if event["isFinalInvokeForWindow"]:
            raise RuntimeError
        return count(event)

    source = [record(1), record(2, time=MINUTE + 60)]
    settings = {"MaximumRetryAttempts": 1} | DEAD_LETTERS
    run = windowed(source, fails_at_the_end, now=MINUTE + 70, **settings)

    assert run.deliveries(2) == 0
    assert run.documents == []
    assert [invoke.attempt for _, invoke in run.invocations][1:] == list(range(1, 18))
    assert run.saved == []


def test_rule_52_retries_and_record_age_apply() -> None:
    def handler(event: dict[str, Any]) -> Any:
        return {} if 1 in numbers(event) else {"state": {"seen": numbers(event)}}

    run = windowed(records(3), handler, MaximumRetryAttempts=1)

    assert told(run) == [
        ([1, 2], {}, False),
        ([1, 2], {}, False),
        ([3], {}, False),
        ([], {"seen": [3]}, True),
    ]


def test_rule_52_a_restart_begins_the_window_again() -> None:
    run = windowed(records(3), seconds=5)

    assert told(run) == [([1, 2], {}, False), ([3], {"count": 2}, False)]
    assert run.saved == []
    run.run()
    assert run.saved == [(SHARD, sequence(3))]


def test_rule_53_windows_are_aligned_to_1970() -> None:
    engine = Engine(description(TumblingWindowInSeconds=7))
    driver = Driver(engine, count, {SHARD: [record(1)]}).run(0)
    start = int(START) // 7 * 7

    assert start % 7 == 0
    assert driver.invocations[0][1].event["window"]["start"] == f"2024-11-25T15:47:{start % 60}Z"


def test_rule_53_a_window_takes_one_lane() -> None:
    with pytest.raises(ConfigurationError, match="with a tumbling window only 1 is supported"):
        Engine(description(TumblingWindowInSeconds=60, ParallelizationFactor=2))


def test_policy_the_final_invocation_may_carry_the_last_records() -> None:
    run = windowed(records(3), policies=Policies(final_window_records=lambda last: last))

    assert [(r, final) for r, _, final in told(run)] == [([1, 2], False), ([3], False), ([3], True)]


def test_policy_windows_may_begin_elsewhere() -> None:
    shifted = Policies(window_start=lambda time, seconds: int(time) // seconds * seconds + 30)
    run = windowed([record(1)], policies=shifted)

    assert run.invocations[0][1].event["window"] == {
        "start": "2024-11-25T15:47:30Z",
        "end": "2024-11-25T15:48:30Z",
    }
