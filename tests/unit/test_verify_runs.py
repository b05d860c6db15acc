"""A verification that is interrupted, slow, or without answers says only what is so."""

import itertools
import json
import os
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from dynamodb_streams_cdc.control import backfill, parts
from dynamodb_streams_cdc.control.functions import (
    RESPONSE_TOO_LARGE,
    TIME_IS_UP,
    InvocationFailed,
)
from dynamodb_streams_cdc.operations import walk
from dynamodb_streams_cdc.operations.errors import OperationError, UsageError
from dynamodb_streams_cdc.operations.jobs import Job
from dynamodb_streams_cdc.operations.verify import FRESH_SECONDS, Verify
from tests.unit.damage import (
    ITEMS,
    alter_a_sum,
    alter_the_document,
    bring_in_a_stranger,
    lose_the_document,
    stale_row,
)
from tests.unit.operated import Operated


def test_a_change_on_its_way_is_not_a_difference(filled: Operated) -> None:
    right = filled.copies.index.documents[filled.id(5)]
    alter_the_document(filled, 5)

    def arrive(processor: str, event: Any, answer: Any) -> Any:
        if event.get("of") == "table" and processor == "search":
            filled.copies.index.documents[filled.id(5)] = right
        return answer

    filled.after = arrive
    report = filled.verify().run()
    assert report.count == 0


def test_a_copy_that_changes_at_every_look_is_not_verified(filled: Operated) -> None:
    alter_the_document(filled, 5)

    def move(processor: str, event: Any) -> None:
        if event.get("of") == "items" and event["Records"]:
            held = filled.copies.index.documents[filled.id(5)]
            filled.copies.index.documents[filled.id(5)] = {**held, "amount": held["amount"] - 1}

    filled.before = move
    report = filled.verify().run()
    assert (report.count, report.moving, report.complete) == (0, 1, False)
    assert report.unverified == {"search"}


def test_a_look_without_an_answer_is_repeated(filled: Operated) -> None:
    """One throttled request at the end would cost all that was read for hours."""
    failing = iter((True, True, False))

    def throttle(processor: str, event: Any) -> None:
        if event.get("of") == "items" and event["Records"] and next(failing):
            message = "throttled"
            raise InvocationFailed(message, outage=True)

    alter_the_document(filled, 5)
    filled.before = throttle
    report = filled.verify().run()
    assert (report.count, report.verified) == (1, True)


def test_many_differences_are_asked_about_at_once() -> None:
    """Several requests are under way, and the next ones are found without reading all again."""
    together = threading.Barrier(3, timeout=10)
    items = [{"id": {"S": str(number)}} for number in range(600)]

    class Slow:
        def invoke(self, processor: str, event: Any) -> Any:
            asked = [record["Keys"] for record in event["Records"]]
            if len(asked) < len(items):
                together.wait()
            told = {"kind": "missing", "store": 0, "token": "", "version": None, "detail": ""}
            found = [{**told, "item": keys["id"]["S"], "keys": keys} for keys in asked]
            return {"comparable": True, "problem": "", "differences": found}

    job = Job("many", {})
    work = Verify(Slow(), {"id": "S"}, {"search": "search"}, job, settle=0, workers=3)
    assert work.run_items(items).count == len(items)


def test_the_next_differences_are_found_by_an_index() -> None:
    def work_of(rows: int) -> int:
        job, steps = Job(f"of-{rows}", {}), [0]
        with job.transaction():
            job.add_found(((f"{n:09}", {}) for n in range(rows)), 1.0)
        job._database.set_progress_handler(lambda: steps.append(1), 10)
        assert len(job.found("seen", 100)) == 100
        return len(steps)

    assert work_of(20_000) == work_of(200)


def test_a_killed_verification_goes_on_where_it_stopped(filled: Operated) -> None:
    alter_the_document(filled, 5)
    requests = itertools.count(1)

    def kill(processor: str, event: Any) -> None:
        if next(requests) == 12:
            raise KeyboardInterrupt

    filled.before = kill
    work = filled.verify()
    with pytest.raises(KeyboardInterrupt):
        work.run()
    done = {part.name for part in work.job.parts() if part.done}
    assert done
    work.job.close()
    filled.invocations.clear()
    again = filled.verify()
    assert again.job.resumed
    assert again.run().differences == {"search": {"wrong": 1}}
    kinds = (event.get("of", "") for _, event in filled.invocations)
    assert len(done) + Counter(kinds)["table"] <= 24 + 1


@pytest.mark.parametrize("come", [{"place": 7}, {"read": 1}, {"done": True}], ids=str)
def test_a_job_that_has_come_on_goes_on(come: Mapping[str, Any]) -> None:
    begun = Job("half", {})
    begun.add_parts(["a"])
    [part] = begun.parts()
    begun.advance(replace(part, **come))
    begun.close()
    assert Job("half", {}).resumed


def test_a_run_after_a_problem_reads_everything_again(filled: Operated) -> None:
    filled.fails = {"audit"}
    work = filled.verify()
    assert work.run().problems
    work.finish()
    work.job.close()
    filled.fails = set()
    filled.copies.index.documents.clear()
    again = filled.verify()
    assert not again.job.resumed
    assert again.run().differences == {"search": {"missing": ITEMS}}


def test_a_run_that_goes_on_looks_again(filled: Operated) -> None:
    alter_the_document(filled, 5)
    alter_a_sum(filled, 6)
    work = filled.verify()
    work.run()
    assert {each["kind"] for each in work.differences()} == {"wrong", "sum"}
    filled.repair(each for each in work.differences() if each["kind"] == "wrong")
    filled.copies.ledger.totals["group#6"]["amount"] -= Decimal("0.01")
    work.job.close()
    again = filled.verify()
    assert again.job.resumed
    assert (again.run().complete, again.report.count) == (True, 0)


def test_items_of_a_run_that_goes_on_are_looked_at_again(filled: Operated) -> None:
    """Their first report was not written, and the copy was repaired since."""
    alter_the_document(filled, 5)
    work = filled.verify()
    assert work.run_items([{"id": {"S": "item-5"}}]).count == 1
    filled.repair(work.differences())
    work.job.close()
    assert filled.verify().run_items([{"id": {"S": "item-5"}}]).complete


def test_what_was_read_long_ago_is_read_again(filled: Operated) -> None:
    """The first run ended before its report; what was damaged since would be all right."""
    work = filled.verify()
    assert work.run().complete
    work.job.close()
    lose_the_document(filled, 5)
    filled.clock.sleep(FRESH_SECONDS + 1)
    again = filled.verify()
    assert again.job.resumed
    assert again.run().differences == {"search": {"missing": 1}}


def test_a_job_that_is_done_holds_no_item(filled: Operated, jobs_folder: Path) -> None:
    """A person's key and sums would outlive their erasure."""
    lose_the_document(filled, 3)
    work = filled.verify("done")
    assert work.run().count == 1
    assert next(work.differences())["item"] == filled.id(3)
    work.finish()
    work.job.close()
    files = [path for path in jobs_folder.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if filled.id(3).encode() in path.read_bytes()]


def test_an_interrupted_run_of_another_day_begins_again(filled: Operated) -> None:
    first = Job("old", {})
    first.remember("place", 7)
    first.close()
    os.utime(first.path, (1, 1))
    assert Job("old", {}, stale_seconds=3600).recall("place") is None


def test_two_at_once_do_not_share_a_job(filled: Operated) -> None:
    first = filled.verify()
    with pytest.raises(OperationError, match="is at work in another process"):
        filled.verify()
    first.job.close()


def test_a_job_of_other_work_is_refused(filled: Operated) -> None:
    begun = filled.backfill("mine").job
    begun.remember("place", 7)
    begun.close()
    with pytest.raises(UsageError, match=r"was begun with other options \(command\)"):
        filled.verify("mine")


def test_a_slow_function_is_asked_about_fewer_differences(filled: Operated) -> None:
    """As in the walk: it would be out of time at each look, and nothing would be verified."""
    for number in range(20):
        lose_the_document(filled, number)

    def time_out(processor: str, event: Any) -> None:
        if event.get("of") == "items" and len(event["Records"]) > 5:
            message = "Task timed out"
            raise InvocationFailed(message)

    filled.before = time_out
    report = filled.verify().run()
    assert (report.verified, report.count) == (True, 20)


def test_an_item_that_kills_leaves_the_others_verified(filled: Operated) -> None:
    for number in range(20):
        lose_the_document(filled, number)
    killer = {"Keys": {"id": {"S": "item-7"}}, "store": 0}

    def die(processor: str, event: Any) -> None:
        if event.get("of") == "items" and killer in event["Records"]:
            message = "Runtime exited with error: signal: killed"
            raise InvocationFailed(message)

    filled.before = die
    report = filled.verify().run()
    assert (report.verified, report.count, report.moving) == (False, 19, 1)


@pytest.mark.parametrize(("reason", "asked"), [("Throttled", walk.PATIENCE + 1), (TIME_IS_UP, 2)])
def test_a_sink_that_stays_silent_is_asked_once_each_time(
    filled: Operated, reason: str, asked: int
) -> None:
    """Two requests about differences: the first is repeated, unless its reason stays."""
    for number in (5, 6):
        alter_the_document(filled, number)
    looks = []

    def be_silent(processor: str, event: Any) -> None:
        if event.get("of") == "items" and event["Records"]:
            looks.append(event)
            message = "no answer"
            raise InvocationFailed(message, reason, outage=True)

    filled.before = be_silent
    with patch("dynamodb_streams_cdc.operations.verify.ASKED_AT_ONCE", 1):
        report = filled.verify().run()
    assert (len(looks), report.moving) == (asked, 2)


def test_a_sink_that_is_out_leaves_the_others_verified(filled: Operated) -> None:
    filled.fails = {"search"}
    report = filled.verify().run()
    assert not report.complete
    assert len(report.problems) == 1
    assert report.problems[0].startswith("search was not verified to its end")
    assert report.read["aggregation"] > ITEMS


def test_a_share_reads_a_part(filled: Operated) -> None:
    report = filled.verify(share=0.01).run()
    assert report.complete
    assert 0 < sum(report.read.values()) < ITEMS


def test_a_share_that_is_read_is_told(filled: Operated) -> None:
    """A thousandth at least, which may be more than was asked for."""
    assert filled.verify(share=0.00001).run().share == 0.001
    assert filled.verify("tenth", share=0.0999).run().share == 0.1


def test_a_share_reads_a_part_of_the_index(filled: Operated) -> None:
    work = filled.verify(share=0.5)
    assert work.run().complete
    found = sum(part.read for part in work.job.parts("copies0/search/"))
    assert ITEMS / 4 < found < ITEMS * 3 / 4


LARGEST = 4_000


def small(processor: str, event: Any, answer: Any) -> Any:
    """Let responses have `LARGEST` bytes at most."""
    if len(json.dumps(answer)) > LARGEST:
        message = "response size exceeded"
        raise InvocationFailed(message, RESPONSE_TOO_LARGE)
    return answer


def test_no_response_is_larger_than_lambda_takes(
    filled: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither that with the differences of a page, nor that to a second look."""
    monkeypatch.setattr(parts, "PAGE_BYTES", 1_500)
    monkeypatch.setattr(parts, "RESPONSE_BYTES", 2_000)
    for number in range(ITEMS):
        alter_the_document(filled, number)
        stale_row(filled, number)
        bring_in_a_stranger(filled, number)
    filled.after = small
    report = filled.verify(segments=1).run()
    assert report.problems == []
    assert report.differences == {
        "search": {"wrong": ITEMS, "foreign": ITEMS},
        "aggregation": {"wrong": ITEMS},
    }


def test_refusals_of_many_items_take_several_responses(
    filled: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "PAGE_ITEMS", 5)
    monkeypatch.setattr(parts, "RESPONSE_BYTES", 2_000)
    for number in range(ITEMS):
        item = {**filled.item(number), "poison": "hopeless"}
        filled.table.put(item, filled.clock.now())
    filled.after = small
    filled.copies.index.documents.clear()
    work = filled.backfill("again", segments=1)
    work.processors = ["search"]
    report = work.run()
    assert (report.problems, report.refused) == ([], ITEMS)
    assert len(report.failures[0]["error"]) <= backfill.MOST_TEXT
