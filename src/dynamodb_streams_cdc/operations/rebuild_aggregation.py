"""Rebuild the sums of a pipeline next to those that readers read, through the deployed function.

    rebuild = RebuildAggregation(deployment.functions, "aggregation", ...)
    rebuild.run(job_of)     build a generation, verify it, and let readers read it
    rebuild.roll_back()     let readers read the one before it again
    rebuild.finish()        keep the one that readers read, and remove the measures of the other

Each may be stopped and begun again at any time, during live changes: see `sums_rebuild`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from dynamodb_streams_cdc.control.functions import Functions, InvocationFailed, not_understood
from dynamodb_streams_cdc.deadline import Clock, SystemClock
from dynamodb_streams_cdc.names import Operation
from dynamodb_streams_cdc.operations.errors import OperationError
from dynamodb_streams_cdc.operations.jobs import Job
from dynamodb_streams_cdc.operations.notes import end_fill
from dynamodb_streams_cdc.operations.report import Report
from dynamodb_streams_cdc.operations.walk import (
    PATIENCE,
    CapacityLimit,
    Walk,
    WalkedPart,
    pause_after,
)

ROUNDS = 3
"""How often sums that moved while they were compared are compared again."""

MOST_OFF = 1000
"""Sums that a report names."""

_SIDES = ("before", "after", "before revisions", "after revisions", "ledger")
_CHECKS = ("before", "ledger", "after")
_SETTLED, _OFF = "settled", "off"
"""Aggregates that did not move while they were compared, and what is off of them."""


@dataclass(frozen=True)
class SumOff:
    """A measure of the new sums that is not what the ledger's rows add up to, and by how much."""

    aggregate: str
    measure: str
    off: str


@dataclass
class RebuildReport(Report):
    """Result of a rebuild.

    Attributes:
        generation: that was built, switched to, or kept; None before it is known.
        live: generation that readers read; None if that was not asked at the end.
        kept: generation that is kept right as well; None if there is none.
        read: number of items and ledger rows read to move them.
        moved: number of ledger rows moved into the generation.
        corrected: number of rows whose contribution was not that of the item.
        unchecked: number of rows moved as they are: their identity names no key.
        refused: number of items that the domain's function fails on; they count as before.
        behind: number of ledger rows that are not in the generation.
        sums: number of aggregates compared with the ledger.
        moving: number of aggregates that moved each time they were compared.
        off: sums that are not what the ledger adds up to; the first of them.
        dropped: number of rows of sums from which measures were removed.
        problems: sentences on why the work ended early.
    """

    generation: int | None = None
    live: int | None = None
    kept: int | None = None
    read: int = 0
    moved: int = 0
    corrected: int = 0
    unchecked: int = 0
    refused: int = 0
    behind: int = 0
    sums: int = 0
    moving: int = 0
    off: list[SumOff] = field(default_factory=list)
    dropped: int = 0
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    units: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether all that was asked for is done."""
        return self.ended and not (self.problems or self.off or self.behind)


@dataclass
class RebuildAggregation:
    """The rebuild of the sums of one table.

    Attributes:
        functions: the deployed functions.
        processor: whose function has the sums.
        stream_arn: the table's current stream.
        keys: types of the table's key attributes, by name.
        accept_moving: number of sums that could not be verified, because they moved each time, with
            which readers read the new ones all the same.
        segments: parts that table and ledger are cut into, unless the job was begun with others.
        progress: called with the number of items and rows read, and the phase.
    """

    functions: Functions
    processor: str
    stream_arn: str
    keys: Mapping[str, str]
    accept_moving: int = 0
    segments: int = 8
    workers: int = 4
    capacity: CapacityLimit = field(default_factory=CapacityLimit)
    clock: Clock = field(default_factory=SystemClock)
    progress: Callable[[int, str], None] = lambda read, phase: None
    report: RebuildReport = field(default_factory=RebuildReport)
    _read: int = field(default=0, init=False)
    _built: int = field(default=0, init=False)

    def state(self) -> Mapping[str, Any]:
        """Return the generations that there are; see `sinks.generations.Generations`.

        Raises:
            OperationError: the function has no sums, or does not answer.
        """
        generations: Mapping[str, Any] = self._step("state")["generations"]
        return generations

    def run(self, job_of: Callable[[int], Job]) -> RebuildReport:
        """Build a generation, or go on with the one begun; verify it; let readers read it.

        `job_of` returns the job of a generation.

        Raises:
            OperationError: the last rebuild is not finished, or the function does not answer.
        """
        begun = self.clock.now()
        answer = self._step("begin")
        self.report.generation = self._built = generation = answer["generations"]["built"]
        job = job_of(generation)
        self.segments = job.segments(self.segments)
        try:
            self._wait(answer)
            for of in ("table", "copies"):
                self._walk(job, f"moving by {'the table' if of == 'table' else 'the ledger'}", of)
                if self.report.problems:
                    return self.report
            self._verify(job)
            if self.report.complete:
                self._step("switch", generation=generation)
                job.finish()
                self._end_fill(generation)
        finally:
            self.report.seconds = self.clock.now() - begun
            self._tell(job)
            if self.report.behind:
                # The next run moves everything again: nothing tells which part these rows are of.
                job.forget_parts("move ")
            job.close()
        self._tell_state()
        return self.report

    def roll_back(self) -> RebuildReport:
        """Let readers read the generation before the one that was built.

        Raises:
            OperationError: there is none, or the function does not answer.
        """
        held = self.state()
        if held["built"] is None:
            message = "there is no generation to go back to: the last rebuild is finished"
            raise OperationError(message)
        self.report.generation = held["base"]
        self._step("switch", generation=held["base"])
        self._tell_state()
        return self.report

    def finish(self, live: int, job_of: Callable[[int], Job]) -> RebuildReport:
        """Keep the generation `live`, which readers read; remove the measures of the other.

        `job_of` returns the job of the generation that is removed.

        Raises:
            OperationError: readers read another one, or the function does not answer.
        """
        begun = self.clock.now()
        self.report.generation = live
        answer = self._step("finish", generation=live)
        dropped = answer["generations"]["dropped"]
        if dropped is not None:
            job = job_of(dropped)
            try:
                self._wait(answer)
                self._walk_parts(job, "removing measures", [self._part("drop", 0, 1, dropped)])
                if not self.report.problems:
                    self._step("clean")
                    job.finish()
                    self._end_fill(dropped)
            finally:
                self.report.dropped = sum(part.counts.get("dropped", 0) for part in job.parts())
                job.close()
        self.report.seconds = self.clock.now() - begun
        self._tell_state()
        return self.report

    # Steps

    def _step(self, step: str, **event: Any) -> Mapping[str, Any]:
        """Return the answer to a step; ask again while the sink is at fault.

        Raises:
            OperationError: the step does not fit, or there is no answer.
        """
        asked = {"operation": Operation.REBUILD_SUMS, "step": step, "Records": [], **event}
        problem = ""
        for attempt in range(PATIENCE):
            if attempt:
                self.clock.sleep(pause_after(attempt))
            try:
                answer = self.functions.invoke(self.processor, asked)
            except InvocationFailed as error:
                problem = str(error)
                continue
            if not isinstance(answer, Mapping) or "rebuildable" not in answer:
                raise OperationError(
                    str(not_understood(self.processor, Operation.REBUILD_SUMS, answer))
                )
            if not answer["rebuildable"]:
                message = f"{self.processor} has no sums, or does not read the table."
                raise OperationError(message)
            if answer["refusal"]:
                message = f"{self.processor}: {answer['refusal']}."
                raise OperationError(message)
            if not answer["problem"]:
                return answer
            problem = answer["problem"]
        message = f"{self.processor} did not do the step {step!r}: {problem}"
        raise OperationError(message)

    def _wait(self, answer: Mapping[str, Any]) -> None:
        """Wait until every invocation knows of the generations."""
        while answer["wait"] > 0:
            self.progress(self._read, f"waiting {answer['wait']:.0f} s for running invocations")
            self.clock.sleep(answer["wait"])
            answer = self._step("state")

    def _end_fill(self, generation: int) -> None:
        end_fill(self.functions, [self.processor], _fill(generation))

    # Walks

    def _part(
        self, step: str, number: int, segments: int, generation: int, **event: Any
    ) -> WalkedPart:
        asked = {
            "operation": Operation.REBUILD_SUMS,
            "step": step,
            "generation": generation,
            "streamArn": self.stream_arn,
            "keys": dict(self.keys),
            "segment": number,
            "segments": segments,
            "fill": _fill(generation),
            **event,
        }
        name = event.get("side") or f"{step} {event.get('of', '')}"
        return WalkedPart(f"{name}/{self.processor}/{number:04}", self.processor, asked)

    def _walk(self, job: Job, phase: str, of: str) -> None:
        parts = [
            self._part("move", number, self.segments, self._built, of=of)
            for number in range(self.segments)
        ]
        self._walk_parts(job, phase, parts)

    def _walk_parts(self, job: Job, phase: str, parts: Sequence[WalkedPart]) -> None:
        def keep(part: WalkedPart, answer: Mapping[str, Any]) -> Mapping[str, int]:
            if answer.get("refusal"):
                message = f"{self.processor}: {answer['refusal']}."
                raise OperationError(message)
            side = str(part.event.get("side", ""))
            if side:
                job.add_amounts(side, answer["sums"])
                revisions = {name: {"": str(n)} for name, n in answer["revisions"].items()}
                job.add_amounts(f"{side} revisions", revisions)
            counted = ("moved", "corrected", "unchecked", "refused", "behind", "dropped")
            return {name: answer[name] for name in counted}

        walk = Walk(self.functions, job, keep, self.capacity, self.workers, clock=self.clock)
        walk.progress = lambda: self.progress(self._read + walk.read, walk.trouble or phase)
        try:
            walk.run(parts)
        finally:
            self._read += walk.read
            self.report.units += walk.units
        for problem in walk.problems.values():
            self.report.problems.append(f"{self.processor} stopped while {phase}: {problem}")

    # Verification

    def _verify(self, job: Job) -> None:
        """Compare the new sums with the ledger, those that moved meanwhile once more.

        What is compared is in the job: there may be as many sums as items.
        """
        job.forget_amounts((_SETTLED, _OFF))
        self.report.sums = moving = 0
        for _ in range(ROUNDS):
            for side in _CHECKS:
                job.forget_parts(f"{side}/")
            job.forget_amounts(_SIDES)
            for side in _CHECKS:
                self._walk_parts(job, "verifying", self._checks(side))
                if self.report.problems:
                    return
            with job.transaction():
                moving = sum(not self._settle(job, each) for each in job.aggregates(_SIDES))
            self.report.behind = sum(p.counts.get("behind", 0) for p in job.parts("ledger/"))
            if not moving or self.report.behind:
                break
        self.report.moving, self.report.off = moving, list(islice(_off(job), MOST_OFF))
        if moving > self.accept_moving and not self.report.behind:
            self.report.problems.append(
                f"{moving:,} of {self.report.sums + moving:,} aggregates moved each time "
                f"that they were compared, and {self.accept_moving:,} are accepted: readers read "
                "what they read. Run it again when there are fewer changes, or give "
                f"--accept-moving {moving}."
            )

    def _settle(self, job: Job, aggregate: str) -> bool:
        """Compare an aggregate with the ledger; return False if it moved meanwhile."""
        if job.amounts(_SETTLED, aggregate):
            return True
        before, after = (job.amounts(f"{side} revisions", aggregate) for side in _SIDES[:2])
        if before != after:
            return False
        self.report.sums += 1
        ledger, held = job.amounts("ledger", aggregate), job.amounts("after", aggregate)
        off = {m: held.get(m, 0) - ledger.get(m, 0) for m in ledger.keys() | held.keys()}
        job.add_amounts(_SETTLED, {aggregate: {"": "1"}})
        job.add_amounts(_OFF, {aggregate: {m: str(by) for m, by in off.items() if by}})
        return True

    def _checks(self, side: str) -> Sequence[WalkedPart]:
        if side != "ledger":
            return [self._part("check", 0, 1, self._built, of="sums", side=side)]
        return [
            self._part("check", number, self.segments, self._built, of="copies", side=side)
            for number in range(self.segments)
        ]

    # Report

    def _tell(self, job: Job) -> None:
        for part in job.parts("move "):
            self.report.read += part.read
            for name in ("moved", "corrected", "unchecked", "refused"):
                setattr(self.report, name, getattr(self.report, name) + part.counts.get(name, 0))

    def _tell_state(self) -> None:
        held = self.state()
        self.report.live = held["live"]
        kept = {held["base"], held["built"]} - {held["live"], None}
        self.report.kept = next(iter(kept), None)


def generations_of(functions: Functions, processor: str) -> Mapping[str, Any]:
    """Return the generations of a processor's sums; see `sinks.generations.Generations`.

    Raises:
        InvocationFailed: the function did not answer, or does not know the operation.
    """
    asked = {"operation": Operation.REBUILD_SUMS, "step": "state", "Records": []}
    answer = functions.invoke(processor, asked)
    if not isinstance(answer, Mapping) or "generations" not in answer:
        raise not_understood(processor, Operation.REBUILD_SUMS, answer)
    if answer["problem"]:
        message = f"{processor} did not read its generations: {answer['problem']}"
        raise InvocationFailed(message, "Problem", outage=True)
    generations: Mapping[str, Any] = answer["generations"]
    return generations


def _off(job: Job) -> Iterator[SumOff]:
    for aggregate in job.aggregates((_OFF,)):
        for measure, off in sorted(job.amounts(_OFF, aggregate).items()):
            yield SumOff(aggregate, measure, str(off))


def _fill(generation: int) -> str:
    """Return the name under which operators see that a generation is being filled."""
    return f"rebuild-sums-{generation}"
