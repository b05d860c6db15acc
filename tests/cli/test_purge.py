"""`cdc purge`: asks, purges through the functions, and names what holds it back."""

import os
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from dynamodb_streams_cdc.control.notes import OPEN_SECONDS
from dynamodb_streams_cdc.operations.jobs import Job, job_name
from dynamodb_streams_cdc.sinks.base import TOMBSTONE_SECONDS
from tests.cli.conftest import EXPIRED, Cloud
from tests.unit.operated import Operated


@pytest.fixture
def operated(cloud: Cloud) -> Operated:
    """Copies of 12 items, of which four were deleted more than a week ago."""
    made = Operated(12)
    made.backfill().run()
    for number in range(4):
        made.table.delete({"id": f"item-{number}"}, made.clock.now())
    gone = [{"Keys": {"id": {"S": f"item-{number}"}}} for number in range(4)]
    made.invoke("search", {"operation": "repair", "streamArn": made.arn, "Records": gone})
    made.clock.sleep(TOMBSTONE_SECONDS + 1)
    cloud.pipeline.answers["search"] = lambda event: made.invoke("search", event)
    return made


def test_old_tombstones_are_deleted(cloud: Cloud, operated: Operated) -> None:
    counted = cloud.run("purge", "--dry-run")
    assert (counted.exit_code, counted.output) == (0, "search: 4 tombstones; 4 old enough.\n")
    done = cloud.run("purge", "--yes")
    assert (done.exit_code, done.output) == (0, "search: 4 tombstones; 4 deleted.\n")
    assert cloud.json("purge", "--yes")["purged"] == {"search": 0}


def test_a_purge_that_dies_is_not_complete(cloud: Cloud, operated: Operated) -> None:
    def expired(event: Any) -> Any:
        if event["operation"] == "purge":
            raise EXPIRED
        return operated.invoke("search", event)

    cloud.pipeline.answers["search"] = expired
    report = cloud.json("purge", "--yes", status=1)
    assert (report["complete"], report["failed"], report["problems"]) == (False, True, [])


def test_a_killed_purge_leaves_nothing_done(cloud: Cloud, operated: Operated) -> None:
    """A later process may have its number: in a container each command has the same."""
    name = job_name("purge", "cdc-sandbox-pipeline", os.getpid())
    with closing(Job(name, {"command": "purge"})) as killed:
        killed.add_parts(f"search/{number:04}" for number in range(8))
        for part in killed.parts():
            counts = {"purgeable": 1, "tombstones": 1, "purged": 1}
            killed.advance(replace(part, done=True, read=1, counts=counts))
    done = cloud.run("purge", "--yes")
    assert (done.exit_code, done.output) == (0, "search: 4 tombstones; 4 deleted.\n")


def test_a_purge_asks_a_person_and_refuses_a_program(cloud: Cloud, operated: Operated) -> None:
    done = cloud.run("purge")
    assert done.exit_code == 2
    assert "Delete the tombstones of search that are older than 7d?" in done.output
    assert "Say --yes" in done.output


def test_an_open_fill_is_named(cloud: Cloud, operated: Operated) -> None:
    filling = {"operation": "backfill", "streamArn": operated.arn, "keys": {"id": "S"}}
    operated.invoke("search", {**filling, "fill": "night", "Records": []})
    held = cloud.run("purge", "--yes")
    assert held.exit_code == 1
    assert "search: nothing was deleted: the backfill of job night is open" in held.output
    operated.clock.sleep(OPEN_SECONDS)
    done = cloud.run("purge", "--yes")
    assert "search: 4 tombstones; 4 deleted." in done.output
    assert operated.copies.notes.notes["purge/search"]["purged"] == 4


@pytest.mark.parametrize(
    ("age", "sentence"),
    [("6d", "--older-than: 7d or more"), ("a week", "--older-than: "), ("", "is empty")],
)
def test_an_age_that_is_none_is_refused(cloud: Cloud, age: str, sentence: str) -> None:
    done = cloud.run("purge", "--older-than", age)
    assert done.exit_code == 2
    assert sentence in done.output


def test_an_unknown_processor_is_refused(cloud: Cloud) -> None:
    done = cloud.run("purge", "--processor", "sarch")
    assert done.exit_code == 2
    assert "no processor 'sarch'" in done.output


def test_functions_of_an_earlier_version_are_named(cloud: Cloud, operated: Operated) -> None:
    cloud.pipeline.answers["search"] = lambda event: {"batchItemFailures": []}
    done = cloud.run("purge", "--yes")
    assert done.exit_code == 1
    assert "does not know the operation notes" in done.output
