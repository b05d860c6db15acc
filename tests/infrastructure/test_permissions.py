"""What a function calls, its role allows; what its role allows on tables, it calls."""

from collections.abc import Callable
from typing import Any

import pytest

from dynamodb_streams_cdc import LambdaContext
from lambdas import runtime
from lambdas.aggregation import handler as aggregation
from lambdas.audit import handler as audit
from tests.factories import order, record
from tests.infrastructure.templates import Assembly, allowed
from tests.lambdas.conftest import aws, context  # noqa: F401 - fixtures

ACTIONS = {
    "BatchGetItem": {"dynamodb:BatchGetItem"},
    "TransactWriteItems": {"dynamodb:PutItem", "dynamodb:UpdateItem"},
    "BatchExecuteStatement": {"dynamodb:PartiQLInsert"},
    "PutObject": {"s3:PutObject"},
}
"""The permissions that each call needs: a transaction those of its parts; ours puts rows and
updates sums (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html).
"""

STREAM = {"DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"}

POISON = record(2, None, order("00005-1", keys_of_no_type=None, lines=[]))
BATCHES: dict[str, list[Any]] = {
    "aggregation": [record(1, None, order()), POISON],
    "audit": [record(1, None, order()), {"no": "record"}],
}


@pytest.mark.parametrize(
    ("processor", "handler"), [("aggregation", aggregation.handler), ("audit", audit.handler)]
)
def test_a_function_calls_what_its_role_allows(
    processor: str,
    handler: Callable[[Any, LambdaContext], Any],
    aws: Any,  # noqa: F811
    context: LambdaContext,  # noqa: F811
    sandbox: Assembly,
) -> None:
    called: set[str] = set()
    for client in (runtime.dynamodb(), runtime.s3()):
        client.meta.events.register(
            "before-call", lambda model, **_: called.add(str(model.name)), unique_id="permissions"
        )
    assert handler({"Records": BATCHES[processor]}, context) == {"batchItemFailures": []}

    needed = set().union(*(ACTIONS[operation] for operation in called))
    granted = {action for action, _ in allowed(sandbox.pipeline, processor)}
    tables = {action for action in granted if action.startswith("dynamodb:")}
    assert "PutObject" in called
    assert needed <= granted
    assert tables - {f"dynamodb:{name}" for name in STREAM} <= needed
