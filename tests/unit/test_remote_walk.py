"""`--on aws`: the state machine's walk gives the same job as the walk of this machine."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import pytest

from dynamodb_streams_cdc.applier import SinkApplier
from dynamodb_streams_cdc.control.functions import InvocationFailed
from dynamodb_streams_cdc.control.parts import SMALL_PAGE
from dynamodb_streams_cdc.errors import PermanentError
from dynamodb_streams_cdc.operations.errors import OperationError
from dynamodb_streams_cdc.operations.jobs import Job
from dynamodb_streams_cdc.operations.remote_walk import (
    GAVE_UP,
    ITEMS_PER_PART,
    Answer,
    RemoteWalk,
    segments_for,
)
from dynamodb_streams_cdc.operations.walk import CapacityLimit
from tests.unit.operated import Operated

ITEMS, MOST_STEPS = 60, 3


@pytest.fixture(autouse=True)
def folder(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_JOBS", str(tmp_path / "jobs"))


class Machine:
    """The state machine: each look lets every running part take a step.

    Attributes:
        limit: items of a request, instead of those that the part asks for.
        interrupted: number of the answer whose reading a person interrupts.
    """

    def __init__(self, operated: Operated) -> None:
        self.operated = operated
        self.running: dict[str, list[dict[str, Any]]] = {}
        self.objects: dict[str, dict[Answer, Any]] = {}
        self.started: Counter[str] = Counter()
        self.asked: list[Mapping[str, Any]] = []
        self.limit, self.interrupted, self.reads = 7, -1, 0

    def start(self, name: str, parts: Sequence[Mapping[str, Any]], concurrency: int) -> None:
        self.started[name] += 1
        if name not in self.objects:
            self.objects[name] = {}
            self.running[name] = json.loads(json.dumps(parts))
            self.asked += parts

    def is_running(self, name: str) -> bool:
        going_on = [part for part in self.running[name] if self.step(name, part)]
        self.running[name] = going_on
        return bool(going_on)

    def step(self, name: str, part: dict[str, Any]) -> bool:
        """Ask as the child execution does; return whether it goes on."""
        event = {**part["event"], **part["cursor"], "limit": self.limit}
        number, step = int(part["number"]), part["step"]
        try:
            answer = self.operated.invoke(part["function"], event)
        except InvocationFailed as error:
            self.objects[name][Answer(number, GAVE_UP, "")] = {"Error": "X", "Cause": str(error)}
            return False
        self.objects[name][Answer(number, str(step), f"{number}/{step}")] = answer
        part["cursor"]["place"], part["step"] = answer.get("place"), step + 1
        return "place" in answer and not answer["done"] and step + 1 < MOST_STEPS

    def listed(self, name: str) -> Sequence[Answer]:
        return sorted(self.objects[name], key=lambda each: (each.part, each.step))

    def read(self, answer: Answer) -> Any:
        if self.reads == self.interrupted:
            self.interrupted = -1
            raise KeyboardInterrupt
        self.reads += 1
        return next(each[answer] for each in self.objects.values() if answer in each)

    def forget(self, answers: Iterable[Answer]) -> None:
        for answer in answers:
            for each in self.objects.values():
                each.pop(answer, None)

    def function(self, processor: str) -> str:
        return processor


def on(machine: Machine) -> Any:
    return partial(RemoteWalk, runs=machine)


def found(work: Any) -> list[dict[str, Any]]:
    work.run()
    differences = list(work.differences())
    work.job.close()
    return differences


def damage(o: Operated) -> None:
    for number in (3, 9, 31):
        del o.copies.index.documents[o.id(number)]
    o.copies.ledger.totals["group#3"]["amount"] += 1
    del o.copies.ledger.rows[o.id(17)]


def test_it_fills_and_finds_what_this_machine_does() -> None:
    o = Operated(ITEMS)
    machine = Machine(o)
    report = o.backfill(walk=on(machine)).run()
    assert report.complete
    assert report.read == dict.fromkeys(("aggregation", "audit", "search"), ITEMS)
    assert o.wrong() == []
    damage(o)
    here = found(o.verify("here"))
    there = found(o.verify("there", walk=on(machine)))
    assert here == there
    assert len(here) > 4
    assert not any(objects for objects in machine.objects.values()), "answers are deleted"


def test_a_part_of_many_steps_goes_on_in_another_execution() -> None:
    o = Operated(ITEMS)
    machine = Machine(o)
    machine.limit = 2
    assert o.backfill(walk=on(machine), segments=2).run().complete
    assert len(machine.started) > 3
    assert o.wrong() == []


@pytest.mark.parametrize("interrupted", [0, 1, 5, 11])
def test_it_comes_back_to_the_execution_that_goes_on(interrupted: int) -> None:
    o = Operated(ITEMS)
    machine = Machine(o)
    machine.interrupted = interrupted
    work = o.backfill(walk=on(machine), segments=3)
    with pytest.raises(KeyboardInterrupt):
        work.run()
    work.job.close()
    [name] = machine.started
    report = o.backfill(walk=on(machine), segments=3).run()
    assert machine.started[name] == 2, "the same name, which starts nothing"
    assert report.read == dict.fromkeys(("aggregation", "audit", "search"), ITEMS)
    assert report.applied == report.read, "an answer counts once"
    assert o.wrong() == []


def test_no_answer_is_lost_that_a_listing_lacks() -> None:
    """Objects that are written between two pages of a listing: the second of them can be in it."""
    o = Operated(ITEMS)
    machine = Machine(o)
    machine.limit = 2
    complete = machine.listed
    lacking: set[str] = set()

    def listed(name: str) -> Sequence[Answer]:
        found = complete(name)
        if name in lacking:
            return found
        if any(answer.step == "2" for answer in found):
            lacking.add(name)
        return [answer for answer in found if answer.step != "1"]

    machine.listed = listed  # type: ignore[method-assign]
    report = o.backfill(walk=on(machine), segments=2).run()
    assert lacking
    assert report.complete
    assert report.read == dict.fromkeys(("aggregation", "audit", "search"), ITEMS)
    assert o.wrong() == []


def test_a_part_that_gives_up_is_a_problem_with_its_error() -> None:
    o = Operated(ITEMS)
    o.fails.add("search")
    report = o.backfill(walk=on(Machine(o))).run()
    [problem] = report.problems
    assert problem == "search was not filled to its end: X: search is out"
    assert report.read["audit"] == ITEMS


def test_a_function_of_another_version_is_named() -> None:
    o = Operated(ITEMS)
    machine = Machine(o)
    answers: dict[str, Any] = {"batchItemFailures": []}
    machine.operated = type("Old", (), {"invoke": lambda *_: answers})()
    report = o.backfill(walk=on(machine)).run()
    assert all("does not know the operation backfill" in each for each in report.problems)
    assert len(report.problems) == 3


def test_capacity_is_shared_by_the_parts_that_run_at_once() -> None:
    o = Operated(ITEMS)
    machine = Machine(o)
    work = o.backfill(walk=on(machine), capacity=CapacityLimit(300, o.clock))
    work.workers = 6
    work.run()
    assert {part["event"]["unitsPerSecond"] for part in machine.asked} == {50}
    assert {part["cursor"]["limit"] for part in machine.asked} == {100}


def test_a_function_says_how_long_to_rest() -> None:
    o = Operated(ITEMS)
    asked = {"operation": "backfill", "streamArn": o.arn, "keys": {"id": "S"}, "Records": []}
    answer = o.invoke("audit", {**asked, "unitsPerSecond": 2})
    assert answer["rest"] == -(-answer["units"] // 2)
    assert "rest" not in o.invoke("audit", asked)


def test_a_small_answer_fits_into_a_state() -> None:
    """256 KiB, with all documents missing and a sum for each item."""
    o = Operated(2_000)
    asked = {"operation": "verify", "of": "table", "keys": {"id": "S"}, "limit": 2_000}
    asked |= {"Records": []}
    small = o.invoke("search", {**asked, "small": True})
    assert 100_000 < len(json.dumps(small)) < 256 * 1024
    assert len(small["differences"]) < len(o.invoke("search", asked)["differences"]) == 2_000


@pytest.mark.parametrize(
    "text",
    ["x" * 1_000, "金額が不正です。" * 125, "\x00" * 1_000],
    ids=["ASCII", "Japanese", "controls"],
)
def test_a_small_answer_has_room_for_refusals_of_any_text(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are not read again in halves: a page is filled once."""
    o = Operated(300)

    def refuse(self: SinkApplier, *_: Any) -> Any:
        raise PermanentError(text)

    monkeypatch.setattr(SinkApplier, "sink_of", refuse)
    asked = {"operation": "backfill", "streamArn": o.arn, "keys": {"id": "S"}, "Records": []}
    answer = o.invoke("audit", {**asked, "limit": 2_000, "small": True})
    assert len(answer["failures"]) >= SMALL_PAGE
    assert all(failure["error"] for failure in answer["failures"])
    assert len(json.dumps(answer, ensure_ascii=False).encode()) < 256 * 1024


def test_an_export_is_read_by_this_machine() -> None:
    o = Operated(1)
    walk = RemoteWalk(o, Job("export", {}), lambda part, answer: {}, runs=Machine(o))
    part = type("Part", (), {"name": "1", "records": lambda place, limit: ([], None)})()
    with pytest.raises(OperationError, match="leave --on out"):
        walk.run([part])


def test_segments_grow_with_the_table() -> None:
    assert segments_for(10, 4) == 8
    assert segments_for(10, 50) == 50
    assert segments_for(1_000_000_000, 50) == 1_000_000_000 // ITEMS_PER_PART
