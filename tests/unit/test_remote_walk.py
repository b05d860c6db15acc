"""`--on aws`: the state machine's walk gives the same job as the walk of this machine."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from threading import Barrier, Lock
from typing import Any
from unittest.mock import patch

import pytest

from dynamodb_streams_cdc.applier import SinkApplier
from dynamodb_streams_cdc.control import dispatch
from dynamodb_streams_cdc.control.backfill import begun
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
    Status,
    segments_for,
)
from dynamodb_streams_cdc.operations.walk import MOST_ITEMS, REST_SECONDS, CapacityLimit
from tests.unit.operated import Operated

ITEMS, MOST_STEPS = 60, 3


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
        self.lock = Lock()
        self.ended: dict[str, Status] = {}

    def start(self, name: str, parts: Sequence[Mapping[str, Any]], concurrency: int) -> None:
        self.started[name] += 1
        if name not in self.objects:
            self.objects[name] = {}
            self.running[name] = json.loads(json.dumps(parts))
            self.asked += parts

    def arn(self, name: str) -> str:
        return f"arn:execution:{name}"

    def status(self, name: str) -> Status:
        if name in self.ended:
            return self.ended[name]
        going_on = [part for part in self.running[name] if self.step(name, part)]
        self.running[name] = going_on
        return Status("RUNNING" if going_on else "SUCCEEDED")

    def step(self, name: str, part: dict[str, Any]) -> bool:
        """Ask as the child execution does; return whether it goes on."""
        event = {**part["event"], **part["cursor"], "limit": self.limit}
        number, step = int(part["number"]), part["step"]
        try:
            self.throttle(part, step)
            answer = self.operated.invoke(part["function"], event)
        except InvocationFailed as error:
            self.objects[name][Answer(number, GAVE_UP, "")] = {"Error": "X", "Cause": str(error)}
            return False
        self.objects[name][Answer(number, str(step), f"{number}/{step}")] = answer
        part["cursor"]["place"], part["step"] = answer.get("place"), step + 1
        return "place" in answer and not answer["done"] and step + 1 < MOST_STEPS

    def stop(self, name: str, cause: str) -> None:
        self.ended[name] = Status("ABORTED", cause)

    def throttle(self, part: Mapping[str, Any], step: int) -> None:
        """Raise `InvocationFailed` if a request is throttled for too long."""

    def listed(self, name: str) -> Sequence[Answer]:
        return sorted(self.objects[name], key=lambda each: (each.part, each.step))

    def read(self, answer: Answer) -> Any:
        with self.lock:
            self.reads += 1
            if self.reads - 1 == self.interrupted:
                raise KeyboardInterrupt
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


class Throttled(Machine):
    """One whose first request of some parts is throttled until it gives up."""

    def __init__(self, operated: Operated, *parts: str) -> None:
        super().__init__(operated)
        self.parts = set(parts)

    def throttle(self, part: Mapping[str, Any], step: int) -> None:
        if f"{part['event']['segment']}/{part['function']}" in self.parts:
            self.parts.remove(f"{part['event']['segment']}/{part['function']}")
            message = "Rate Exceeded."
            raise InvocationFailed(message, outage=True)


def test_a_part_that_gives_up_once_goes_on_later() -> None:
    """As on this machine: one throttled segment of hundreds ends no processor."""
    o = Operated(ITEMS)
    machine = Throttled(o, "1/audit", "2/audit", "2/search")
    report = o.backfill(walk=on(machine)).run()
    assert report.complete, report.problems
    assert report.read == dict.fromkeys(("aggregation", "audit", "search"), ITEMS)
    assert len(machine.started) > 1


def test_a_function_that_is_slow_gets_fewer_items() -> None:
    """The answers of an execution, which says nothing of their number, are one attempt."""
    o = Operated(ITEMS)

    class Slow(Machine):
        def step(self, name: str, part: dict[str, Any]) -> bool:
            self.limit = part["cursor"]["limit"]
            return super().step(name, part)

    ask = Operated.invoke

    def invoke(self: Operated, processor: str, event: Any) -> Any:
        if event.get("limit", 0) > 10:
            return {**begun(event["place"], []), "problem": "DeadlineExceeded"}
        return ask(self, processor, event)

    with patch.object(Operated, "invoke", invoke):
        report = o.backfill(walk=on(Slow(o))).run()
    assert (report.problems, o.wrong()) == ([], [])


def test_a_verification_goes_on_after_a_problem() -> None:
    """What was read costs as much to read again."""
    o = Operated(ITEMS)
    o.backfill().run()
    o.fails.add("search")
    work = o.verify(walk=on(Machine(o)), keeps_problems=True)
    assert work.run().problems
    done = {part.name for part in work.job.parts() if part.done}
    work.job.close()
    o.fails.clear()
    del o.copies.index.documents[o.id(3)]
    again = o.verify(walk=on(Machine(o)), keeps_problems=True)
    assert done <= {part.name for part in again.job.parts() if part.done}
    assert again.run().differences == {"search": {"missing": 1}}


class Ending(Machine):
    """One whose executions end like this, after some looks."""

    def __init__(self, operated: Operated, end: Status, looks: int = 0) -> None:
        super().__init__(operated)
        self.end, self.looks = end, looks

    def status(self, name: str) -> Status:
        if self.looks:
            self.looks -= 1
            return super().status(name)
        self.ended.setdefault(name, self.end)
        return self.ended[name]


@pytest.mark.parametrize(
    ("end", "looks", "told"),
    [
        (Status("ABORTED"), 2, "the execution ended as ABORTED (arn:execution:fill-"),
        (
            Status("FAILED", "States.ItemReaderFailed: Access Denied"),
            0,
            "the execution ended as FAILED, States.ItemReaderFailed: Access Denied (arn:",
        ),
        (Status("SUCCEEDED"), 0, "the execution ended without an answer about a part: see its Map"),
    ],
)
def test_an_execution_that_fails_is_not_begun_again(end: Status, looks: int, told: str) -> None:
    o = Operated(ITEMS)
    machine = Ending(o, end, looks)
    machine.limit = 2
    work = o.backfill(walk=on(machine), segments=2)
    report = work.run()
    assert len(machine.started) == 1
    assert [told in problem for problem in report.problems] == [True] * 3
    work.job.close()
    again = o.backfill(walk=on(Machine(o)), segments=2).run()
    assert again.complete
    assert again.read == dict.fromkeys(("aggregation", "audit", "search"), ITEMS)


def test_one_stopped_while_no_command_looked_goes_on() -> None:
    o = Operated(ITEMS)
    machine = Machine(o)
    machine.interrupted = 4
    work = o.backfill(walk=on(machine), segments=2)
    with pytest.raises(KeyboardInterrupt):
        work.run()
    work.job.close()
    [name] = machine.started
    machine.ended[name] = Status("ABORTED")
    report = o.backfill(walk=on(machine), segments=2).run()
    assert report.complete, report.problems
    assert report.applied == dict.fromkeys(("aggregation", "audit", "search"), ITEMS)


class Behind:
    """A follower of the log that is behind for some looks, from a look on."""

    def __init__(self, o: Operated, *, begin: int, end: int) -> None:
        self.o, self.looks, self.resting = o, 0, range(begin, end)
        self.invocations: set[int] = set()

    def __call__(self) -> bool:
        self.looks += 1
        if self.looks - 1 not in self.resting:
            return False
        self.invocations.add(len(self.o.invocations))
        return True


@pytest.mark.parametrize("begin", [0, 3])
def test_a_walk_here_rests_while_a_follower_is_behind(begin: int) -> None:
    o = Operated(ITEMS)
    behind, now = Behind(o, begin=begin, end=begin + 8), o.clock.now()
    report = o.backfill(segments=4, rests=behind).run()
    assert report.complete
    assert len(behind.invocations) <= 2, "only the request that was under way is answered"
    assert o.clock.now() - now >= 7 * REST_SECONDS


@pytest.mark.parametrize("begin", [0, 2])
def test_a_walk_on_aws_stops_while_a_follower_is_behind(begin: int) -> None:
    o = Operated(ITEMS)
    machine = Machine(o)
    machine.limit = 2
    behind = Behind(o, begin=begin, end=begin + 5)
    report = o.backfill(walk=on(machine), segments=2, rests=behind).run()
    assert report.complete, report.problems
    assert report.applied == dict.fromkeys(("aggregation", "audit", "search"), ITEMS)
    assert len(behind.invocations) == 1, "nothing is asked meanwhile"
    assert len(machine.ended) == (begin > 0), "what ran was stopped"


def test_the_execution_is_told() -> None:
    o = Operated(ITEMS)
    machine, told = Machine(o), list[str]()
    o.backfill(walk=partial(RemoteWalk, runs=machine, tell=told.append)).run()
    assert told == [machine.arn(name) for name in machine.started]


def test_answers_are_read_at_once() -> None:
    """A request to S3 takes longer than a function of hundreds takes to make an answer."""
    o = Operated(ITEMS)
    machine = Machine(o)
    read, both = machine.read, Barrier(2, timeout=10)

    def reading(answer: Answer) -> Any:
        if answer.step == "0" and answer.part in (0, 1):
            both.wait()
        return read(answer)

    machine.read = reading  # type: ignore[method-assign]
    assert o.backfill(walk=on(machine)).run().complete


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
    # The functions rest, and ask for no less: each request is billed, by Step Functions too.
    assert {part["cursor"]["limit"] for part in machine.asked} == {MOST_ITEMS}


@pytest.mark.parametrize(
    ("seconds", "rest"), [(0, 15), (3, 12), (3.5, 12), (14.5, 1), (15, 0), (40, 0)]
)
def test_a_function_says_how_long_to_rest(seconds: float, rest: int) -> None:
    """Less what the request took: the hours of the capacity, and not those of the workers too."""
    o = Operated(ITEMS)
    asked = {"operation": "backfill", "streamArn": o.arn, "keys": {"id": "S"}, "Records": []}

    def worked(*_: object) -> dict[str, Any]:
        o.clock.sleep(seconds)
        return {"units": 30.0}

    with patch.object(dispatch, "_done", worked):
        assert o.invoke("audit", {**asked, "unitsPerSecond": 2})["rest"] == rest
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
