"""`cdc verify`, `cdc repair --from` and `cdc backfill`: the functions' own code, and wrong use."""

import gzip
import json
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from pathlib import Path
from typing import IO, Any

import pytest
from botocore.exceptions import ReadTimeoutError

from dynamodb_streams_cdc.aws.errors import translated
from dynamodb_streams_cdc.control.functions import InvocationFailed
from dynamodb_streams_cdc.deserializer import serialize_item
from dynamodb_streams_cdc.operations.errors import OperationError
from dynamodb_streams_cdc.operations.export import Export
from dynamodb_streams_cdc.operations.jobs import Job
from dynamodb_streams_cdc.operations.manifest import DeployedProcessor
from dynamodb_streams_cdc.sinks.documents import CDC
from tests import exports
from tests.cli.conftest import EXPIRED, Cloud, fail, nothing
from tests.fake_pipeline import item
from tests.lambdas.conftest import create_table

TABLE = "orders-1A2B"
ALONE = ("--processor", "search")


@pytest.fixture(autouse=True)
def table(cloud: Cloud) -> None:
    """The orders table with five items that no function has seen."""
    create_the_table(cloud)
    for customer in range(5):
        cloud.pipeline.write(customer, "placed")


def create_the_table(cloud: Cloud) -> None:
    client = cloud.client("dynamodb")
    create_table(client, TABLE, [("customer_id", "S"), ("order_id", "S")])
    stream = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    client.update_table(TableName=TABLE, StreamSpecification=stream)


def replace_the_table(cloud: Cloud) -> None:
    """Its name stays, and the ARN of its stream does not."""
    cloud.client("dynamodb").delete_table(TableName=TABLE)
    create_the_table(cloud)


def filled(cloud: Cloud) -> None:
    assert cloud.run("backfill", "--yes").exit_code == 0


def verified(cloud: Cloud, *words: str, status: int = 0) -> Any:
    return cloud.json("verify", "--settle", "0", *words, status=status)


def test_a_backfill_fills_what_reads_the_table(cloud: Cloud) -> None:
    done = cloud.run("backfill", "--yes")
    assert done.exit_code == 0, done.output
    assert "5 items read; 5 written, 0 there already, 0 not held by this sink." in done.output
    again = cloud.json("backfill", "--yes")
    assert set(again["applied"].values()) == {0}
    assert set(again["held"].values()) == {5}


def test_workers_have_a_segment_each(cloud: Cloud) -> None:
    for command in (("backfill", "--yes"), ("verify", "--settle", "0")):
        cloud.pipeline.invocations.clear()
        cloud.run(*command, "--workers", "12", *ALONE)
        parts = [event for _, event in cloud.pipeline.invocations if "segment" in event]
        assert {(event["segment"], event["segments"]) for event in parts} == {
            (number, 12) for number in range(12)
        }


def test_items_that_fail_are_corrected_and_not_repaired(cloud: Cloud) -> None:
    cloud.json("backfill", "--yes")
    cloud.pipeline.write(3, "poison")
    said = cloud.run("verify", "--processor", "search", "--settle", "0").stdout
    assert "1 refused" in said
    assert "No repair helps: correct the item in the table" in said
    assert "cdc repair" not in said


def test_what_no_repair_heals_names_what_does(cloud: Cloud) -> None:
    """A repair would take another verification of the table, and change nothing."""
    filled(cloud)
    key = max(key for key in cloud.pipeline.log.entries if key[0] == item(2))
    cloud.pipeline.log.entries[key] = {**cloud.pipeline.log.entries[key], "kind": {"S": "mine"}}
    said = cloud.run("verify", "--processor", "audit", "--settle", "0").stdout
    assert "audit: 10 items and copies read; 1 wrong." in said
    assert "No repair helps: the log cannot be rewritten: redrive dead letters" in said
    assert "cdc repair" not in said
    del cloud.pipeline.log.entries[max(k for k in cloud.pipeline.log.entries if k[0] == item(1))]
    assert "cdc repair" in cloud.run("verify", "--settle", "0").stdout


def test_a_job_that_cannot_be_kept_says_where_else(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CDC_JOBS", str(tmp_path / "file"))
    done = cloud.run("verify")
    assert done.exit_code == 1
    assert "Set CDC_JOBS to a folder that you may write to." in done.output


def test_an_empty_table_is_filled_and_right(cloud: Cloud) -> None:
    cloud.pipeline.table.items.clear()
    assert cloud.json("backfill", "--yes")["problems"] == []
    assert verified(cloud)["differences"] == []


def test_a_backfill_asks_a_person_and_refuses_a_program(cloud: Cloud) -> None:
    done = cloud.run("backfill")
    assert done.exit_code == 2
    assert f"Bring the items of table {TABLE}" in done.output
    assert "Say --yes where no person can answer." in done.output
    assert cloud.pipeline.invocations == []


def test_items_that_a_sink_refuses_are_listed(cloud: Cloud) -> None:
    cloud.pipeline.write(3, "poison")
    report = cloud.json("backfill", "--yes", "--processor", "search", status=1)
    assert report["refused"] == 1
    [failure] = report["failures"]
    assert (failure["item"], failure["reason"]) == (item(3), "ValueError")
    shown = cloud.run("backfill", "--yes", "--processor", "search", "--job", "another")
    assert shown.exit_code == 1
    assert f"{item(3)}" in shown.output


def test_differences_are_named_and_repaired(cloud: Cloud, tmp_path: Path) -> None:
    filled(cloud)
    cloud.json("backfill", "--yes", "--processor", "search", "--job", "index")
    documents = cloud.pipeline.index.documents
    del documents[item(1)]
    documents[item(2)] = {**documents[item(2)], "status": "refunded"}
    documents["stranger"] = {"status": "hello"}
    report = verified(cloud, status=1)
    found = {(each["sink"], each["kind"], each["item"]) for each in report["differences"]}
    assert found == {
        ("search", "missing", item(1)),
        ("search", "wrong", item(2)),
        ("search", "foreign", "stranger"),
    }
    shown = cloud.run("verify", "--settle", "0")
    assert "search: 10 items and copies read; 1 foreign, 1 missing, 1 wrong." in shown.output
    path = tmp_path / "differences.json"
    path.write_text(json.dumps(report))
    done = cloud.run("repair", "--from", str(path))
    assert done.exit_code == 0, done.output
    assert "search: 3 copies repaired." in done.output
    assert verified(cloud)["differences"] == []
    again = cloud.run("repair", "--from", "-", input=json.dumps(report))
    assert "search: 0 copies repaired; 3 copies had changed meanwhile." in again.output
    told = cloud.json("repair", "--from", "-", standard_input=json.dumps(report))
    assert (told["repaired"], told["moved"]["search"]) == ({"search": 0}, 3)


def test_a_report_of_a_part_is_repaired_and_not_done(cloud: Cloud) -> None:
    """What was not compared may differ as well."""
    filled(cloud)
    del cloud.pipeline.index.documents[item(1)]
    report = verified(cloud, *ALONE, status=1)
    cut = json.dumps({**report, "complete": False})
    said = "The verification that wrote the report did not compare everything: verify again.\n"
    done = cloud.run("repair", "--from", "-", input=cut)
    assert (done.exit_code, done.output) == (1, f"search: 1 copy repaired.\n{said}")
    assert verified(cloud, *ALONE)["differences"] == []
    none = json.dumps({**report, "differences": [], "complete": False})
    again = cloud.run("repair", "--from", "-", input=none)
    assert (again.exit_code, again.output) == (1, f"0 differences to repair.\n{said}")
    result = cloud.json("repair", "--from", "-", status=1, standard_input=none)
    assert (result["verification_complete"], result["complete"]) == (False, False)


def test_a_report_without_a_difference_says_so(cloud: Cloud) -> None:
    filled(cloud)
    report = json.dumps(verified(cloud, "--processor", "audit"))
    done = cloud.run("repair", "--from", "-", input=report)
    assert (done.exit_code, done.output) == (0, "0 differences to repair.\n")


def test_one_item_is_verified_by_its_keys(cloud: Cloud) -> None:
    keys = ("customer_id=00001", "order_id=00001-0001")
    report = verified(cloud, *keys, status=1)
    assert {each["sink"] for each in report["differences"]} == {"audit", "search"}
    assert {each["kind"] for each in report["differences"]} == {"missing"}


def test_keys_without_an_item_and_without_copies_are_right(cloud: Cloud) -> None:
    assert verified(cloud, "customer_id=9", "order_id=9")["differences"] == []


def test_a_sink_that_was_not_read_is_not_all_right(cloud: Cloud) -> None:
    filled(cloud)
    ask = cloud.pipeline.processor("search")

    def out(event: Any) -> Any:
        if "segment" in event:
            return InvocationFailed("search is out", outage=True)
        return json.loads(json.dumps(ask(event, cloud.pipeline.context("search"))))

    cloud.pipeline.answers["search"] = out
    done = cloud.run("verify", "--settle", "0")
    assert done.exit_code == 1
    assert "audit: 10 items and copies read; all right.\n" in done.output
    assert "search: 0 items and copies read; not all of it verified.\n" in done.output


def test_a_difference_without_an_answer_is_told_as_such(cloud: Cloud) -> None:
    filled(cloud)
    del cloud.pipeline.index.documents[item(1)]
    ask = cloud.pipeline.processor("search")

    def killed(event: Any) -> Any:
        if event.get("of") == "items" and event["Records"]:
            return InvocationFailed("Runtime exited with error: signal: killed")
        return json.loads(json.dumps(ask(event, cloud.pipeline.context("search"))))

    cloud.pipeline.answers["search"] = killed
    done = cloud.run("verify", *ALONE, "--settle", "0")
    assert done.exit_code == 1
    assert "1 copy or sum changed at every look or had no answer" in done.output


INCOMPARABLE = {"batchItemFailures": [], "comparable": False, "stores": 0, "differences": []}
KEYS = ("customer_id=00001", "order_id=00001-0001")


@pytest.mark.parametrize("words", [(), KEYS])
def test_a_sink_that_cannot_be_compared_is_named(cloud: Cloud, words: tuple[str, ...]) -> None:
    """Such as one that sends messages: there is nothing to read."""
    filled(cloud)
    cloud.pipeline.answers["search"] = {**INCOMPARABLE, "problem": ""}
    report = verified(cloud, *words)
    assert (report["not_compared"], [*report["read"]]) == (["search"], ["audit"])
    done = cloud.run("verify", "--settle", "0", *words)
    assert (done.exit_code, "search: " in done.output) == (0, False)
    assert "search was not compared: its function cannot read" in done.output
    alone = cloud.run("verify", "--settle", "0", *ALONE, *words)
    assert (alone.exit_code, alone.stdout) == (1, "")
    assert "search cannot be compared with the table" in alone.stderr
    assert verified(cloud, *words)["not_compared"] == ["search"], "its job is in no one's way"


def test_what_was_left_out_is_named(cloud: Cloud) -> None:
    filled(cloud)
    search = cloud.pipeline.processor("search")

    def answer(event: Any) -> Any:
        return {**search(event, cloud.pipeline.context("search")), "uncompared": ["mail"]}

    cloud.pipeline.answers["search"] = answer
    why = "entity mail: the copies of its sink cannot be read one by one"
    assert verified(cloud)["left_out"] == {"search": [why]}
    lines = cloud.run("verify", "--settle", "0").stdout.splitlines()
    assert lines[1].startswith("search: ")
    assert lines[1].endswith("; not all of it compared.")
    assert lines[2] == f"search was compared without {why}."


@pytest.mark.parametrize("words", [(), KEYS])
def test_a_verification_that_compares_nothing_is_not_complete(
    cloud: Cloud, words: tuple[str, ...]
) -> None:
    """Functions that lost a setting answer as those that keep no copies."""
    for name in ("audit", "search"):
        cloud.pipeline.answers[name] = {**INCOMPARABLE, "problem": ""}
    report = verified(cloud, *words, status=1)
    assert (report["complete"], report["differences"]) == (False, [])
    assert "Nothing of audit and search was compared" in report["problems"][0]


@pytest.mark.parametrize(
    "words", [("verify",), ("verify", *KEYS), ("repair", *KEYS), ("backfill", "--yes")]
)
def test_a_sink_of_another_table_is_refused(cloud: Cloud, words: tuple[str, ...]) -> None:
    cloud.manifest["source_tables"].append({**cloud.table, "name": "shops"})
    done = cloud.run(*words, "--table", "shops", *ALONE)
    assert done.exit_code == 2
    assert "--processor: search is of another table than shops." in done.output
    assert cloud.pipeline.invocations == []


def test_a_function_of_an_earlier_version_is_named(cloud: Cloud) -> None:
    cloud.pipeline.answers["search"] = {"batchItemFailures": []}
    [problem] = verified(cloud, "--processor", "search", status=1)["problems"]
    assert "does not know the operation verify" in problem
    [problem] = cloud.json("backfill", "--yes", "--processor", "search", status=1)["problems"]
    assert "does not know the operation backfill" in problem


def test_a_document_of_another_version_is_foreign(cloud: Cloud) -> None:
    cloud.json("backfill", "--yes", "--processor", "search")
    held = cloud.pipeline.index.documents[item(1)]
    cloud.pipeline.index.documents[item(1)] = {**held, CDC: {"deleted": False}}
    [found] = verified(cloud, "--processor", "search", status=1)["differences"]
    assert (found["kind"], found["item"]) == ("foreign", item(1))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["verify", "--share", "0"], "--share: a percentage above 0 and up to 100, such as 1%"),
        (["verify", "--share", "all"], "--share: a percentage"),
        (["verify", "customer_id=1", "order_id=2", "--share", "1%"], "not both"),
        (["verify", "customer_id=1"], "the keys of table orders-1A2B are customer_id:S, "),
        (["verify", "--processor", "serach"], "no processor 'serach'"),
        (["verify", "--entity", "ordr"], "and no entity 'ordr'"),
        (["backfill", "--yes", "--entity", "ordr"], "and no entity 'ordr'"),
        (["verify", "--job", "a/b"], "--job: a name is 1 to 100 of"),
        (["backfill", "--yes", "--processor", "serach"], "no processor 'serach'"),
        (["repair", "--from", "none.json"], "--from: none.json cannot be read"),
        (["repair", "--from", "x", "--all"], "one of them"),
    ],
)
def test_wrong_use(cloud: Cloud, words: list[str], said: str) -> None:
    done = cloud.run(*words)
    assert done.exit_code == 2, done.output
    assert said in done.output
    assert cloud.pipeline.invocations == []


def test_a_report_of_another_pipeline_is_refused(cloud: Cloud) -> None:
    report = verified(cloud, status=1)
    for each in report["differences"]:
        each["sink"] = "notifications"
    done = cloud.run("repair", "--from", "-", input=json.dumps(report))
    assert done.exit_code == 2
    assert "choose the environment that it was written for" in done.output


def test_a_report_of_another_stack_is_refused(cloud: Cloud) -> None:
    report = verified(cloud, status=1)
    assert report["stack"] == "cdc-sandbox-pipeline"
    asked = len(cloud.pipeline.invocations)
    done = cloud.run(
        "repair", "--from", "-", input=json.dumps({**report, "stack": "cdc-b-pipeline"})
    )
    assert done.exit_code == 2
    assert "is about the stack cdc-b-pipeline" in done.output
    assert len(cloud.pipeline.invocations) == asked


def test_a_reader_that_has_enough_ends_the_job(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in `cdc verify | head`: the next verification reads everything."""

    def write(*_: Any) -> None:
        raise BrokenPipeError

    with monkeypatch.context() as pipe:
        pipe.setattr("dynamodb_streams_cdc.cli.verify.print_json_list", write)
        cloud.run("verify", "--settle", "0", "--json")
    cloud.pipeline.invocations.clear()
    verified(cloud, status=1)
    assert [e for _, e in cloud.pipeline.invocations if e.get("of") == "table"]


def test_the_repair_is_of_the_same_pipeline(cloud: Cloud, tmp_path: Path) -> None:
    """Without its manifest, the commands of the output would be about the sandbox."""
    file = tmp_path / "a manifest.json"
    file.write_text(json.dumps(cloud.manifest))
    shown = cloud.run("verify", "--settle", "0", "--manifest", str(file), "--table", "orders")
    assert f"cdc verify --manifest '{file}' --table orders --json >" in shown.stdout


def test_what_could_not_be_written_is_found_again(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk of the report was full: nothing is read again."""

    def write(*_: Any) -> None:
        raise OSError(28, "full")

    with monkeypatch.context() as disk:
        disk.setattr("dynamodb_streams_cdc.cli.verify.print_json_list", write)
        assert "is its disk full?" in cloud.run("verify", "--settle", "0", "--json").stderr
    cloud.pipeline.invocations.clear()
    assert len(verified(cloud, status=1)["differences"]) == 10
    assert not [e for _, e in cloud.pipeline.invocations if e.get("of") == "table"]


def test_an_interrupted_verification_is_not_all_right(cloud: Cloud) -> None:
    cloud.fails = fail(KeyboardInterrupt(), "Invoke", at=2)
    done = cloud.run("verify", *ALONE)
    assert done.exit_code == 130
    assert "all right" not in done.output


def test_a_verification_that_dies_is_not_complete(cloud: Cloud) -> None:
    """It had read all, and had not looked at its differences again."""
    filled(cloud)
    cloud.json("backfill", "--yes", "--processor", "search", "--job", "index")
    del cloud.pipeline.index.documents[item(1)]
    ask = cloud.pipeline.processor("search")

    def expired(event: Any) -> Any:
        if event.get("of") == "items" and event["Records"]:
            raise EXPIRED
        return json.loads(json.dumps(ask(event, cloud.pipeline.context("search"))))

    cloud.pipeline.answers["search"] = expired
    report = verified(cloud, *ALONE, status=1)
    assert (report["complete"], report["failed"], report["interrupted"]) == (False, True, False)
    done = cloud.run("verify", *ALONE, "--settle", "0")
    assert done.exit_code == 1
    assert done.stdout == "search: 9 items and copies read; not all of it verified.\n"
    assert "The AWS credentials have expired: sign in again.\n" in done.stderr


def test_a_backfill_that_dies_is_not_complete(cloud: Cloud) -> None:
    cloud.fails = fail(EXPIRED, "Invoke", at=3)
    report = cloud.json("backfill", "--yes", *ALONE, status=1)
    assert (report["complete"], report["failed"]) == (False, True)
    cloud.fails = nothing
    assert cloud.json("backfill", "--yes", *ALONE)["complete"]


@pytest.mark.parametrize("wrong", [("--on", "azure"), ("--workers", "65")])
@pytest.mark.parametrize("command", [("verify", "--settle", "0"), ("backfill", "--yes")])
def test_a_refused_option_begins_no_job(
    cloud: Cloud, command: tuple[str, ...], wrong: tuple[str, ...]
) -> None:
    assert cloud.run(*command, *wrong).exit_code != 0
    assert cloud.run(*command).exit_code in (0, 1)


def test_a_backfill_that_came_to_nothing_holds_up_none(cloud: Cloud) -> None:
    cloud.pipeline.answers["search"] = InvocationFailed("search is out", outage=True)
    cloud.json("backfill", "--yes", "--processor", "search", status=1)
    del cloud.pipeline.answers["search"]
    done = cloud.run("backfill", "--yes")
    assert done.exit_code == 0, done.output
    assert "goes on" not in done.stderr


def test_a_replaced_stream_ends_a_begun_backfill(cloud: Cloud) -> None:
    cloud.fails = fail(KeyboardInterrupt(), "Invoke", at=5)
    assert cloud.run("backfill", "--yes", *ALONE).exit_code == 130
    cloud.fails = nothing
    replace_the_table(cloud)
    done = cloud.run("backfill", "--yes", *ALONE)
    assert done.exit_code == 2, done.output
    assert "was begun with other options (stream)" in done.output


def test_a_backfill_begins_again_for_an_index_made_again(cloud: Cloud) -> None:
    """What it had filled is gone: the segments that were done are not."""
    cloud.fails = fail(KeyboardInterrupt(), "Invoke", at=5)
    command = ("backfill", "--yes", "--processor", "search", "--workers", "1")
    assert cloud.run(*command).exit_code == 130
    assert cloud.pipeline.index.documents
    cloud.fails = nothing
    cloud.pipeline.index.documents.clear()
    cloud.pipeline.index.made = "second"
    done = cloud.run(*command)
    assert done.exit_code == 0, done.output
    assert "begins again: index items is another" in done.stderr
    assert len(cloud.pipeline.index.search()) == 5


@pytest.mark.parametrize(
    ("before", "now", "lost"),
    [
        ({"index": "a"}, {"index": "a"}, None),
        ({"index": "a"}, {"index": "b"}, "index"),
        ({"index": "a"}, {"index": ""}, "index"),
        ({"index": ""}, {"index": "a"}, None),
        ({"index": "a"}, {}, None),
        ({}, {"index": "a"}, None),
        ({"log": "x", "index": "a"}, {"log": "y", "index": "a"}, "log"),
    ],
)
def test_a_job_of_copies_that_are_gone_begins_again(
    before: dict[str, str], now: dict[str, str], lost: str | None
) -> None:
    with closing(Job("fill", {}, copies=before)) as first:
        first.remember("place", 7)
    with closing(Job("fill", {}, copies=now)) as second:
        assert (second.lost, second.resumed) == (lost, lost is None)
        assert second.recall("place") == (7 if lost is None else None)


def test_a_temporary_job_never_goes_on() -> None:
    """A killed process leaves one, of other items even, to a later process of its number."""
    with closing(Job("verify-7", {"keys": ["id=1"]})) as killed:
        killed.add_found([("search/0/items/S=1", {"item": "items/S=1"})], 0.0)
    with closing(Job("verify-7", {"keys": ["id=2"]}, temporary=True)) as job:
        assert (job.resumed, job.count_found("seen")) == (False, 0)
    assert not job.path.exists()


def test_a_verification_goes_on_with_one_table_alone(cloud: Cloud) -> None:
    """Of the same name, in another Region or account, are other tables."""
    filled(cloud)
    cloud.fails = fail(KeyboardInterrupt(), "Invoke", at=3)
    cloud.run("verify", "--settle", "0")
    cloud.fails = nothing
    replace_the_table(cloud)
    done = cloud.run("verify", "--settle", "0")
    assert done.exit_code == 2, done.output
    assert "was begun with other options (stream)" in done.output


def export(cloud: Cloud, **others: Any) -> dict[str, bytes]:
    """Put an export of the table's items into S3, a partition empty; return its objects."""
    items = [serialize_item(each) for each in cloud.pipeline.table.items.values() if each]
    arn = f"arn:aws:dynamodb:us-east-1:123456789012:table/{TABLE}"
    return exports.export(cloud.client("s3"), arn, [items[:3], items[3:], []], **others)


def test_an_export_fills_the_copies(cloud: Cloud) -> None:
    export(cloud)
    cloud.pipeline.table.items[item(1)] = None  # deleted since, and its REMOVE comes yet
    report = cloud.json("backfill", "--yes", "--export", exports.URL)
    assert set(report["applied"].values()) == {5}
    assert len(cloud.pipeline.index.search()) == 5


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"tableArn": "arn:aws:dynamodb:us-east-1:1:table/Other"}, "table/Other, and the source"),
        (
            {"tableArn": f"arn:aws:dynamodb:us-east-1:999999999999:table/{TABLE}"},
            "The export is of arn:aws:dynamodb:us-east-1:999999999999:table/orders-1A2B, and",
        ),
        (
            {"tableArn": f"arn:aws:dynamodb:eu-west-1:123456789012:table/{TABLE}"},
            "The export is of arn:aws:dynamodb:eu-west-1:123456789012:table/orders-1A2B, and",
        ),
        ({"exportTime": "2020-01-01T00:00:00.000Z"}, "changes in between are in neither"),
        ({"itemCount": 6}, "lists 5 items in its files and has 6"),
        ({"exportType": "INCREMENTAL_EXPORT"}, "make a full export in DYNAMODB_JSON"),
        ({"outputFormat": "ION"}, "make a full export in DYNAMODB_JSON"),
    ],
)
def test_an_export_that_does_not_fit_is_refused(
    cloud: Cloud, others: dict[str, Any], said: str
) -> None:
    export(cloud, **others)
    done = cloud.run("backfill", "--yes", "--export", exports.URL)
    assert done.exit_code == 1, done.output
    assert said in done.output
    assert cloud.pipeline.invocations == []


def test_an_export_holds_lines_of_any_text(cloud: Cloud) -> None:
    for customer in range(5):
        cloud.pipeline.write(customer, "placed\u2028on\u0085two lines")
    export(cloud)
    report = cloud.json("backfill", "--yes", "--export", exports.URL)
    assert set(report["applied"].values()) == {5}


def test_a_file_of_an_export_is_fetched_once_by_a_sink(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many requests it takes, and however many sinks are filled at the same time."""
    monkeypatch.setattr("dynamodb_streams_cdc.operations.export.MOST_ITEMS", 1)
    export(cloud)
    fetched: Counter[str] = Counter()

    def count(operation: str, arguments: dict[str, Any]) -> None:
        fetched.update([arguments["Key"]] if operation == "GetObject" else [])

    cloud.fails = count
    report = cloud.json(
        "backfill", "--yes", "--export", exports.URL, "--processor", "audit", *ALONE
    )
    assert set(report["read"].values()) == {5}
    files = {key: count for key, count in fetched.items() if key.endswith(".gz")}
    assert set(files.values()) == {2}
    assert len(files) == 3


def test_a_file_of_an_export_is_read_to_its_end_first(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that few of them are on this machine at one time."""
    monkeypatch.setattr("dynamodb_streams_cdc.operations.export.MOST_ITEMS", 1)
    export(cloud)
    cloud.calls.clear()
    cloud.json("backfill", "--yes", "--export", exports.URL, *ALONE, "--workers", "1")
    calls = [call for call in cloud.calls if call in ("GetObject", "Invoke")]
    assert calls[3:10] == ["GetObject", *["Invoke"] * 3, "GetObject", *["Invoke"] * 2]


def test_a_throttled_file_of_an_export_goes_on(cloud: Cloud) -> None:
    export(cloud)
    ask, asked = cloud.pipeline.processor("search"), dict[int, int]()
    numbers = count()  # files are sent at the same time

    def answer(event: Any) -> Any:
        number = next(numbers)
        asked[number] = len(event["Records"])
        done = ask(json.loads(json.dumps(event)), cloud.pipeline.context("search"))
        if number == 1:
            return {**done, "read": 0, "problem": "throttled"}
        return done

    cloud.pipeline.answers["search"] = answer
    report = cloud.json("backfill", "--yes", "--export", exports.URL, "--processor", "search")
    assert report["problems"] == []
    assert sum(asked.values()) - asked[1] == 5, "no item of a file is sent again but those refused"


def test_an_export_that_is_slow_for_a_moment_goes_on(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(cloud)
    download = Export._download
    failed: list[str] = []

    def fail_once(self: Export, key: str, copy: IO[bytes]) -> None:
        if key.endswith("001.json.gz") and not failed:
            failed.append(key)
            with translated():
                raise ReadTimeoutError(endpoint_url="https://s3")
        download(self, key, copy)

    monkeypatch.setattr(Export, "_download", fail_once)
    report = cloud.json("backfill", "--yes", "--export", exports.URL)
    assert failed
    assert set(report["applied"].values()) == {5}


@pytest.mark.parametrize(
    "body",
    [b"", gzip.compress(b""), gzip.compress(b"\n")],
    ids=["no bytes", "no text", "a line's end"],
)
def test_an_empty_file_of_an_export_has_no_items(cloud: Cloud, body: bytes) -> None:
    key = next(key for key in export(cloud) if key.endswith("002.json.gz"))
    cloud.client("s3").put_object(Bucket=exports.BUCKET, Key=key, Body=body)
    report = cloud.json("backfill", "--yes", "--export", exports.URL)
    assert set(report["applied"].values()) == {5}


def test_a_file_of_as_many_items_as_a_request_ends(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dynamodb_streams_cdc.operations.export.MOST_ITEMS", 3)
    export(cloud)
    report = cloud.json("backfill", "--yes", "--export", exports.URL)
    assert set(report["applied"].values()) == {5}


@pytest.mark.parametrize(
    "damage",
    [None, b"no gzip", gzip.compress(b'{"Item": {}}\n')],
    ids=["gone", "garbled", "too short"],
)
def test_half_an_export_is_named(cloud: Cloud, damage: bytes | None) -> None:
    key = next(key for key in export(cloud) if key.endswith("001.json.gz"))
    if damage is None:
        cloud.client("s3").delete_object(Bucket="exports", Key=key)
    else:
        cloud.client("s3").put_object(Bucket="exports", Key=key, Body=damage)
    done = cloud.run("backfill", "--yes", "--export", exports.URL)
    assert done.exit_code == 1, done.output
    assert f"s3://exports/{key}" in done.output


def test_an_address_that_is_none_of_an_export_is_refused(cloud: Cloud) -> None:
    done = cloud.run("backfill", "--yes", "--export", "exports/shop")
    assert done.exit_code == 2
    assert "--export: expected s3://BUCKET/PREFIX/AWSDynamoDB/ID" in done.output


def test_an_export_older_than_tombstones_is_refused() -> None:
    now = datetime(2026, 3, 9, tzinfo=UTC)
    summary = {"exportTime": "2026-03-01T00:00:00Z", "tableArn": f"arn:aws:x:y:z:table/{TABLE}"}
    arn = f"arn:aws:x:y:z:table/{TABLE}/stream/2026-02-01T00:00:00.000"
    with pytest.raises(OperationError, match="more than 167 hours ago"):
        Export(None, "exports", summary).check(TABLE, arn, now)
    Export(None, "exports", summary).check(TABLE, arn, now - timedelta(days=2))


EXPORTED = datetime(2026, 3, 6, tzinfo=UTC)
NOW = EXPORTED + timedelta(days=3)
HOUR = timedelta(hours=1)


@dataclass
class Mappings:
    """Lambda, which describes one mapping."""

    changed: datetime
    state: str = "Enabled"
    position: str = "TRIM_HORIZON"

    def get_event_source_mapping(self, **asked: str) -> dict[str, Any]:
        named = {"State": self.state, "StartingPosition": self.position}
        return {**asked, **named, "LastModified": self.changed}


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        (Mappings(EXPORTED - 300 * 24 * HOUR), ""),
        (Mappings(EXPORTED + 22 * HOUR), ""),
        (Mappings(EXPORTED + 24 * HOUR), "mapping of search was made or changed at 2026-03-07"),
        (
            Mappings((EXPORTED + 25 * HOUR).astimezone(timezone(-5 * HOUR))),
            "changed at 2026-03-07 01:00:00Z: it has read the changes since 2026-03-06 02:00:00Z",
        ),
        (Mappings(NOW), "since 2026-03-08 01:00:00Z, and those in between may be in neither"),
        (Mappings(EXPORTED - 24 * HOUR, state="Disabled"), "mapping of search is Disabled"),
        (Mappings(EXPORTED + HOUR, position="LATEST"), "those in between may be in neither"),
    ],
)
def test_an_export_older_than_what_is_read_is_refused(mapping: Mappings, said: str) -> None:
    """On a table whose stream was on long before the pipeline was deployed."""
    export = Export(None, "exports", {"exportTime": f"{EXPORTED:%Y-%m-%dT%H:%M:%SZ}"})
    search = DeployedProcessor("search", "f", "table", "orders", "search", "queue", "uuid")
    if not said:
        export.check_mappings(mapping, [search], NOW)
        return
    with pytest.raises(OperationError, match=said):
        export.check_mappings(mapping, [search], NOW)


def test_an_export_needs_to_know_the_mapping() -> None:
    search = DeployedProcessor("search", "f", "table", "orders", "search", "queue")
    with pytest.raises(OperationError, match="names no event source mapping of search"):
        Export(None, "exports", {}).check_mappings(None, [search], NOW)


def mapping_of(cloud: Cloud, processor: str) -> dict[str, Any]:
    [uuid] = [e["mapping"] for e in cloud.manifest["processors"] if e["name"] == processor]
    return cloud.described[uuid]


@pytest.mark.parametrize(
    ("feed", "changed", "status"),
    [
        ("table", "search", 1),
        ("table", "audit", 0),
        ("change-log", "search", 1),
        ("change-log", "audit", 1),
    ],
)
def test_mappings_of_the_way_to_a_copy_are_asked(
    cloud: Cloud, feed: str, changed: str, status: int
) -> None:
    cloud.manifest["processors"][1]["feed"] = feed
    mapping_of(cloud, changed)["LastModified"] = datetime.now(UTC) + timedelta(days=2)
    export(cloud)
    done = cloud.run("backfill", "--yes", "--export", exports.URL, *ALONE)
    assert done.exit_code == status, done.output
    assert (f"mapping of {changed} was made or changed" in done.output) == bool(status)
    assert bool(cloud.pipeline.invocations) != bool(status)
