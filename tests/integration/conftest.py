"""Real engines on loopback, one of each per session, started by the first test that asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local.deployed.deployment import session
from local.services import service

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
