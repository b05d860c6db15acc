"""The function that erases, on what the other functions have written."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from dynamodb_streams_cdc import LambdaContext, serialize_item
from dynamodb_streams_cdc.deadline import SystemClock
from dynamodb_streams_cdc.deserializer import base64_text
from dynamodb_streams_cdc.operations.forget import Forget, ForgetReport, ForgetStatus
from lambdas.aggregation import handler as aggregation
from lambdas.audit import handler as audit
from lambdas.erasure import handler as erasure
from lambdas.settings import SettingsError
from tests.factories import NOON, change, order, record
from tests.fake_pipeline import given_up, lambdas_key

Aws = Callable[[str], Any]

ANNA = order("00004-0001", note="x" * 390_000)
BEN = order("00005-0001")
KEYS = serialize_item({"customer_id": "00004", "order_id": "00004-0001"})
DAY = 24 * 3600.0


@pytest.fixture(autouse=True)
def deployed(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("ON_FAILURE_BUCKET", "given-up")
    monkeypatch.setenv("OWN_SINKS", '{"notifications": "notify"}')
    monkeypatch.setenv("SEARCH_ENDPOINT", "")
    aws("s3").create_bucket(Bucket="given-up")
    erasure.erasure.cache_clear()
    yield
    erasure.erasure.cache_clear()


class Function:
    def __init__(self, context: LambdaContext) -> None:
        self.context = context

    def invoke(self, processor: str, event: Mapping[str, Any]) -> Any:
        text = json.dumps(event, default=base64_text)
        return json.loads(json.dumps(erasure.handler(json.loads(text), self.context)))


def forget(context: LambdaContext) -> ForgetReport:
    return Forget(Function(context), "orders", SystemClock()).run([KEYS])


def held(aws: Aws) -> str:
    """Return all keys and rows that hold anything of the item."""
    dynamodb, s3 = aws("dynamodb"), aws("s3")
    rows = [
        row
        for table in ("idempotency", "change-log", "aggregates")
        for row in dynamodb.scan(TableName=table)["Items"]
    ]
    objects = [
        (each["Key"], s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read())
        for bucket in ("dead-letters", "large-images", "given-up")
        for each in s3.list_objects_v2(Bucket=bucket).get("Contents", ())
    ]
    return repr([row for row in rows if "00004-0001" in str(row)]) + repr(
        [each for each in objects if "00004-0001" in str(each)]
    )


def test_all_that_was_written_goes(
    aws: Aws, context: LambdaContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison: Any = record(3, None, {**ANNA, "status": "lost"})
    batch: Any = {
        "Records": [record(1, None, ANNA), record(2, ANNA, None), record(4, None, BEN), poison]
    }
    aggregation.handler({"Records": [poison]}, context)
    for handler in (aggregation.handler, audit.handler):
        handler({"Records": batch["Records"][:3]}, context)
    version = change(1, None, ANNA).version
    marker = f"once/notifications/orders/S=00004/S=00004-0001/{version}"
    written: Any = {"id": {"S": marker}, "written_at": {"N": str(NOON)}}
    aws("dynamodb").put_item(TableName="idempotency", Item=written)
    s3 = aws("s3")
    body = json.dumps(given_up(batch["Records"])).encode()
    s3.put_object(Bucket="given-up", Key=lambdas_key("batch"), Body=body)

    (first,) = forget(context).items
    assert first.status is ForgetStatus.WAITING
    assert first.found == {
        "given-up": 1,
        "dead-letters": 1,
        "change-log": 2,
        "large-images": 2,
    }
    assert first.tombstones == {"markers": 1, "aggregation": 1}
    left = json.loads(s3.get_object(Bucket="given-up", Key=lambdas_key("batch"))["Body"].read())
    assert json.loads(left["payload"])["Records"] == [record(4, None, BEN)]
    assert "x" * 100 not in held(aws)

    monkeypatch.setattr(SystemClock, "now", lambda self: NOON + 1000.0 + 8 * DAY)
    (second,) = forget(context).items
    assert second.status is ForgetStatus.ERASED
    assert held(aws) == "[][]"
    receipt = aws("dynamodb").get_item(
        TableName="idempotency", Key={"id": {"S": f"erased/{second.receipt}"}}
    )["Item"]
    assert receipt.keys() == {"id", "began_at", "erased_at"}
    assert forget(context).items[0].status is ForgetStatus.NOTHING


def test_an_item_in_the_table_is_refused(aws: Aws, context: LambdaContext) -> None:
    batch: Any = {"Records": [record(1, None, BEN), record(2, None, ANNA)]}
    audit.handler(batch, context)
    aws("dynamodb").put_item(TableName="orders-1A2B", Item=serialize_item(ANNA))
    before = held(aws)
    assert forget(context).items[0].status is ForgetStatus.REFUSED
    assert held(aws) == before


def test_a_setting_that_is_missing_is_named(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ON_FAILURE_BUCKET")
    with pytest.raises(SettingsError, match="ON_FAILURE_BUCKET"):
        erasure.erasure()


def test_places_follow_the_settings(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("CHANGE_LOG_TABLE", "LARGE_IMAGES_BUCKET", "AGGREGATES_TABLE", "OWN_SINKS")
    for name in names:
        monkeypatch.delenv(name)
    made = erasure.erasure()
    assert [*made.places, *made.copies] == [
        *("given-up", "dead-letters", "given-up-earlier", "archive")
    ]
    erasure.erasure.cache_clear()
    monkeypatch.setenv("SEARCH_ENDPOINT", "http://127.0.0.1:9200")
    monkeypatch.setenv("SEARCH_INDEXES", '["orders", "customers"]')
    assert [*erasure.erasure().copies] == ["search-orders", "search-customers"]
