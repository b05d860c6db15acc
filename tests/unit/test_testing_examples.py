"""The examples of docs/how-to/test-your-function.md, each in the one place where it is run."""

import json
import time
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Any

import boto3
import pytest
from moto import mock_aws

from dynamodb_streams_cdc import (
    Change,
    LambdaContext,
    Search,
    Source,
    deserialize_item,
    serialize_item,
)
from dynamodb_streams_cdc.idempotency import Once
from dynamodb_streams_cdc.processor import Processor
from dynamodb_streams_cdc.testing import Lab, LabFactory, ProcessKilled, invoke, sample_event
from dynamodb_streams_cdc.testing.memory import (
    MemoryDeadLetters,
    MemoryIdempotencyStore,
    MemoryIndex,
)

pytest_plugins = ["dynamodb_streams_cdc.testing.fixtures"]


def ship(event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
    for record in event["Records"]:
        status = record["dynamodb"].get("NewImage", {}).get("status")
        if status == {"S": "lost"}:
            failed = record["dynamodb"]["SequenceNumber"]
            return {"batchItemFailures": [{"itemIdentifier": failed}]}
    return {"batchItemFailures": []}


def test_a_poison_record_does_not_stop_the_others(stream_lab: LabFactory) -> None:
    lab = stream_lab(
        ship,
        BatchSize=3,
        MaximumBatchingWindowInSeconds=1,
        MaximumRetryAttempts=3,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
    lab.put({"id": "1", "status": "placed"}, {"id": "2", "status": "lost"})
    lab.delete({"id": "1"})
    lab.run()

    assert lab.delivered == [
        ["INSERT 1", "INSERT 2", "REMOVE 1"],
        *[["INSERT 2", "REMOVE 1"]] * 4,
    ]
    [dead_letter] = lab.dead_letters
    assert dead_letter.changes == ["INSERT 2", "REMOVE 1"]
    assert dead_letter.condition == "RetryAttemptsExhausted"


def test_a_crash_before_the_marker_repeats_the_effect(stream_lab: LabFactory) -> None:
    lab = stream_lab()
    sent: list[str] = []
    once = Once(lab.faulty(MemoryIdempotencyStore()), "welcome")

    @lab.function
    def welcome(event: Mapping[str, Any], context: LambdaContext) -> None:
        for record in event["Records"]:
            change = Change.from_record(record, Source("customers"))
            once.run(change, partial(sent.append, change.keys["id"]))

    lab.put({"id": "7"})
    lab.crash_before("mark")
    lab.run()

    assert sent == ["7", "7"]


def test_an_outage_of_a_minute_is_waited_out(stream_lab: LabFactory) -> None:
    lab = stream_lab(FunctionResponseTypes=["ReportBatchItemFailures"])
    index = MemoryIndex()
    sink = Search(lab.faulty(index), lambda image: {"status": image["status"]})
    lab.function(Processor("search", Source("orders"), sink, MemoryDeadLetters(), clock=lab.clock))

    lab.fail_sink(seconds=60)
    lab.put({"id": "1", "status": "placed"})
    lab.run()

    assert list(index.search().values()) == [{"status": "placed"}]
    assert lab.clock.now() - lab.deliveries[0].at > 60
    assert lab.dead_letters == []


def test_the_mapping_as_it_is_deployed_passes_on_what_it_should(stream_lab: LabFactory) -> None:
    deployed = {
        "UUID": "14e0db71-5d35-4eb5-b481-8945cf9d10c2",
        "StartingPosition": "TRIM_HORIZON",
        "BatchSize": 100,
        "ParallelizationFactor": 2,
        "FilterCriteria": {"Filters": [{"Pattern": '{"eventName": ["INSERT"]}'}]},
        "FunctionResponseTypes": [],
        "State": "Enabled",
    }  # boto3.client("lambda").list_event_source_mappings(...)["EventSourceMappings"][0]
    lab = stream_lab(lambda event, context: None, **deployed)
    lab.put({"id": "1", "status": "placed"})
    lab.put({"id": "1", "status": "shipped"})
    lab.run()

    assert lab.delivered == [["INSERT 1"]]
    assert lab.metrics["FilteredOutEventCount"] == 1


@mock_aws
def test_an_item_is_copied_to_another_table(
    stream_lab: LabFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    dynamodb = boto3.client("dynamodb", region_name="us-east-1")
    dynamodb.create_table(
        TableName="copies",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )

    def copy(event: Mapping[str, Any], context: LambdaContext) -> None:
        for record in event["Records"]:
            dynamodb.put_item(TableName="copies", Item=record["dynamodb"]["NewImage"])

    lab = stream_lab(copy)
    lab.redeliver()
    lab.put({"id": "1", "total": Decimal("29.33")})
    lab.run()

    assert len(lab.deliveries) == 2
    found = dynamodb.scan(TableName="copies")["Items"]
    assert found == [serialize_item({"id": "1", "total": Decimal("29.33")})]


def test_a_lab_needs_no_fixture() -> None:
    lab = Lab(lambda event, context: json.dumps(event))
    lab.put({"id": "1"})
    lab.run()
    assert lab.delivered == [["INSERT 1"]]


def test_a_handler_without_a_lab() -> None:
    event = sample_event({"id": "1", "status": "placed"}, {"id": "2", "status": "lost"})
    failed = event["Records"][1]["dynamodb"]["SequenceNumber"]
    assert invoke(ship, event) == {"batchItemFailures": [{"itemIdentifier": failed}]}


@mock_aws
def test_a_crash_in_a_batch_writer_repeats_the_batch(
    stream_lab: LabFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    table = boto3.resource("dynamodb", region_name="us-east-1").create_table(
        TableName="copies",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    lab = stream_lab()
    lab.faulty(table)

    @lab.function
    def copy(event: Mapping[str, Any], context: LambdaContext) -> None:
        with table.batch_writer() as batch:
            for record in event["Records"]:
                batch.put_item(Item=deserialize_item(record["dynamodb"]["NewImage"]))

    lab.crash_after("batch_write_item")
    lab.put({"id": "1"}, {"id": "2"})
    lab.run()

    assert len(lab.deliveries) == 2
    assert table.scan()["Count"] == 2


def test_a_function_that_waits_too_long_is_ended(stream_lab: LabFactory) -> None:
    lab = stream_lab(timeout=30.0, MaximumRetryAttempts=0)
    lab.function(lambda event, context: time.sleep(3600))
    lab.put({"id": "1"})
    lab.run()

    assert isinstance(lab.deliveries[0].error, ProcessKilled)
    assert lab.lost == []
    assert [dead_letter.changes for dead_letter in lab.dead_letters] == [["INSERT 1"]]
