"""What is left of records that were given up: the documents, field by field."""

import json
from typing import Any

import pytest

from dynamodb_streams_cdc.esm import DestinationKind, Engine, Policies, object_key
from tests.unit.esm.driver import (
    BISECT,
    BUCKET,
    DEAD_LETTERS,
    FUNCTION,
    QUEUE,
    SHARD,
    START,
    STREAM,
    TOPIC,
    Driver,
    description,
    drive,
    failing,
    ignore,
    numbers,
    on_failure,
    raising,
    record,
    records,
    reporting,
    sequence,
    spans,
)

REQUEST = "00000000-0000-4000-8000-000000000001"
ARRIVALS = ("approximateArrivalOfFirstRecord", "approximateArrivalOfLastRecord")


def exhausted(destination: str, *, error: str | None = "Unhandled") -> dict[str, Any]:
    """Return the document of one record that was invoked twice."""
    return {
        "requestContext": {
            "requestId": REQUEST,
            "functionArn": FUNCTION,
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": 2,
        },
        "responseContext": {
            "statusCode": 200,
            "executedVersion": "$LATEST",
            "functionError": error,
        },
        "version": "1.0",
        "timestamp": "2024-11-25T15:47:40.250Z",
        "DDBStreamBatchInfo": {
            "shardId": SHARD,
            "startSequenceNumber": sequence(1),
            "endSequenceNumber": sequence(1),
            "approximateArrivalOfFirstRecord": "2024-11-25T15:47:40Z",
            "approximateArrivalOfLastRecord": "2024-11-25T15:47:40Z",
            "batchSize": 1,
            "streamArn": STREAM,
        },
    }


@pytest.mark.parametrize("destination", [QUEUE, TOPIC])
def test_rule_54_a_queue_or_topic_gets_positions_only(destination: str) -> None:
    settings = description(BatchSize=1, MaximumRetryAttempts=1, **on_failure(destination))
    run = drive(settings, raising(), records(1))
    (dead_letter,) = run.dead_letters

    assert dead_letter.document == exhausted(destination)
    assert list(dead_letter.document) == list(exhausted(destination))
    assert dead_letter.key is None
    assert dead_letter.destination.arn == destination
    assert dead_letter.records == (record(1),)


def test_rule_54_function_error_is_null_after_a_bad_response() -> None:
    settings = reporting(MaximumRetryAttempts=1, **DEAD_LETTERS)
    partial = drive(settings, failing(1), records(1))
    unusable = drive(settings, lambda event: {"batchItemFailures": [0]}, records(1))

    assert partial.documents == [exhausted(QUEUE, error=None)]
    assert unusable.documents == [exhausted(QUEUE, error=None)]


def test_rule_54_the_document_names_the_range_of_its_records() -> None:
    source = [record(1, time=START - 20), record(2, time=START - 10)]
    run = drive(description(MaximumRetryAttempts=0, **DEAD_LETTERS), raising(), source)

    info = run.documents[0]["DDBStreamBatchInfo"]
    assert spans(run) == [(sequence(1), sequence(2), 2)]
    assert [info[name] for name in ARRIVALS] == ["2024-11-25T15:47:20Z", "2024-11-25T15:47:30Z"]
    assert info.keys() == exhausted(QUEUE)["DDBStreamBatchInfo"].keys()
    assert (info["shardId"], info["streamArn"]) == (SHARD, STREAM)


def test_rule_54_the_request_is_the_last_invocation() -> None:
    engine = Engine(description(MaximumRetryAttempts=0, **DEAD_LETTERS))
    driver = Driver(engine, ignore, {SHARD: records(1)})
    driver.invoke = lambda command: engine.failed(  # type: ignore[method-assign,assignment]
        command.token, START, request_id="req-7", executed_version="3", error="Handled"
    )
    driver.run()

    assert driver.documents[0]["requestContext"]["requestId"] == "req-7"
    assert driver.documents[0]["responseContext"] == {
        "statusCode": 200,
        "executedVersion": "3",
        "functionError": "Handled",
    }


def test_rule_44_a_record_age_document_has_no_response() -> None:
    settings = description(MaximumRecordAgeInSeconds=60, **DEAD_LETTERS)
    run = drive(settings, ignore, [record(1, time=START - 61)])
    expected = exhausted(QUEUE)
    del expected["responseContext"]
    expected["timestamp"] = "2024-11-25T15:47:40.000Z"
    expected["requestContext"] |= {"condition": "RecordAgeExceeded", "approximateInvokeCount": 1}
    expected["DDBStreamBatchInfo"] |= dict.fromkeys(ARRIVALS, "2024-11-25T15:46:39Z")

    assert run.documents == [expected]


def test_rule_44_its_count_is_the_number_of_invocations() -> None:
    run = drive(description(MaximumRecordAgeInSeconds=60, **DEAD_LETTERS), raising(), records(1))

    assert run.documents[0]["requestContext"]["approximateInvokeCount"] == 8
    assert "responseContext" not in run.documents[0]


def test_rule_55_an_object_has_the_records_as_a_json_string() -> None:
    run = drive(description(MaximumRetryAttempts=1, **on_failure(BUCKET)), raising(), records(1))
    (dead_letter,) = run.dead_letters
    document = dict(dead_letter.document)
    payload = document.pop("payload")

    assert document == exhausted(BUCKET)
    assert isinstance(payload, str)
    assert json.loads(payload) == {"Records": records(1)}


def test_rule_55_the_key_is_mapping_shard_and_time() -> None:
    run = drive(description(MaximumRetryAttempts=0, **on_failure(BUCKET)), raising(), records(1))

    assert run.dead_letters[0].destination.kind is DestinationKind.S3
    assert run.dead_letters[0].key == (
        "aws/lambda/14e0db71-5d35-4eb5-b481-8945cf9d10c2/shardId-00000001573689847184-864758bb/"
        "2024/11/25/2024-11-25T15.47.40-00000000-0000-4000-8000-000000000002"
    )
    assert object_key("m", "s", START, "r") == "aws/lambda/m/s/2024/11/25/2024-11-25T15.47.40-r"


def test_rule_57_refused_documents_are_dropped_and_counted() -> None:
    settings = description(MaximumRetryAttempts=0, BatchSize=2, **on_failure(BUCKET))
    run = drive(settings, raising(1), records(3), destination_works=False)

    assert run.engine.metrics.delivery_failures == 1
    assert run.engine.metrics.dropped == 2
    assert run.engine.metrics.on_failure_delivered == 0
    assert run.batches == [[1, 2], [3]]
    assert run.saved[-1][1] == sequence(3)


def test_policy_the_payload_may_be_an_object() -> None:
    settings = description(MaximumRetryAttempts=0, **on_failure(BUCKET))
    run = drive(settings, raising(), records(1), policies=Policies(s3_payload="object"))

    assert run.documents[0]["payload"] == {"Records": records(1)}


def test_rule_48_adjacent_documents_may_be_merged_by_policy() -> None:
    settings = description(MaximumRetryAttempts=1, **BISECT, **DEAD_LETTERS)
    merging = Policies(consolidation="adjacent")
    apart = drive(settings, raising(1, 3), records(4), policies=merging)
    together = drive(settings, raising(2, 3), records(4), policies=merging)

    assert [size for _, _, size in spans(apart)] == [1, 1]
    assert spans(together) == [(sequence(2), sequence(3), 2)]
    assert together.documents[0]["requestContext"]["approximateInvokeCount"] == 2
    assert together.dead_letters[0].records == (record(2), record(3))
    assert together.saved[-1][1] == sequence(4)


def test_rule_48_progress_between_them_keeps_documents_apart() -> None:
    def handler(event: dict[str, Any]) -> Any:
        if 1 in numbers(event) or 2 in numbers(event):
            raise RuntimeError
        return failing(4)(event)

    run = drive(
        reporting(MaximumRetryAttempts=0, **BISECT, **DEAD_LETTERS),
        handler,
        records(4),
        policies=Policies(consolidation="adjacent"),
    )

    assert run.batches == [[1, 2, 3, 4], [1, 2], [1], [2], [3, 4], [4]]
    assert [d["DDBStreamBatchInfo"]["batchSize"] for d in run.documents] == [2, 1]


def test_rule_48_disabling_does_not_wait_for_more_to_merge() -> None:
    engine = Engine(
        description(MaximumRetryAttempts=0, **BISECT, **DEAD_LETTERS),
        policies=Policies(consolidation="adjacent"),
    )

    def handler(event: dict[str, Any]) -> None:
        if numbers(event) == [1]:
            engine.disable()
        raise RuntimeError

    driver = Driver(engine, handler, {SHARD: records(2)}).run()

    assert driver.batches == [[1, 2], [1]]
    assert len(driver.documents) == 1
    assert engine.state == "Disabled"


def test_the_engine_wakes_its_runner_for_a_document() -> None:
    engine = Engine(description(MaximumRetryAttempts=0, **DEAD_LETTERS))
    driver = Driver(engine, raising(), {SHARD: records(1)})
    for _ in range(3):
        for command in engine.commands(START):
            driver.act(command)

    assert (len(driver.batches), len(driver.dead_letters)) == (1, 0)
    assert engine.wake_at(START) == START


def test_a_document_names_the_stream_of_the_mapping() -> None:
    elsewhere = record(1) | {"eventSourceARN": "arn:other"}
    run = drive(description(MaximumRetryAttempts=0, **DEAD_LETTERS), raising(), [elsewhere])

    assert run.documents[0]["DDBStreamBatchInfo"]["streamArn"] == STREAM


def test_a_mapping_without_a_stream_is_named_by_its_records() -> None:
    settings = {"StartingPosition": "TRIM_HORIZON", "MaximumRetryAttempts": 0}
    run = drive(settings | DEAD_LETTERS, raising(), records(1))

    assert run.documents[0]["DDBStreamBatchInfo"]["streamArn"] == STREAM
