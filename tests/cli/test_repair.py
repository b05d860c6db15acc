"""`cdc repair`: keys go to the functions of the processors, which say what they did."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.cli.conftest import Cloud

TABLE = "orders-1A2B"
DONE = {"batchItemFailures": [], "repairable": True, "repaired": 1, "failures": []}
LOG = {**DONE, "repairable": False, "repaired": 0}


@pytest.fixture
def asked(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """Note what the functions are asked (search repairs, audit cannot); make the orders table."""
    client = cloud.client("dynamodb")
    keys = ["customer_id", "order_id"]
    client.create_table(
        TableName=TABLE,
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        KeySchema=[
            {"AttributeName": key, "KeyType": kind}
            for key, kind in zip(keys, ["HASH", "RANGE"], strict=True)
        ],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    for number in range(230):
        client.put_item(
            TableName=TABLE,
            Item={"customer_id": {"S": "00004"}, "order_id": {"S": f"{number}"}, "n": {"N": "1"}},
        )
    found: list[tuple[str, Any]] = []

    def invoke(processor: str, event: Mapping[str, Any]) -> Any:
        found.append((processor, event))
        return DONE if processor == "search" else LOG

    monkeypatch.setattr(cloud.office, "invoke", invoke)
    return found


def test_one_item_by_its_keys(cloud: Cloud, asked: list[tuple[str, Any]]) -> None:
    done = cloud.run("repair", "customer_id=00004", "order_id=7")
    assert done.exit_code == 0, done.output
    assert "1 item compared; copies repaired: 1 of search." in done.output
    assert [processor for processor, _ in asked] == ["audit", "search"]
    event = asked[-1][1]
    assert event["operation"] == "repair"
    assert event["Records"] == [{"Keys": {"customer_id": {"S": "00004"}, "order_id": {"S": "7"}}}]
    assert f"table/{TABLE}/stream/" in event["streamArn"]


def test_every_item_a_hundred_at_a_time(cloud: Cloud, asked: list[tuple[str, Any]]) -> None:
    done = cloud.run("repair", "--all", "--json")
    assert json.loads(done.stdout) == {
        "items": 230,
        "repaired": {"search": 3},
        "failures": [],
        "interrupted": False,
    }
    sizes = [len(event["Records"]) for processor, event in asked if processor == "search"]
    assert sizes == [100, 100, 30]
    assert [processor for processor, _ in asked].count("audit") == 1
    assert {frozenset(each["Keys"]) for each in asked[-1][1]["Records"]} == {
        frozenset({"customer_id", "order_id"})
    }


def test_what_could_not_be_repaired_is_named(
    cloud: Cloud, asked: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    failure = {
        "position": 0,
        "item": "orders/S=00004/S=7",
        "version": None,
        "reason": "ValidationError",
        "error": "status [lost]",
        "retryable": False,
    }
    answer = {**DONE, "repaired": 0, "failures": [failure]}
    monkeypatch.setattr(cloud.office, "invoke", lambda processor, event: answer)
    done = cloud.run("repair", "customer_id=00004", "order_id=7", "--processor", "search")
    assert done.exit_code == 1
    assert "status [lost]" in done.output
    assert "orders/S=00004/S=7" in done.output


def test_a_log_is_not_repaired(cloud: Cloud, asked: list[tuple[str, Any]]) -> None:
    done = cloud.run("repair", "--all", "-p", "audit")
    assert done.exit_code == 1
    assert "cdc redrive" in done.output
    assert len(asked) == 1


def test_an_older_function_is_told_from_a_healthy_one(
    cloud: Cloud, asked: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud.office, "invoke", lambda *_: {"batchItemFailures": []})
    done = cloud.run("repair", "--all")
    assert done.exit_code == 1
    assert "does not know the operation repair" in done.output


def test_a_table_without_a_stream_has_no_copies(cloud: Cloud, asked: list[tuple[str, Any]]) -> None:
    cloud.client("dynamodb").update_table(
        TableName=TABLE, StreamSpecification={"StreamEnabled": False}
    )
    done = cloud.run("repair", "--all")
    assert done.exit_code == 1
    assert "has no stream" in done.output
    assert asked == []


@pytest.mark.parametrize("words", [(), ("customer_id=1", "--all"), ("customer_id",)])
def test_wrong_use_is_told(cloud: Cloud, asked: list[tuple[str, Any]], words: Any) -> None:
    done = cloud.run("repair", *words)
    assert done.exit_code == 2, done.output
    assert asked == []


def test_ctrl_c_says_what_was_done(
    cloud: Cloud, asked: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def invoke(processor: str, event: Any) -> Any:
        calls.append(processor)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return DONE

    monkeypatch.setattr(cloud.office, "invoke", invoke)
    done = cloud.run("repair", "--all")
    assert done.exit_code == 130
    assert "Interrupted" in done.output
    assert "100 items compared" in done.output
