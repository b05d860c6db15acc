"""The fix of PartiQL's INSERT in the emulator: a stream record, as on AWS."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from local.deployed.deployment import session
from local.services import service
from local.services.emulator import UNPATCHED
from tests.lambdas.conftest import create_table

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
        keys = [("item", "S"), ("version", "S")]
        created = create_table(self.client, self.table, keys, view="NEW_AND_OLD_IMAGES")
        self.stream = created["LatestStreamArn"]

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
