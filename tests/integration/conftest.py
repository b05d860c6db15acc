"""Local services, one of each per session, and clients that reach them through a faulty proxy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from dynamodb_streams_cdc import Deadline
from dynamodb_streams_cdc.aws.dynamodb.ledger import DynamoDbLedger
from dynamodb_streams_cdc.aws.dynamodb.log import DynamoDbLog
from lambdas.example_domain.order import INDEX
from local.deployed.deployment import session
from local.services import service
from tests.contracts.index import ReadableIndex
from tests.integration import clients
from tests.integration.clients import table
from tests.integration.faulty_proxy import FaultyProxy, faulty_proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def opensearch_url() -> Iterator[str]:
    """A node that the whole session shares: tests make indices of their own."""
    with service.opensearch() as engine:
        yield engine.url


@pytest.fixture(scope="session")
def dynamodb_local_url() -> Iterator[str]:
    """A DynamoDB Local that the whole session shares: tests make tables of their own."""
    with service.dynamodb_local() as engine:
        yield engine.url


@pytest.fixture(scope="session")
def emulator_url() -> Iterator[str]:
    """An emulator that the whole session shares: tests make resources of their own."""
    with service.emulator() as engine:
        yield engine.url


@pytest.fixture(scope="session")
def dynamodb_local(dynamodb_local_url: str) -> Iterator[DynamoDBClient]:
    client = session(dynamodb_local_url).client("dynamodb")
    yield client
    client.close()


@pytest.fixture(scope="module")
def shared_proxy(dynamodb_local_url: str) -> Iterator[FaultyProxy]:
    with faulty_proxy(dynamodb_local_url) as proxy:
        yield proxy


@pytest.fixture
def dynamodb_proxy(shared_proxy: FaultyProxy) -> Iterator[FaultyProxy]:
    """A proxy before DynamoDB Local, which spoils nothing after the test."""
    yield shared_proxy
    shared_proxy.heal()


@pytest.fixture(scope="module")
def proxied(request: pytest.FixtureRequest, shared_proxy: FaultyProxy) -> Iterator[DynamoDBClient]:
    """A client through the proxy; it waits for the seconds in PATIENCE of the module."""
    client = clients.dynamodb(shared_proxy.url, getattr(request.module, "PATIENCE", 10.0))
    yield client
    client.close()


@pytest.fixture
def log(proxied: DynamoDBClient, dynamodb_local: DynamoDBClient) -> DynamoDbLog:
    return DynamoDbLog(proxied, table(dynamodb_local, ("item", "S"), ("version", "S")))


@pytest.fixture
def index(opensearch_url: str) -> Iterator[ReadableIndex]:
    client = clients.opensearch(opensearch_url)
    made = ReadableIndex(client, f"failures-{uuid4()}", INDEX.properties, INDEX.settings)
    made.create(Deadline())
    yield made
    client.indices.delete(index=f"{made.name}*")
    client.close()


@pytest.fixture
def ledger(
    request: pytest.FixtureRequest, proxied: DynamoDBClient, dynamodb_local: DynamoDBClient
) -> DynamoDbLedger:
    """A ledger with as many shards as SHARDS of the module."""
    return DynamoDbLedger(
        proxied,
        table(dynamodb_local, ("id", "S")),
        table(dynamodb_local, ("aggregate", "S"), ("shard", "N")),
        shards=getattr(request.module, "SHARDS", 4),
    )
