"""Walk under Step Functions: a child execution for each part, which asks the functions itself.

The walk is the one of `walk`: the same parts, the same answers, kept in the same job. Only the
asking is elsewhere, so that no machine and no connection limits it. Each answer is an object in S3;
this side takes the objects into the job while the execution runs, and deletes them. If this side is
ended, the execution goes on, and the next run of the job takes the answers that it finds.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from dynamodb_streams_cdc.operations.errors import OperationError
from dynamodb_streams_cdc.operations.walk import PATIENCE, Walk, WalkedPart, limit_of_request

RUN = "run"
"""Name under which the job remembers its execution."""

FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS = 1.0, 15.0

GAVE_UP = "gave-up"
"""Step of the object that says why a child execution ended early."""

ITEMS_PER_PART = 500_000
"""Items of a part, about: half of what a child execution reads in its 500 steps."""


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


class Runs(Protocol):
    """The executions of the state machine, and the objects of their answers."""

    def start(self, name: str, parts: Sequence[Mapping[str, Any]], concurrency: int) -> None:
        """Start an execution; do nothing if one of that name was started before."""

    def is_running(self, name: str) -> bool:
        """Return whether an execution runs."""

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
    """

    runs: Runs | None = None
    _read_before: dict[str, int] = field(default_factory=dict)

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
            if run is None or not {*run["parts"]} <= by_name.keys():
                run = self._begin(left)
            walked = [by_name[name] for name in run["parts"]]
            self._watch(run["name"], walked)
            self.job.remember(RUN, None)
            left = [part for part in left if self._goes_on(part)]

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
            "cursor": {"place": state.place, "limit": limit_of_request(state, units / workers)},
            "step": 0,
            "misses": 0,
        }

    def _watch(self, name: str, parts: Sequence[WalkedPart]) -> None:
        """Take the answers of an execution until it has ended and all are taken."""
        assert self.runs is not None
        workers = min(self.workers, len(parts))
        asked = [self._asked(n, part, workers) for n, part in enumerate(parts)]
        self.runs.start(name, asked, workers)
        pause = FIRST_LOOK_SECONDS
        while True:
            is_running = self.runs.is_running(name)
            listed = self._in_turn(self.runs.listed(name))
            for answer in listed:
                self._take_answer(parts[answer.part], answer)
                self.progress()
            self.runs.forget(listed)
            if not is_running:
                return
            pause = FIRST_LOOK_SECONDS if listed else min(LONGEST_LOOK_SECONDS, pause * 1.5)
            self.clock.sleep(pause)

    def _take_answer(self, part: WalkedPart, answer: Answer) -> None:
        assert self.runs is not None
        if answer.step == GAVE_UP:
            cause = self.runs.read(answer)
            text = f"{cause.get('Error', '')}: {cause.get('Cause', '')}".strip(": ")
            self._failing[part.name] = PATIENCE - 1
            self._excuse(part, text or str(cause))
            return
        note = f"step/{answer.part}"
        known = self.job.recall(note)
        # It was taken by a run that ended before it was deleted.
        if known is None or int(answer.step) > known:
            self._keep_answer(part, self.runs.read(answer), **{note: int(answer.step)})

    def _goes_on(self, part: WalkedPart) -> bool:
        """Return whether another execution is to walk the part."""
        if self._states[part.name].done or part.processor in self.problems:
            return False
        read = self._states[part.name].read
        if read > self._read_before.get(part.name, -1):
            self._read_before[part.name] = read
            return True
        return self._excuse(part, "the execution ended, and the part is not done")
