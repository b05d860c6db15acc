"""The scheduled upkeep of a pipeline: verify a part of the copies, and purge old tombstones.

Each run verifies the next segments of the table and of the copies, so that all are covered in turn.
Where the next run goes on is in the notes of operators.
"""

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

from dynamodb_streams_cdc.control.functions import TIME_IS_UP, Functions, InvocationFailed
from dynamodb_streams_cdc.deadline import Clock, SystemClock
from dynamodb_streams_cdc.entities import AGGREGATION, SEARCH
from dynamodb_streams_cdc.names import FUNCTION_SECONDS
from dynamodb_streams_cdc.operations.jobs import Job, PartState
from dynamodb_streams_cdc.operations.notes import VERIFY, read_notes, write_notes
from dynamodb_streams_cdc.operations.purge import Purge
from dynamodb_streams_cdc.operations.verify import SETTLE_SECONDS, Verify, VerifyReport
from dynamodb_streams_cdc.operations.walk import LONGEST_PAUSE_SECONDS

ROTATION = "rotation/verify"
"""Name of the note with the segment at which the next run begins, and of how many."""

ROUND = "rotation/purge"
"""Name of the note with the parts of a purge that takes more than one run."""

OUT_OF_TIME = "the time of this run is up"

SEGMENTS_A_RUN = 5
"""Segments of a run: the table is cut into as many as make them its share."""

LAST_LOOK_SECONDS = FUNCTION_SECONDS + LONGEST_PAUSE_SECONDS + 15.0
"""Time in which differences are not asked about again: for the last answer, the pause after it, and
for the notes."""

RESERVE_SECONDS = FUNCTION_SECONDS + SETTLE_SECONDS + 60.0 + LAST_LOOK_SECONDS
"""Time in which no further part is begun: for the last answer, and for the second look."""


@dataclass(frozen=True)
class Verified:
    """Result of a scheduled verification.

    Attributes:
        differences: number of differences by processor, also of those without one; a processor
            without one that was not verified, or cannot be compared, is not there.
        problems: sentences on what was not verified.
    """

    differences: Mapping[str, int]
    problems: Sequence[str]


@dataclass(frozen=True)
class Purged:
    """Result of a scheduled purge: sentences on what was not purged, and why."""

    problems: Sequence[str]


@dataclass
class Maintenance:
    """The upkeep of one pipeline, by one run of a function.

    Attributes:
        functions: the deployed functions.
        processors: whose copies are verified and purged; their sinks, by processor.
        keys: types of the table's key attributes, by name.
        seconds: time that the run has.
    """

    functions: Functions
    processors: Mapping[str, str]
    keys: Mapping[str, str]
    seconds: float = float("inf")
    workers: int = 4
    settle: float = SETTLE_SECONDS
    clock: Clock = field(default_factory=SystemClock)

    def __post_init__(self) -> None:
        end = self.clock.now() + self.seconds
        self._limited = _UntilDeadline(
            self.functions, self.clock, end - RESERVE_SECONDS, end - LAST_LOOK_SECONDS
        )

    def verify(self, share: float) -> Verified:
        """Verify the next segments: a share of the table and of the copies, 1 for all.

        Raises:
            InvocationFailed: a function does not answer.
        """
        first = next(iter(self.processors))
        of = max(SEGMENTS_A_RUN, round(SEGMENTS_A_RUN / share))
        noted = read_notes(self.functions, first).get(ROTATION, {})
        begin = int(noted["segment"]) if noted.get("of") == of else 0
        segments = sorted((begin + n) % of for n in range(SEGMENTS_A_RUN))
        with closing(_job("verify")) as job:
            work = Verify(
                self._limited,
                self.keys,
                self.processors,
                job,
                share=share,
                numbers=None if share >= 1 else (segments, of),
                workers=self.workers,
                settle=self.settle,
                clock=self.clock,
            )
            report = work.run()
        notes = {
            f"{VERIFY}{name}": note_of(report, name, scheduled=True)
            for name in self.processors
            if name not in report.not_compared
        }
        if not report.problems:
            notes[ROTATION] = {"segment": (begin + SEGMENTS_A_RUN) % of, "of": of}
        write_notes(self.functions, first, notes)
        counts = {name: _count(report, name) for name in self.processors}
        known = {n: count for n, count in counts.items() if count or report.has_verified(n)}
        return Verified(known, report.problems)

    def purge(self) -> Purged:
        """Purge the tombstones that are old enough.

        An open fill holds a purge back until the next run; it is not reported. The next run also
        goes on where the time of this one was up: a large ledger takes many.

        Raises:
            InvocationFailed: a function does not answer.
        """
        able = [name for name, sink in self.processors.items() if sink in (AGGREGATION, SEARCH)]
        if not able:
            return Purged([])
        noted = read_notes(self.functions, able[0]).get(ROUND, {})
        with closing(_job("purge")) as job:
            work = Purge(self._limited, able, job, workers=self.workers, clock=self.clock)
            if noted.get("segments") == work.segments:
                known = (PartState(**part) for part in noted["parts"])
                work.begun = [part for part in known if part.name.partition("/")[0] in able]
            report = work.run()
            parts = job.parts()
        if report.kept:
            return Purged(report.problems)
        left = [asdict(part) for part in parts] if not all(part.done for part in parts) else []
        write_notes(self.functions, able[0], {ROUND: {"segments": work.segments, "parts": left}})
        goes_on = sum(part.read for part in parts) > sum(part.read for part in work.begun)
        return Purged(
            [each for each in report.problems if not (goes_on and each.endswith(OUT_OF_TIME))]
        )


def note_verified(functions: Functions, report: VerifyReport, processors: Iterable[str]) -> None:
    """Note a verification that an operator made, for `cdc status`; the result does not need it."""
    for name in (each for each in processors if each not in report.not_compared):
        with contextlib.suppress(InvocationFailed):
            write_notes(functions, name, {f"{VERIFY}{name}": note_of(report, name)})


def note_of(report: VerifyReport, processor: str, *, scheduled: bool = False) -> dict[str, Any]:
    """Return the note about the last verification of a processor's copies."""
    return {
        "differences": _count(report, processor),
        "read": report.read.get(processor, 0),
        "share": report.share,
        "complete": report.has_verified(processor),
        "scheduled": scheduled,
    }


def _count(report: VerifyReport, processor: str) -> int:
    return report.differences[processor].total() if processor in report.differences else 0


def _job(name: str) -> Job:
    return Job(f"{name}-{os.getpid()}", {"command": name}, temporary=True)


@dataclass(frozen=True)
class _UntilDeadline:
    """Functions that are not invoked any more once time is short."""

    functions: Functions
    clock: Clock
    parts_until: float
    looks_until: float

    def invoke(self, processor: str, event: Mapping[str, Any]) -> Any:
        is_part, is_look = "segment" in event, bool(event.get("Records"))
        now = self.clock.now()
        if (is_part and now > self.parts_until) or (is_look and now > self.looks_until):
            raise InvocationFailed(OUT_OF_TIME, TIME_IS_UP, outage=True)
        return self.functions.invoke(processor, event)
