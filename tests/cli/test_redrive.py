"""`cdc redrive`: on real calls of S3 and SQS, with everything that can come in between."""

import json
import re
from typing import Any

import pytest

from dynamodb_streams_cdc.cli import output, redrive
from dynamodb_streams_cdc.control.functions import InvocationFailed
from dynamodb_streams_cdc.operations.selection import id_of
from tests.cli.conftest import BATCH, Cloud, fail, nothing, refusal, refuse
from tests.fake_pipeline import BUCKET, POISON, item, lambdas_key, placed, pointer

GONE = lambdas_key("gone")


@pytest.fixture
def poisoned(cloud: Cloud) -> Cloud:
    """Twelve poisonous orders: more than one request takes from a queue."""
    for customer in range(1, 13):
        cloud.pipeline.write(customer, POISON)
    cloud.pipeline.deliver(*[placed(n, n, POISON) for n in range(1, 13)])
    cloud.post()
    return cloud


@pytest.fixture
def few_lines(monkeypatch: pytest.MonkeyPatch) -> int:
    """Print 10 lines at most of each kind, for a test of many."""
    for module in (output, redrive):
        monkeypatch.setattr(module, "MOST_LINES", 10)
    return 10


def fix(cloud: Cloud, *customers: int) -> None:
    for customer in customers or range(1, 13):
        cloud.pipeline.write(customer, "placed")


def run(cloud: Cloud, *arguments: str, status: int) -> dict[str, Any]:
    return cloud.json("redrive", "--yes", *arguments, status=status)


def test_a_second_failure_keeps_the_notification(poisoned: Cloud) -> None:
    before = poisoned.objects()
    summary = run(poisoned, status=1)
    assert (summary["dead_letters"], summary["kept"], summary["archived"]) == (12, 12, 0)
    assert {failure["reason"] for left in summary["left"] for failure in left["failures"]} == {
        "ValueError"
    }
    assert sorted(left["key"] for left in summary["left"]) == before
    assert summary["notifications"]["search"] == {"cleared": 0, "remaining": 12, "unknown": []}
    assert poisoned.objects() == before
    assert poisoned.remaining() == before
    assert poisoned.objects("archive/") == []


def test_after_the_fix_nothing_is_left(poisoned: Cloud) -> None:
    before = poisoned.objects()
    fix(poisoned)
    summary = run(poisoned, status=0)
    assert (summary["archived"], summary["repaired"], summary["left"]) == (12, 12, [])
    assert summary["notifications"]["search"]["cleared"] == 12
    assert poisoned.objects() == []
    assert poisoned.objects("archive/") == [f"archive/{key}" for key in before]
    assert poisoned.remaining() == []
    assert poisoned.pipeline.indexed() == {item(n): "placed" for n in range(1, 13)}
    assert run(poisoned, status=0)["dead_letters"] == 0


def test_text_summary(poisoned: Cloud) -> None:
    fix(poisoned, *range(1, 12))
    poisoned.pipeline.write(13, "placed")
    poisoned.give_up(placed(13, 13))
    poisoned.put("dead-letters/search/broken.json", b"{")
    result = poisoned.run("redrive", "-y")
    assert result.exit_code == 1
    text = result.stdout
    assert "14 dead letters with 13 records: 1 applied, 0 stale, 12 not applied." in text
    assert "Items repaired: 11." in text
    assert "Dead letters: 12 archived, 1 kept, 1 unreadable." in text
    assert "search: 12 notifications cleared, 2 remaining." in text
    [line] = [line for line in text.splitlines() if item(12) in line]
    assert "ValueError" in line
    assert "poison cannot be indexed" in line
    assert "dead-letters/search/broken.json is not a dead letter" in text


def test_the_counts_add_up(poisoned: Cloud) -> None:
    """Some applied, some stale, some never to be applied, some not tried for want of a sink."""
    fix(poisoned, 1, 2, 3)
    poisoned.pipeline.write(13, "placed")
    poisoned.give_up(placed(13, 13), placed(13, 13))
    poisoned.give_up(placed(14, 14), processor="audit", key=GONE)
    poisoned.pipeline.answers["audit"] = InvocationFailed("not reached", outage=True)
    summary = run(poisoned, status=1)
    counts = [summary[name] for name in ("applied", "stale", "unapplied", "untried")]
    assert counts == [1, 1, 12, 1]
    assert sum(counts) == summary["records"] == 15
    text = poisoned.run("redrive", "--yes").stdout
    found = re.search(r"with (\d+) records: (\d+) applied, (\d+) stale, (.*)\.$", text, re.M)
    assert found is not None
    assert found[4] == "9 not applied, 1 not tried"
    assert int(found[1]) == int(found[2]) + int(found[3]) + 9 + 1


def test_many_failed_records_are_summarised(cloud: Cloud, few_lines: int) -> None:
    def fails(event: dict[str, Any]) -> Any:
        return {
            "batchItemFailures": [{"itemIdentifier": ""}] * len(event["Records"]),
            **dict.fromkeys(("applied", "stale", "repaired"), 0),
            "failures": [
                {"position": at, "item": each["eventID"], "version": "1"}
                | {"reason": f"Reason{at % 2}", "error": "an error", "retryable": False}
                for at, each in enumerate(event["Records"])
            ],
        }

    cloud.pipeline.answers["search"] = fails
    cloud.give_up(*(placed(n, n) for n in range(1, 3 * few_lines + 1)))
    result = cloud.run("redrive", "--yes")
    lines = result.stdout.splitlines()
    assert sum("an error" in line for line in lines) == few_lines
    assert "... and 10 more records of search: Reason0: see --json." in lines
    assert "... and 10 more records of search: Reason1: see --json." in lines
    assert len(lines) < few_lines + 12
    assert len(run(cloud, status=1)["left"]) == 3 * few_lines


def test_many_unreadable_dead_letters_are_summarised(cloud: Cloud, few_lines: int) -> None:
    for number in range(few_lines + 20):
        cloud.put(f"dead-letters/search/{number:03}.json", b"{")
        cloud.notify(f"no pointer {number}")
    lines = cloud.run("redrive", "--yes").stdout.splitlines()
    assert sum("is not a dead letter" in line for line in lines) == few_lines
    assert sum("without a dead letter" in line for line in lines) == few_lines
    assert "... and 20 more dead letters: see --json." in lines
    assert "... and 20 more messages: see --json." in lines


def test_a_batch_is_split(cloud: Cloud) -> None:
    cloud.pipeline.write(1, "placed")
    cloud.pipeline.write(2, POISON)
    cloud.give_up(placed(1, 1), placed(2, 2, POISON))
    summary = run(cloud, status=1)
    assert (summary["split"], summary["applied"]) == (1, 1)
    [key] = cloud.objects()
    assert summary["left"][0]["dead_letters"] == [key]
    dead_letter = json.loads(cloud.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read())
    assert dead_letter["dead_letter"]["item"] == item(2)
    cloud.pipeline.write(2, "shipped")
    assert run(cloud, status=0)["archived"] == 1


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["--processor", "search"], 13),
        (["--processor", "audit"], 1),
        (["--reason", "ValueError"], 12),
        (["--item", item(3)], 1),
        (["--item", item(3), "--item", item(4)], 2),
        (["--older-than", "1h"], 0),
        ([BATCH], 1),
        ([id_of(BATCH), lambdas_key("log")], 2),
    ],
)
def test_only_selected_dead_letters(poisoned: Cloud, arguments: list[str], count: int) -> None:
    poisoned.give_up(placed(13, 13))
    poisoned.give_up(placed(14, 14), processor="audit", key=lambdas_key("log"))
    fix(poisoned)
    assert run(poisoned, *arguments, status=0)["dead_letters"] == count
    assert len(poisoned.objects()) == 14 - count


@pytest.mark.parametrize("words", [["redrive", "--yes"], ["redrive", "--dry-run"], ["list"]])
def test_an_item_of_an_unknown_table_is_refused(poisoned: Cloud, words: list[str]) -> None:
    command = ["dead-letters", *words] if words == ["list"] else words
    result = poisoned.run(*command, "--item", "order/S=00003")
    said = "--item: cdc-sandbox-pipeline has items of orders, and none of 'order'.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", said)
    assert "Invoke" not in poisoned.calls


def test_items_of_a_table_that_is_gone_can_be_selected(poisoned: Cloud) -> None:
    poisoned.table["table"] = "orders-3C4D"
    poisoned.give_up(placed(13, 13))
    assert run(poisoned, "--item", "orders-1A2B", status=0)["dead_letters"] == 1


def test_each_dead_letter_is_read_once(poisoned: Cloud) -> None:
    run(poisoned, "--older-than", "0s", status=1)
    assert poisoned.calls.count("GetObject") == 12


def test_an_id_that_does_not_exist(poisoned: Cloud) -> None:
    result = poisoned.run("redrive", "--yes", "deadbeef")
    assert result.exit_code == 1
    said = "There is no dead letter deadbeef: give four digits of its ID or more"
    assert said in result.stderr
    assert "Invoke" not in poisoned.calls


def test_a_dry_run_changes_nothing(poisoned: Cloud) -> None:
    fix(poisoned)
    before = poisoned.objects()
    result = poisoned.run("redrive", "--dry-run")
    assert result.exit_code == 0
    assert "Would redrive 12 dead letters, 12 records. Nothing was changed." in result.stdout
    assert all(id_of(key) in result.stdout for key in before)
    document = json.loads(poisoned.run("redrive", "--dry-run", "--json").stdout)
    assert sorted(dead_letter["key"] for dead_letter in document["dead_letters"]) == before
    assert poisoned.objects() == before
    assert len(poisoned.remaining()) == 12
    assert not {"Invoke", "PutObject", "CopyObject", "DeleteObject"} & set(poisoned.calls[-20:])


class TestConfirmation:
    def test_without_a_terminal_yes_is_required(self, poisoned: Cloud) -> None:
        result = poisoned.run("redrive")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "pass --yes" in result.stderr
        assert "Invoke" not in poisoned.calls

    @pytest.fixture
    def asked(self, poisoned: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
        name = "dynamodb_streams_cdc.cli.redrive.is_interactive"
        monkeypatch.setattr(name, lambda: True)
        fix(poisoned)
        return poisoned

    @pytest.mark.parametrize("answer", ["y\n", "YES\n"])
    def test_a_terminal_is_asked(self, asked: Cloud, answer: str) -> None:
        result = asked.run("redrive", "--json", input=answer)
        assert result.exit_code == 0
        assert "12 dead letters of search: ValueError" in result.stderr
        assert "Redrive 12 dead letters, 12 records, through the functions of" in result.stderr
        assert json.loads(result.stdout)["archived"] == 12

    @pytest.mark.parametrize("answer", ["n\n", "\n", "", "yo\n"])
    def test_no_changes_nothing(self, asked: Cloud, answer: str) -> None:
        result = asked.run("redrive", input=answer)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "Nothing was changed." in result.stderr
        assert len(asked.objects()) == 12

    def test_no_question_about_nothing(self, asked: Cloud) -> None:
        result = asked.run("redrive", "--processor", "audit")
        assert result.exit_code == 0
        assert "[y/N]" not in result.stderr


class TestStopping:
    def test_ctrl_c_prints_the_report(self, poisoned: Cloud) -> None:
        fix(poisoned)
        poisoned.fails = fail(KeyboardInterrupt(), "Invoke", at=5)
        result = poisoned.run("redrive", "--yes")
        assert result.exit_code == 130
        assert "5 dead letters with 5 records: 0 applied, 0 stale, 5 not applied." in result.stdout
        assert "Interrupted: 7 dead letters not tried and as before; run it again." in result.stdout
        assert len(poisoned.objects()) == 7
        poisoned.fails = nothing
        summary = run(poisoned, status=0)
        assert summary["archived"] == 7
        assert summary["notifications"]["search"]["cleared"] == 12

    def test_ctrl_c_prints_json(self, poisoned: Cloud) -> None:
        poisoned.fails = fail(KeyboardInterrupt(), "Invoke")
        summary = run(poisoned, status=130)
        assert (summary["interrupted"], summary["dead_letters"], summary["tried"]) == (True, 12, 0)

    def test_killed_between_copy_and_deletion(self, poisoned: Cloud) -> None:
        fix(poisoned)
        poisoned.fails = fail(KeyboardInterrupt(), "DeleteObject")
        poisoned.run("redrive", "--yes")
        assert len(poisoned.objects()) == 12
        assert len(poisoned.objects("archive/")) == 1
        poisoned.fails = nothing
        assert run(poisoned, status=0)["archived"] == 12
        assert len(poisoned.objects("archive/")) == 12


class TestTheNotificationQueue:
    def test_only_notifications_of_archived_ones_are_cleared(self, cloud: Cloud) -> None:
        cloud.pipeline.write(1, POISON)
        cloud.pipeline.deliver(placed(1, 1, POISON))
        cloud.post()
        [key] = cloud.objects()
        gone = pointer("dead-letters/search/gone")
        for body in (gone, gone, "s3:TestEvent", pointer(key), pointer(key, "another-bucket")):
            cloud.notify(body)
        result = cloud.run("redrive", "--yes")
        assert "search: 2 notifications cleared, 2 remaining." in result.stdout
        assert "left a message without a dead letter: s3:TestEvent" in result.stdout
        assert cloud.remaining() == sorted([key, key, key, "s3:TestEvent"])

    def test_only_queues_of_selected_processors_are_cleared(self, cloud: Cloud) -> None:
        cloud.notify(pointer(GONE), "search")
        cloud.notify(pointer(GONE), "audit")
        assert list(run(cloud, "--processor", "audit", status=0)["notifications"]) == ["audit"]
        assert cloud.remaining("search") == [GONE]
        assert cloud.remaining("audit") == []

    @pytest.mark.parametrize(
        ("operation", "action"),
        [("ReceiveMessage", "sqs:ReceiveMessage"), ("DeleteMessageBatch", "sqs:DeleteMessage")],
    )
    def test_a_missing_queue_permission_is_reported(
        self, poisoned: Cloud, operation: str, action: str
    ) -> None:
        fix(poisoned)
        poisoned.fails = refuse(operation)
        summary = run(poisoned, status=1)
        assert summary["archived"] == 12
        problem = summary["problems"][-1]
        assert "The notifications of search were not cleared" in problem
        assert action in problem
        assert poisoned.queues["search"] in problem
        assert problem in poisoned.run("redrive", "--yes").stdout or operation != "ReceiveMessage"


class TestFunctions:
    def test_a_function_that_is_not_deployed_any_more(self, cloud: Cloud) -> None:
        cloud.give_up(placed(1, 1), processor="arn:aws:lambda:us-east-1:0:function:old")
        cloud.pipeline.write(1, "placed")
        [left] = run(cloud, status=1)["left"]
        assert left["status"] == "unreadable"
        assert "cdc redrive --as PROCESSOR" in left["problem"]
        assert run(cloud, "--as", "search", status=0)["archived"] == 1
        assert cloud.pipeline.indexed() == {item(1): "placed"}

    def test_the_successor_must_be_deployed(self, cloud: Cloud) -> None:
        result = cloud.run("redrive", "--as", "billing", "--yes")
        assert result.exit_code == 2
        assert "--as: cdc-sandbox-pipeline has audit, search" in result.stderr


class TestPermissions:
    @pytest.mark.parametrize(
        ("operation", "action"),
        [
            ("GetObject", f"s3:GetObject on s3://{BUCKET}/dead-letters/search/"),
            ("Invoke", "lambda:InvokeFunction on cdc-sandbox-search"),
            ("CopyObject", f"s3:PutObject on s3://{BUCKET}/archive/dead-letters/search/"),
            ("DeleteObject", f"s3:DeleteObject on s3://{BUCKET}/dead-letters/search/"),
        ],
    )
    def test_a_missing_permission_follows_the_report(
        self, poisoned: Cloud, operation: str, action: str
    ) -> None:
        fix(poisoned)
        poisoned.fails = fail(refusal("AccessDeniedException", operation), operation, at=2)
        result = poisoned.run("redrive", "--yes")
        assert result.exit_code == 1
        assert "2 dead letters with 2 records" in result.stdout
        assert "Stopped: 10 dead letters not tried and as before" in result.stdout
        [sentence] = result.stderr.splitlines()
        assert action in sentence
        assert len(poisoned.objects()) == 10

    def test_a_missing_permission_to_write_dead_letters(self, cloud: Cloud) -> None:
        cloud.pipeline.write(2, POISON)
        cloud.give_up(placed(1, 1), placed(2, 2, POISON))
        cloud.fails = refuse("PutObject")
        result = cloud.run("redrive", "--yes")
        assert result.exit_code == 1
        assert f"s3:PutObject on s3://{BUCKET}/dead-letters/search/" in result.stderr
        assert cloud.objects() == [BATCH]

    def test_credentials_that_expire_during_the_run(self, poisoned: Cloud) -> None:
        fix(poisoned)
        poisoned.fails = fail(refusal("ExpiredTokenException", "Invoke"), "Invoke", at=4)
        result = poisoned.run("redrive", "--yes")
        assert result.exit_code == 1
        assert "4 dead letters with 4 records" in result.stdout
        assert result.stderr == "The AWS credentials have expired: sign in again.\n"
