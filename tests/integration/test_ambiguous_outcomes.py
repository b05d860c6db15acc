"""Answers that never arrive: whatever the engine did, delivering again ends right.

The effects happen on real engines; a proxy before them loses, cuts or replaces the answers.
"""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config
from opensearchpy import OpenSearch, Urllib3HttpConnection

from dynamodb_streams_cdc import Aggregation, ChangeLog, Expiry, SearchSync, Sink, SystemClock
from dynamodb_streams_cdc.aws.ledger import DynamoDbLedger
from dynamodb_streams_cdc.aws.log import DynamoDbLog
from dynamodb_streams_cdc.memory import MemoryLetters
from dynamodb_streams_cdc.processor import Processor
from lambdas.domain.contributions import contributions
from lambdas.domain.search_document import PROPERTIES, SETTINGS, document
from tests.factories import SOURCE, FakeContext, ManualClock, order, record
from tests.integration.faulty_proxy import Exchange, FaultyProxy, faulty_proxy
from tests.integration.test_ports import ReadableIndex, table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ORDERS = [order(f"{number:05}-1", total=f"{number}.10") for number in range(1, 61)]
BATCH = {"Records": [record(number, None, item) for number, item in enumerate(ORDERS, 1)]}


def lost(exchange: Exchange) -> None:
    """The engine did it; nobody hears of it."""
    exchange.forward()
    exchange.drop()


def cut(exchange: Exchange) -> None:
    """The engine did it; the connection breaks in the middle of its answer."""
    exchange.cut(exchange.forward())


def never_sent(exchange: Exchange) -> None:
    """The engine did not do it; nobody hears of that."""
    exchange.drop()


SPOILERS = [pytest.param(act, id=act.__name__) for act in (lost, cut, never_sent)]


def run(sink: Sink) -> tuple[list[Any], MemoryLetters]:
    letters = MemoryLetters()
    processor = Processor("orders", SOURCE, sink, letters, clock=SystemClock())
    answer = processor(BATCH, FakeContext(ManualClock()))
    return answer["batchItemFailures"], letters


@pytest.fixture
def dynamodb_proxy(dynamodb_local_url: str) -> Iterator[FaultyProxy]:
    with faulty_proxy(dynamodb_local_url) as proxy:
        yield proxy


@pytest.fixture
def spoiled(dynamodb_proxy: FaultyProxy) -> Iterator["DynamoDBClient"]:
    client = boto3.client(
        "dynamodb",
        endpoint_url=dynamodb_proxy.url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(read_timeout=10, retries={"total_max_attempts": 1}),
    )
    yield client
    client.close()


def ledger_of(client: "DynamoDBClient", dynamodb_local: "DynamoDBClient") -> DynamoDbLedger:
    return DynamoDbLedger(
        client,
        table(dynamodb_local, ("id", "S")),
        table(dynamodb_local, ("aggregate", "S"), ("shard", "N")),
        shards=2,
    )


@pytest.mark.parametrize("spoiler", SPOILERS)
def test_a_transaction_whose_answer_is_lost_counts_once(
    spoiler: Any,
    dynamodb_proxy: FaultyProxy,
    spoiled: "DynamoDBClient",
    dynamodb_local: "DynamoDBClient",
) -> None:
    ledger = ledger_of(spoiled, dynamodb_local)
    dynamodb_proxy.once("TransactWriteItems", spoiler)
    assert run(Aggregation(ledger, contributions, Expiry.DROP)) == ([], MemoryLetters())
    sent = dynamodb_proxy.operations.count("TransactWriteItems")
    assert sent == (2 if spoiler is never_sent else 1)
    assert ledger.total("month#1997-01") == {
        "orders": 60,
        "units": 120,
        "revenue": sum(item["total"] for item in ORDERS),
    }


def test_transactions_that_conflict_are_made_smaller_and_count_once(
    dynamodb_proxy: FaultyProxy, spoiled: "DynamoDBClient", dynamodb_local: "DynamoDBClient"
) -> None:
    def conflict(exchange: Exchange) -> None:
        exchange.refuse(
            400,
            "TransactionCanceledException",
            "Transaction cancelled, please refer cancellation reasons for specific reasons",
            CancellationReasons=[
                {"Code": "None"},
                {"Code": "TransactionConflict", "Message": "Transaction is ongoing for the item"},
            ],
        )

    ledger = ledger_of(spoiled, dynamodb_local)
    dynamodb_proxy.times(3, "TransactWriteItems", conflict)
    assert run(Aggregation(ledger, contributions)) == ([], MemoryLetters())
    assert dynamodb_proxy.operations.count("TransactWriteItems") >= 5
    assert ledger.total("status#placed") == {"orders": 60}


@pytest.mark.parametrize("spoiler", SPOILERS)
def test_entries_whose_answer_is_lost_are_there_once(
    spoiler: Any,
    dynamodb_proxy: FaultyProxy,
    spoiled: "DynamoDBClient",
    dynamodb_local: "DynamoDBClient",
) -> None:
    log = DynamoDbLog(spoiled, table(dynamodb_local, ("item", "S"), ("version", "S")))
    dynamodb_proxy.once("BatchExecuteStatement", spoiler)
    assert run(ChangeLog(log)) == ([], MemoryLetters())
    kept = dynamodb_local.scan(TableName=log.table, ConsistentRead=True)["Items"]
    assert len(kept) == 60


def test_a_batch_of_entries_that_failed_by_halves_is_completed(
    dynamodb_proxy: FaultyProxy, spoiled: "DynamoDBClient", dynamodb_local: "DynamoDBClient"
) -> None:
    def half(exchange: Exchange) -> None:
        answer = exchange.forward().json()
        for response in answer["Responses"][::2]:
            response.clear()
            response["Error"] = {"Code": "ThrottlingError", "Message": "injected"}
        exchange.reply(200, json.dumps(answer).encode())

    log = DynamoDbLog(spoiled, table(dynamodb_local, ("item", "S"), ("version", "S")))
    dynamodb_proxy.once("BatchExecuteStatement", half)
    assert run(ChangeLog(log)) == ([], MemoryLetters())
    assert len(dynamodb_local.scan(TableName=log.table, ConsistentRead=True)["Items"]) == 60


@pytest.mark.parametrize("spoiler", SPOILERS)
def test_documents_whose_answer_is_lost_are_there_once(spoiler: Any, opensearch_url: str) -> None:
    name = f"ambiguous-{uuid4()}"
    with faulty_proxy(opensearch_url) as proxy:
        client = OpenSearch(
            proxy.url, connection_class=Urllib3HttpConnection, max_retries=0, timeout=10
        )
        index = ReadableIndex(client, name, PROPERTIES, SETTINGS)
        proxy.once(f"POST /{name}-write/_bulk", spoiler)
        assert run(SearchSync(index, document)) == ([], MemoryLetters())
        assert len(index.search()) == 60
        client.indices.delete(index=f"{name}-v1")
        client.close()
