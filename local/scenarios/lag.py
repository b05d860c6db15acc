"""Measures how long a change takes until a reader of each sink sees it.

The last write of every n-th story is followed: from DynamoDB's acknowledgment until a probe of the
sink first sees it. Each sink is probed a few times a second, so a lag is exact to about one
interval, and never too small. While the writers run at full speed, waiting in the stream is part of
it; so is OpenSearch's refresh, a second at most.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from local.scenarios.probes import Probe
    from local.workload.traffic import Finished

PROBE_EVERY = 0.2  # seconds
_PROBED_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Lag:
    """Seconds; `samples` items were followed."""

    samples: int
    p50: float
    p99: float


class LagSampler:
    """Follows items in a thread of its own, from entry to exit as a context manager."""

    def __init__(self, probes: Mapping[str, Probe], *, every: int) -> None:
        self._probes = probes
        self._every = every
        self._offered = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._waiting: dict[str, list[Finished]] = {sink: [] for sink in probes}
        self._lags: dict[str, dict[str, float]] = {sink: {} for sink in probes}
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._follow, name="lag", daemon=True)

    def __enter__(self) -> LagSampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def offer(self, finished: Finished) -> None:
        """Follow every n-th item, in each sink that tells its last state from earlier ones."""
        with self._lock:
            self._offered += 1
            if self._offered < self._every:
                return
            following = [s for s, probe in self._probes.items() if probe.follows(finished.story)]
            if following:
                self._offered = 0
            for sink in following:
                self._waiting[sink].append(finished)

    def finish(self, seconds: float) -> None:
        """Return when every item was seen, or after so many seconds."""
        wait_until(
            lambda: self._error or not any(self._waiting.values()),
            seconds=seconds,
            every=PROBE_EVERY,
        )

    def samples(self) -> Mapping[str, Mapping[str, float]]:
        """Return the lag of each item by sink, after the end; raise a probe's error."""
        if self._error is not None:
            raise self._error
        return self._lags

    def lags(self) -> dict[str, Lag]:
        """Return the percentiles of each sink."""
        return {sink: summary(lags.values()) for sink, lags in self.samples().items() if lags}

    def _follow(self) -> None:
        try:
            while not self._stop.wait(PROBE_EVERY):
                for sink, probe in self._probes.items():
                    self._probe(sink, probe)
        except Exception as error:  # raised again by `samples`
            self._error = error

    def _probe(self, sink: str, probe: Probe) -> None:
        with self._lock:
            oldest = self._waiting[sink][:_PROBED_AT_ONCE]
        if not oldest:
            return
        visible = probe.shown(oldest)
        now = time.monotonic()
        self._lags[sink] |= {
            each.item: now - each.acknowledged for each in oldest if each.item in visible
        }
        with self._lock:
            self._waiting[sink] = [each for each in self._waiting[sink] if each.item not in visible]


def summary(lags: Iterable[float]) -> Lag:
    """Return the percentiles of at least one lag."""
    ordered = sorted(lags)
    return Lag(len(ordered), _percentile(ordered, 50), _percentile(ordered, 99))


def _percentile(ordered: Sequence[float], percent: int) -> float:
    """Return the smallest value that is not below so many percent of the values."""
    return ordered[math.ceil(len(ordered) * percent / 100) - 1]
