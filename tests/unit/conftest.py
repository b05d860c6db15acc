"""What every unit test gets: no network, and the same examples on every run in CI."""

import os
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from hypothesis import settings
from moto import mock_aws
from pytest_socket import disable_socket, enable_socket

from tests.unit.damage import ITEMS
from tests.unit.operated import Operated

# No deadline: a test machine that is busy for a moment is not a defect of the code.
settings.register_profile("ci", derandomize=True, database=None, deadline=None, print_blob=True)
settings.register_profile("laptop", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "laptop")


@pytest.fixture(autouse=True)
def no_network() -> Iterator[None]:
    """Let a test that opens a connection fail; sockets of the machine itself stay allowed."""
    disable_socket(allow_unix_socket=True)
    yield
    enable_socket()


@pytest.fixture
def filled() -> Operated:
    """A table whose copies are all right."""
    made = Operated(ITEMS)
    made.backfill().run()
    return made


@pytest.fixture
def copies(models: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A table of moto, with the key `id`."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield boto3.resource("dynamodb", region_name="us-east-1").create_table(
            TableName="copies",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
