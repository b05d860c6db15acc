"""`cdc tail`: the entries of the change log as they arrive."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from dynamodb_streams_cdc.deadline import SystemClock
from dynamodb_streams_cdc.sinks.change_log import ChangeLog
from dynamodb_streams_cdc.testing.memory import MemoryLog
from tests.cli.conftest import LARGE_IMAGES, Cloud, refuse
from tests.cli.test_history import STATES
from tests.cli.test_history import logged as history_logged  # noqa: F401 - a fixture
from tests.factories import change, customer, deadline, order

LOG = "change-log-3c4d"
Step = Callable[[], object]


@pytest.fixture
def log(cloud: Cloud) -> Cloud:
    """A change log with a stream, whose first entry is of order 1."""
    cloud.client("dynamodb").update_table(
        TableName=LOG,
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )
    cloud.manifest["source_tables"][0]["entities"] = {
        "order": {"order_id": {"kind": "anything-but", "values": ["PROFILE"]}},
        "customer": {"order_id": {"kind": "exactly", "values": ["PROFILE"]}},
    }
    write(cloud, change(1, None, order("00001-0001")))
    return cloud


def write(cloud: Cloud, *changes: Any) -> None:
    memory = MemoryLog()
    assert ChangeLog(memory).apply(changes, deadline()).failures == {}
    for entry in memory.entries.values():
        cloud.client("dynamodb").put_item(TableName=LOG, Item=entry)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Step]]:
    """What happens in the pauses between two reads; then Ctrl-C."""
    found: list[Step] = []

    def sleep(clock: SystemClock, seconds: float) -> None:
        if not found:
            raise KeyboardInterrupt
        found.pop(0)()

    monkeypatch.setattr(SystemClock, "sleep", sleep)
    yield found
    assert found == [], "followed to the end"


def follow(cloud: Cloud, *options: str) -> list[dict[str, Any]]:
    result = cloud.run("tail", *options, "--json")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def items(found: Sequence[dict[str, Any]]) -> list[str]:
    return [each["item"].rpartition("=")[2] for each in found]


def test_new_entries_are_shown_as_they_arrive(log: Cloud, steps: list[Step]) -> None:
    second, third = change(2, None, order("00002-0001")), change(3, None, order("00003-0001"))
    steps += [lambda: write(log, second), lambda: None, lambda: write(log, third), lambda: None]
    assert items(follow(log)) == ["00002-0001", "00003-0001"]


def test_from_the_oldest_entry_of_the_stream(log: Cloud, steps: list[Step]) -> None:
    steps.append(lambda: write(log, change(2, None, order("00002-0001"))))
    steps.append(lambda: None)
    assert items(follow(log, "--from", "trim_horizon")) == ["00001-0001", "00002-0001"]


def test_an_entry_is_a_line_of_json(log: Cloud, steps: list[Step]) -> None:
    before, after = order("00001-0001"), order("00001-0001", status="shipped", total="5.50")
    steps += [lambda: write(log, change(2, before, after)), lambda: None]
    [found] = follow(log)
    assert found.pop("version").startswith("0001/")
    assert (found.pop("before")["status"], found.pop("after")["total"]) == ("placed", "5.50")
    assert found == {
        "item": "orders/S=00001/S=00001-0001",
        "entity": "order",
        "kind": "MODIFY",
        "changed_at": "2024-05-01T12:00:02Z",
        "actor": "shop",
        "expired": False,
        "changed": ["lines", "status", "total"],
    }


def test_entries_of_one_read_are_in_order(log: Cloud, steps: list[Step]) -> None:
    """The log takes the entries of a batch at once, in any order."""
    states = [order("00001-0001", status=str(n)) for n in range(4)]
    later = [change(n + 1, states[n - 1], states[n]) for n in (3, 1, 2)]
    steps += [lambda: write(log, *later), lambda: None]
    assert [each["after"]["status"] for each in follow(log)] == ["1", "2", "3"]


FILTERS = [
    ([], ["00001-0001", "PROFILE", "00002-0001"]),
    (["--item", "orders/S=00001"], ["00001-0001", "PROFILE"]),
    (["-i", "orders/S=00001/S=PROFILE", "-i", "orders/S=00002"], ["PROFILE", "00002-0001"]),
    (["-i", "orders/S=0000"], []),
    (["-i", "orders/", "-i", "#0d4a"], ["00001-0001", "PROFILE", "00002-0001"]),
    (["--entity", "customer"], ["PROFILE"]),
    (["--entity", "customer", "--entity", "order", "--kind", "insert"], ["PROFILE"]),
    (["--kind", "MODIFY", "--kind", "remove"], ["00001-0001", "00002-0001"]),
    (["--kind", "remove", "--entity", "customer"], []),
]


@pytest.mark.parametrize(("options", "shown"), FILTERS, ids=lambda each: " ".join(each) or "all")
def test_filters(log: Cloud, steps: list[Step], options: list[str], shown: list[str]) -> None:
    changes = [
        change(2, order("00001-0001"), order("00001-0001", status="shipped")),
        change(3, None, customer("00001")),
        change(4, order("00002-0001"), None),
    ]
    steps += [lambda: write(log, *changes), lambda: None]
    assert items(follow(log, *options)) == shown


def test_a_line_of_text(log: Cloud, steps: list[Step]) -> None:
    after = order("00001-0001", status="shipped", updated_by="[red]clerk\u202e")
    changes = [change(2, order("00001-0001"), after), change(3, after, None)]
    steps += [lambda: write(log, *changes), lambda: None]
    result = log.run("tail")
    assert result.exit_code == 0
    item = "orders/S=00001/S=00001-0001"
    assert result.stdout.splitlines() == [
        f"2024-05-01 12:00:02Z  MODIFY    order  {item}  [red]clerk\\u202e  status, updated_by",
        f"2024-05-01 12:00:03Z  REMOVE    order  {item}  -",
    ]
    assert result.stderr == (
        "Following the change log of cdc-sandbox-pipeline from now on; Ctrl-C ends.\n"
    )


def test_large_images_are_read_from_their_bucket(
    history_logged: Cloud,  # noqa: F811
    steps: list[Step],
) -> None:
    cloud = history_logged
    dynamodb = cloud.client("dynamodb")
    [large] = [e for e in dynamodb.scan(TableName=LOG)["Items"] if e["kind"]["S"] == "INSERT"]
    assert "after" not in large
    dynamodb.update_table(
        TableName=LOG,
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )
    later = {**large, "version": {"S": large["version"]["S"][:-1] + "9"}}
    steps += [lambda: dynamodb.put_item(TableName=LOG, Item=later), lambda: None]
    [found] = follow(cloud)
    assert found["after"]["note"] == STATES[1]["note"]
    lost = {**later, "version": {"S": large["version"]["S"][:-1] + "8"}}
    steps += [lambda: dynamodb.put_item(TableName=LOG, Item=lost), lambda: None]
    for image in cloud.client("s3").list_objects_v2(Bucket=LARGE_IMAGES)["Contents"]:
        cloud.client("s3").delete_object(Bucket=LARGE_IMAGES, Key=image["Key"])
    [unread] = follow(cloud)
    assert (unread["kind"], unread["entity"]) == ("INSERT", None)
    assert "are gone" in unread["unreadable"]


def test_an_entry_that_cannot_be_read_is_named(log: Cloud, steps: list[Step]) -> None:
    dynamodb = log.client("dynamodb")
    [entry] = dynamodb.scan(TableName=LOG)["Items"]
    foreign = {"item": {"S": "x"}, "version": {"S": "y"}}
    erased = {name: entry[name] for name in ("item", "version")}
    steps += [
        lambda: dynamodb.put_item(TableName=LOG, Item=foreign),
        lambda: dynamodb.delete_item(TableName=LOG, Key=erased),
        lambda: write(log, change(2, None, order("00002-0001"))),
        lambda: None,
    ]
    result = log.run("tail")
    assert result.exit_code == 0
    [line] = result.stdout.splitlines()
    assert "00002-0001" in line
    assert "Entry y of x cannot be read: a version is" in result.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--from", "then"], "--from: expected now or TRIM_HORIZON, got 'then'."),
        (
            ["--kind", "update"],
            "--kind: expected one of INSERT, MODIFY, REMOVE, BACKFILL, got 'update'.",
        ),
        (
            ["--entity", "cat"],
            "--entity: cdc-sandbox-pipeline has customer, order, and no entity 'cat'.",
        ),
        (
            ["--item", "order/S=00001"],
            "--item: cdc-sandbox-pipeline has items of orders, and none of 'order'.",
        ),
        (
            ["--item", "orders/S=00001", "--item", "orders/00001"],
            "--item: expected orders/S=.../S=... or its beginning, got 'orders/00001'.",
        ),
        (
            ["--item", "orders/S=00001/N=1"],
            "--item: expected orders/S=.../S=... or its beginning, got 'orders/S=00001/N=1'.",
        ),
        (
            ["--item", "orders/S"],
            "--item: expected orders/S=.../S=... or its beginning, got 'orders/S'.",
        ),
        (
            ["--item", "orders/S=1/S=2/S=3"],
            "--item: expected orders/S=.../S=... or its beginning, got 'orders/S=1/S=2/S=3'.",
        ),
    ],
)
def test_wrong_use(log: Cloud, options: list[str], says: str) -> None:
    result = log.run("tail", *options)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"{says}\n")


def test_a_manifest_without_entities(log: Cloud) -> None:
    del log.manifest["source_tables"][0]["entities"]
    assert "has names of no entities" in log.run("tail", "--entity", "order").stderr


def test_a_third_reader_has_to_be_confirmed(log: Cloud, steps: list[Step]) -> None:
    log.manifest["processors"][1]["feed"] = "change-log"
    assert log.run("tail").exit_code == 0
    log.manifest["processors"][0]["feed"] = "change-log"
    result = log.run("tail")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "audit and search read the stream of the change log, and a shard serves 2 readers: a "
        "further one may get them throttled. Follow with --yes.\n"
    )
    assert "DescribeStream" not in log.calls[-2:]
    assert log.run("tail", "--yes").exit_code == 0


def test_a_change_log_without_a_stream(cloud: Cloud) -> None:
    result = cloud.run("tail")
    assert result.exit_code == 1
    assert "Table change-log-3c4d has no stream to follow" in result.stderr


@pytest.mark.parametrize(
    ("operation", "says"),
    [
        ("DescribeTable", "dynamodb:DescribeTable on table change-log-3c4d"),
        ("DescribeStream", "dynamodb:DescribeStream on stream arn:aws:dynamodb:"),
        ("GetShardIterator", "dynamodb:GetShardIterator on stream arn:aws:dynamodb:"),
        ("GetRecords", "dynamodb:GetRecords on stream arn:aws:dynamodb:"),
    ],
)
def test_a_missing_permission_is_named(log: Cloud, operation: str, says: str) -> None:
    log.fails = refuse(operation)
    result = log.run("tail")
    assert result.exit_code == 1
    assert f"These credentials may not do {says}" in result.stderr
