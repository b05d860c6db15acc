"""`cdc rebuild aggregation`: asks, rebuilds through the function, and says what readers read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from dynamodb_streams_cdc.sinks import generations
from tests.cli.conftest import EXPIRED, Cloud
from tests.lambdas.conftest import create_table
from tests.unit.operated import Operated

COMMAND = ("rebuild", "aggregation")


@pytest.fixture
def operated(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operated]:
    """A table of 12 items with sums, whose functions know of a rebuild at once."""
    made = Operated(12)
    made.backfill().run()
    cloud.table.update(name="items", table="items-1A2B", keys={"id": "S"})
    create_the_table(cloud)
    cloud.add_processor("aggregation")
    cloud.manifest["processors"][-1]["source_table"] = "items"
    cloud.pipeline.answers["aggregation"] = lambda event: made.invoke("aggregation", event)
    with patch.object(generations, "WAIT_SECONDS", 0.0):
        yield made


def create_the_table(cloud: Cloud) -> None:
    client = cloud.client("dynamodb")
    create_table(client, "items-1A2B", [("id", "S")])
    stream = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    client.update_table(TableName="items-1A2B", StreamSpecification=stream)


def fail_at_the_check(cloud: Cloud, error: BaseException) -> Any:
    """Let the function raise where it compares sums; return how it answered before."""
    ask = cloud.pipeline.answers["aggregation"]

    def failing(event: Any) -> Any:
        if event.get("step") == "check":
            raise error
        return ask(event)

    cloud.pipeline.answers["aggregation"] = failing
    return ask


def test_sums_are_rebuilt_and_switched(cloud: Cloud, operated: Operated) -> None:
    operated.copies.ledger.totals["group#3"]["amount"] += 1
    done = cloud.run(*COMMAND, "--yes")
    assert done.exit_code == 0, done.output
    assert "24 items and ledger rows read: 12 rows moved, 0 of them corrected." in done.output
    assert "7 aggregates compared with the ledger: 0 measures off." in done.output
    assert "Readers read generation 1." in done.output
    assert "Generation 0 is kept right as well: --rollback goes back to it" in done.output
    assert list(operated.copies.wrong_sums(operated.table)) == []


def test_nothing_is_begun_without_a_folder_for_jobs(
    cloud: Cloud, operated: Operated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each change would be written to both sets, until someone finds out."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("CDC_JOBS", str(tmp_path / "file"))
    operated.invocations.clear()
    for words in (("--yes",), ("--finish", "--yes")):
        done = cloud.run(*COMMAND, *words)
        assert (done.exit_code, operated.invocations) == (1, [])
        assert "Set CDC_JOBS to a folder that you may write to." in done.output


def test_workers_have_a_segment_each(cloud: Cloud, operated: Operated) -> None:
    operated.invocations.clear()
    cloud.json(*COMMAND, "--yes", "--workers", "12")
    moves = [event for _, event in operated.invocations if event.get("step") == "move"]
    assert {(event["segment"], event["segments"]) for event in moves} == {
        (number, 12) for number in range(12)
    }


def test_rollback_and_finish(cloud: Cloud, operated: Operated) -> None:
    assert cloud.json(*COMMAND, "--yes")["live"] == 1
    back = cloud.run(*COMMAND, "--rollback", "--yes")
    assert "Readers read generation 0." in back.output
    assert cloud.json(*COMMAND, "--yes")["live"] == 1
    finished = cloud.json(*COMMAND, "--finish", "--yes")
    assert (finished["live"], finished["kept"], finished["dropped"]) == (1, None, 7)
    again = cloud.run(*COMMAND, "--finish", "--yes")
    assert (again.exit_code, "Readers read generation 1." in again.output) == (0, True)


def test_json_has_what_was_done(cloud: Cloud, operated: Operated) -> None:
    report = cloud.json(*COMMAND, "--yes")
    expected = {"generation": 1, "live": 1, "kept": 0, "read": 24, "moved": 12, "sums": 7}
    assert report.items() >= expected.items()
    assert (report["off"], report["problems"], report["complete"]) == ([], [], True)


def test_it_asks_before_it_writes(cloud: Cloud, operated: Operated) -> None:
    operated.invocations.clear()
    refused = cloud.run(*COMMAND)
    assert refused.exit_code == 2
    assert "Build the sums of aggregation again from table items-1A2B" in refused.output
    assert "Say --yes where no person can answer." in refused.output
    assert operated.invocations == []
    with patch("dynamodb_streams_cdc.cli.jobs.is_interactive", return_value=True):
        assert cloud.run(*COMMAND, input="n\n").exit_code == 1
        assert operated.invocations == []
        assert cloud.run(*COMMAND, input="y\n").exit_code == 0
    given_up = cloud.run(*COMMAND, "--finish")
    assert "Remove the sums of aggregation that the rebuild replaced?" in given_up.output


def test_half_a_rebuild_is_given_up(cloud: Cloud, operated: Operated) -> None:
    event = {"operation": "rebuild-sums", "step": "begin", "Records": []}
    operated.invoke("aggregation", event)
    asked = cloud.run(*COMMAND, "--finish")
    assert "Give up the rebuild of aggregation, and remove the sums that it made?" in asked.output
    assert cloud.json(*COMMAND, "--finish", "--yes")["live"] == 0


def test_a_rebuild_that_is_refused_claims_nothing(cloud: Cloud, operated: Operated) -> None:
    """Readers read generation 1, and it was not asked."""
    cloud.json(*COMMAND, "--yes")
    done = cloud.run(*COMMAND, "--yes")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "readers are switched to the last rebuild" in done.stderr
    report = cloud.json(*COMMAND, "--yes", status=1)
    assert (report["complete"], report["failed"]) == (False, True)
    assert (report["generation"], report["live"]) == (None, None)


def test_a_rebuild_whose_sums_are_off_is_given_up(cloud: Cloud, operated: Operated) -> None:
    ask = cloud.pipeline.answers["aggregation"]

    def altered(event: Any) -> Any:
        if event.get("step") == "check" and event.get("side") == "before":
            operated.copies.ledger.totals["group#3"]["g1_amount"] += 1
        return ask(event)

    cloud.pipeline.answers["aggregation"] = altered
    done = cloud.run(*COMMAND, "--yes")
    assert done.exit_code == 1
    assert "give the rebuild up with --finish, and rebuild." in done.output
    assert "Readers read generation 0." in done.output
    cloud.pipeline.answers["aggregation"] = ask
    assert not cloud.json(*COMMAND, "--yes", status=1)["complete"]
    assert cloud.json(*COMMAND, "--finish", "--yes")["live"] == 0
    assert cloud.json(*COMMAND, "--yes")["live"] == 2


def test_a_rebuild_that_dies_is_not_complete(cloud: Cloud, operated: Operated) -> None:
    fail_at_the_check(cloud, EXPIRED)
    done = cloud.run(*COMMAND, "--yes")
    assert done.exit_code == 1
    assert "12 rows moved" in done.stdout
    assert "Readers read" not in done.stdout


def test_a_rebuild_goes_on_with_one_table_alone(cloud: Cloud, operated: Operated) -> None:
    ask = fail_at_the_check(cloud, KeyboardInterrupt())
    cloud.run(*COMMAND, "--yes")
    cloud.pipeline.answers["aggregation"] = ask
    cloud.client("dynamodb").delete_table(TableName="items-1A2B")
    create_the_table(cloud)
    done = cloud.run(*COMMAND, "--yes")
    assert done.exit_code == 2, done.output
    assert "was begun with other options (stream)" in done.output


def test_options_that_exclude_each_other(cloud: Cloud, operated: Operated) -> None:
    done = cloud.run(*COMMAND, "--rollback", "--finish")
    assert (done.exit_code, "Give --rollback or --finish, not both." in done.output) == (2, True)


def test_nothing_to_roll_back_is_a_sentence(cloud: Cloud, operated: Operated) -> None:
    done = cloud.run(*COMMAND, "--rollback", "--yes")
    assert done.exit_code == 1
    assert "there is no generation to go back to: the last rebuild is finished" in done.output


def test_a_table_without_sums(cloud: Cloud, operated: Operated) -> None:
    cloud.manifest["processors"].pop()
    done = cloud.run(*COMMAND, "--yes")
    assert done.exit_code == 2
    assert "has no sink aggregation of table items: no entity uses it." in done.output
