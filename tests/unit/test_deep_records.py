"""A record that no table holds becomes a dead letter that can be shown, with any content."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from dynamodb_streams_cdc import (
    Aggregation,
    ChangeLog,
    Search,
    Sink,
)
from dynamodb_streams_cdc.dead_letters import MOST_LEVELS, json_ready
from dynamodb_streams_cdc.operations.dead_letter_store import (
    DeployedNames,
    ReadableDeadLetter,
    parse_dead_letter,
)
from dynamodb_streams_cdc.testing.memory import (
    MemoryIndex,
    MemoryLedger,
    MemoryLog,
)
from tests.factories import NOON, order, record
from tests.unit.bench import Bench

FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:orders"
SINKS: dict[str, Callable[[], Sink]] = {
    "aggregation": lambda: Aggregation(MemoryLedger(), lambda image: {"all": {"orders": 1}}),
    "audit": lambda: ChangeLog(MemoryLog()),
    "search": lambda: Search(MemoryIndex(), dict),
}


def deep(tag: str) -> dict[str, Any]:
    """Return an attribute value of 5,000 levels."""
    value: dict[str, Any] = {"S": "leaf"}
    for _ in range(5000):
        value = {"L": [value]} if tag == "L" else {"M": {"in": value}}
    return value


def spoilt(place: str, tag: str) -> dict[str, Any]:
    body = record(2, order(), order(status="shipped"), timestamp=NOON)
    holder = (
        body
        if place in ("userIdentity", "eventID", "eventSourceARN", "unknown")
        else body["dynamodb"]
    )
    holder[place] = {"where": deep(tag)}
    return body


PLACES = ["NewImage", "OldImage", "Keys", "SequenceNumber", "StreamViewType", "eventID", "unknown"]
PLACES += ["eventSourceARN", "ApproximateCreationDateTime", "userIdentity"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", SINKS)
@pytest.mark.parametrize("tag", ["L", "M"])
def test_a_deep_record_is_applied_or_a_dead_letter(name: str, place: str, tag: str) -> None:
    bench = Bench(SINKS[name](), name=name)
    good = record(1, None, order("00009-0001"), timestamp=NOON)
    assert bench.run(good, spoilt(place, tag)) == []
    for key, dead_letter in bench.dead_letters.dead_letters.items():
        body = json.dumps(dead_letter.envelope()).encode()
        opened = parse_dead_letter(key, body, DeployedNames({"orders": name}))
        assert isinstance(opened, ReadableDeadLetter)
        assert "nested deeper than" in body.decode()
        assert "eventName" in opened.records[0]
    if place not in ("OldImage", "userIdentity", "unknown"):
        assert len(bench.dead) == 1


def test_a_dead_letter_keeps_all_levels_of_a_table() -> None:
    value: dict[str, Any] = {"S": "leaf"}
    for _ in range(32):
        value = {"M": {"in": value}}
    body = {"dynamodb": {"NewImage": {"where": value}}}
    assert json_ready(body) == body
    assert MOST_LEVELS < 500


def test_a_dead_letter_keeps_what_an_api_client_returns() -> None:
    body = {"at": datetime(2024, 5, 1, 12, tzinfo=UTC), "photo": {"B": b"\x00\xff"}}
    assert json_ready(body) == {"at": float(NOON), "photo": {"B": "AP8="}}
