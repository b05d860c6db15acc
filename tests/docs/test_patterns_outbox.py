"""docs/explanation/patterns.md: the outbox."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from dynamodb_streams_cdc import Change, ChangeHandlers, Processor, Source, serialize_item
from dynamodb_streams_cdc.testing import Lab, LabFactory
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

pytest_plugins = ["dynamodb_streams_cdc.testing.fixtures"]

OUTBOX = Source("outbox")
INSERTS = {"FilterCriteria": {"Filters": [{"Pattern": '{"eventName": ["INSERT"]}'}]}}
REPORTING = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}


def place(client: "DynamoDBClient", order: str, total: int) -> None:
    """Place an order and say so: both, or neither."""
    state = {"id": order, "status": "placed", "total": total, "revision": 1}
    told = {"event": f"{order}/1", "order": order, "revision": 1, "type": "OrderPlaced"}
    client.transact_write_items(
        TransactItems=[
            {
                "Put": {
                    "TableName": "orders",
                    "Item": serialize_item(state),
                    "ConditionExpression": "attribute_not_exists(id)",
                }
            },
            {"Put": {"TableName": "outbox", "Item": serialize_item(told)}},
        ]
    )


@mock_aws
def test_a_refused_order_publishes_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    client = boto3.client("dynamodb", region_name="us-east-1")
    for table, key in (("orders", "id"), ("outbox", "event")):
        client.create_table(
            TableName=table,
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
    place(client, "1001", 30)
    with pytest.raises(client.exceptions.TransactionCanceledException):
        place(client, "1001", 40)
    assert client.scan(TableName="outbox")["Count"] == 1


@dataclass
class Bus:
    """An event bus."""

    published: list[Mapping[str, Any]] = field(default_factory=list)

    def publish(self, event: Mapping[str, Any]) -> None:
        self.published.append(event)


def publishing(lab: Lab, bus: Bus) -> None:
    handlers = ChangeHandlers()
    port = lab.faulty(bus)

    @handlers.on_insert
    def publish(change: Change) -> None:
        port.publish(change.new_image or {})

    lab.function(Processor("publisher", OUTBOX, handlers, MemoryDeadLetters(), clock=lab.clock))


def event(order: str, revision: int, kind: str) -> dict[str, Any]:
    return {"event": f"{order}/{revision}", "order": order, "revision": revision, "type": kind}


def test_an_event_is_published_again_after_a_crash(stream_lab: LabFactory) -> None:
    lab = stream_lab(keys=("event",), **INSERTS, **REPORTING)
    bus = Bus()
    publishing(lab, bus)

    lab.crash_after("publish")
    lab.put(event("1001", 1, "OrderPlaced"))
    lab.run()

    assert [told["event"] for told in bus.published] == ["1001/1", "1001/1"]


def test_an_earlier_event_may_come_after_a_later_one(stream_lab: LabFactory) -> None:
    lab = stream_lab(keys=("event",), ParallelizationFactor=10, **INSERTS, **REPORTING)
    bus = Bus()
    publishing(lab, bus)

    lab.lose_answer("publish")
    lab.put(event("1001", 1, "OrderPlaced"), event("1001", 2, "OrderShipped"))
    lab.run()

    assert [told["revision"] for told in bus.published] == [1, 2, 1]


@dataclass
class Listener:
    """A consumer of events that neither repeats nor goes back."""

    heard: dict[str, int] = field(default_factory=dict)
    status: dict[str, str] = field(default_factory=dict)

    def hear(self, told: Mapping[str, Any]) -> None:
        if told["revision"] > self.heard.get(told["order"], 0):
            self.heard[told["order"]] = int(told["revision"])
            self.status[told["order"]] = told["type"]


def test_a_listener_skips_old_revisions(stream_lab: LabFactory) -> None:
    lab = stream_lab(keys=("event",), ParallelizationFactor=10, **INSERTS, **REPORTING)
    bus, listener = Bus(), Listener()
    publishing(lab, bus)

    lab.lose_answer("publish")
    lab.put(event("1001", 1, "OrderPlaced"), event("1001", 2, "OrderShipped"))
    lab.run()
    for told in bus.published:
        listener.hear(told)

    assert listener.status == {"1001": "OrderShipped"}


def test_clearing_the_outbox_publishes_no_event(stream_lab: LabFactory) -> None:
    lab = stream_lab(keys=("event",), **INSERTS, **REPORTING)
    bus = Bus()
    publishing(lab, bus)

    lab.put(event("1001", 1, "OrderPlaced"))
    lab.run()
    lab.expire({"event": "1001/1"})
    lab.run()

    assert len(bus.published) == 1
    assert lab.delivered == [["INSERT 1001/1"]]
    assert lab.metrics["FilteredOutEventCount"] == 1
