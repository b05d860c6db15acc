"""`cdc history`: what the change log knows of an item."""

from typing import Any

import pytest

from dynamodb_streams_cdc.aws.s3 import S3ImageStore
from dynamodb_streams_cdc.sinks.change_log import ChangeLog
from dynamodb_streams_cdc.sinks.log_entries import ENTRY_CHARACTERS
from dynamodb_streams_cdc.testing.memory import MemoryLog
from tests.cli.conftest import LARGE_IMAGES, Cloud, refuse
from tests.factories import change, deadline, order

ITEM = "orders/S=00004/S=00004-0001"
KEYS = ("customer_id=00004", "order_id=00004-0001")
STATES: list[Any] = [
    None,
    order(note="x" * ENTRY_CHARACTERS, tags={"b", "a"}, blob=b"\x01"),
    order(status="shipped"),
    order(status="refunded", updated_by="[red]clerk[/x]"),
    None,
]


@pytest.fixture
def logged(cloud: Cloud) -> Cloud:
    """The life of an order, its first state too large for the log."""
    log = MemoryLog()
    image_store = S3ImageStore(lambda: cloud.client("s3"), LARGE_IMAGES)
    changes = [change(n, STATES[n - 1], STATES[n]) for n in range(1, 5)]
    assert ChangeLog(log, image_store).apply(changes, deadline()).applied == 4
    for entry in log.entries.values():
        cloud.client("dynamodb").put_item(TableName="change-log-3c4d", Item=entry)
    return cloud


def forget(cloud: Cloud, sequence: int) -> None:
    lost = change(sequence, STATES[sequence - 1], STATES[sequence])
    cloud.client("dynamodb").delete_item(
        TableName="change-log-3c4d",
        Key={"item": {"S": lost.item_id}, "version": {"S": lost.version}},
    )


def history(cloud: Cloud, *keys: str, status: int = 0) -> dict[str, Any]:
    return cloud.json("history", *(keys or KEYS), status=status)


def test_a_whole_history(logged: Cloud) -> None:
    found = history(logged)
    assert (found["item"], found["gaps"]) == (ITEM, [])
    assert [entry["kind"] for entry in found["entries"]] == ["INSERT", "MODIFY", "MODIFY", "REMOVE"]
    first, second, third, last = found["entries"]
    assert first["before"] is None
    assert len(first["after"]["note"]) == ENTRY_CHARACTERS
    assert (first["after"]["tags"], first["after"]["blob"]) == (["a", "b"], "AQ==")
    assert first["after"]["total"] == "29.33"
    assert first["after"]["lines"][0]["quantity"] == 2
    assert second["changed"] == ["blob", "note", "status", "tags"]
    assert (third["actor"], third["changed_at"]) == ("[red]clerk[/x]", "2024-05-01T12:00:03Z")
    assert (last["after"], last["changed"], last["expired"]) == (None, [], False)


def test_text_has_a_line_per_entry(logged: Cloud) -> None:
    result = logged.run("history", *KEYS)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["when", "kind", "actor", "changed", "version"]
    assert "[red]clerk[/x]" in lines[3]
    assert "blob, note, status, tags" in lines[2]
    assert lines[-1] == f"{ITEM}: 4 entries"


def test_a_gap_is_marked_with_its_fix(logged: Cloud) -> None:
    forget(logged, 2)
    [gap] = history(logged, status=1)["gaps"]
    assert gap["after"].endswith(f"{'100000000003126276362':0>40}")
    assert gap["before"].endswith(f"{'300000000003126276362':0>40}")
    assert gap["attributes"] == ["blob", "note", "status", "tags"]
    result = logged.run("history", *KEYS)
    assert result.exit_code == 1
    [marked] = [line for line in result.stdout.splitlines() if line.startswith("missing")]
    assert "status" in marked
    assert "1 gap (see the lines that begin with missing). " in result.stdout
    assert f"cdc redrive --item {ITEM}" in result.stdout


def test_a_missing_beginning(logged: Cloud) -> None:
    forget(logged, 1)
    [gap] = history(logged, status=1)["gaps"]
    assert (gap["after"], gap["attributes"]) == (None, ["the beginning"])


def test_an_item_by_its_identity(logged: Cloud) -> None:
    assert history(logged, ITEM)["item"] == ITEM


def test_keys_in_any_order(logged: Cloud) -> None:
    assert history(logged, "order_id=00004-0001", "customer_id=00004")["item"] == ITEM


@pytest.mark.parametrize(
    ("words", "types", "identity"),
    [
        (["a:N=5.0", "b=x/y=z"], {"a": "N", "b": "S"}, "orders/N=5/S=x%2Fy=z"),
        (["a:B=AQ=="], {"a": "B"}, "orders/B=AQ=="),
        (["a:S=N=5"], {"a": "S"}, "orders/S=N=5"),
        (["#abc"], {"a": "S"}, "#abc"),
        (["others/S=1"], {"a": "S"}, "others/S=1"),
    ],
)
def test_an_item_without_entries(
    logged: Cloud, words: list[str], types: dict[str, str], identity: str
) -> None:
    logged.table["keys"] = types
    result = logged.run("history", *words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"no entry of item {identity}:" in result.stderr


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["00004"], "expected the item's keys"),
        (["=00004"], "expected the item's keys"),
        (["a=1", "a=2"], "each given once"),
        (["a=1", "b=2", "c=3"], "one key or two"),
        # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
        (["a="], "'a=' has no value, and a key of an item is never empty"),
        (["a:N=five"], "'five' is not a number"),
        (["a:N=NaN"], "'NaN' is not a number"),
        (["a:B=?"], "is not base64"),
        (["costumer_id=1", "order_id=2"], "the keys of table orders-1A2B are customer_id:S,"),
        (["customer_id=1"], "got customer_id:S"),
        ([], "Missing argument"),
    ],
)
def test_wrong_keys(logged: Cloud, words: list[str], why: str) -> None:
    result = logged.run("history", *words)
    assert result.exit_code == 2
    assert why in result.stderr


def test_several_source_tables_need_an_option(cloud: Cloud) -> None:
    invoices = {**cloud.table, "name": "invoices", "keys": {"a": "S"}}
    cloud.manifest["source_tables"].append(invoices)
    result = cloud.run("history", "a=1")
    assert result.exit_code == 2
    assert "more than one source table: choose one of orders, invoices" in result.stderr
    for name, said in (
        ("invoices", "no entry of item invoices/S=1:"),
        ("bills", "no source table 'bills'"),
    ):
        assert said in cloud.run("history", "a=1", "--table", name).stderr


def test_a_table_of_a_sink_is_not_a_source_table(logged: Cloud) -> None:
    logged.manifest["tables"]["reports"] = "reports-5d6e"
    assert history(logged)["item"] == ITEM


def test_a_table_name_of_two_words(cloud: Cloud) -> None:
    cloud.table.update(name="OrderItems", keys={"a": "S"})
    assert "no entry of item OrderItems/S=1:" in cloud.run("history", "a=1").stderr


@pytest.mark.parametrize(
    ("operation", "action"),
    [
        ("Query", "dynamodb:Query on table change-log-3c4d"),
        ("GetObject", f"s3:GetObject on s3://{LARGE_IMAGES}"),
    ],
)
def test_a_missing_permission_is_named(logged: Cloud, operation: str, action: str) -> None:
    logged.fails = refuse(operation)
    result = logged.run("history", *KEYS)
    assert (result.exit_code, result.stdout) == (1, "")
    assert action in result.stderr


def test_deleted_images(logged: Cloud) -> None:
    s3 = logged.client("s3")
    for found in s3.list_objects_v2(Bucket=LARGE_IMAGES)["Contents"]:
        s3.delete_object(Bucket=LARGE_IMAGES, Key=found["Key"])
    result = logged.run("history", *KEYS)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "are gone" in result.stderr
