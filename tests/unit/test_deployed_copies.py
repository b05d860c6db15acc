"""The checker reads large images from S3, and the rows of the ledger that count."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from dynamodb_streams_cdc.entities import Entity, Table
from local.deployed.resources import Resources
from local.verify import DeployedCopies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient


TABLE = Table("orders", {"customer": "S", "order": "S"}, (Entity("order"),))


class Tables:
    """Scans one page after the other."""

    def __init__(self, **pages: list[list[dict[str, Any]]]) -> None:
        self._pages = pages

    def get_paginator(self, operation: str) -> Tables:
        assert operation == "scan"
        return self

    def paginate(self, *, TableName: str, ConsistentRead: bool) -> Iterator[dict[str, Any]]:
        assert ConsistentRead
        return ({"Items": items} for items in self._pages[TableName])

    def get_item(self, *, TableName: str, Key: Any, ConsistentRead: bool) -> Any:
        assert ConsistentRead
        items = (item for page in self._pages[TableName] for item in page)
        found = next((item for item in items if item["id"] == Key["id"]), None)
        return {} if found is None else {"Item": found}


def copies(tables: Tables, objects: dict[str, bytes] | None = None) -> DeployedCopies:
    return DeployedCopies(
        cast("DynamoDBClient", tables),
        TABLE,
        Resources("stack", "orders", "ledger", change_log="log", aggregates="aggregates"),
        image_store=(objects or {}).__getitem__,
    )


def test_large_images_are_read_with_their_entry() -> None:
    key = {"item": {"S": "orders/S=1/S=2"}, "version": {"S": "1"}}
    claim = {**key, "overflow": {"S": "digest/1.json"}}
    after = {
        "B": {"S": "an attribute of that name"},
        "raw": {"B": "AAEC"},
        "set": {"BS": ["AAEC", "Aw=="]},
        "deep": {"L": [{"M": {"B": {"B": "AAEC"}, "total": {"N": "29.33"}}}]},
    }
    stored = json.dumps({"before": None, "after": after}).encode()
    within = {**key, "after": {"M": {"total": {"N": "1"}}}}

    first, second = copies(Tables(log=[[claim], [within]]), {"digest/1.json": stored}).entries()

    assert "before" not in first
    assert first["overflow"] == "digest/1.json"
    assert first["after"] == {
        "B": "an attribute of that name",
        "raw": b"\x00\x01\x02",
        "set": {b"\x00\x01\x02", b"\x03"},
        "deep": [{"B": b"\x00\x01\x02", "total": Decimal("29.33")}],
    }
    assert type(first["after"]["raw"]) is bytes  # as functions of the domain get it
    assert second["after"] == {"total": Decimal(1)}


def test_the_ledger_is_the_rows_under_its_prefix() -> None:
    month = {"month#1997-01": {"M": {"orders": {"N": "1"}}}}
    rows: list[dict[str, Any]] = [
        {"id": {"S": "ledger/orders/S=1/S=2"}, "contribution": {"M": month}},
        {
            "id": {"S": "ledger/orders/S=1/S=3"},
            "contribution": {"M": {}},
            "deleted": {"BOOL": True},
        },
        {"id": {"S": "ship/orders/S=1/S=2"}},
    ]

    found = dict(copies(Tables(ledger=[rows])).ledger())

    assert found["orders/S=1/S=2"]["contribution"] == {"month#1997-01": {"orders": Decimal(1)}}
    assert found["orders/S=1/S=3"]["deleted"] is True
    assert len(found) == 2


def test_the_canary_is_neither_an_item_nor_compared() -> None:
    """The app writes it every few minutes: the checker would take it for an item too many."""
    canary, item = {"S": "cdc-canary"}, "orders/S=cdc-canary/S=cdc-canary"
    tables = Tables(
        orders=[[{"customer": canary, "order": canary}, {"customer": {"S": "4"}, "order": canary}]],
        log=[[{"item": {"S": item}}, {"item": {"S": "orders/S=1/S=2"}}]],
        ledger=[[{"id": {"S": f"ledger/{item}"}, "contribution": {"M": {}}}]],
    )
    found = copies(tables)
    assert list(found.items()) == [
        ("orders/S=4/S=cdc-canary", {"customer": "4", "order": "cdc-canary"})
    ]
    assert list(found.entries()) == [{"item": "orders/S=1/S=2"}]
    assert list(found.ledger()) == []


def test_sums_are_those_of_the_live_generation() -> None:
    row = {
        "aggregate": {"S": "month#1997-01"},
        "shard": {"N": "0"},
        "revision": {"N": "7"},
        "orders": {"N": "2"},
        "g1_orders": {"N": "3"},
    }
    read = {"aggregate": "month#1997-01", "shard": 0, "revision": 7}
    before = copies(Tables(aggregates=[[row]], ledger=[[]]))
    assert list(before.aggregates()) == [{**read, "orders": 2}]
    state = {"id": {"S": "generations/sums"}, "live": {"N": "1"}}
    after = copies(Tables(aggregates=[[row]], ledger=[[state]]))
    assert list(after.aggregates()) == [{**read, "orders": 3}]
