"""Phases of traffic: write orders, wait until the sinks have them, and measure how long it took."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from local.scenarios.lag import LagSampler
from local.scenarios.probes import probes_of
from local.services.errors import ServiceError
from local.verify import Progress, wait_for_progress
from local.workload.traffic import Writer, Written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from local.console import DemoConsole
    from local.deployed.pipeline import Pipeline
    from local.scenarios.fault_injection import FaultInjection, NoFaults
    from local.scenarios.lag import Lag
    from local.workload.poison import Poison
    from local.workload.purchases import Purchase
    from local.workload.traffic import Finished, Key

PATIENCE = 30.0  # seconds without progress until waiting ends
UNCHANGED_FOR = 5.0  # seconds that a difference must stay the same
_LAG_SAMPLES = 200
_LAST_BYTES = 10_000_000  # of disk; with less, the services refuse to write


@dataclass(frozen=True, slots=True)
class Phase:
    """Result of a phase.

    Attributes:
        how: name of the phase, such as `one by one`.
        written: counts of the writes.
        seconds: until all of it was in every sink.
        samples: lags of the followed orders, by sink.
        lags: their percentiles, by sink.
    """

    how: str
    written: Written
    seconds: float
    samples: Mapping[str, Mapping[Key, float]]
    lags: Mapping[str, Lag]


class Traffic:
    """Runs phases; `written` is the sum over them.

    Orders that are `poison` reach audit only; their lag is not measured.
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
        probes = probes_of(pipeline.client, pipeline.resources.ledger, pipeline.copies)
        self._probes = fault_injection.tolerant(probes)

    def run(
        self,
        how: str,
        purchases: Iterator[Purchase],
        count: int,
        *,
        samples: int = _LAG_SAMPLES,
        **options: Any,
    ) -> Phase:
        """Write the next `count` purchases; return when they arrived, or when progress stops.

        Args:
            how: name of the phase.
            purchases: the next ones are taken from it.
            count: how many.
            samples: orders that are followed at least, if there are so many.
            options: of the `Writer`.
        """
        began = time.monotonic()
        with LagSampler(self._probes, every=max(1, count // samples)) as sampler:

            def finished(order: Finished) -> None:
                if order.key not in self._poison.orders:
                    sampler.offer(order)

            with self._console.stage(f"Writing orders {how}") as stage:
                writer = Writer(
                    self._pipeline.client,
                    self._pipeline.resources.orders,
                    seed=self._seed,
                    story=self._poison.story,
                    on_finished=finished,
                    **options,
                )
                written = writer.run(
                    islice(purchases, count),
                    lambda begun: stage.say(f"{begun:,} of {count:,} purchases"),
                )
                self.written += written
                stage.outcome = f"Orders written {how}: {written.purchases:,} purchases,"
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

    def _wait(self, say: Callable[[str], None]) -> bool:
        live = self.written.purchases - self.written.deletes - len(self._poison.orders)
        target = Progress(aggregated=live, documents=live, entries=self.written.changes)
        arrived = wait_for_progress(
            self._pipeline.copies.progress,
            target,
            patience=PATIENCE,
            progress=lambda now: say(
                f"{now.aggregated:,} of {live:,} orders in aggregation,"
                f" {now.documents:,} of {live:,} in search;"
                f" {now.entries:,} of {target.entries:,} changes in audit"
            ),
        )
        if not arrived:
            refuse_full_disk()
            self._console.line(f"No progress for {PATIENCE:.0f} s. The emulator's log ends:")
            self._console.line(self._pipeline.aws.tail(), style="dim")
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
