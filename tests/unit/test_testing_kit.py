"""The testing kit: what a user's test can do, see, and get wrong."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest

from dynamodb_streams_cdc import RetryableError
from dynamodb_streams_cdc.esm import ConfigurationError, Policies, Result
from dynamodb_streams_cdc.testing import Lab, LabFactory, ProcessKilled, UnusedFault
from tests.unit.labs import REPORTING, deliver, fail, given_up, items, keys, succeed

pytest_plugins = ["dynamodb_streams_cdc.testing.fixtures", "pytester"]


class Rows:
    """A port: what was written, in order."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def write(self, key: str) -> None:
        self.written.append(key)

    def count(self) -> int:
        return len(self.written)


def returning(answer: object) -> Callable[[Any, Any], Any]:
    return lambda event, context: answer


def writing_to(rows: Rows) -> Callable[[Any, Any], None]:
    def handler(event: Any, context: Any) -> None:
        for key in keys(event):
            rows.write(key)

    return handler


# What is delivered


def test_writes_become_records_and_records_become_deliveries(stream_lab: LabFactory) -> None:
    lab = stream_lab(succeed)
    lab.put({"id": "1", "total": Decimal("1.50")})
    lab.put({"id": "1", "total": Decimal("1.5")})
    lab.put({"id": "1", "total": Decimal(2)})
    lab.expire({"id": "1"})
    lab.delete({"id": "1"})
    lab.run()
    [delivery] = lab.deliveries
    assert delivery.changes == ["INSERT 1", "MODIFY 1", "REMOVE 1"]
    assert delivery.records[1]["dynamodb"]["OldImage"]["total"] == {"N": "1.5"}
    assert delivery.records[2]["userIdentity"]["type"] == "Service"
    assert (delivery.attempt, delivery.result, delivery.error) == (1, Result.SUCCESS, None)


def test_keys_and_the_view_type_are_the_tables(stream_lab: LabFactory) -> None:
    lab = stream_lab(succeed, keys=("customer_id", "order_id"), view_type="KEYS_ONLY")
    lab.put({"customer_id": "4", "order_id": Decimal(7), "total": 1})
    lab.run()
    [[record]] = [delivery.records for delivery in lab.deliveries]
    assert lab.delivered == [["INSERT 4/7"]]
    assert record["dynamodb"]["Keys"] == {"customer_id": {"S": "4"}, "order_id": {"N": "7"}}
    assert "NewImage" not in record["dynamodb"]


def test_an_item_may_be_changed_after_it_was_put(stream_lab: LabFactory) -> None:
    lab = stream_lab(succeed)
    item: dict[str, Any] = {"id": "1", "lines": []}
    lab.put(item)
    item["lines"].append("one")
    lab.put(item)
    lab.run()
    assert lab.delivered == [["INSERT 1", "MODIFY 1"]]


def test_a_function_may_do_with_its_event_what_it_likes(stream_lab: LabFactory) -> None:
    def vandal(event: dict[str, Any], context: Any) -> None:
        event["Records"][0]["dynamodb"].clear()
        if lab.deliveries[-1].attempt == 1:
            message = "once more"
            raise ValueError(message)

    lab = stream_lab(vandal)
    deliver(lab, "1")
    assert lab.delivered == [["INSERT 1"]] * 2


def test_a_lost_checkpoint_brings_nothing_from_before_latest(stream_lab: LabFactory) -> None:
    lab = stream_lab(succeed, StartingPosition="LATEST")
    deliver(lab, "0")
    lab.lose_checkpoint()
    lab.run()
    assert lab.delivered == []
    deliver(lab, "1")
    assert lab.delivered == [["INSERT 1"]]


def test_latest_keeps_its_place_without_a_checkpoint(stream_lab: LabFactory) -> None:
    lab = stream_lab(succeed, StartingPosition="LATEST")
    lab.run()
    lab.disable()
    lab.put({"id": "1"})
    lab.wait(1)
    lab.enable()
    lab.run()
    assert lab.delivered == [["INSERT 1"]]
    assert lab.lost == []


def test_a_tumbling_window_carries_its_state(stream_lab: LabFactory) -> None:
    def count(event: Any, context: Any) -> Any:
        so_far = event["state"].get("count", 0) + len(event["Records"])
        if event["isFinalInvokeForWindow"]:
            totals.append(so_far)
        return {"state": {"count": so_far}}

    totals: list[int] = []
    lab = stream_lab(count, TumblingWindowInSeconds=60, BatchSize=1)
    lab.put(*items(3))
    lab.wait(70)
    assert totals == [3]
    lab.put({"id": "4"}, {"id": "5"})
    lab.run()
    assert totals == [3, 2]
    assert lab.deliveries[-1].at >= lab.deliveries[0].at + 120
    assert lab.metrics["InvokedEventCount"] == 5
    assert "no records, the window is over" in str(lab.timeline)


# Retries and dead letters


def test_a_failing_batch_has_the_attempts_of_its_mapping(stream_lab: LabFactory) -> None:
    lab = stream_lab(fail, MaximumRetryAttempts=2)
    deliver(lab, "1", "2")
    assert [delivery.attempt for delivery in lab.deliveries] == [1, 2, 3]
    [dead_letter] = lab.dead_letters
    assert (dead_letter.changes, dead_letter.attempts) == (["INSERT 1", "INSERT 2"], 3)
    assert dead_letter.document["payload"].startswith('{"Records": [{"eventID"')
    assert dead_letter.key is not None
    assert lab.metrics["OnFailureDestinationDeliveredEventCount"] == 2


# Faults


def test_a_throttle_counts_no_attempt(stream_lab: LabFactory) -> None:
    lab = stream_lab(succeed, MaximumRetryAttempts=0)
    lab.throttle(3)
    deliver(lab, "1")
    assert [delivery.attempt for delivery in lab.deliveries] == [1]
    assert str(lab.timeline).count("throttled") == 3


def test_a_batch_may_be_delivered_again_although_it_was_done(stream_lab: LabFactory) -> None:
    lab = stream_lab(succeed)
    lab.redeliver(2)
    deliver(lab, "1")
    assert [delivery.result for delivery in lab.deliveries] == [None, None, Result.SUCCESS]


@pytest.mark.parametrize(
    ("arm", "written"),
    [
        (lambda lab: lab.crash_before("write"), ["1", "2"]),
        (lambda lab: lab.crash_after("write"), ["1", "1", "2"]),
        (lambda lab: lab.time_out("write"), ["1", "1", "2"]),
        (lambda lab: lab.lose_answer("write"), ["1", "1", "2"]),
    ],
    ids=["crash before", "crash after", "timeout", "answer lost"],
)
def test_faults_of_a_call_strike_in_the_method_that_was_named(
    stream_lab: LabFactory, arm: Callable[[Lab], None], written: list[str]
) -> None:
    lab = stream_lab()
    rows = Rows()
    port = lab.faulty(rows)

    @lab.function
    def handler(event: Any, context: Any) -> None:
        port.count()
        writing_to(port)(event, context)

    arm(lab)
    deliver(lab, "1", "2")
    assert rows.written == written
    assert len(lab.deliveries) == 2
    assert lab.deliveries[0].error is not None


def test_nothing_in_a_function_survives_a_crash(stream_lab: LabFactory) -> None:
    lab = stream_lab()
    port = lab.faulty(Rows())
    caught: list[Exception] = []

    @lab.function
    def handler(event: Any, context: Any) -> None:
        try:
            port.write("1")
        except Exception as error:
            caught.append(error)

    lab.crash_before()
    deliver(lab, "1")
    assert caught == []
    assert isinstance(lab.deliveries[0].error, ProcessKilled)


def test_a_sink_may_fail_and_be_slow_for_some_time(stream_lab: LabFactory) -> None:
    lab = stream_lab(timeout=3.0)
    rows = Rows()
    lab.function(writing_to(lab.faulty(rows)))
    began = lab.clock.now()
    lab.fail_sink(seconds=30)
    deliver(lab, "1")
    assert all(isinstance(d.error, RetryableError) for d in lab.deliveries[:-1])
    assert lab.deliveries[-1].at >= began + 30
    done = len(lab.deliveries)
    lab.slow_sink(seconds=60, per_call=4)
    deliver(lab, "2")
    assert isinstance(lab.deliveries[done].error, ProcessKilled)
    assert rows.written == ["1", "2"]


def test_a_lost_checkpoint_repeats_the_last_batch(stream_lab: LabFactory) -> None:
    lab = stream_lab(succeed)
    for item in items(2):
        lab.put(item)
        lab.wait(1)
    lab.lose_checkpoint()
    lab.run()
    assert lab.delivered == [["INSERT 1"], ["INSERT 2"], ["INSERT 2"]]
    assert len(lab.checkpoints) == 1


def test_an_old_batch_may_come_back_out_of_turn(stream_lab: LabFactory) -> None:
    lab = stream_lab(succeed)
    deliver(lab, "1")
    lab.delete({"id": "1"})
    lab.run()
    lab.deliver_again(lab.deliveries[0])
    assert lab.delivered == [["INSERT 1"], ["REMOVE 1"], ["INSERT 1"]]


def test_shards_change_and_every_record_is_delivered(stream_lab: LabFactory) -> None:
    lab = stream_lab(succeed)
    for number, change in enumerate([lab.split_shards, lab.rotate_shards, lab.replace_stream] * 2):
        lab.put({"id": str(number)})
        change()
    deliver(lab, "6")
    found = sorted(change for changes in lab.delivered for change in changes)
    assert found == [f"INSERT {number}" for number in range(7)]


# What can be got wrong


@pytest.mark.parametrize(
    ("answer", "result", "error"),
    [
        ("done", Result.REJECTED, None),
        ({"batchItemFailures": {"itemIdentifier": "1"}}, Result.REJECTED, None),
        ({"batchItemFailures": [{"id": "1"}]}, Result.REJECTED, None),
        ("x" * 7 * 1024 * 1024, Result.ERROR, "Unhandled"),
        ({"when": object()}, Result.ERROR, "Unhandled"),
    ],
)
def test_an_answer_that_lambda_cannot_use_fails_the_batch(
    stream_lab: LabFactory, answer: object, result: Result, error: str | None
) -> None:
    """Every form of an answer is in `esm/test_esm_responses.py`."""
    lab = stream_lab(returning(answer), MaximumRetryAttempts=1, **REPORTING)
    deliver(lab, "1", "2")
    assert [delivery.result for delivery in lab.deliveries] == [result] * 2
    assert given_up(lab) == [["INSERT 1", "INSERT 2"]]
    assert lab.dead_letters[0].document["responseContext"]["functionError"] == error


def test_what_aws_leaves_open_is_a_policy(stream_lab: LabFactory) -> None:
    lab = stream_lab(
        returning("done"), policies=Policies(unreadable_response="success"), **REPORTING
    )
    deliver(lab, "1")
    assert [delivery.result for delivery in lab.deliveries] == [Result.SUCCESS]


@pytest.mark.parametrize(
    ("settings", "error", "problem"),
    [
        ({"BatchSize": 0}, ConfigurationError, "BatchSize is 0"),
        ({"StartingPosition": "AT_TIMESTAMP"}, ConfigurationError, "TRIM_HORIZON or LATEST"),
        (
            {"DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:0:q.fifo"}}},
            ConfigurationError,
            "standard SQS queue",
        ),
        ({"BatchSze": 3}, TypeError, "no setting BatchSze; there are BatchSize, "),
        ({"view_type": "NEW_IMAGES"}, ValueError, "NEW_IMAGES"),
        ({"timeout": 0}, ValueError, "above 0 and up to 900 seconds, got 0"),
        ({"timeout": 901}, ValueError, "above 0 and up to 900 seconds, got 901"),
        ({"partitions": 0}, ValueError, "partitions must be 1 or more"),
    ],
)
def test_a_wrong_setting_is_refused(
    settings: Mapping[str, Any], error: type[Exception], problem: str
) -> None:
    """Every range that AWS has is in `esm/test_esm_configuration.py`."""
    with pytest.raises(error, match=problem):
        Lab(succeed, **settings)


def test_a_lab_without_a_function_says_so(stream_lab: LabFactory) -> None:
    lab = stream_lab(MaximumRetryAttempts=0)
    lab.put({"id": "1"})
    with pytest.raises(TypeError, match=r"lab\.function\(handler\)"):
        lab.run()


def test_a_fault_that_had_no_chance_fails_the_test(stream_lab: LabFactory) -> None:
    lab = stream_lab(succeed)
    lab.crash_before("write")
    lab.put({"id": "1"})
    with pytest.raises(UnusedFault, match=r"crash before the effect in write.*lab\.faulty\(port\)"):
        lab.run()


def test_a_sink_that_fails_for_no_call_fails_the_test(stream_lab: LabFactory) -> None:
    lab = stream_lab(succeed)
    lab.fail_sink(seconds=60)
    lab.slow_sink(seconds=60, per_call=5)
    lab.put({"id": "1"})
    with pytest.raises(UnusedFault, match=r"never struck: failing sink, slow sink\."):
        lab.run()
    lab.run()


def test_a_float_is_refused_as_dynamodb_refuses_it(stream_lab: LabFactory) -> None:
    with pytest.raises(ValueError, match="use Decimal"):
        stream_lab(succeed).put({"id": "1", "total": 1.5})


def test_a_test_that_fails_prints_what_happened(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        pytest_plugins = ["dynamodb_streams_cdc.testing.fixtures"]

        def test_it(stream_lab):
            lab = stream_lab(lambda event, context: None)
            lab.put({"id": "1"})
            lab.run()
            other = stream_lab()
            other.put({"id": "2"})
            assert lab.dead_letters
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["00:00:00.000  function     invoked: INSERT 1 (*"])
    result.stdout.fnmatch_lines(["*answered: success", "", "*put id: 2"], consecutive=True)
