"""Purge the old tombstones of a pipeline's sinks, through the deployed functions.

    report = Purge(deployment.functions, ["aggregation", "search"], job).run()

It may be stopped and begun again at any time: see `dynamodb_streams_cdc.control.purge`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dynamodb_streams_cdc.control.functions import Functions, InvocationFailed
from dynamodb_streams_cdc.control.notes import Fill, fills_of
from dynamodb_streams_cdc.deadline import Clock, SystemClock
from dynamodb_streams_cdc.names import Operation
from dynamodb_streams_cdc.operations.jobs import Job, PartState
from dynamodb_streams_cdc.operations.notes import PURGE, read_notes, write_notes
from dynamodb_streams_cdc.operations.report import Report
from dynamodb_streams_cdc.operations.walk import CapacityLimit, Walk, WalkedPart
from dynamodb_streams_cdc.sinks.base import TOMBSTONE_SECONDS


@dataclass
class PurgeReport(Report):
    """Result of a purge.

    Attributes:
        dry_run: whether tombstones were only counted.
        tombstones: tombstones met, the young ones included, by processor.
        purged: those deleted, or old enough to be, by processor.
        kept: by processor, why its tombstones are kept.
        interrupted_fills: fills that were begun and sent no request for a while.
        problems: sentences on why a processor's purge ended early.
    """

    dry_run: bool = False
    tombstones: dict[str, int] = field(default_factory=dict)
    purged: dict[str, int] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    interrupted_fills: list[Fill] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    units: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether all of it was done."""
        return self.ended and not (self.problems or self.kept)


@dataclass
class Purge:
    """The purge of some sinks.

    Attributes:
        functions: the deployed functions.
        processors: whose sinks are purged.
        job: keeps how far it has come.
        older_than: age of the tombstones in seconds, by the time at which they were written.
        dry_run: counts them only.
        segments: parts that a ledger is cut into.
        begun: parts as an earlier run left them, where this one goes on.
        progress: called with the number of copies read and what keeps it, after each answer.
    """

    functions: Functions
    processors: Sequence[str]
    job: Job
    older_than: float = TOMBSTONE_SECONDS
    dry_run: bool = False
    segments: int = 4
    begun: Sequence[PartState] = ()
    workers: int = 4
    capacity: CapacityLimit = field(default_factory=CapacityLimit)
    clock: Clock = field(default_factory=SystemClock)
    progress: Callable[[int, str], None] = lambda read, phase: None

    def __post_init__(self) -> None:
        self.report = PurgeReport(self.dry_run)

    def run(self) -> PurgeReport:
        """Purge everything that was asked for.

        Raises:
            InvocationFailed: a function did not answer when asked for the notes.
        """
        begun = self.clock.now()
        notes = read_notes(self.functions, self.processors[0]) if self.processors else {}
        fills = fills_of(notes, begun)
        self.report.interrupted_fills = [fill for fill in fills if not fill.is_open]
        walk = Walk(
            self.functions, self.job, self._keep, self.capacity, self.workers, clock=self.clock
        )
        walk.progress = lambda: self.progress(walk.read, walk.trouble)
        self.job.add_parts(state.name for state in self.begun)
        for state in self.begun:
            self.job.advance(state)
        try:
            walk.run([part for name in self.processors for part in self._parts(name)])
        finally:
            self.report.seconds = self.clock.now() - begun
            self.report.units = walk.units
            self._tell()
            for processor, problem in walk.problems.items():
                self.report.problems.append(f"{processor} was not purged to its end: {problem}")
        # Also after a problem: tombstones age, so that a purge of a later day begins again.
        self.job.finish()
        self._note()
        return self.report

    def _parts(self, processor: str) -> Sequence[WalkedPart]:
        return [
            WalkedPart(
                f"{processor}/{number:04}",
                processor,
                {
                    "operation": Operation.PURGE,
                    "olderThan": self.older_than,
                    "dryRun": self.dry_run,
                    "segment": number,
                    "segments": self.segments,
                },
            )
            for number in range(self.segments)
        ]

    def _keep(self, part: WalkedPart, answer: Mapping[str, Any]) -> Mapping[str, int]:
        if answer["refusal"]:
            self.report.kept[part.processor] = answer["refusal"]
        able = {"purgeable": 1} if answer["purgeable"] else {}
        return {name: answer[name] for name in ("tombstones", "purged")} | able

    def _tell(self) -> None:
        for part in self.job.parts():
            processor = part.name.partition("/")[0]
            if part.counts.get("purgeable"):
                for name in ("tombstones", "purged"):
                    counts: dict[str, int] = getattr(self.report, name)
                    counts[processor] = counts.get(processor, 0) + part.counts[name]

    def _note(self) -> None:
        """Note how many tombstones are left, for `cdc status`."""
        for processor, met in self.report.tombstones.items():
            if processor in self.report.kept or self.report.problems:
                continue
            purged = 0 if self.dry_run else self.report.purged[processor]
            note = {"tombstones": met - purged, "purged": purged}
            try:
                write_notes(self.functions, processor, {f"{PURGE}{processor}": note})
            except InvocationFailed as error:
                self.report.problems.append(f"The purge of {processor} was not noted: {error}")
