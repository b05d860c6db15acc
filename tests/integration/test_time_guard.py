"""A sink that accepts a request and never answers costs one invocation its time, never its work.

On real services and in real time: earlier changes stay applied, the invocation ends in time and
reports the first change that is not applied, and the next one finishes.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from dynamodb_streams_cdc import Aggregation, ChangeLog, Processor, Search, Sink
from dynamodb_streams_cdc.aws import opensearch_documents as index_module
from dynamodb_streams_cdc.aws.dynamodb.ledger import DynamoDbLedger
from dynamodb_streams_cdc.aws.dynamodb.log import DynamoDbLog
from dynamodb_streams_cdc.aws.s3 import S3DeadLetters
from dynamodb_streams_cdc.deadline import SystemClock
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters, MemoryLedger
from lambdas.example_domain.order import contributions, document
from tests.contracts.index import ReadableIndex
from tests.factories import SOURCE, FakeContext, order, record
from tests.integration import clients
from tests.integration.clients import sequence_number, table
from tests.integration.faulty_proxy import Exchange, FaultyProxy, faulty_proxy

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SECONDS = 8.0
"""Of an invocation. The processor takes up work in the first half of it."""

SHARDS = 1
PATIENCE = 1.2
"""Seconds that clients wait for a response; less than the processor's reserve."""

FOR_EVER = float("inf")

ORDERS = [order(f"{number:05}-1") for number in range(1, 501)]
RECORDS = [record(number, None, item) for number, item in enumerate(ORDERS, 1)]


class Hung:
    """An invocation that met a sink which never answers."""

    def __init__(self, sink: Sink, records: list[dict[str, Any]]) -> None:
        dead_letters = MemoryDeadLetters()
        context = FakeContext(SystemClock(), SECONDS)
        answer = Processor("orders", SOURCE, sink, dead_letters)({"Records": records}, context)
        assert context.get_remaining_time_in_millis() > 0, "Lambda would have killed it"
        assert dead_letters.dead_letters == {}
        [failure] = answer["batchItemFailures"]
        self.first = failure["itemIdentifier"]


def finish(sink: Sink, records: list[dict[str, Any]]) -> None:
    answer = Processor("orders", SOURCE, sink, MemoryDeadLetters())(
        {"Records": records}, FakeContext(SystemClock(), 60.0)
    )
    assert answer == {"batchItemFailures": []}


def test_a_ledger_that_hangs(dynamodb_proxy: FaultyProxy, ledger: DynamoDbLedger) -> None:
    sink = Aggregation(ledger, contributions)
    dynamodb_proxy.times(FOR_EVER, "TransactWriteItems", Exchange.hang, after=1)
    hung = Hung(sink, RECORDS)
    done = 98  # one transaction, without the two sums; there is no time for the others
    assert hung.first == sequence_number(RECORDS[done])
    assert ledger.total("status#placed") == {"orders": done}
    dynamodb_proxy.heal()
    finish(sink, RECORDS[done:])
    assert ledger.total("status#placed") == {"orders": 500}


def test_a_ledger_that_hangs_from_the_first_read(
    dynamodb_proxy: FaultyProxy, ledger: DynamoDbLedger
) -> None:
    sink = Aggregation(ledger, contributions)
    dynamodb_proxy.times(FOR_EVER, "BatchGetItem", Exchange.hang)
    assert Hung(sink, RECORDS[:50]).first == sequence_number(RECORDS[0])
    dynamodb_proxy.heal()
    finish(sink, RECORDS[:50])
    assert ledger.total("status#placed") == {"orders": 50}


def test_a_log_that_hangs(
    dynamodb_proxy: FaultyProxy, proxied: "DynamoDBClient", dynamodb_local: "DynamoDBClient"
) -> None:
    log = DynamoDbLog(proxied, table(dynamodb_local, ("item", "S"), ("version", "S")))
    sink = ChangeLog(log)

    def entries() -> int:
        return len(dynamodb_local.scan(TableName=log.table, ConsistentRead=True)["Items"])

    third = RECORDS[50]["eventID"]
    dynamodb_proxy.times(FOR_EVER, "BatchExecuteStatement", Exchange.hang, carrying=third)
    assert Hung(sink, RECORDS[:100]).first == sequence_number(RECORDS[50])
    assert entries() == 75
    dynamodb_proxy.heal()
    finish(sink, RECORDS[50:100])
    assert entries() == 100


def test_an_index_that_hangs(
    index: ReadableIndex, opensearch_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "REQUEST_SECONDS", PATIENCE)
    monkeypatch.setattr(index_module, "BULK_BYTES", 25_000)
    with faulty_proxy(opensearch_url) as proxy:
        behind = clients.opensearch(proxy.url)
        sink = Search(replace(index, client=behind), document)
        proxy.times(FOR_EVER, f"POST /{index.alias}/_bulk", Exchange.hang, after=1)
        hung = Hung(sink, RECORDS[:100])
        done = len(index.search())
        assert 0 < done < 100
        assert hung.first == sequence_number(RECORDS[done])
        proxy.heal()
        finish(sink, RECORDS[done:100])
        behind.close()
    assert len(index.search()) == 100


def test_a_bucket_that_hangs(emulator_url: str) -> None:
    """The dead letter is not written, so its record is not done; what came after it is."""
    bucket = f"hangs-{uuid4()}"
    unreadable = {**RECORDS[1], "dynamodb": {"SequenceNumber": "2"}}
    records = [RECORDS[0], unreadable, RECORDS[2]]
    ledger = MemoryLedger()
    with faulty_proxy(emulator_url) as proxy:
        client = clients.s3(proxy.url, PATIENCE)
        client.create_bucket(Bucket=bucket)
        dead_letters = S3DeadLetters(lambda: client, bucket, "dead-letters/")
        processor = Processor("orders", SOURCE, Aggregation(ledger, contributions), dead_letters)

        def hang(exchange: Exchange) -> bool:
            exchange.hang()
            return True

        proxy.spoil = hang
        context = FakeContext(SystemClock(), SECONDS)
        answer = processor({"Records": records}, context)
        assert context.get_remaining_time_in_millis() > 0
        assert answer == {"batchItemFailures": [{"itemIdentifier": "2"}]}
        assert ledger.totals["status#placed"] == {"orders": 2}
        proxy.heal()
        again = processor({"Records": records[1:]}, FakeContext(SystemClock(), SECONDS))
        assert again == {"batchItemFailures": []}
        assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
        client.close()
