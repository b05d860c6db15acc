"""Requirements on the emulator's streams, and the fix of PartiQL's INSERT."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from local.deployed.deployment import session
from local.services import service
from local.services.emulator import UNPATCHED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

INSERT = "INSERT INTO \"{table}\" VALUE {{'item': ?, 'version': ?, 'total': ?}}"


class Log:
    """A change log of its own for one test."""

    def __init__(self, url: str) -> None:
        self.client: DynamoDBClient = session(url).client("dynamodb")
        self.streams = session(url).client("dynamodbstreams")
        self.table = f"log-{uuid.uuid4()}"
        created = self.client.create_table(
            TableName=self.table,
            KeySchema=[
                {"AttributeName": "item", "KeyType": "HASH"},
                {"AttributeName": "version", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "item", "AttributeType": "S"},
                {"AttributeName": "version", "AttributeType": "S"},
            ],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        self.stream = created["TableDescription"]["LatestStreamArn"]

    def close(self) -> None:
        self.client.close()
        self.streams.close()

    def entry(self, version: str, total: str = "10.10") -> Any:
        return {
            "Statement": INSERT.format(table=self.table),
            "Parameters": [{"S": "orders/S=1"}, {"S": version}, {"N": total}],
        }

    def key(self, version: str) -> dict[str, Any]:
        return {"item": {"S": "orders/S=1"}, "version": {"S": version}}

    def records(self) -> list[Any]:
        shards = self.streams.describe_stream(StreamArn=self.stream)["StreamDescription"]["Shards"]
        iterator = self.streams.get_shard_iterator(
            StreamArn=self.stream, ShardId=shards[0]["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        return self.streams.get_records(ShardIterator=iterator)["Records"]


@pytest.fixture
def log(emulator_url: str) -> Iterator[Log]:
    made = Log(emulator_url)
    yield made
    made.close()


@pytest.fixture(scope="module")
def unpatched_url() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(UNPATCHED, "1")
        with service.emulator() as engine:
            yield engine.url


def test_a_partiql_insert_writes_one_insert_record(log: Log) -> None:
    answers = log.client.batch_execute_statement(
        Statements=[log.entry("1"), log.entry("2", "7.00"), log.entry("1", "99.99")]
    )["Responses"]
    assert answers[2]["Error"]["Code"] == "DuplicateItem"
    assert [
        (record["eventName"], record["dynamodb"]["Keys"], record["dynamodb"]["NewImage"])
        for record in log.records()
    ] == [
        ("INSERT", log.key("1"), {**log.key("1"), "total": {"N": "10.10"}}),
        ("INSERT", log.key("2"), {**log.key("2"), "total": {"N": "7.00"}}),
    ]


def test_a_transaction_writes_records_after_its_success(log: Log) -> None:
    log.client.execute_transaction(TransactStatements=[log.entry("1"), log.entry("2")])
    with pytest.raises(ClientError, match="TransactionCanceled"):
        log.client.execute_transaction(TransactStatements=[log.entry("3"), log.entry("1")])
    assert [record["dynamodb"]["Keys"] for record in log.records()] == [log.key("1"), log.key("2")]


def test_the_repair_is_still_needed(unpatched_url: str) -> None:
    log = Log(unpatched_url)
    log.client.batch_execute_statement(Statements=[log.entry("1")])
    assert log.client.get_item(TableName=log.table, Key=log.key("1"))["Item"]
    records = log.records()
    log.close()
    assert records == [], (
        "The emulator now writes a stream record for a PartiQL INSERT by itself: "
        "delete `fix_inserts` from local/services/emulator.py, or the log gets every entry twice."
    )


def test_a_record_keeps_the_images_of_its_moment(log: Log) -> None:
    log.client.batch_execute_statement(Statements=[log.entry("1")])
    for _ in range(2):
        log.client.update_item(
            TableName=log.table,
            Key=log.key("1"),
            UpdateExpression="ADD #total :cents",
            ExpressionAttributeNames={"#total": "total"},
            ExpressionAttributeValues={":cents": {"N": "0.05"}},
        )
    log.client.delete_item(TableName=log.table, Key=log.key("1"))
    changes = [
        (
            record["dynamodb"].get("OldImage", {}).get("total", {}).get("N"),
            record["dynamodb"].get("NewImage", {}).get("total", {}).get("N"),
        )
        for record in log.records()
    ]
    assert changes == [(None, "10.10"), ("10.10", "10.15"), ("10.15", "10.2"), ("10.2", None)]


def test_a_write_that_changes_nothing_writes_no_record(log: Log) -> None:
    item = {**log.key("1"), "total": {"N": "1"}}
    log.client.put_item(TableName=log.table, Item=item)
    log.client.put_item(TableName=log.table, Item=item)
    assert len(log.records()) == 1


def test_sums_of_cents_are_exact(log: Log) -> None:
    log.client.batch_execute_statement(Statements=[log.entry("1", "0")])
    for cents in ("244091.94", "0.01", "-0.03", "0.02", "-244091.94"):
        log.client.update_item(
            TableName=log.table,
            Key=log.key("1"),
            UpdateExpression="ADD #total :cents",
            ExpressionAttributeNames={"#total": "total"},
            ExpressionAttributeValues={":cents": {"N": cents}},
        )
    (item,) = log.client.scan(TableName=log.table, ConsistentRead=True)["Items"]
    assert item["total"] == {"N": "0"}


def test_sequence_numbers_rise_and_have_the_documented_length(log: Log) -> None:
    versions = [f"{number:02}" for number in range(25)]
    log.client.batch_execute_statement(Statements=[log.entry(version) for version in versions])
    numbers = [record["dynamodb"]["SequenceNumber"] for record in log.records()]
    assert numbers == sorted(set(numbers))
    assert all(21 <= len(number) <= 40 for number in numbers)


def test_a_dead_letter_is_written_once(emulator_url: str) -> None:
    s3 = session(emulator_url).client("s3")
    bucket = f"dead-letters-{uuid.uuid4()}"
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="dead_letter", Body=b"first", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket=bucket, Key="dead_letter", Body=b"second", IfNoneMatch="*")
    with s3.get_object(Bucket=bucket, Key="dead_letter")["Body"] as body:
        assert body.read() == b"first"
    s3.close()


def test_the_records_are_json_as_lambda_delivers_them(log: Log) -> None:
    """The poller hands the stored record to the function: it must survive as JSON."""
    log.client.put_item(
        TableName=log.table, Item={**log.key("1"), "raw": {"B": b"\x00"}, "on": {"BOOL": True}}
    )
    image = log.records()[0]["dynamodb"]["NewImage"]
    assert image["raw"] == {"B": b"\x00"}
    assert json.loads(json.dumps(image["on"])) == {"BOOL": True}
