"""Phases of traffic: write stories, wait until the sinks have them, and measure the time."""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from dynamodb_streams_cdc.entities import AGGREGATION, AUDIT, SEARCH
from local.scenarios.lag import LagSampler
from local.scenarios.probes import probes_of
from local.services.errors import ServiceError
from local.verify import checks_of, wait_for_progress
from local.workload.traffic import Writer, Written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from local.console import DemoConsole
    from local.deployed.pipeline import Pipeline
    from local.scenarios.fault_injection import FaultInjection, NoFaults
    from local.scenarios.lag import Lag
    from local.verify import Progress
    from local.workload.poison import Poison
    from local.workload.stories import ItemStory
    from local.workload.traffic import Finished

PATIENCE = 30.0  # seconds without progress until waiting ends
UNCHANGED_FOR = 5.0  # seconds that a difference must stay the same
AT_MOST = 60.0  # seconds of comparing, once the sinks have all changes
_LAG_SAMPLES = 200
UNITS = {AGGREGATION: "items", SEARCH: "documents", AUDIT: "changes"}
"""Units of the sinks' counts."""
NO_REASON = re.compile(r'\{"_aws": |[-0-9]+ [:0-9]+ INFO ')
"""Lines of the emulator's log that give no reason: metrics of functions, and what went well."""
_LAST_BYTES = 10_000_000  # of disk; with less, the services refuse to write


@dataclass(frozen=True, slots=True)
class Phase:
    """Result of a phase.

    Attributes:
        how: name of the phase, such as `one by one`.
        written: counts of the writes.
        seconds: until all of it was in every sink.
        samples: lags of the followed items, by sink.
        lags: their percentiles, by sink.
    """

    how: str
    written: Written
    seconds: float
    samples: Mapping[str, Mapping[str, float]]
    lags: Mapping[str, Lag]


class Traffic:
    """Runs phases; `written` is the sum over them.

    The sinks that refuse a poisoned item do not get it, and its lag is not measured.
    """

    def __init__(
        self,
        console: DemoConsole,
        pipeline: Pipeline,
        seed: int,
        fault_injection: FaultInjection | NoFaults,
        poison: Poison,
    ) -> None:
        self.written = Written()
        self._seed = seed
        self._fault_injection = fault_injection
        self._poison = poison
        self._console = console
        self._pipeline = pipeline
        self._probes = fault_injection.tolerant(probes_of(pipeline.tables))
        self._checks = {
            (copies.table.name, sink): check
            for copies in pipeline.tables
            for sink, check in checks_of(copies).items()
        }
        self._due: Counter[tuple[str, str]] = Counter(dict.fromkeys(self._checks, 0))
        self._lock = threading.Lock()

    def run(
        self,
        how: str,
        stories: Iterator[ItemStory],
        count: int,
        *,
        samples: int = _LAG_SAMPLES,
        **options: Any,
    ) -> Phase:
        """Write the next `count` stories; return when they arrived, or when progress stops.

        Args:
            how: name of the phase.
            stories: the next ones are taken from it.
            count: how many.
            samples: items that are followed at least, if there are so many.
            options: of the `Writer`.
        """
        began = time.monotonic()
        with LagSampler(self._probes, every=max(1, count // samples)) as sampler:

            def finished(each: Finished) -> None:
                self._expect(each.story)
                if not each.story.poisoned:
                    sampler.offer(each)

            with self._console.stage(f"Writing items {how}") as stage:
                writer = Writer(
                    self._pipeline.client,
                    self._pipeline.names,
                    seed=self._seed,
                    on_finished=finished,
                    **options,
                )
                written = writer.run(
                    islice(stories, count),
                    lambda begun: stage.say(f"{begun:,} of {count:,} stories"),
                )
                self.written += written
                stage.outcome = f"Items written {how}: {written.stories:,} stories,"
                stage.outcome += f" {written.writes:,} writes"
            self._fault_injection.wait()
            with self._console.stage("Waiting for the sinks") as stage:
                arrived = self._wait(stage.say)
                seconds = time.monotonic() - began
                stage.outcome = (
                    "The sinks have all changes" if arrived else "The sinks lack changes"
                )
                sampler.finish(UNCHANGED_FOR)
        return Phase(how, written, seconds, sampler.samples(), sampler.lags())

    def _expect(self, story: ItemStory) -> None:
        """Add the story to the counts that the sinks must reach."""
        refused = story.poison.refused_by if story.poisoned and story.poison else frozenset()
        for (table, sink), check in self._checks.items():
            entity = story.entity
            if table != story.table.name or entity is None or not entity.uses(sink):
                continue
            if sink not in refused:
                due = check.due(entity, story.states)
                with self._lock:
                    self._due[table, sink] += due

    def _wait(self, say: Callable[[str], None]) -> bool:
        target = dict(self._due)
        several = len(self._pipeline.tables) > 1

        def shown(now: Progress) -> str:
            return ", ".join(
                f"{now[name]:,} of {due:,} {UNITS.get(name[1], 'rows')} in {name[1]}"
                + (f" of {name[0]}" if several else "")
                for name, due in target.items()
            )

        arrived = wait_for_progress(
            lambda: {name: check.count() for name, check in self._checks.items()},
            target,
            patience=PATIENCE,
            progress=lambda now: say(shown(now)),
        )
        if not arrived:
            refuse_full_disk()
            self._console.line(f"No progress for {PATIENCE:.0f} s. What the functions said last:")
            self._console.line(self._pipeline.aws.tail(without=NO_REASON), style="dim")
            self._console.line("The poller's log ends:")
            self._console.line(self._pipeline.poller.tail(), style="dim")
        return arrived


def refuse_full_disk() -> None:
    """Raise an error if the disk is full, which explains every difference.

    Raises:
        ServiceError: It is.
    """
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < _LAST_BYTES:
        message = (
            f"The disk that holds {folder} is full ({free:,} bytes left): the services stopped."
        )
        raise ServiceError(message)
