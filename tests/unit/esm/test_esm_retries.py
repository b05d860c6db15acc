"""Failures: retries and their limit, record age, bisecting."""

from typing import Any

import pytest

from dynamodb_streams_cdc.esm import Engine, Invoke, Policies, ReadShard, exponential_backoff
from tests.unit.esm.driver import (
    BISECT,
    DEAD_LETTERS,
    SHARD,
    START,
    Driver,
    Throttled,
    description,
    drive,
    failing,
    ignore,
    in_turn,
    invoked,
    raising,
    reading,
    record,
    records,
    reporting,
    sequence,
    spans,
)

DAY = 86_400


def counts(run: Driver) -> list[int]:
    return [d["requestContext"]["approximateInvokeCount"] for d in run.documents]


@pytest.mark.parametrize(("retries", "invocations"), [(0, 1), (1, 2), (3, 4)])
def test_rule_36_n_retries_are_n_plus_1_invocations(retries: int, invocations: int) -> None:
    run = drive(description(MaximumRetryAttempts=retries, **DEAD_LETTERS), raising(), records(1))

    assert len(run.batches) == invocations
    assert counts(run) == [invocations]


def test_rule_36_the_attempts_are_numbered() -> None:
    run = drive(description(MaximumRetryAttempts=3), raising(1), records(1))

    assert [invoke.attempt for _, invoke in run.invocations] == [1, 2, 3, 4]


def test_rule_37_partial_progress_resets_the_retry_budget() -> None:
    run = drive(
        reporting(BatchSize=3, MaximumRetryAttempts=3, **DEAD_LETTERS), failing(6), records(6)
    )

    assert run.batches == [[1, 2, 3], [4, 5, 6], [6], [6], [6], [6]]
    assert run.deliveries(6) == 5
    assert [run.deliveries(number) for number in range(1, 6)] == [1] * 5
    (document,) = run.documents
    assert document["requestContext"]["approximateInvokeCount"] == 4
    assert document["DDBStreamBatchInfo"]["batchSize"] == 1
    assert document["responseContext"]["functionError"] is None


def test_rule_37_no_progress_uses_up_the_retries() -> None:
    run = drive(reporting(MaximumRetryAttempts=2, **DEAD_LETTERS), failing(1), records(2))

    assert run.batches == [[1, 2]] * 3
    assert counts(run) == [3]


def test_rule_38_the_remainder_is_given_up_together() -> None:
    run = drive(
        reporting(BatchSize=3, MaximumRetryAttempts=1, **DEAD_LETTERS), failing(2), records(5)
    )

    assert run.batches == [[1, 2, 3], [2, 3], [2, 3], [4, 5]]
    assert spans(run) == [(sequence(2), sequence(3), 2)]
    assert run.saved[-1][1] == sequence(5)


def test_rule_38_the_checkpoint_waits_for_the_destination() -> None:
    engine = Engine(description(MaximumRetryAttempts=0, **DEAD_LETTERS))
    driver = Driver(engine, raising(), {SHARD: records(1)})
    places = []
    original = driver.act

    def act(command: Any) -> None:
        places.append((type(command).__name__, engine.checkpoints.get(SHARD)))
        original(command)

    driver.act = act  # type: ignore[method-assign]
    driver.run()

    assert ("Deliver", None) in places
    assert engine.checkpoints[SHARD] == sequence(1)


def test_rule_39_throttles_are_no_attempts() -> None:
    handler = in_turn(Throttled, RuntimeError, Throttled, Throttled, RuntimeError)
    run = drive(description(MaximumRetryAttempts=1, **DEAD_LETTERS), handler, records(1))

    assert len(run.batches) == 5
    assert counts(run) == [2]
    assert [invoke.attempt for _, invoke in run.invocations] == [1, 1, 2, 2, 2]


def test_rule_39_throttles_end_with_the_record_age() -> None:
    settings = description(MaximumRetryAttempts=0, MaximumRecordAgeInSeconds=60, **DEAD_LETTERS)
    run = drive(settings, in_turn(*[Throttled] * 99), records(1))

    assert run.documents[0]["requestContext"]["condition"] == "RecordAgeExceeded"
    assert counts(run) == [1]


def test_rule_40_partial_failures_obey_the_retry_budget() -> None:
    run = drive(reporting(MaximumRetryAttempts=0, **DEAD_LETTERS), failing(2), records(3))

    assert run.batches == [[1, 2, 3], [2, 3]]
    assert run.documents[0]["requestContext"]["condition"] == "RetryAttemptsExhausted"


def test_rule_41_a_record_age_of_60_seconds_allows_8_attempts() -> None:
    run = drive(description(MaximumRecordAgeInSeconds=60, **DEAD_LETTERS), raising(), records(1))

    assert len(run.batches) == 8
    assert counts(run) == [8]
    times = [time - START for time, _ in run.invocations]
    assert times == [0, 0.25, 0.75, 1.75, 3.75, 7.75, 15.75, 31.75]


def test_rule_41_the_delays_double_up_to_a_minute() -> None:
    delays = [exponential_backoff(n) for n in (1, 2, 3, 8, 9, 10, 10_000)]

    assert delays == [0.25, 0.5, 1, 32, 60, 60, 60]


def test_rule_42_a_failing_batch_blocks_its_shard_and_no_other() -> None:
    driver = Driver(
        Engine(description(BatchSize=1), policies=Policies(poll_seconds=10)),
        raising(1),
        {"blocked": [record(1), record(3)], "free": [record(2), record(4)]},
    ).run(3600)

    assert driver.deliveries(3) == 0
    assert driver.deliveries(1) > 10
    assert (driver.deliveries(2), driver.deliveries(4)) == (1, 1)


def test_rule_42_without_limits_a_shard_is_blocked_for_a_day() -> None:
    engine = Engine(description(BatchSize=1), policies=Policies(poll_seconds=10))
    driver = Driver(engine, raising(1), {SHARD: records(1)}).run(DAY - 60)
    assert driver.now > START + DAY - 180
    driver.shards[SHARD].append(record(2, time=driver.now))
    driver.run(300)

    assert driver.batches[-1] == [2]
    assert driver.invocations[-2][0] <= START + DAY < driver.invocations[-1][0]
    assert (engine.metrics.trimmed, engine.metrics.dropped) == (1, 0)


def test_rule_43_only_the_expired_prefix_is_given_up() -> None:
    source = [record(1, time=START - 61), *(record(n, time=START - 30) for n in range(2, 7))]

    run = drive(description(MaximumRecordAgeInSeconds=60, **DEAD_LETTERS), ignore, source)

    assert run.batches == [[2, 3, 4, 5, 6]]
    assert [d["DDBStreamBatchInfo"]["batchSize"] for d in run.documents] == [1]
    assert run.documents[0]["DDBStreamBatchInfo"]["endSequenceNumber"] == sequence(1)


def test_rule_43_age_is_checked_between_retries() -> None:
    source = [record(1, time=START), record(2, time=START + 40)]

    run = drive(description(MaximumRecordAgeInSeconds=60), raising(1), source, now=START + 40)

    assert run.batches[0] == [1, 2]
    assert run.batches[-1] == [2]
    assert run.invocations[-1][0] > START + 60


def test_rule_45_the_age_is_that_of_the_creation_time() -> None:
    exactly = record(1, time=START - 60)
    older = record(1, time=START - 61)
    settings = description(MaximumRecordAgeInSeconds=60)

    assert drive(settings, ignore, [exactly]).batches == [[1]]
    assert drive(settings, ignore, [older]).batches == []


def test_rule_46_a_failing_batch_is_split_to_one_record() -> None:
    run = drive(
        description(MaximumRetryAttempts=1, **BISECT, **DEAD_LETTERS), raising(3), records(5)
    )

    assert run.batches == [[1, 2, 3, 4, 5], [1, 2, 3], [1, 2], [3], [3], [4, 5]]
    assert counts(run) == [2]
    assert run.documents[0]["DDBStreamBatchInfo"]["batchSize"] == 1


def test_rule_46_splitting_does_not_consume_the_retry_quota() -> None:
    run = drive(description(MaximumRetryAttempts=0, **BISECT), raising(4), records(4))

    assert run.batches == [[1, 2, 3, 4], [1, 2], [3, 4], [3], [4]]


def test_rule_46_the_batch_size_setting_remains() -> None:
    run = drive(description(BatchSize=2, MaximumRetryAttempts=0, **BISECT), raising(1), records(6))

    assert run.batches == [[1, 2], [1], [2], [3, 4], [5, 6]]


def test_rule_47_an_error_bisects_with_reporting_too() -> None:
    run = drive(reporting(MaximumRetryAttempts=0, **BISECT), raising(2), records(2))

    assert run.batches == [[1, 2], [1], [2]]


def test_rule_47_a_partial_failure_splits_at_its_record() -> None:
    run = drive(reporting(MaximumRetryAttempts=0, **BISECT), failing(4), records(5))

    assert run.batches == [[1, 2, 3, 4, 5], [4, 5]]


def test_rule_47_a_rejected_response_does_not_bisect() -> None:
    settings = reporting(MaximumRetryAttempts=1, **BISECT)
    run = drive(settings, lambda event: {"batchItemFailures": [0]}, records(2))

    assert run.batches == [[1, 2], [1, 2]]


def test_rule_48_records_given_up_together_share_a_document() -> None:
    run = drive(
        description(MaximumRetryAttempts=0, **BISECT, **DEAD_LETTERS), raising(2, 3), records(4)
    )

    assert run.batches == [[1, 2, 3, 4], [1, 2], [1], [2], [3, 4], [3], [4]]
    assert [d["DDBStreamBatchInfo"]["batchSize"] for d in run.documents] == [1, 1]


def test_rule_49_halves_run_in_order_the_larger_first() -> None:
    run = drive(description(MaximumRetryAttempts=0, **BISECT), raising(5), records(5))

    assert run.batches == [[1, 2, 3, 4, 5], [1, 2, 3], [4, 5], [4], [5]]


def test_rule_49_the_second_half_waits_for_the_first() -> None:
    run = drive(description(MaximumRetryAttempts=2, **BISECT), raising(1), records(2))

    assert run.batches == [[1, 2], [1], [1], [1], [2]]


def test_policy_backoff() -> None:
    policies = Policies(backoff=lambda failures: 10.0 * failures)
    run = drive(description(MaximumRetryAttempts=2), raising(1), records(1), policies=policies)

    assert [time - START for time, _ in run.invocations] == [0, 10, 30]


def test_rule_39_an_invocation_resets_the_throttle_backoff() -> None:
    handler = in_turn(Throttled, Throttled, RuntimeError, Throttled, None)
    policies = Policies(backoff=lambda n: 100.0 * n, throttle_backoff=lambda n: float(n))
    run = drive(description(), handler, records(1), policies=policies)

    assert [time - START for time, _ in run.invocations] == [0, 1, 3, 103, 104]


def test_policy_throttle_backoff() -> None:
    handler = in_turn(Throttled, Throttled, None)
    policies = Policies(throttle_backoff=lambda refusals: 7.0)
    run = drive(description(), handler, records(1), policies=policies)

    assert [time - START for time, _ in run.invocations] == [0, 7, 14]


@pytest.mark.parametrize(("point", "halves"), [(1, [[1], [2, 3]]), (99, [[1, 2], [3]])])
def test_policy_split_point(point: int, halves: list[list[int]]) -> None:
    handler = in_turn(RuntimeError, None, None)
    run = drive(
        description(**BISECT), handler, records(3), policies=Policies(split_point=lambda n: point)
    )

    assert run.batches == [[1, 2, 3], *halves]


def test_policy_halves_may_keep_the_attempts_of_the_batch() -> None:
    settings = description(MaximumRetryAttempts=1, **BISECT, **DEAD_LETTERS)
    policies = Policies(attempts_after_split="keep")
    run = drive(settings, raising(1), records(4), policies=policies)

    assert run.batches == [[1, 2, 3, 4], [1, 2], [3, 4]]
    assert counts(run) == [2]


def test_policy_a_rejected_response_may_bisect() -> None:
    rejected = {"batchItemFailures": [0]}
    settings, policies = reporting(**BISECT), Policies(bisect_rejected=True)
    run = drive(settings, in_turn(rejected, None, None), records(2), policies=policies)

    assert run.batches == [[1, 2], [1], [2]]


@pytest.mark.parametrize(("top_up", "second"), [(False, [3]), (True, [3, 4, 5])])
def test_policy_the_remainder_may_be_topped_up(top_up: bool, second: list[int]) -> None:
    handler = in_turn(failing(3), failing(), failing())
    run = drive(reporting(BatchSize=3), handler, records(5), policies=Policies(top_up=top_up))

    assert run.batches[1] == second


def test_policy_records_that_the_stream_forgot_may_be_reported() -> None:
    old = [record(1, time=START - DAY - 1), record(2)]
    settings = description(**DEAD_LETTERS)
    silent = drive(settings, ignore, old)
    reported = drive(settings, ignore, old, policies=Policies(retention="destination"))

    assert silent.documents == []
    assert silent.engine.metrics.trimmed == 1
    assert [d["requestContext"]["condition"] for d in reported.documents] == ["RecordAgeExceeded"]
    assert silent.batches == reported.batches == [[2]]


def test_a_record_age_over_a_day_is_inert() -> None:
    old = [record(1, time=START - DAY - 1)]
    run = drive(description(MaximumRecordAgeInSeconds=604_800, **DEAD_LETTERS), ignore, old)

    assert (run.batches, run.documents, run.engine.metrics.trimmed) == ([], [], 1)


def test_a_retry_does_not_wait_for_reads_nor_reads_for_a_retry() -> None:
    engine = reading(records(1))
    engine.failed(invoked(engine).token, START)

    assert {type(c) for c in engine.commands(START + 0.25)} == {ReadShard, Invoke}
