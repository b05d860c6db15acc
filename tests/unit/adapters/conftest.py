from collections.abc import Iterator
from typing import Any

import pytest
from moto import mock_aws

from tests.lambdas.partiql import conditional_inserts
from tests.unit.adapters.cloud import client, lagging


@pytest.fixture
def dynamodb(models: None) -> Iterator[Any]:
    """DynamoDB in this process; reads that are not consistent find nothing."""
    with mock_aws(), conditional_inserts():
        yield lagging(client("dynamodb"))


@pytest.fixture
def s3(models: None) -> Iterator[Any]:
    """S3 in this process."""
    with mock_aws():
        yield client("s3")
