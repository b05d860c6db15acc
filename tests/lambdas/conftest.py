"""Handlers under moto: real boto3 calls, answered in this process."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import boto3
import pytest
from moto import mock_aws
from pytest_socket import disable_socket, enable_socket

from dynamodb_streams_cdc import LambdaContext
from dynamodb_streams_cdc.deadline import SystemClock
from dynamodb_streams_cdc.entities import Table
from lambdas import example_domain, runtime
from lambdas.aggregation import handler as aggregation
from lambdas.audit import handler as audit
from lambdas.example_domain import order
from lambdas.notifications import handler as notifications
from lambdas.search import handler as search_handler
from tests.factories import NOON, FakeContext, ManualClock
from tests.lambdas.partiql import conditional_inserts

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "PIPELINE": "cdc-local-pipeline",
    "SOURCE_TABLE": "orders",
    "EPOCH": "0001",
    "FEED": "table",
    "PROCESSOR": "orders",
    "DEAD_LETTER_BUCKET": "dead-letters",
    "DEAD_LETTER_PREFIX": "dead-letters/orders/",
    "SOURCE_TABLE_NAME": "orders-1A2B",
    "LARGE_IMAGES_BUCKET": "large-images",
    "IDEMPOTENCY_TABLE": "idempotency",
    "ATTEMPTS_TABLE": "idempotency",
    "AGGREGATES_TABLE": "aggregates",
    "AGGREGATE_SHARDS": "4",
    "CHANGE_LOG_TABLE": "change-log",
    "SEARCH_ENDPOINT": "http://127.0.0.1:9200",
    "SEARCH_AUTH": "none",
    "TOPIC_ARN": "arn:aws:sns:us-east-1:123456789012:notices",
}

TABLES = {
    "orders-1A2B": [("customer_id", "S"), ("order_id", "S")],
    "idempotency": [("id", "S")],
    "aggregates": [("aggregate", "S"), ("shard", "N")],
    "change-log": [("item", "S"), ("version", "S")],
}


def without_documents() -> tuple[Table, ...]:
    """Return the example domain without documents and indexes."""
    (orders,) = example_domain.TABLES
    entities = [replace(each, document=None, index=None) for each in orders.entities]
    return (replace(orders, entities=entities),)


def with_notifications() -> tuple[Table, ...]:
    """Return the example domain, whose orders send messages and whose customers do not."""
    (orders,) = example_domain.TABLES
    entities = [
        replace(each, sinks={"notifications": order.notice}) if each.name == "order" else each
        for each in orders.entities
    ]
    return (replace(orders, entities=tuple(entities)),)


@pytest.fixture
def context() -> LambdaContext:
    return FakeContext(ManualClock())


@pytest.fixture
def aws(models: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Return clients of an account that has what the stacks would have made."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    # Also where lambdas/domain has another domain.
    monkeypatch.setattr(runtime, "TABLES", example_domain.TABLES)
    # The records of these tests are of that day; days later their items would be repaired.
    monkeypatch.setattr(SystemClock, "now", lambda self: NOON + 1000.0)
    disable_socket(allow_unix_socket=True)
    caches = (
        runtime.session,
        runtime.dynamodb,
        runtime.s3,
        aggregation.processor,
        audit.processor,
        search_handler.processor,
        notifications.processor,
        notifications.sns,
    )
    with mock_aws(), conditional_inserts():
        client: Any = boto3.client
        dynamodb = client("dynamodb")
        for table, keys in TABLES.items():
            create_table(dynamodb, table, keys)
        for bucket in ("dead-letters", "large-images"):
            client("s3").create_bucket(Bucket=bucket)
        yield client
        for cached in caches:
            cached.cache_clear()
    enable_socket()


def create_table(
    dynamodb: Any, name: str, keys: list[tuple[str, str]], *, view: str | None = None
) -> Any:
    """Create a table, with a stream of this view; `keys` are names and types."""
    stream = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": view}}
    return dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": t} for n, t in keys],
        KeySchema=[
            {"AttributeName": attribute, "KeyType": kind}
            for (attribute, _), kind in zip(keys, ("HASH", "RANGE"), strict=False)
        ],
        BillingMode="PAY_PER_REQUEST",
        **(stream if view else {}),
    )["TableDescription"]
