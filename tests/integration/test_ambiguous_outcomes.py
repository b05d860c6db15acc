"""Lost responses: a second delivery ends right, whether or not the first one had an effect.

The effects happen on real services; a proxy before them loses, cuts or replaces the responses. Each
case is retried by the same invocation or, if it has no time left, by the next; and everything is
delivered once more in the end.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from dynamodb_streams_cdc import (
    Aggregation,
    Change,
    ChangeLog,
    Deadline,
    Outcome,
    PermanentError,
    Processor,
    Search,
    Sink,
)
from dynamodb_streams_cdc.aws import opensearch_documents as index_module
from dynamodb_streams_cdc.aws.dynamodb.ledger import DynamoDbLedger
from dynamodb_streams_cdc.aws.dynamodb.log import DynamoDbLog
from dynamodb_streams_cdc.aws.s3 import S3DeadLetters
from dynamodb_streams_cdc.dead_letters import dead_letter_name
from lambdas.example_domain.order import INDEX, contributions, document
from tests.contracts.index import ReadableIndex
from tests.factories import SOURCE, FakeContext, ManualClock, order, record
from tests.integration import clients
from tests.integration.clients import Invoked, invoke, sequence_number
from tests.integration.faulty_proxy import Exchange, FaultyProxy, faulty_proxy

ORDERS = [order(f"{number:05}-1", total=f"{number}.10") for number in range(1, 61)]
RECORDS = [record(number, None, item) for number, item in enumerate(ORDERS, 1)]
SHIPPED = [{**item, "status": "shipped"} for item in ORDERS]
CHANGED = [
    record(100 + number, before, after)
    for number, (before, after) in enumerate(zip(ORDERS, SHIPPED, strict=True))
]
COME_BACK = [record(100 + number, None, item) for number, item in enumerate(SHIPPED)]
"""As `CHANGED`, of items that were deleted in between."""
SHARDS = 2
PATIENCE = 1.5
"""Seconds that clients wait for a response."""

Spoiler = Callable[[Exchange], None]


def lost(exchange: Exchange) -> None:
    """The request has its effect; the response is lost."""
    exchange.forward()
    exchange.drop()


def timed_out(exchange: Exchange) -> None:
    """The request has its effect; the client times out."""
    exchange.forward()
    exchange.hang()


def cut(exchange: Exchange) -> None:
    """The request has its effect; the connection ends in the middle of the response."""
    exchange.cut(exchange.forward())


def never_sent(exchange: Exchange) -> None:
    """The request has no effect; the connection ends."""
    exchange.drop()


@pytest.fixture(params=[lost, timed_out, cut, never_sent])
def spoiler(request: pytest.FixtureRequest) -> Spoiler:
    act: Spoiler = request.param
    return act


@dataclass
class Deliveries:
    """Of records, until they are done and once more, with so many seconds for the first."""

    seconds: float

    def to(self, sink: Sink, records: list[dict[str, Any]] = RECORDS) -> None:
        reported = [] if self.seconds > 1 else [sequence_number(records[0])]
        assert invoke(sink, records, seconds=self.seconds) == Invoked(reported, [])
        assert invoke(sink, records) == Invoked([], [])
        assert invoke(sink, records) == Invoked([], [])


@pytest.fixture(params=[60.0, 0.05], ids=["retried", "delivered again"])
def deliveries(request: pytest.FixtureRequest) -> Deliveries:
    return Deliveries(request.param)


def assert_counted_once(ledger: DynamoDbLedger) -> None:
    assert ledger.total("month#1997-01") == {
        "orders": 60,
        "units": 120,
        "revenue": sum(item["total"] for item in ORDERS),
    }
    changes = [Change.from_record(delivered, SOURCE) for delivered in RECORDS]
    rows = ledger.read([change.item_id for change in changes], Deadline())
    assert [rows[c.item_id].version for c in changes] == [c.version for c in changes]
    assert {row.revision for row in rows.values()} == {1}


def assert_kept_once(log: DynamoDbLog) -> None:
    kept = log.client.scan(TableName=log.table, ConsistentRead=True)["Items"]
    assert len(kept) == 60
    assert {entry["after"]["M"]["order_id"]["S"] for entry in kept} == {
        item["order_id"] for item in ORDERS
    }


def test_a_transaction_whose_answer_is_lost_counts_once(
    spoiler: Spoiler, deliveries: Deliveries, dynamodb_proxy: FaultyProxy, ledger: DynamoDbLedger
) -> None:
    dynamodb_proxy.once("TransactWriteItems", spoiler)
    before = dynamodb_proxy.operations.count("TransactWriteItems")
    deliveries.to(Aggregation(ledger, contributions))
    sent = dynamodb_proxy.operations.count("TransactWriteItems") - before
    assert sent == (2 if spoiler is never_sent else 1)
    assert_counted_once(ledger)


def test_transactions_that_conflict_count_once(
    dynamodb_proxy: FaultyProxy, ledger: DynamoDbLedger
) -> None:
    dynamodb_proxy.times(
        3, "TransactWriteItems", lambda exchange: exchange.cancel({-1: "TransactionConflict"})
    )
    before = dynamodb_proxy.operations.count("TransactWriteItems")
    Deliveries(60.0).to(Aggregation(ledger, contributions))
    assert dynamodb_proxy.operations.count("TransactWriteItems") >= before + 4
    assert_counted_once(ledger)


def test_entries_whose_answer_is_lost_are_there_once(
    spoiler: Spoiler, deliveries: Deliveries, dynamodb_proxy: FaultyProxy, log: DynamoDbLog
) -> None:
    first = RECORDS[0]["eventID"]
    dynamodb_proxy.once("BatchExecuteStatement", spoiler, carrying=first)
    deliveries.to(ChangeLog(log))
    assert_kept_once(log)


def throttled(exchange: Exchange) -> None:
    """Half of the statements are not executed, and the answer says so."""
    statements = json.loads(exchange.body)["Statements"]
    answer = exchange.forward(json.dumps({"Statements": statements[1::2]}).encode())
    executed = iter(answer.json()["Responses"])
    error = {"Code": "ThrottlingError", "Message": "injected"}
    responses = [
        next(executed) if place % 2 else {"Error": error} for place in range(len(statements))
    ]
    exchange.reply(200, json.dumps({"Responses": responses}).encode())


def written_but_throttled(exchange: Exchange) -> None:
    """All are executed, and the answer takes half of that back."""
    answer = exchange.forward().json()
    for response in answer["Responses"][::2]:
        response.clear()
        response["Error"] = {"Code": "InternalServerError", "Message": "injected"}
    exchange.reply(200, json.dumps(answer).encode())


@pytest.mark.parametrize("half", [throttled, written_but_throttled])
def test_a_batch_of_entries_that_failed_by_halves_is_completed(
    half: Spoiler, deliveries: Deliveries, dynamodb_proxy: FaultyProxy, log: DynamoDbLog
) -> None:
    first = RECORDS[0]["eventID"]
    dynamodb_proxy.once("BatchExecuteStatement", half, carrying=first)
    deliveries.to(ChangeLog(log))
    assert_kept_once(log)


@dataclass
class Documents:
    """Documents in the index before, delivered changes, and the number of the lost request."""

    held: list[dict[str, Any]]
    records: list[dict[str, Any]]
    after: int

    @property
    def written(self) -> int:
        """How often each document is written in all."""
        return 2 if self.held else 1


@pytest.mark.parametrize(
    "documents",
    [
        pytest.param(Documents([], RECORDS, 0), id="created"),
        pytest.param(Documents(RECORDS, CHANGED, 0), id="updated"),
        pytest.param(Documents([], CHANGED, 1), id="settled, none is there"),
        pytest.param(Documents(RECORDS, COME_BACK, 1), id="settled, one is there"),
    ],
)
def test_documents_whose_answer_is_lost_are_there_once(
    spoiler: Spoiler,
    deliveries: Deliveries,
    documents: Documents,
    opensearch_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(index_module, "REQUEST_SECONDS", PATIENCE)
    name = f"ambiguous-{uuid4()}"
    bulk = f"POST /{name}-write/_bulk"
    with faulty_proxy(opensearch_url) as proxy:
        client = clients.opensearch(proxy.url)
        index = ReadableIndex(client, name, INDEX.properties, INDEX.settings)
        index.create(Deadline())
        sink = Search(index, document)
        if documents.held:
            assert invoke(sink, documents.held) == Invoked([], [])
        proxy.times(1, bulk, spoiler, after=documents.after)
        deliveries.to(sink, documents.records)
        status = documents.records[0]["dynamodb"]["NewImage"]["status"]["S"]
        assert [each["status"] for each in index.search().values()] == [status] * 60
        found = client.search(index=name, body={"size": 100, "version": True})["hits"]["hits"]
        assert {hit["_version"] for hit in found} == {documents.written}
        client.indices.delete(index=f"{name}-v1")
        client.close()


class RefusesOne:
    """A sink to which one item can never be applied."""

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Outcome:
        failures: dict[Change, Exception] = {
            change: PermanentError("never") for change in changes if "00042" in change.item_id
        }
        return Outcome(applied=len(changes) - len(failures), failures=failures)


@pytest.mark.parametrize("act", [lost, timed_out, never_sent])
def test_a_dead_letter_whose_answer_is_lost_is_there_once(act: Spoiler, emulator_url: str) -> None:
    bucket = f"ambiguous-{uuid4()}"
    with faulty_proxy(emulator_url) as proxy:
        client = clients.s3(proxy.url, PATIENCE)
        client.create_bucket(Bucket=bucket)
        dead_letters = S3DeadLetters(lambda: client, bucket, "dead-letters/orders/")
        processor = Processor("orders", SOURCE, RefusesOne(), dead_letters, clock=ManualClock())

        def deliver(records: list[dict[str, Any]], request: str) -> list[Any]:
            context = FakeContext(ManualClock(), aws_request_id=request)
            return processor({"Records": records}, context)["batchItemFailures"]

        refused = Change.from_record(RECORDS[41], SOURCE)
        name = dead_letter_name(refused.item_id, refused.version, RECORDS[41])
        proxy.once(f"PUT /{bucket}/dead-letters/orders/{quote(name)}", act)
        assert deliver(RECORDS, "first") == [{"itemIdentifier": sequence_number(RECORDS[41])}]
        assert deliver(RECORDS[41:], "second") == []
        assert deliver(RECORDS, "third") == []
        [kept] = client.list_objects_v2(Bucket=bucket)["Contents"]
        dead_letter = json.loads(client.get_object(Bucket=bucket, Key=kept["Key"])["Body"].read())
        assert json.loads(dead_letter["payload"]) == {"Records": [RECORDS[41]]}
        written = "second" if act is never_sent else "first"
        assert dead_letter["requestContext"]["requestId"] == written
        client.close()
