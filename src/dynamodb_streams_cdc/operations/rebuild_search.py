"""Rebuild a search index through the deployed function, while it is read and written.

    report = RebuildSearch(deployment.functions, "search", "orders", ...).run()

A rebuild that was stopped goes on with the next run, of any operator: the indexes say how far it
is, and a copy may be repeated. See `dynamodb_streams_cdc.control.index_rebuild`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from dynamodb_streams_cdc.control.functions import Functions, InvocationFailed, not_understood
from dynamodb_streams_cdc.deadline import Clock, SystemClock
from dynamodb_streams_cdc.names import FUNCTION_SECONDS, Operation
from dynamodb_streams_cdc.operations.errors import OperationError
from dynamodb_streams_cdc.operations.jobs import Job, PartState, job_name
from dynamodb_streams_cdc.operations.notes import end_fill
from dynamodb_streams_cdc.operations.verify import SETTLE_SECONDS, Verify
from dynamodb_streams_cdc.operations.walk import CapacityLimit, Walk, WalkedPart
from dynamodb_streams_cdc.sinks.written_indexes import LOOKUP_SECONDS

NOTICE_SECONDS = LOOKUP_SECONDS + FUNCTION_SECONDS + 5.0
"""How long it takes until no invocation is left that has not noticed which indexes there are; five
seconds are for clocks of different speed and for a request on its way."""

MOST_LISTED = 1000
"""Refused documents and differences that a report lists."""

Progress = Callable[[int, str], None]


@dataclass
class RebuildReport:
    """Result of a rebuild, or of what comes after it.

    Attributes:
        index: name that readers search.
        live, second: numbers of the indexes now.
        done: what was done, in a word: `swapped`, `rolled back`, `finished` or `abandoned`; empty
            if the work ended early.
        read: items and tombstones read, by all runs of the job.
        copied: documents written to the second index by the copy.
        refused: number of documents that it refuses.
        refusals: the first of them.
        differences: the first documents of the second index that differ from the table.
        differing: number of these.
        problems: sentences on why the work ended early.
    """

    index: str
    live: int | None = None
    second: int | None = None
    done: str = ""
    read: int = 0
    copied: int = 0
    refused: int = 0
    refusals: list[dict[str, Any]] = field(default_factory=list)
    differences: list[dict[str, Any]] = field(default_factory=list)
    differing: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether what was asked for was done."""
        return bool(self.done)


@dataclass
class RebuildSearch:
    """The rebuild of one index.

    Attributes:
        functions: the deployed functions.
        processor: the search processor.
        index: name that readers search.
        stream_arn: the table's current stream.
        keys: types of the table's key attributes, by name.
        job: returns the job of a name; it keeps how far the copy has come.
        segments: parts that table and index are cut into, unless the job was begun with others.
        accept: number of differing documents with which the indexes are swapped all the same.
        progress: called with the number of items read and the phase.
    """

    functions: Functions
    processor: str
    index: str
    stream_arn: str
    keys: Mapping[str, str]
    job: Callable[[str, Mapping[str, Any]], Job] = Job
    accept: int = 0
    segments: int = 8
    workers: int = 4
    capacity: CapacityLimit = field(default_factory=CapacityLimit)
    settle: float = SETTLE_SECONDS
    clock: Clock = field(default_factory=SystemClock)
    progress: Progress = lambda read, phase: None

    def __post_init__(self) -> None:
        self.report = RebuildReport(self.index)
        self._fill = ""

    def run(self) -> RebuildReport:
        """Make a second index, fill and verify it, and swap; go on where another run stopped.

        Raises:
            OperationError: there is no index yet, or the second one is not of the deployed mapping.
            InvocationFailed: the function did not answer.
        """
        status = self.status()
        if status["live"] is None:
            message = (
                f"The index {self.index} does not exist: the function makes it with the deployed "
                "mapping at the first change, and cdc backfill fills it."
            )
            raise OperationError(message)
        if status["second"] is None:
            status = self._step("begin")
        live, second = status["live"], status["second"]
        if second < live:
            message = (
                f"The rebuild of {self.index} is swapped and not finished: readers find "
                f"{self.index}-v{live}. Give --finish to delete {self.index}-v{second}, or "
                "--rollback to return to it."
            )
            raise OperationError(message)
        if not status["fits"]:
            message = (
                f"The second index {self.index}-v{second} has another mapping than the deployed "
                "one: delete it with --abandon, then rebuild."
            )
            raise OperationError(message)
        asked = {"index": self.index, "made": status["made"], "table": self.stream_arn}
        self._fill = self._name(status)
        job = self.job(self._fill, {"command": "rebuild search", **asked})
        self.segments = job.segments(self.segments)
        try:
            if self._copy(job) and self._verify(status, job):
                self._swap(live, second)
                job.finish()
                end_fill(self.functions, [self.processor], self._fill)
        finally:
            job.close()
        return self.report

    def rollback(self) -> RebuildReport:
        """Return to the index that was live before the swap.

        Raises:
            OperationError: there is none.
        """
        live, second = self._swapped("roll back to")
        self._swap(live, second, "rolled back")
        return self.report

    def finish(self) -> RebuildReport:
        """Delete the index that was live before the swap.

        Raises:
            OperationError: there is none.
        """
        status = self.status()
        second = status["second"]
        if second is not None and second > status["live"]:
            message = (
                f"{self.index}-v{second} is not live: rebuild to its end, or delete it with "
                "--abandon."
            )
            raise OperationError(message)
        return self._drop(status, "finished")

    def abandon(self) -> RebuildReport:
        """Delete the second index, which is not live yet.

        Raises:
            OperationError: it was live before.
        """
        status = self.status()
        second = status["second"]
        if second is not None and second < status["live"]:
            message = (
                f"The rebuild of {self.index} is swapped already: give --rollback first, or "
                "--finish."
            )
            raise OperationError(message)
        return self._drop(status, "abandoned")

    def status(self) -> Mapping[str, Any]:
        """Return the indexes behind the name, as `index_rebuild.IndexReport`.

        Raises:
            OperationError: the function has no such index.
        """
        found = indexes_of(self.functions, self.processor)
        if self.index not in found:
            message = f"{self.processor} has {', '.join(found)}, and no index {self.index!r}."
            raise OperationError(message)
        return self._seen(found[self.index])

    def _seen(self, status: Mapping[str, Any]) -> Mapping[str, Any]:
        self.report.live, self.report.second = status["live"], status["second"]
        return status

    def _step(self, step: str, **event: Any) -> Mapping[str, Any]:
        """Do a step; return the indexes, with whether it took effect as `done`."""
        answer = _ask(self.functions, self.processor, step, index=self.index, **event)
        [status] = answer["indexes"]
        return {**self._seen(status), "done": answer["done"]}

    def _wait(self, phase: str) -> None:
        """Wait until every invocation knows which indexes there are."""
        until = self.clock.now() + NOTICE_SECONDS
        while (left := until - self.clock.now()) > 0:
            self.progress(self.report.read, f"{phase} ({left:.0f} s)")
            self.clock.sleep(min(left, 1.0))

    def _copy(self, job: Job) -> bool:
        """Copy the table, then the tombstones; return whether all is copied."""
        job.add_parts(["wait"])
        [waited] = job.parts("wait")
        if not waited.done:
            self._wait("waiting until every function writes the second index")
            job.advance(PartState("wait", None, True, 0, 0.0, {}))
        copies = [self._part("copy", number) for number in range(self.segments)]
        tombstones = [self._part("tombstones", number) for number in range(self.segments)]
        done = self._walk(job, "copying", copies) and self._walk(job, "tombstones", tombstones)
        parts = job.parts()
        self.report.read = sum(part.read for part in parts)
        self.report.copied = sum(part.counts.get("copied", 0) for part in parts)
        self.report.refused = job.count_found("seen")
        self.report.refusals = [d for _, d, _ in job.found("seen", MOST_LISTED)]
        return done

    def _name(self, status: Mapping[str, Any]) -> str:
        """Return the name of the job, and of the fill that operators see."""
        return job_name("rebuild", self.index, status["made"])

    def _part(self, step: str, number: int) -> WalkedPart:
        event = {
            "operation": Operation.REBUILD_INDEX,
            "step": step,
            "index": self.index,
            "streamArn": self.stream_arn,
            "keys": dict(self.keys),
            "segment": number,
            "segments": self.segments,
            "fill": self._fill,
        }
        return WalkedPart(f"{step}/{number:04}", self.processor, event)

    def _walk(self, job: Job, phase: str, parts: list[WalkedPart]) -> bool:
        def keep(part: WalkedPart, answer: Mapping[str, Any]) -> Mapping[str, int]:
            found = ((f"{each['item']}", each) for each in answer["failures"])
            job.add_found(found, self.clock.now())
            return {"copied": answer["applied"]}

        walk = Walk(self.functions, job, keep, self.capacity, self.workers, clock=self.clock)
        walk.progress = lambda: self.progress(walk.read, walk.trouble or phase)
        walk.run(parts)
        for problem in walk.problems.values():
            self.report.problems.append(f"{self.index} was not copied to its end: {problem}")
        return not walk.problems

    def _verify(self, status: Mapping[str, Any], job: Job) -> bool:
        """Compare the second index with the table; return whether the indexes may be swapped."""
        second = _OfSecond(self.functions, self.index)
        name = job_name("rebuild", self.index, status["made"], "verify")
        kept = self.job(name, {"command": "verify", "index": self.index})
        try:
            self.segments = kept.segments(self.segments)
            work = Verify(second, self.keys, {self.processor: "search"}, kept, settle=self.settle)
            work.segments, work.workers = self.segments, self.workers
            work.capacity, work.clock = self.capacity, self.clock
            work.progress = lambda read, phase: self.progress(read, phase or "verifying")
            found = work.run()
            self.report.differing = found.count
            self.report.differences = list(islice(work.differences(), MOST_LISTED))
            work.finish()
        finally:
            kept.close()
        self.report.problems += found.problems
        if found.moving:
            self.report.problems.append(
                f"{found.moving:,} documents changed at every look or had no answer, and could "
                "not be verified: run it again later."
            )
        if found.count > self.accept:
            # The next run copies again, which repairs what a copy can repair.
            job.clear()
            message = (
                f"{found.count:,} documents of {self.index}-v{self.report.second} differ from the "
                f"table, and {self.accept:,} are accepted: readers still find "
                f"{self.index}-v{self.report.live}. Correct them and run it again"
            )
            # A mapping that refuses most documents is wrong, and readers would find few.
            are_few = found.count * 2 < self.report.copied
            way = f", or give --accept {found.count}" if are_few else ""
            self.report.problems.append(f"{message}{way}.")
        return not self.report.problems

    def _swap(self, live: int, second: int, done: str = "swapped") -> None:
        if self._step("swap", live=live, second=second)["done"]:
            self.report.done = done
        else:
            self.report.problems.append(_MOVED)

    def _swapped(self, purpose: str) -> tuple[int, int]:
        status = self.status()
        live, second = status["live"], status["second"]
        if second is None or second > live:
            message = f"{self.index} has no earlier index to {purpose}."
            raise OperationError(message)
        return live, second

    def _drop(self, status: Mapping[str, Any], done: str) -> RebuildReport:
        """Delete the second index, and what an interrupted delete has left."""
        numbers = list(status["leftovers"])
        if status["second"] is not None:
            numbers.append(status["second"])
            if not self._step("release", second=status["second"])["done"]:
                self.report.problems.append(_MOVED)
                return self.report
        if not numbers:
            message = f"{self.index} has no second index."
            raise OperationError(message)
        self._wait("waiting until no function writes the index that is deleted")
        for number in numbers:
            self._step("delete", number=number)
        end_fill(self.functions, [self.processor], self._name(status))
        self.report.done = done
        return self.report


_MOVED = "Another operator changed the indexes meanwhile: run it again to see how they are."


def indexes_of(functions: Functions, processor: str) -> dict[str, Mapping[str, Any]]:
    """Return the indexes that a processor can rebuild, by name, as `index_rebuild.IndexReport`.

    Raises:
        InvocationFailed: the function did not answer, or does not know the operation.
    """
    answer = _ask(functions, processor, "status")
    if answer.get("problem"):
        message = f"{processor} did not read its indexes: {answer['problem']}"
        raise InvocationFailed(message, "Problem", outage=True)
    return {each["index"]: each for each in answer["indexes"]}


def _ask(functions: Functions, processor: str, step: str, **event: Any) -> Mapping[str, Any]:
    asked = {"operation": Operation.REBUILD_INDEX, "step": step, "Records": [], **event}
    answer = functions.invoke(processor, asked)
    if not isinstance(answer, Mapping) or "indexes" not in answer:
        raise not_understood(processor, Operation.REBUILD_INDEX, answer)
    return answer


@dataclass(frozen=True)
class _OfSecond(Functions):
    """The functions, which verify the second index instead of the live one."""

    functions: Functions
    index: str

    def invoke(self, processor: str, event: Mapping[str, Any]) -> Any:
        asked = {
            **event,
            "operation": Operation.REBUILD_INDEX,
            "step": "verify",
            "index": self.index,
        }
        return self.functions.invoke(processor, asked)
