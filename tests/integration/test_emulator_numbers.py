"""The emulator finds an item by the value of a numeric key, as AWS does, with the fix."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from local.deployed.deployment import session
from local.services import service
from local.services.emulator import UNPATCHED
from tests.lambdas.conftest import create_table


def found(url: str, written: str, read: str) -> list[Any]:
    client = session(url).client("dynamodb")
    table = f"numbers-{uuid.uuid4()}"
    create_table(client, table, [("gate", "N")])
    client.put_item(TableName=table, Item={"gate": {"N": written}})
    key = {"gate": {"N": read}}
    many = client.batch_get_item(RequestItems={table: {"Keys": [key]}})["Responses"][table]
    one = client.get_item(TableName=table, Key=key)
    client.close()
    return [*many, *([one["Item"]] if "Item" in one else [])]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("-37.5", "-375E-1"),
        ("100", "1E2"),
        ("0", "-0.0"),
        ("0.001", "1E-3"),
        ("12345678901234567890123456789012345678", "12345678901234567890123456789012345678.0"),
    ],
)
def test_a_number_is_found_by_its_value(emulator_url: str, written: str, read: str) -> None:
    assert found(emulator_url, written, read) == [{"gate": {"N": written}}] * 2


def test_two_numbers_are_two_keys(emulator_url: str) -> None:
    digits = "1234567890123456789012345678901234567"
    assert found(emulator_url, f"{digits}8", f"{digits}9") == []


def test_the_fix_is_still_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(UNPATCHED, "1")
    with service.emulator() as engine:
        assert found(engine.url, "100", "1E2") == [], (
            "The emulator now compares numbers by itself: delete `fix_numbers` from "
            "local/services/emulator.py."
        )
