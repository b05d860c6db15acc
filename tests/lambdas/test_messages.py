"""The notifications send one message for each state that an item reaches, against moto."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.sns.models import sns_backends

from dynamodb_streams_cdc import Change, ChangeKind, LambdaContext
from dynamodb_streams_cdc.canary import canary_item
from dynamodb_streams_cdc.sinks.log_entries import entry_of
from lambdas import runtime
from lambdas.notifications import handler as notifications
from tests.factories import FakeContext, ManualClock, change, customer, order, record
from tests.lambdas.conftest import with_notifications
from tests.lambdas.test_stream_handlers import DONE, dead_letters, event, rows

Aws = Callable[[str], Any]
PLACED, SHIPPED, REFUNDED = order(), order(status="shipped"), order(status="refunded")
MESSAGE = "Order 00004-0001 is refunded: 29.33 USD."


@pytest.fixture(autouse=True)
def topic(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(runtime, "TABLES", with_notifications())
    arn: str = aws("sns").create_topic(Name="notices")["TopicArn"]
    return arn


def sent(topic: str) -> list[str]:
    backend = sns_backends[DEFAULT_ACCOUNT_ID]["us-east-1"]
    return [message for _, message, *_ in backend.topics[topic].sent_notifications]


def test_a_message_is_sent_once_when_the_state_is_reached(
    aws: Aws, context: LambdaContext, topic: str
) -> None:
    batch = event(
        record(1, None, PLACED),
        record(2, PLACED, REFUNDED),
        record(3, REFUNDED, {**REFUNDED, "updated_by": "a clerk"}),
        record(4, None, customer()),
        record(5, None, order("00005-1", status="refunded")),
    )
    for _ in range(2):
        assert notifications.handler(batch, context) == DONE
    assert sent(topic) == [MESSAGE, "Order 00005-1 is refunded: 29.33 USD."]
    assert sorted(row["id"].rpartition("/")[0] for row in rows(aws, "idempotency")) == [
        "once/notifications/orders/S=00004/S=00004-0001/0001/2024-05-01T12:00:00.000",
        "once/notifications/orders/S=00005/S=00005-1/0001/2024-05-01T12:00:00.000",
    ]


def test_other_entities_are_skipped(
    aws: Aws, context: LambdaContext, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = event(record(1, None, customer()), record(2, customer(), None))
    assert notifications.handler(batch, context) == DONE
    assert json.loads(capsys.readouterr().out)["Skipped"] == 2
    assert sent(topic) == []
    assert rows(aws, "idempotency") == []


def test_a_state_that_is_reached_again_sends_again(context: LambdaContext, topic: str) -> None:
    batch = event(
        record(1, PLACED, REFUNDED), record(2, REFUNDED, SHIPPED), record(3, SHIPPED, REFUNDED)
    )
    assert notifications.handler(batch, context) == DONE
    assert sent(topic) == [MESSAGE, MESSAGE]


def test_the_change_is_read_from_the_change_log(
    aws: Aws, context: LambdaContext, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEED", "change-log")
    refunded = record(7, None, {"item": "x", "version": "y"}, keys=("item", "version"))
    refunded["dynamodb"] |= {
        "NewImage": entry_of(change(2, PLACED, REFUNDED)),
        "StreamViewType": "NEW_IMAGE",
    }
    assert notifications.handler(event(refunded), context) == DONE
    assert sent(topic) == [MESSAGE]


def test_without_the_topic_the_change_is_reported(aws: Aws, topic: str) -> None:
    aws("sns").delete_topic(TopicArn=topic)
    brief = FakeContext(ManualClock(), seconds=0.4)
    [failure] = notifications.handler(event(record(1, PLACED, REFUNDED)), brief)[
        "batchItemFailures"
    ]
    assert failure["itemIdentifier"] == "100000000003126276362"
    assert dead_letters(aws) == []
    assert not any(row["id"].startswith("once/") for row in rows(aws, "idempotency"))


def test_an_invalid_order_is_a_dead_letter_and_sends_nothing(
    aws: Aws, context: LambdaContext, topic: str
) -> None:
    batch = event(
        record(1, None, order(status="lost")),
        record(2, None, order("00005-1", status="refunded")),
    )
    assert notifications.handler(batch, context) == DONE
    assert len(dead_letters(aws)) == 1
    assert sent(topic) == ["Order 00005-1 is refunded: 29.33 USD."]


def test_messages_that_are_too_long_are_dead_letters(
    aws: Aws, context: LambdaContext, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five of them looked like a fault of the topic, and blocked the shard for its 20 hours."""
    publish = notifications.publish

    def at_length(topic: str, message: str, change: Change) -> None:
        publish(topic, message if "9-1" in message else message * 10_000, change)

    monkeypatch.setattr(notifications, "publish", at_length)
    placed = [record(n, None, order(f"0000{n}-1", status="refunded")) for n in range(1, 10)]
    healthy = [record(10 + n, None, order(f"00{n}-1", status="placed")) for n in range(20)]
    assert notifications.handler(event(*placed, *healthy), context) == DONE
    assert len(dead_letters(aws)) == 8
    assert sent(topic) == ["Order 00009-1 is refunded: 29.33 USD."]


def test_a_corrected_order_sends_its_message(aws: Aws, context: LambdaContext, topic: str) -> None:
    refused = {name: value for name, value in PLACED.items() if name != "total"}
    assert notifications.handler(event(record(2, refused, REFUNDED)), context) == DONE
    assert dead_letters(aws) == []
    assert sent(topic) == [MESSAGE]


def test_an_insert_needs_no_old_images(aws: Aws, context: LambdaContext, topic: str) -> None:
    batch = event(record(1, None, REFUNDED, view_type="NEW_IMAGE"))
    assert notifications.handler(batch, context) == DONE
    assert dead_letters(aws) == []
    assert sent(topic) == [MESSAGE]


def test_a_backfill_sends_nothing(
    aws: Aws, context: LambdaContext, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEED", "change-log")
    read = replace(change(1, None, REFUNDED), kind=ChangeKind.BACKFILL)
    entry = record(7, None, {"item": "x", "version": "y"}, keys=("item", "version"))
    entry["dynamodb"] |= {"NewImage": entry_of(read), "StreamViewType": "NEW_IMAGE"}
    assert notifications.handler(event(entry), context) == DONE
    assert dead_letters(aws) == []
    assert sent(topic) == []


def test_the_canary_is_counted_and_sends_nothing(
    context: LambdaContext, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    canary = record(1, None, PLACED)
    item = canary_item({"customer_id": "S", "order_id": "S"}, 1.0)
    canary["dynamodb"] |= {
        "Keys": {name: item[name] for name in ("customer_id", "order_id")},
        "NewImage": item,
    }
    assert notifications.handler(event(canary), context) == DONE
    assert sent(topic) == []
    assert json.loads(capsys.readouterr().out)["Canaries"] == 1


def test_a_repair_has_nothing_to_do(context: LambdaContext) -> None:
    keys = record(1, PLACED, REFUNDED)["dynamodb"]["Keys"]
    stream = "arn:aws:dynamodb:us-east-1:1:table/t/stream/2024-05-01T12:00:00.000"
    request: Any = {"operation": "repair", "streamArn": stream, "Records": [{"Keys": keys}]}
    assert notifications.handler(request, context)["repairable"] is False  # type: ignore[typeddict-item]
