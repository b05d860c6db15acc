"""`cdc forget`: which items go to the function that erases, and what a person is told."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from dynamodb_streams_cdc.control.functions import InvocationFailed
from dynamodb_streams_cdc.operations.errors import UsageError
from dynamodb_streams_cdc.operations.forget import keys_of_lines
from dynamodb_streams_cdc.operations.manifest import DeployedTable
from tests.cli.conftest import Cloud, fail, refusal

ITEM = ("customer_id=00004", "order_id=7")
ID = "orders/S=00004/S=7"
DUE = 4_102_444_800.0
"""2100-01-01T00:00:00Z."""

Answers = Callable[[Mapping[str, Any]], Any]


def answer(**others: Any) -> dict[str, Any]:
    return {
        "place": "change-log",
        "found": {},
        "tombstones": {},
        "present": [],
        "blocked": {},
        "unclear": [],
        "revisions": {},
        "due": {},
        "at": None,
        "problem": "",
        **others,
    }


def erasing(
    erase: Mapping[str, Any], find: Mapping[str, Any], receipts: Mapping[str, str] | None = None
) -> Answers:
    """Return the answers of a function to each operation."""

    def answered(event: Mapping[str, Any]) -> Any:
        match event["operation"]:
            case "erase":
                return answer(**erase)
            case "find":
                return answer(**find)
        return {"receipts": receipts or {}}

    return answered


@pytest.fixture
def asked(cloud: Cloud) -> list[tuple[str, Mapping[str, Any]]]:
    cloud.add_erasure()
    cloud.pipeline.answers["erasure"] = erasing({}, {})
    return cloud.pipeline.invocations


def test_what_waits_says_until_when(cloud: Cloud, asked: Any) -> None:
    cloud.pipeline.answers["erasure"] = erasing(
        {"found": {ID: 12}}, {"tombstones": {ID: 1}, "revisions": {ID: 3}, "due": {ID: DUE}}
    )
    done = cloud.run("forget", *ITEM, "--yes")
    assert done.exit_code == 1
    assert "waiting" in done.output
    assert "12 change-log" in done.output
    assert "run it again after 2100-01-01T00:00:00Z" in done.output
    event = asked[0][1]
    assert event["Records"] == [{"Keys": {"customer_id": {"S": "00004"}, "order_id": {"S": "7"}}}]


def test_a_complete_erasure_gives_its_receipt(cloud: Cloud, asked: Any) -> None:
    cloud.pipeline.answers["erasure"] = erasing(
        {"found": {ID: 2}}, {"revisions": {ID: 3}, "due": {ID: 7.0}}, {ID: "4f0c"}
    )
    done = cloud.run("forget", *ITEM, "--yes")
    assert done.exit_code == 0, done.output
    assert "keep the receipt 4f0c" in done.output
    complete = asked[-1][1]
    assert (complete["operation"], complete["Records"][0]["revision"]) == ("complete", 3)


def test_json_has_every_field(cloud: Cloud, asked: Any) -> None:
    assert cloud.json("forget", *ITEM, "--yes") == {
        "items": [
            {
                "item": ID,
                "status": "nothing held",
                "found": {},
                "tombstones": {},
                "left": {},
                "due": "",
                "receipt": "",
                "why": "",
            }
        ],
        "unclear": [],
        "unreached": [],
        "problems": [],
        "interrupted": False,
        "failed": False,
        "complete": True,
    }


def test_an_item_in_the_table_is_refused_in_a_sentence(cloud: Cloud, asked: Any) -> None:
    cloud.pipeline.answers["erasure"] = erasing({"present": [ID]}, {})
    done = cloud.run("forget", *ITEM, "--yes")
    assert done.exit_code == 1
    assert "refused" in done.output
    assert "the item is in the table: delete it there" in done.output
    assert [event["operation"] for _, event in asked] == ["erase"]


def test_check_only_looks(cloud: Cloud, asked: Any) -> None:
    cloud.pipeline.answers["erasure"] = erasing({}, {"found": {ID: 3}})
    document = cloud.json("forget", *ITEM, "--check", status=1)
    assert document["items"][0]["left"] == {"change-log": 3}
    assert [event["operation"] for _, event in asked] == ["find"]


def test_items_from_a_file(cloud: Cloud, asked: Any, tmp_path: Path) -> None:
    items = tmp_path / "items"
    lines = [json.dumps({"customer_id": f"{n:05}", "order_id": "7"}) for n in range(150)]
    items.write_text("\n\n".join(lines))
    document = cloud.json("forget", "--from", str(items), "--yes")
    assert len(document["items"]) == 150
    assert {len(event["Records"]) for _, event in asked} == {100, 50}
    again = cloud.run("forget", "--from", "-", "--yes", input=lines[0])
    assert again.exit_code == 0, again.output


def test_items_by_their_identities(cloud: Cloud, asked: Any) -> None:
    """The change log has those of items that were deleted before."""
    lines = '"orders/S=00004/S=a%2Fb"\n"orders/S=00005/S=7"'
    done = cloud.run("forget", "--from", "-", "--yes", "--json", input=lines)
    document = json.loads(done.stdout)
    assert [each["item"] for each in document["items"]] == [
        "orders/S=00004/S=a%2Fb",
        "orders/S=00005/S=7",
    ]
    assert asked[0][1]["Records"][0]["Keys"] == {
        "customer_id": {"S": "00004"},
        "order_id": {"S": "a/b"},
    }


def line(customer: object, **others: object) -> str:
    return json.dumps({"customer_id": customer, **(others or {"order_id": "2"})})


WRITE = 'write {"customer_id": "00004", "order_id": "00004"}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no items: give one a line, as JSON"),
        ('{"customer_id": "1"', "line 1: expected the keys of an item as JSON"),
        ('\n["customer_id"]', "line 2: expected the keys of an item as JSON"),
        ('"others/S=1/S=2"', "line 1: others/S=1/S=2 names no item of table orders"),
        ('"orders/S=/S=2"', "line 1: orders/S=/S=2 names no item of table orders"),
        ('"orders/S=100%/S=2"', "line 1: orders/S=100%/S=2 names no item of table orders"),
        ('{"customer_id": "1"}', "line 1: the keys of table orders-1A2B are customer_id:S"),
        (line("1", order_id="2", amount="3"), "order_id:S, got amount, customer_id, order_id"),
        (line({"S": "1"}), f"line 1: customer_id: expected text, got DynamoDB JSON: {WRITE}"),
        (line(["1"]), f"line 1: customer_id: expected text, got a list: {WRITE}"),
        (line(None), f"line 1: customer_id: expected text, got nothing: {WRITE}"),
        (line(True), f"line 1: customer_id: expected text, got true or false: {WRITE}"),
        (line(4), f"line 1: customer_id: expected text, got an integer: {WRITE}"),
        (line(""), "line 1: 'customer_id=' has no value, and a key of an item is never empty"),
        (line("\ud800"), "line 1: customer_id: a string must be text that UTF-8 can hold"),
        ('{"customer_id": "1", "customer_id": "2"}', "an attribute is given twice"),
        ("[" * 100_000, "line 1: expected the keys of an item as JSON"),
        ("null", "got nothing"),
    ],
)
def test_a_file_of_another_form_is_refused(
    cloud: Cloud, asked: Any, text: str, message: str
) -> None:
    done = cloud.run("forget", "--from", "-", "--yes", input=text)
    assert done.exit_code == 2
    assert message in done.output
    assert asked == []


@pytest.mark.parametrize(
    ("kind", "value", "key"),
    [
        ("S", "a\u2028b", "a\u2028b"),
        ("N", 7, "7"),
        ("N", "7.50", "7.50"),
        ("B", "AQ==", b"\x01"),
    ],
)
def test_keys_of_each_type_are_read(kind: str, value: object, key: object) -> None:
    table = DeployedTable("items", "items-1A2B", {"id": kind}, "arn")
    text = json.dumps({"id": value}, ensure_ascii=False)
    assert keys_of_lines(f"{text}\r\n", "items.jsonl", table) == [{"id": {kind: key}}]


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("N", '{"id": true}', 'id: expected a number, got true or false: write {"id": 7}'),
        ("N", '{"id": NaN}', "id: expected a number"),
        ("N", '{"id": "seven"}', "'seven' is not a number"),
        ("N", '{"id": "NaN"}', "'NaN' is not a number"),
        ("N", '"items/N=seven"', "items/N=seven names no item of table items"),
        ("B", '{"id": 7}', 'id: expected base64 text, got an integer: write {"id": "AQ=="}'),
        ("B", '{"id": "?"}', "'?' is not base64"),
    ],
)
def test_a_key_of_another_type_is_refused(kind: str, text: str, message: str) -> None:
    table = DeployedTable("items", "items-1A2B", {"id": kind}, "arn")
    with pytest.raises(UsageError, match=f"items.jsonl, line 1: .*{re.escape(message)}"):
        keys_of_lines(text, "items.jsonl", table)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--yes"], "Give an item's keys"),
        ([*ITEM, "--from", "x", "--yes"], "one of them"),
        (["customer_id=1", "--yes"], "are customer_id:S, order_id:S, got customer_id:S"),
        (["customer_id:N=1", "order_id=7", "--yes"], "got customer_id:N, order_id:S"),
        (["--from", "/nowhere", "--yes"], "--from: /nowhere cannot be read"),
        ([*ITEM], "Say --yes where no person can answer"),
    ],
)
def test_wrong_use_is_told_in_a_sentence(
    cloud: Cloud, asked: Any, arguments: list[str], message: str
) -> None:
    done = cloud.run("forget", *arguments)
    assert done.exit_code == 2
    assert message in done.output
    assert asked == []


def test_no_is_an_answer(cloud: Cloud, asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynamodb_streams_cdc.cli.jobs.is_interactive", lambda: True)
    done = cloud.run("forget", *ITEM, input="n\n")
    assert done.exit_code == 1
    assert "Erase what cdc-sandbox-pipeline holds of 1 deleted item" in done.output
    assert asked == []


def test_objects_that_cannot_be_read_are_named(cloud: Cloud, asked: Any) -> None:
    cloud.pipeline.answers["erasure"] = erasing({}, {"unclear": ["aws/lambda/x"]})
    done = cloud.run("forget", *ITEM, "--yes")
    assert done.exit_code == 1
    assert "May be of one of the items, and cannot be read: aws/lambda/x" in done.output


def test_a_further_sink_is_named(cloud: Cloud, asked: Any) -> None:
    cloud.add_processor("mail")
    done = cloud.run("forget", *ITEM, "--yes")
    assert done.exit_code == 0
    assert "mail: no function erases there" in done.output


def test_a_pipeline_without_the_function(cloud: Cloud) -> None:
    done = cloud.run("forget", *ITEM, "--yes")
    assert done.exit_code == 1
    assert "has no function that erases: deploy the pipeline again" in done.output


def test_a_missing_permission_is_named(cloud: Cloud, asked: Any) -> None:
    cloud.fails = fail(refusal("AccessDeniedException", "Invoke"), "Invoke")
    done = cloud.run("forget", *ITEM, "--yes")
    assert done.exit_code == 1
    assert "may not do lambda:InvokeFunction" in done.output


def test_a_function_that_fails_leaves_the_item(cloud: Cloud, asked: Any) -> None:
    def failing(_: Mapping[str, Any]) -> Any:
        message = "out of memory"
        raise InvocationFailed(message)

    cloud.pipeline.answers["erasure"] = failing
    document = cloud.json("forget", *ITEM, "--yes", status=1)
    assert document["items"][0]["status"] == "held"
    assert "out of memory" in document["problems"][0]


def test_ctrl_c_shows_how_far_it_came(cloud: Cloud, asked: Any) -> None:
    def interrupted(_: Mapping[str, Any]) -> Any:
        raise KeyboardInterrupt

    cloud.pipeline.answers["erasure"] = interrupted
    done = cloud.run("forget", *ITEM, "--yes")
    assert done.exit_code == 130
    assert "Interrupted: run it again to go on." in done.output
    assert "held" in done.output.split(ID)[1].split()[0]
