"""Rounds of traffic: write some orders, wait until the sinks have them, say how long it took."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from local.scenarios.lag import LagSampler
from local.scenarios.probes import looks_at
from local.services.errors import EngineError
from local.verify import Progress, wait_for_progress
from local.workload.traffic import Writer, Written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from local.console import DemoConsole
    from local.deployed.pipeline import Pipeline
    from local.scenarios.fault_injection import Chaos, NoFaults
    from local.scenarios.lag import Lag
    from local.workload.poison import Poison
    from local.workload.purchases import Purchase
    from local.workload.traffic import Finished, Key

PATIENCE = 30.0  # seconds without any movement until waiting is given up
UNCHANGED_FOR = 5.0  # seconds that a difference has to stay to be believed
_LAG_SAMPLES = 200
_LAST_BYTES = 10_000_000  # of disk; engines refuse to write before the very last one


@dataclass(frozen=True, slots=True)
class Round:
    """One round of traffic: what was written, and how long until all of it was in every sink.

    `samples` are the lags of the orders that were followed, by sink; `lags` sums them up.
    """

    how: str
    written: Written
    seconds: float
    samples: Mapping[str, Mapping[Key, float]]
    lags: Mapping[str, Lag]


class Traffic:
    """Rounds of writing and waiting; `written` is the sum of them.

    Orders that are `poison` reach the audit log alone, and their lag is nobody's.
    """

    def __init__(
        self,
        console: DemoConsole,
        pipeline: Pipeline,
        seed: int,
        fault_injection: Chaos | NoFaults,
        poison: Poison,
    ) -> None:
        self.written = Written()
        self._seed = seed
        self._fault_injection = fault_injection
        self._poison = poison
        self._console = console
        self._pipeline = pipeline
        ledger = pipeline.manifest.table("idempotency")
        self._looks = fault_injection.patient(looks_at(pipeline.client, ledger, pipeline.copies))

    def round(
        self,
        how: str,
        purchases: Iterator[Purchase],
        count: int,
        *,
        samples: int = _LAG_SAMPLES,
        **options: Any,
    ) -> Round:
        """Writes the next `count` and returns when they arrived, or when nothing moves any more.

        `samples` orders are followed at least, or all; `options` are the writer's.
        """
        began = time.monotonic()
        with LagSampler(self._looks, every=max(1, count // samples)) as sampler:

            def finished(order: Finished) -> None:
                if order.key not in self._poison.orders:
                    sampler.offer(order)

            with self._console.stage(f"Writing orders {how}") as stage:
                writer = Writer(
                    self._pipeline.client,
                    self._pipeline.manifest.source_table().table,
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
            with self._console.stage("Waiting until the sinks are quiet") as stage:
                arrived = self._wait(stage.say)
                seconds = time.monotonic() - began
                stage.outcome = "The sinks are quiet" if arrived else "The sinks have stopped short"
                sampler.finish(UNCHANGED_FOR)
        return Round(how, written, seconds, sampler.samples(), sampler.lags())

    def _wait(self, say: Callable[[str], None]) -> bool:
        live = self.written.purchases - self.written.deletes - len(self._poison.orders)
        target = Progress(aggregated=live, documents=live, entries=self.written.changes)
        arrived = wait_for_progress(
            self._pipeline.copies.progress,
            target,
            patience=PATIENCE,
            report=lambda now: say(
                f"of {live:,} orders {now.aggregated:,} aggregated, {now.documents:,} indexed;"
                f" of {target.entries:,} changes {now.entries:,} logged"
            ),
        )
        if not arrived:
            refuse_full_disk()
            self._console.line(f"Nothing has moved for {PATIENCE:.0f} s. The emulator's log ends:")
            self._console.line(self._pipeline.aws.tail(), style="dim")
            self._console.line("The log of the runner of the mappings ends:")
            self._console.line(self._pipeline.live.tail(), style="dim")
        return arrived


def refuse_full_disk() -> None:
    """Thousands of differences would say less than the one reason for all of them."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < _LAST_BYTES:
        message = (
            f"The disk that holds {folder} is full ({free:,} bytes left): the engines stopped."
        )
        raise EngineError(message)
