"""The ports on DynamoDB and OpenSearch keep the contracts that those in memory keep."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from opensearchpy import OpenSearch, Urllib3HttpConnection

from dynamodb_streams_cdc import RetryableError, serialize_item
from dynamodb_streams_cdc.aws.dynamodb.attempts import DynamoDbAttempts
from dynamodb_streams_cdc.aws.dynamodb.erasure import (
    DynamoDbErasableLog,
    DynamoDbErasureRecords,
    DynamoDbMarkers,
)
from dynamodb_streams_cdc.aws.dynamodb.idempotency import DynamoDbIdempotencyStore
from dynamodb_streams_cdc.aws.dynamodb.ledger import DynamoDbLedger
from dynamodb_streams_cdc.aws.dynamodb.log import DynamoDbLog
from dynamodb_streams_cdc.aws.dynamodb.source_table import DynamoDbSourceTable
from dynamodb_streams_cdc.aws.s3_versions import S3ObjectVersions
from lambdas.example_domain.order import INDEX
from tests.contracts.attempts import AttemptsContract
from tests.contracts.erasure import (
    ErasableLedgerContract,
    ErasableLogContract,
    ErasableMarkersContract,
    ErasureRecordsContract,
    ObjectVersionsContract,
)
from tests.contracts.idempotency_store import IdempotencyStoreContract
from tests.contracts.index import IndexContract, ReadableIndex, SearchableIndex, upsert, walked
from tests.contracts.ledger import LedgerContract
from tests.contracts.log import LogContract
from tests.factories import deadline
from tests.integration import clients
from tests.integration.clients import table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class TestDynamoDbLedger(LedgerContract, ErasableLedgerContract):
    @pytest.fixture
    def ledger(self, dynamodb_local: "DynamoDBClient") -> DynamoDbLedger:
        return DynamoDbLedger(
            dynamodb_local,
            table(dynamodb_local, ("id", "S")),
            table(dynamodb_local, ("aggregate", "S"), ("shard", "N")),
            shards=1,
        )


class TestDynamoDbLog(LogContract):
    @pytest.fixture
    def log(self, dynamodb_local: "DynamoDBClient") -> DynamoDbLog:
        return DynamoDbLog(dynamodb_local, table(dynamodb_local, ("item", "S"), ("version", "S")))


class TestDynamoDbIdempotencyStore(IdempotencyStoreContract):
    @pytest.fixture
    def store(self, dynamodb_local: "DynamoDBClient") -> DynamoDbIdempotencyStore:
        return DynamoDbIdempotencyStore(dynamodb_local, table(dynamodb_local, ("id", "S")))


class TestDynamoDbAttempts(AttemptsContract):
    @pytest.fixture
    def attempts(self, dynamodb_local: "DynamoDBClient") -> DynamoDbAttempts:
        return DynamoDbAttempts(lambda: dynamodb_local, table(dynamodb_local, ("id", "S")))


class TestDynamoDbErasableLog(ErasableLogContract):
    @pytest.fixture
    def log(self, dynamodb_local: "DynamoDBClient") -> DynamoDbErasableLog:
        name = table(dynamodb_local, ("item", "S"), ("version", "S"))
        return DynamoDbErasableLog(dynamodb_local, name)


class TestDynamoDbErasureRecords(ErasureRecordsContract):
    @pytest.fixture
    def records(self, dynamodb_local: "DynamoDBClient") -> DynamoDbErasureRecords:
        return DynamoDbErasureRecords(dynamodb_local, table(dynamodb_local, ("id", "S")))


class TestDynamoDbMarkers(ErasableMarkersContract):
    @pytest.fixture
    def markers(self, dynamodb_local: "DynamoDBClient") -> DynamoDbMarkers:
        return DynamoDbMarkers(dynamodb_local, table(dynamodb_local, ("id", "S")))

    @pytest.fixture
    def mark(
        self, dynamodb_local: "DynamoDBClient", markers: DynamoDbMarkers
    ) -> Callable[[str], object]:
        store = DynamoDbIdempotencyStore(dynamodb_local, markers.table)
        return lambda key: store.mark(key, 60)


class TestS3ObjectVersions(ObjectVersionsContract):
    """On the emulator: what S3 itself does is in its documentation."""

    @pytest.fixture
    def objects(self, emulator_url: str) -> S3ObjectVersions:
        client = clients.s3(emulator_url)
        bucket = f"objects-{uuid4()}"
        client.create_bucket(Bucket=bucket)
        return S3ObjectVersions(lambda: client, bucket)

    @pytest.fixture
    def put(self, objects: S3ObjectVersions) -> Callable[[str, bytes], object]:
        return lambda key, body: objects.client().put_object(
            Bucket=objects.bucket, Key=key, Body=body
        )


class TestOpenSearchIndex(IndexContract):
    @pytest.fixture
    def index(self, opensearch_url: str) -> Iterator[SearchableIndex]:
        client = OpenSearch(
            opensearch_url, connection_class=Urllib3HttpConnection, max_retries=0, timeout=30
        )
        name = f"contract-{uuid4()}"
        yield ReadableIndex(client, name, INDEX.properties, INDEX.settings)
        client.indices.delete(index=[*client.indices.get_alias(index=f"{name}-v*")])
        client.close()


def test_a_walk_finds_what_has_the_place_of_others(opensearch_url: str) -> None:
    """Documents of one item at the border of a page, and many without an identity, in 3 shards."""
    client = OpenSearch(opensearch_url, max_retries=0, timeout=60)
    name = f"walk-{uuid4()}"
    settings = {"number_of_replicas": 0, "number_of_shards": 3}
    index = ReadableIndex(client, name, INDEX.properties, settings)
    names = [f"orders/S={number}/S=1" for number in range(4)]
    index.upsert([upsert("1", each) for each in names], deadline())
    held = upsert("1", names[1]).source
    strangers: list[dict[str, object]] = [{"hello": 1}, {"cdc": {"version": "1"}}]
    lines: list[dict[str, object]] = []
    for number in range(3):
        lines += [{"index": {"_id": f"double-{number}"}}, dict(held)]
    for number in range(1_200):
        lines += [{"index": {"_id": f"stranger-{number}"}}, strangers[number % 2]]
    client.bulk(body=lines, index=index.alias)
    for most in (1, 2, 3, 500):
        pages = walked(index, most=most)
        live = [each for page in pages for each in page.live]
        foreign = [each for page in pages for each in page.foreign]
        assert live == names
        assert len(foreign) == len(set(foreign)) == 1_203
    client.close()


def test_items_are_read_by_the_keys_of_a_record(dynamodb_local: "DynamoDBClient") -> None:
    name = table(dynamodb_local, ("id", "B"), ("number", "N"))
    item = {"id": b"\x00\xff", "number": Decimal(7), "status": "placed"}
    dynamodb_local.put_item(TableName=name, Item=serialize_item(item))
    items = DynamoDbSourceTable(lambda: dynamodb_local, name)
    assert items.read({"id": {"B": "AP8="}, "number": {"N": "7"}}) == item
    assert items.read({"id": {"B": b"\x00\xff"}, "number": {"N": "8"}}) is None
    gone = DynamoDbSourceTable(lambda: dynamodb_local, "gone")
    with pytest.raises(RetryableError, match="ResourceNotFound"):
        gone.read({"id": {"B": "AP8="}, "number": {"N": "7"}})
