"""Names of jobs, of stacks and indexes with names as long as they may be."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from dynamodb_streams_cdc.operations.jobs import MOST_CHARACTERS, Job, job_name
from dynamodb_streams_cdc.operations.rebuild_search import RebuildSearch
from tests.unit.operated import Operated

MADE = str(UUID(int=7))
LONGEST_STACK = "s" * 128
LONGEST_INDEX = "i" * 201


def test_a_name_that_fits_stays_as_it_is() -> None:
    assert job_name("verify", "cdc-sandbox-pipeline", 7) == "verify-cdc-sandbox-pipeline-7"
    name = job_name("x" * 98, 7)
    assert (name, len(name)) == (f"{'x' * 98}-7", MOST_CHARACTERS)


@pytest.mark.parametrize("strange", ["my pipeline", "größe", "\ud800", "a/b", LONGEST_STACK])
def test_a_name_that_a_job_may_not_have_gets_a_digest(strange: str) -> None:
    names = [job_name("verify", strange), job_name("verify", strange, 7), job_name("fill", strange)]
    assert len({*names}) == 3
    for name in names:
        Job(name, {}).close()
    assert names[0] == job_name("verify", strange)


@pytest.mark.parametrize("index", ["i" * 48, "i" * 50, "i" * 57, LONGEST_INDEX])
def test_an_index_with_a_long_name_is_rebuilt(index: str) -> None:
    o = Operated(items=10)
    o.backfill().run()
    o.copies.index.name = index
    status = o.copies.index.status

    def as_deployed(deadline: Any) -> Any:
        found = status(deadline)
        return replace(found, made=MADE if found.second else "")

    o.copies.index.status = as_deployed  # type: ignore[method-assign]
    jobs: list[str] = []

    def job(name: str, asked: Any) -> Job:
        jobs.append(name)
        return Job(name, asked)

    work = RebuildSearch(o, "search", index, o.arn, {"id": "S"}, job=job, clock=o.clock, workers=1)
    report = work.run()
    assert (report.done, report.problems) == ("swapped", [])
    assert len({*jobs}) == 2
    erased = [event["erase"] for _, event in o.invocations if event.get("erase")]
    assert erased[-1] == [f"fill/{jobs[0]}"]
