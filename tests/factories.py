"""Records as Lambda delivers them, orders, and what an invocation brings along."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from dynamodb_streams_cdc import Change, Deadline, Source, serialize_item
from dynamodb_streams_cdc.deadline import Clock
from dynamodb_streams_cdc.deserializer import base64_text

LABEL = "2024-05-01T12:00:00.000"
STREAM = f"arn:aws:dynamodb:us-east-1:000000000000:table/orders-1A2B/stream/{LABEL}"
SOURCE = Source("orders", actor_attribute="updated_by")
NOON = 1_714_564_800
"""2024-05-01T12:00:00Z."""

TTL_IDENTITY = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}


def order(
    number: str = "00004-0001",
    *,
    status: str = "placed",
    total: str = "29.33",
    placed_at: str = "1997-01-01T00:00:00Z",
    **others: Any,
) -> dict[str, Any]:
    """Return an order as the application writes it."""
    return {
        "customer_id": number.partition("-")[0],
        "order_id": number,
        "status": status,
        "placed_at": placed_at,
        "total": Decimal(total),
        "currency": "USD",
        "lines": [{"title": "CD", "quantity": 2, "amount": Decimal(total)}],
        "updated_by": "shop",
        **others,
    }


def customer(number: str = "00004", **others: Any) -> dict[str, Any]:
    """Return a customer as the application writes it, next to the customer's orders."""
    return {
        "customer_id": number,
        "order_id": "PROFILE",
        "name": "A. Reader",
        "segment": "regular",
        "since": "1997-01-01T00:00:00Z",
        "updated_by": "shop",
        **others,
    }


def as_delivered(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item as JSON carries it in an event: typed, with binary as base64 text."""
    delivered: dict[str, Any] = json.loads(json.dumps(serialize_item(item), default=base64_text))
    return delivered


def record(
    sequence: int,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    *,
    keys: tuple[str, ...] = ("customer_id", "order_id"),
    view_type: str = "NEW_AND_OLD_IMAGES",
    timestamp: float | None = None,
    **others: Any,
) -> dict[str, Any]:
    """Return a stream record of a change between two states of an item, in plain Python."""
    state = after if after is not None else before
    assert state is not None
    body: dict[str, Any] = {
        "ApproximateCreationDateTime": float(NOON + sequence if timestamp is None else timestamp),
        "Keys": as_delivered({name: state[name] for name in keys}),
        "SequenceNumber": f"{sequence}00000000003126276362",
        "SizeBytes": 70,
        "StreamViewType": view_type,
    }
    if before is not None and view_type in ("OLD_IMAGE", "NEW_AND_OLD_IMAGES"):
        body["OldImage"] = as_delivered(before)
    if after is not None and view_type in ("NEW_IMAGE", "NEW_AND_OLD_IMAGES"):
        body["NewImage"] = as_delivered(after)
    kind = "INSERT" if before is None else "REMOVE" if after is None else "MODIFY"
    return {
        "eventID": f"{sequence:032x}",
        "eventName": kind,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": body,
        "eventSourceARN": STREAM,
        **others,
    }


def change(
    sequence: int, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, **others: Any
) -> Change:
    """Return the change between two states of an item."""
    return Change.from_record(record(sequence, before, after, **others), SOURCE)


@dataclass
class ManualClock:
    """Time that passes only when a caller sleeps."""

    time: float = NOON + 1000.0
    slept: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


@dataclass
class FakeContext:
    """The context of an invocation that began with `seconds` on `clock`."""

    clock: Clock
    seconds: float = 60.0
    aws_request_id: str = "5f6b-request"
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:000000000000:function:orders"

    def __post_init__(self) -> None:
        self.ends = self.clock.now() + self.seconds

    def get_remaining_time_in_millis(self) -> int:
        return int((self.ends - self.clock.now()) * 1000)


def deadline(seconds: float = 60.0) -> Deadline:
    """Return a deadline on a clock of its own."""
    clock = ManualClock()
    return Deadline(clock, clock.now() + seconds, jitter=lambda: 1.0)


class Speechless(Exception):
    """An error whose text fails."""

    def __str__(self) -> str:
        return self.args[0]  # type: ignore[no-any-return]  # which is the fault
