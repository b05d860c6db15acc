"""The example of docs/how-to/test-your-function.md that needs a real stream."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING, Any

import boto3

from dynamodb_streams_cdc import serialize_item
from dynamodb_streams_cdc.esm.poller.runner import runner_of, running

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest

    from dynamodb_streams_cdc import LambdaContext


def test_a_function_behind_the_stream_of_dynamodb_local(
    dynamodb_local_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", dynamodb_local_url)  # http://localhost:8000, usually
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    session = boto3.Session(region_name="us-east-1")
    dynamodb = session.client("dynamodb")
    table = f"orders-{uuid.uuid4().hex[:8]}"
    made = dynamodb.create_table(
        TableName=table,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    seen: list[str] = []
    both = threading.Event()

    def note(event: Mapping[str, Any], context: LambdaContext) -> None:
        seen.extend(record["eventName"] for record in event["Records"])
        if len(seen) == 2:
            both.set()

    mapping = {
        "UUID": str(uuid.uuid4()),
        "StartingPosition": "TRIM_HORIZON",
        "EventSourceArn": made["TableDescription"]["LatestStreamArn"],
        "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:note",
    }
    with running([runner_of(mapping, session, tmp_path, handlers={"note": note})]):
        dynamodb.put_item(TableName=table, Item=serialize_item({"id": "1001"}))
        dynamodb.delete_item(TableName=table, Key=serialize_item({"id": "1001"}))
        both.wait(60)
    assert seen == ["INSERT", "REMOVE"]
