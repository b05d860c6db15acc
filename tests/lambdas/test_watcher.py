"""The watcher writes the canary and counts what waits, each with what its role allows."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.s3.models import FakeKey, s3_backends

from dynamodb_streams_cdc import LambdaContext
from lambdas.settings import SettingsError
from lambdas.watcher import handler as watcher

Aws = Callable[[str], Any]

PLACES = {
    "search": [["dead-letters", "dead-letters/search/"], ["given-up", "aws/lambda/u-u-i-d/"]],
    "audit": [["dead-letters", "dead-letters/audit/"]],
}


@pytest.fixture(autouse=True)
def deployed(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_TABLE_KEYS", '{"customer_id": "S", "order_id": "S"}')
    monkeypatch.setenv("DEAD_LETTERS", json.dumps(PLACES))
    everywhere = [
        ["dead-letters", "dead-letters/"],
        ["dead-letters", "aws/lambda/"],
        ["given-up", "aws/lambda/"],
    ]
    monkeypatch.setenv("ALL_DEAD_LETTERS", json.dumps(everywhere))
    watcher.settings.cache_clear()
    aws("s3").create_bucket(Bucket="given-up")


def counted(capsys: pytest.CaptureFixture[str]) -> dict[str, int]:
    """The metric of each processor, as CloudWatch reads it."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for line in lines:
        (metrics,) = line["_aws"]["CloudWatchMetrics"]
        assert metrics["Namespace"] == "DynamoDbStreamsCdc"
        assert metrics["Dimensions"] == [["Pipeline", "Processor"]]
        assert [each["Name"] for each in metrics["Metrics"]] == ["DeadLettersWaiting", "Canaries"]
        assert line["Canaries"] == 0, "a metric that has never come cannot be filled"
    return {line["Processor"]: line["DeadLettersWaiting"] for line in lines}


def test_it_writes_one_item_that_is_another_each_time(
    aws: Aws, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DynamoDB makes no record of a write that changes nothing."""
    written = []
    for moment in (1_000.0, 1_300.0):
        monkeypatch.setattr("time.time", lambda moment=moment: moment)
        watcher.handler({}, context)
        (item,) = aws("dynamodb").scan(TableName="orders-1A2B")["Items"]
        written.append(item)
    assert {item["customer_id"]["S"] for item in written} == {"cdc-canary"}
    assert written[0].keys() == written[1].keys()
    assert written[0] != written[1]


def test_it_counts_what_waits_in_both_buckets_and_nothing_else(
    aws: Aws, context: LambdaContext, capsys: pytest.CaptureFixture[str]
) -> None:
    s3 = aws("s3")
    for key in (
        "dead-letters/search/1.json",
        "dead-letters/search/2.json",
        "archive/dead-letters/search/0.json",
    ):
        s3.put_object(Bucket="dead-letters", Key=key)
    s3.put_object(Bucket="given-up", Key="aws/lambda/u-u-i-d/shard/batch")
    s3.put_object(Bucket="given-up", Key="aws/lambda/another/shard/batch")
    watcher.handler({}, context)
    assert counted(capsys) == {"search": 3, "audit": 0, "retired": 1}


def test_what_a_mapping_left_that_is_gone_is_counted_too(
    aws: Aws, context: LambdaContext, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mapping that is replaced has another UUID; its batches wait under the old one."""
    aws("s3").put_object(Bucket="given-up", Key="aws/lambda/before/shard/batch")
    aws("s3").put_object(Bucket="dead-letters", Key="dead-letters/renamed/1.json")
    aws("s3").put_object(
        Bucket="dead-letters", Key="aws/lambda/u-u-i-d/shard/of-an-earlier-version"
    )
    watcher.handler({}, context)
    assert counted(capsys) == {"search": 0, "audit": 0, "retired": 3}


def test_the_watcher_counts_several_pages_up_to_a_limit(
    aws: Aws,
    context: LambdaContext,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket = s3_backends["123456789012"]["aws"].buckets["dead-letters"]
    for number in range(1_005):
        key = f"dead-letters/audit/{number}.json"
        bucket.keys[key] = FakeKey(key, b"", account_id="123456789012", region_name="us-east-1")
    watcher.handler({}, context)
    assert counted(capsys)["audit"] == 1_005
    monkeypatch.setattr(watcher, "COUNTED_UP_TO", 1_001)
    watcher.handler({}, context)
    assert counted(capsys)["audit"] == 1_001


def test_dead_letters_are_counted_without_the_table(
    aws: Aws, context: LambdaContext, capsys: pytest.CaptureFixture[str]
) -> None:
    aws("dynamodb").delete_table(TableName="orders-1A2B")
    with pytest.raises(ClientError, match="PutItem"):
        watcher.handler({}, context)
    assert counted(capsys) == {"search": 0, "audit": 0, "retired": 0}


def test_it_writes_nothing_into_a_table_without_canary(
    aws: Aws,
    context: LambdaContext,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SOURCE_TABLE_KEYS")
    monkeypatch.delenv("SOURCE_TABLE_NAME")
    watcher.handler({}, context)
    assert aws("dynamodb").scan(TableName="orders-1A2B")["Items"] == []
    assert counted(capsys) == {"search": 0, "audit": 0, "retired": 0}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SOURCE_TABLE_KEYS", "{}"),
        ("SOURCE_TABLE_KEYS", '{"customer_id": "STRING"}'),
        ("DEAD_LETTERS", "dead_letters"),
    ],
)
def test_a_wrong_setting_is_named(
    name: str, value: str, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        watcher.handler({}, context)
