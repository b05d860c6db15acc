"""Fill the copies of a pipeline with the items of its table, through the deployed functions.

    report = Backfill(deployment.functions, source.stream_arn, ...).run()

It may be repeated, stopped and begun again at any time, also while the table changes: see
`dynamodb_streams_cdc.control.backfill`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dynamodb_streams_cdc.control.functions import Functions
from dynamodb_streams_cdc.deadline import Clock, SystemClock
from dynamodb_streams_cdc.names import Operation
from dynamodb_streams_cdc.operations.export import Export
from dynamodb_streams_cdc.operations.jobs import Job
from dynamodb_streams_cdc.operations.notes import end_fill
from dynamodb_streams_cdc.operations.report import Report
from dynamodb_streams_cdc.operations.walk import CapacityLimit, Walk, WalkedPart


@dataclass
class BackfillReport(Report):
    """Result of a backfill.

    Attributes:
        read: items read, by processor.
        applied: copies written, by processor.
        held: items whose copy was as new already, or newer, by processor.
        skipped: items that the processor's sink does not hold, by processor.
        refused: number of items that a sink does not take.
        failures: the first of them.
        problems: sentences on why a processor's backfill ended early.
    """

    read: dict[str, int] = field(default_factory=dict)
    applied: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    units: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether every item is in every copy."""
        return self.ended and not (self.refused or self.problems)


MOST_FAILURES = 1000


@dataclass
class Backfill:
    """The backfill of some sinks from one table.

    Attributes:
        functions: the deployed functions.
        stream_arn: the table's current stream.
        keys: types of the table's key attributes, by name.
        processors: whose sinks are filled.
        job: keeps how far it has come.
        entity: fills items of this entity alone.
        segments: parts that the table is cut into.
        export: gives the items, instead of the table.
        progress: called with the number of items read and what keeps it, after each answer.
        walk: makes the walk: `Walk`, or `RemoteWalk` with its executions.
        rests: returns whether no request is to be made for now; see `Followers`.
    """

    functions: Functions
    stream_arn: str
    keys: Mapping[str, str]
    processors: Sequence[str]
    job: Job
    entity: str | None = None
    segments: int = 8
    export: Export | None = None
    workers: int = 4
    capacity: CapacityLimit = field(default_factory=CapacityLimit)
    clock: Clock = field(default_factory=SystemClock)
    progress: Callable[[int, str], None] = lambda read, phase: None
    walk: Callable[..., Walk] = Walk
    rests: Callable[[], bool] = lambda: False
    report: BackfillReport = field(default_factory=BackfillReport)

    def run(self) -> BackfillReport:
        """Fill everything that was asked for."""
        begun = self.clock.now()
        walk = self.walk(self.functions, self.job, self._keep, self.capacity, self.workers)
        walk.clock = self.clock
        walk.rests = self.rests
        walk.progress = lambda: self.progress(walk.read, walk.trouble)
        try:
            walk.run(list(self._parts()))
        finally:
            self.report.seconds = self.clock.now() - begun
            self.report.units = walk.units
            self._tell()
            for processor, problem in walk.problems.items():
                self.report.problems.append(f"{processor} was not filled to its end: {problem}")
        if not self.report.problems:
            self.job.finish()
            end_fill(self.functions, self.processors, self.job.name)
        return self.report

    def _parts(self) -> Sequence[WalkedPart]:
        event = {
            "operation": Operation.BACKFILL,
            "streamArn": self.stream_arn,
            "keys": dict(self.keys),
            "entity": self.entity,
            "fill": self.job.name,
        }
        if self.export is not None:
            event["exportTime"] = self.export.time.isoformat()
            return [
                WalkedPart(
                    f"{number:06}/{processor}",
                    processor,
                    event,
                    self.export.reader(file).records,
                )
                for number, file in enumerate(self.export.files)
                for processor in self.processors
            ]
        # All processors read a segment at about the same time: a table in memory is read faster.
        return [
            WalkedPart(
                f"{number:04}/{processor}",
                processor,
                {**event, "segment": number, "segments": self.segments},
            )
            for number in range(self.segments)
            for processor in self.processors
        ]

    def _keep(self, part: WalkedPart, answer: Mapping[str, Any]) -> Mapping[str, int]:
        if "failures" not in answer:  # of an export's file that has no more items
            return {}
        failures = answer["failures"]
        named = (
            (f"{part.processor}/{each['item']}", {**each, "processor": part.processor})
            for each in failures
        )
        self.job.add_found(named, self.clock.now())
        return {name: answer[name] for name in ("applied", "held", "skipped")}

    def _tell(self) -> None:
        for part in self.job.parts():
            processor = part.name.partition("/")[2]
            for name in ("applied", "held", "skipped"):
                counts: dict[str, int] = getattr(self.report, name)
                counts[processor] = counts.get(processor, 0) + part.counts.get(name, 0)
            self.report.read[processor] = self.report.read.get(processor, 0) + part.read
        self.report.refused = self.job.count_found("seen")
        self.report.failures = [d for _, d, _ in self.job.found("seen", MOST_FAILURES)]
