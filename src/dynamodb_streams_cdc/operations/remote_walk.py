"""Walk under Step Functions: a child execution for each part, which asks the functions itself.

The walk is the one of `walk`: the same parts, the same answers, kept in the same job. Only the
asking is elsewhere, so that no machine and no connection limits it. Each answer is an object in S3;
this side takes the objects into the job while the execution runs, and deletes them. If this side is
ended, the execution goes on, and the next run of the job takes the answers that it finds.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from dynamodb_streams_cdc.operations.errors import OperationError
from dynamodb_streams_cdc.operations.walk import MOST_ITEMS, REST_SECONDS, Walk, WalkedPart

RUN = "run"
"""Name under which the job remembers its execution."""

FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS = 1.0, 15.0

READERS = 32
"""Answers that are read at one time: one by one they are read more slowly than they are made."""

TAKEN_AT_ONCE = 100

GAVE_UP = "gave-up"
"""Step of the object that says why a child execution ended early."""

ITEMS_PER_PART = 500_000
"""Items of a part, about: fewer than a child execution reads in its 300 steps."""


class Answer(NamedTuple):
    """An answer of a function.

    Attributes:
        part: number of the part in the execution.
        step: number of the answer, from 0, or `GAVE_UP`.
        key: name of its object.
    """

    part: int
    step: str
    key: str


class Status(NamedTuple):
    """The status of an execution.

    Attributes:
        name: of Step Functions, such as `RUNNING`.
        cause: error and cause of one that failed.
    """

    name: str
    cause: str = ""

    @property
    def is_running(self) -> bool:
        """Whether answers are still to come."""
        return self.name in ("RUNNING", "PENDING_REDRIVE")


SUCCEEDED = "SUCCEEDED"


class Runs(Protocol):
    """The executions of the state machine, and the objects of their answers."""

    def start(self, name: str, parts: Sequence[Mapping[str, Any]], concurrency: int) -> None:
        """Start an execution; do nothing if one of that name was started before."""

    def arn(self, name: str) -> str:
        """Return the ARN of an execution."""

    def status(self, name: str) -> Status | None:
        """Return the status of an execution; None if there is none."""

    def stop(self, name: str, cause: str) -> None:
        """Stop an execution; what its functions are doing, they do to the end."""

    def listed(self, name: str) -> Sequence[Answer]:
        """Return the answers that are there, in the order of their parts and steps."""

    def read(self, answer: Answer) -> Any:
        """Return an answer."""

    def forget(self, answers: Iterable[Answer]) -> None:
        """Delete answers."""

    def function(self, processor: str) -> str:
        """Return the name of a processor's function."""


def segments_for(items: int, workers: int) -> int:
    """Return the number of segments of a table with about so many items."""
    return max(8, workers, -(-items // ITEMS_PER_PART))


@dataclass
class RemoteWalk(Walk):
    """A walk of some parts, by an execution of the state machine.

    Attributes:
        runs: the executions.
        tell: called with the ARN of each execution that is watched.
    """

    runs: Runs | None = None
    tell: Callable[[str], None] = lambda arn: None
    _answered: set[str] = field(default_factory=set)
    _judged: set[str] = field(default_factory=set)
    """Parts whose first answer of the execution is known: all are for the same number of items."""

    def run(self, parts: Sequence[WalkedPart]) -> None:
        """Bring all parts to their end, or to a problem.

        A keyboard interrupt ends the watching; the execution goes on.

        Raises:
            OperationError: a part's records are read here.
        """
        if any(part.records is not None for part in parts):
            message = "An export is read by this machine: leave --on out."
            raise OperationError(message)
        left = self._left(parts)
        by_name = {part.name: part for part in parts}
        while left:
            run = self.job.recall(RUN)
            is_new = run is None or not {*run["parts"]} <= by_name.keys()
            if is_new:
                while self.rests():
                    self.clock.sleep(REST_SECONDS)
                run = self._begin(left)
            self._answered.clear()
            self._judged.clear()
            end = self._watch(run["name"], [by_name[name] for name in run["parts"]], is_new=is_new)
            self.job.remember(RUN, None)
            for part in filter(self._is_left, left):
                if problem := self._problem_of(part, end, is_new=is_new):
                    assert self.runs is not None
                    self.problems[part.processor] = f"{problem} ({self.runs.arn(run['name'])})"
            left = [part for part in left if self._is_left(part)]

    def _in_turn(self, listed: Sequence[Answer]) -> Sequence[Answer]:
        """Return the answers up to the first that a part lacks; the others have to wait for it.

        A listing of many pages is not of one moment: an answer can be missing before a later one.
        """
        last: dict[int, int] = {}
        found: list[Answer] = []
        for answer in listed:
            if answer.step != GAVE_UP:
                if answer.part not in last:
                    known = self.job.recall(f"step/{answer.part}")
                    last[answer.part] = -1 if known is None else known
                step = int(answer.step)
                if step > last[answer.part] + 1:
                    continue
                last[answer.part] = max(last[answer.part], step)
            found.append(answer)
        return found

    def _begin(self, parts: Sequence[WalkedPart]) -> Mapping[str, Any]:
        run = {
            "name": f"{self.job.name[:40]}-{uuid.uuid4().hex}",
            "parts": [part.name for part in parts],
        }
        # Before it is started: the next run of the job finds it, also if this process is killed.
        self.job.remember(RUN, run)
        for number in range(len(parts)):
            self.job.remember(f"step/{number}", None)
        return run

    def _asked(self, number: int, part: WalkedPart, workers: int) -> Mapping[str, Any]:
        assert self.runs is not None
        state = self._states[part.name]
        event = {"Records": [], **part.event, "small": True}
        units = self.capacity.units_per_second
        if units != float("inf"):
            event["unitsPerSecond"] = units / workers
        return {
            "number": str(number),
            "function": self.runs.function(part.processor),
            "event": event,
            "cursor": {"place": state.place, "limit": self._most.get(part.name, MOST_ITEMS)},
            "step": 0,
            "misses": 0,
        }

    def _watch(self, name: str, parts: Sequence[WalkedPart], *, is_new: bool) -> Status | None:
        """Take the answers of an execution until it has ended and all are taken.

        Returns:
            How it ended; None if it was stopped to rest, or had ended before this run of the job:
            a person who has stopped it and gives the command again wants it to go on.
        """
        assert self.runs is not None
        workers = min(self.workers, len(parts))
        asked = [self._asked(n, part, workers) for n, part in enumerate(parts)]
        self.runs.start(name, asked, workers)
        self.tell(self.runs.arn(name))
        pause = FIRST_LOOK_SECONDS
        is_ours, is_stopped = is_new, False
        while True:
            status = self.runs.status(name)
            # Describing is eventually consistent: one that was just started may not be there yet.
            is_running = status is None or status.is_running
            is_ours |= is_running
            if status is not None and is_running and not is_stopped and self.rests():
                self.runs.stop(name, "The sinks that follow the change log are behind.")
                is_stopped = True
            listed = self._in_turn(self.runs.listed(name))
            self._take_answers(parts, listed)
            if not is_running:
                return status if is_ours and not is_stopped else None
            pause = FIRST_LOOK_SECONDS if listed else min(LONGEST_LOOK_SECONDS, pause * 1.5)
            self.clock.sleep(pause)

    def _take_answers(self, parts: Sequence[WalkedPart], listed: Sequence[Answer]) -> None:
        assert self.runs is not None
        with ThreadPoolExecutor(READERS) as pool:
            for start in range(0, len(listed), TAKEN_AT_ONCE):
                some = listed[start : start + TAKEN_AT_ONCE]
                for answer, body in zip(some, pool.map(self.runs.read, some), strict=True):
                    self._take_answer(parts[answer.part], answer, body)
                self.progress()
                self.runs.forget(some)

    def _take_answer(self, part: WalkedPart, answer: Answer, body: Any) -> None:
        self._answered.add(part.name)
        if answer.step == GAVE_UP:
            text = f"{body.get('Error', '')}: {body.get('Cause', '')}".strip(": ")
            self._excuse(part, text or str(body))
            return
        note = f"step/{answer.part}"
        known = self.job.recall(note)
        # It was taken by a run that ended before it was deleted.
        if known is None or int(answer.step) > known:
            self._keep_answer(part, body, **{note: int(answer.step)})

    def _grow(self, part: WalkedPart) -> None:
        if part.name not in self._judged:
            self._judged.add(part.name)
            super()._grow(part)

    def _excuse(self, part: WalkedPart, problem: str) -> bool:
        if part.name in self._judged:
            return True
        self._judged.add(part.name)
        return super()._excuse(part, problem)

    def _is_left(self, part: WalkedPart) -> bool:
        return not self._states[part.name].done and part.processor not in self.problems

    def _problem_of(self, part: WalkedPart, end: Status | None, *, is_new: bool) -> str:
        """Return why no other execution is to walk a part that is left; empty if one is to."""
        if end is None:
            return ""
        if end.name != SUCCEEDED:
            return ", ".join(filter(None, (f"the execution ended as {end.name}", end.cause)))
        if is_new and part.name not in self._answered:
            return "the execution ended without an answer about a part: see its Map Run"
        return ""
