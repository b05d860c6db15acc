"""`cdc repair`: keys go to the functions of the processors, which say what they did."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from dynamodb_streams_cdc.control.functions import InvocationFailed
from dynamodb_streams_cdc.operations.redrive import PATIENCE
from tests.cli.conftest import PROCESSORS, Cloud, fail, refusal
from tests.lambdas.conftest import create_table

Asked: TypeAlias = list[tuple[str, Mapping[str, Any]]]
"""Processors and events."""

TABLE = "orders-1A2B"
ITEM = ("customer_id=00004", "order_id=7")
DONE = {"batchItemFailures": [], "repairable": True, "repaired": 1, "gone": 0, "failures": []}
LOG = {**DONE, "repairable": False, "repaired": 0}


@pytest.fixture
def asked(cloud: Cloud) -> Asked:
    """Make the orders table; search repairs, audit cannot. Returns what the functions are asked."""
    client = cloud.client("dynamodb")
    create_table(client, TABLE, [("customer_id", "S"), ("order_id", "S")])
    stream = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    client.update_table(TableName=TABLE, StreamSpecification=stream)
    items = [
        {"customer_id": {"S": "00004"}, "order_id": {"S": f"{number}"}, "n": {"N": "1"}}
        for number in range(230)
    ]
    for first in range(0, 230, 25):
        puts = [{"PutRequest": {"Item": item}} for item in items[first : first + 25]]
        client.batch_write_item(RequestItems={TABLE: puts})
    cloud.pipeline.answers |= {"search": DONE, "audit": LOG}
    return cloud.pipeline.invocations


def test_one_item_by_its_keys(cloud: Cloud, asked: Asked) -> None:
    done = cloud.run("repair", *ITEM)
    assert done.exit_code == 0, done.output
    assert "1 item compared; copies repaired: 1 of search." in done.output
    assert "audit was not repaired: its sink keeps no copies that" in done.output
    assert [processor for processor, _ in asked] == ["audit", "search"]
    event = asked[-1][1]
    assert event["operation"] == "repair"
    assert event["Records"] == [{"Keys": {"customer_id": {"S": "00004"}, "order_id": {"S": "7"}}}]
    assert f"table/{TABLE}/stream/" in event["streamArn"]


def test_every_item_a_hundred_at_a_time(cloud: Cloud, asked: Asked) -> None:
    assert cloud.json("repair", "--all") == {
        "items": 230,
        "repaired": {"search": 3},
        "gone": {"search": 0},
        "failures": [],
        "problems": [],
        "not_repairable": ["audit"],
        "interrupted": False,
        "failed": False,
        "complete": True,
    }
    assert sizes(asked) == [100, 100, 30]
    assert [processor for processor, _ in asked].count("audit") == 1
    assert {frozenset(each["Keys"]) for each in asked[-1][1]["Records"]} == {
        frozenset({"customer_id", "order_id"})
    }


def test_an_item_that_cannot_be_repaired_is_named(cloud: Cloud, asked: Asked) -> None:
    failure = {
        "position": 0,
        "item": "orders/S=00004/S=7",
        "version": None,
        "reason": "ValidationError",
        "error": "status [lost]",
        "retryable": False,
    }
    cloud.pipeline.answers["search"] = {**DONE, "repaired": 0, "failures": [failure]}
    done = cloud.run("repair", *ITEM, "--processor", "search")
    assert done.exit_code == 1
    assert "status [lost]" in done.output
    assert "orders/S=00004/S=7" in done.output
    assert "0 items compared; copies repaired: 0 of search." in done.output


def test_a_log_is_not_repaired(cloud: Cloud, asked: Asked) -> None:
    done = cloud.run("repair", "--all", "-p", "audit")
    assert done.exit_code == 1
    assert "cdc redrive" in done.output
    assert len(asked) == 1


def down(count: int, *, retryable: bool = True) -> dict[str, Any]:
    failure = {"item": "i", "version": "v", "reason": "RetryableError", "error": "down"}
    failures = [{**failure, "position": n, "retryable": retryable} for n in range(count)]
    return {**DONE, "repaired": 0, "failures": failures}


def sizes(asked: Asked) -> list[int]:
    """Return how many items each question to search was about."""
    return [len(event["Records"]) for processor, event in asked if processor == "search"]


def test_a_sink_that_is_down_ends_the_run(
    cloud: Cloud, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dynamodb_streams_cdc.operations.repair.AT_ONCE", 50)
    cloud.pipeline.answers["search"] = lambda event: down(len(event["Records"]))
    document = cloud.json("repair", "--all", status=1)
    assert sizes(asked) == [50, 50] * PATIENCE
    assert document["items"] == 0
    assert [failure["others"] for failure in document["failures"]] == [49] * PATIENCE
    [problem] = document["problems"]
    assert "RetryableError: down" in problem
    assert "run it again with --processor search" in problem
    told = cloud.run("repair", "--all")
    assert problem in told.stdout
    assert "i and 49 more" in told.stdout


def test_retryable_failures_are_repeated_once(cloud: Cloud, asked: Asked) -> None:
    second = down(3)
    second["failures"][1]["retryable"] = False
    answers = iter([DONE, {**second, "gone": 4}, {**DONE, "gone": 1}, DONE])
    cloud.pipeline.answers["search"] = lambda event: next(answers)
    document = cloud.json("repair", "--all", status=1)
    assert sizes(asked) == [100, 100, 2, 30]
    assert (document["repaired"], document["problems"]) == ({"search": 3}, [])
    assert document["gone"] == {"search": 5}
    assert [failure["retryable"] for failure in document["failures"]] == [False]


def test_an_item_that_kills_the_function_is_found(cloud: Cloud, asked: Asked) -> None:
    def but_for_one(event: Mapping[str, Any]) -> Any:
        if any(each["Keys"]["order_id"]["S"] == "7" for each in event["Records"]):
            return InvocationFailed("out of memory", "Runtime.ExitError")
        return {**DONE, "repaired": len(event["Records"])}

    cloud.pipeline.answers["search"] = but_for_one
    document = cloud.json("repair", "--all", status=1)
    assert (document["items"], document["repaired"]) == (229, {"search": 229})
    [failure] = document["failures"]
    assert json.loads(failure["item"])["order_id"] == {"S": "7"}
    assert (failure["reason"], failure["retryable"]) == ("Runtime.ExitError", False)


def test_the_report_is_printed_after_an_error(cloud: Cloud, asked: Asked) -> None:
    cloud.fails = fail(refusal("ExpiredTokenException", "Invoke"), "Invoke", at=3)
    done = cloud.run("repair", "--all", "--json")
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert (report["items"], report["complete"], report["failed"]) == (200, False, True)
    assert done.stderr == "The AWS credentials have expired: sign in again.\n"


@pytest.mark.parametrize(
    "answer",
    [
        {"repairable": True, "failures": []},
        {"repairable": True, "failures": [], "repaired": "1"},
        {"repairable": 1, "failures": [], "repaired": 1},
        {"repairable": True, "failures": None, "repaired": 1},
        {"repairable": True, "failures": {}, "repaired": 1},
        {"repairable": True, "failures": [{}], "repaired": 1},
        {"batchItemFailures": []},
        "task timed out",
        None,
    ],
)
def test_a_malformed_response_repairs_nothing(cloud: Cloud, asked: Asked, answer: Any) -> None:
    cloud.pipeline.answers |= dict.fromkeys(PROCESSORS, answer)
    done = cloud.run("repair", *ITEM)
    assert done.exit_code == 1
    assert "does not know the operation repair" in done.stdout


def test_a_table_without_a_stream_has_no_copies(cloud: Cloud, asked: Asked) -> None:
    cloud.client("dynamodb").update_table(
        TableName=TABLE, StreamSpecification={"StreamEnabled": False}
    )
    done = cloud.run("repair", "--all")
    assert done.exit_code == 1
    assert "has no stream" in done.output
    assert asked == []


def test_only_processors_of_the_table_repair(cloud: Cloud, asked: Asked) -> None:
    cloud.manifest["source_tables"].append({**cloud.table, "name": "invoices"})
    cloud.manifest["processors"][0]["source_table"] = "invoices"
    assert cloud.run("repair", *ITEM).exit_code == 2
    assert cloud.run("repair", *ITEM, "--table", "orders").exit_code == 0
    assert [processor for processor, _ in asked] == ["search"]


@pytest.mark.parametrize("words", [(), ("customer_id=1", "--all"), ("customer_id",)])
def test_wrong_use(cloud: Cloud, asked: Asked, words: Any) -> None:
    done = cloud.run("repair", *words)
    assert done.exit_code == 2, done.output
    assert asked == []


def test_ctrl_c_prints_the_report(cloud: Cloud, asked: Asked) -> None:
    cloud.fails = fail(KeyboardInterrupt(), "Invoke", at=2)
    done = cloud.run("repair", "--all")
    assert done.exit_code == 130
    assert "Interrupted" in done.output
    assert "100 items compared" in done.output


def test_keys_without_an_item_are_reported(cloud: Cloud, asked: Asked) -> None:
    cloud.pipeline.answers["search"] = {**DONE, "gone": 1}
    done = cloud.run("repair", "customer_id=00004", "order_id=nosuch")
    assert done.exit_code == 0
    assert "Not in the table: 1 item; no copy shows them, and tombstones have" in done.output


def test_the_identity_that_verify_shows_is_taken(cloud: Cloud, asked: Asked) -> None:
    assert cloud.run("repair", "orders/S=00004/S=00004-0002").exit_code == 0
    [event, *_] = [event for _, event in asked]
    keys = {"customer_id": {"S": "00004"}, "order_id": {"S": "00004-0002"}}
    assert event["Records"] == [{"Keys": keys}]


@pytest.mark.parametrize("word", ["orders/S=00004", "other/S=00004/S=1", "customer_id:N=4"])
def test_keys_of_another_form_are_refused(cloud: Cloud, asked: Asked, word: str) -> None:
    words = [word, *(["order_id=1"] if ":N" in word else [])]
    assert cloud.run("repair", *words).exit_code == 2
    assert asked == []


def test_unknown_key_names_are_refused(cloud: Cloud, asked: Asked) -> None:
    done = cloud.run("repair", "customer=00004", "order_id=7")
    assert done.exit_code == 2
    assert "are customer_id:S, order_id:S, got customer:S, order_id:S" in done.output
    assert asked == []


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("1e200", "customer_id: a number must be"),
        *((text, "is not a number, as in 7, -0.5 or 1e3") for text in ("NaN", "1_000", "\u0663")),
        *((text, "is not a number, as in 7, -0.5 or 1e3") for text in (" 7", "7\n", "0x1", ".")),
    ],
)
def test_a_number_that_no_key_can_be_is_refused(
    cloud: Cloud, asked: Asked, number: str, said: str
) -> None:
    cloud.table["keys"] = {"customer_id": "N"}
    result = cloud.run("repair", f"customer_id={number}")
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert asked == []


@pytest.mark.parametrize("number", ["7", "+7.0", "0.7e1", "70E-1", "7."])
def test_a_number_is_taken_in_every_form_of_it(cloud: Cloud, asked: Asked, number: str) -> None:
    cloud.table["keys"] = {"customer_id": "N"}
    assert cloud.run("repair", f"customer_id={number}").exit_code == 0
    [keys] = asked[-1][1]["Records"]
    assert float(keys["Keys"]["customer_id"]["N"]) == 7


@pytest.mark.parametrize("command", ["repair", "forget"])
def test_an_input_that_is_not_utf_8_is_refused(
    cloud: Cloud, asked: Asked, command: str, tmp_path: Path
) -> None:
    (tmp_path / "latin").write_bytes(b"\xff")
    for source in ("-", str(tmp_path / "latin")):
        result = cloud.run(command, "--from", source, input=b"\xff")
        assert result.exit_code == 2, result.output
        assert f"--from: {source} cannot be read" in result.output
    assert asked == []
