"""How long a change takes to become visible in each sink, seen from outside.

Of every so many orders the last write is followed: from the moment DynamoDB acknowledged it until a
reader of the sink first sees it. The sinks are looked at a few times a second, so a lag is exact to
about one look, and never too small. While the writer runs at full speed, waiting in the stream is
part of it; so is the second at most that OpenSearch takes until a search finds what it indexed.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from local.workload.traffic import Finished, Key

    Look = Callable[[Sequence[Finished]], set[Key]]
    """Which of these orders a sink shows in their last state."""

LOOK_EVERY = 0.2  # seconds
_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Lag:
    """Seconds; `samples` orders were followed."""

    samples: int
    p50: float
    p99: float


class LagSampler:
    """Follows orders in a thread of its own, from entry to exit as a context manager."""

    def __init__(self, looks: Mapping[str, Look], *, every: int) -> None:
        self._looks = looks
        self._every = every
        self._offered = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._waiting: dict[str, list[Finished]] = {sink: [] for sink in looks}
        self._lags: dict[str, dict[Key, float]] = {sink: {} for sink in looks}
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._follow, name="lag", daemon=True)

    def __enter__(self) -> LagSampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def offer(self, finished: Finished) -> None:
        """Takes every so-many-th order whose last state cannot be mistaken for an earlier one."""
        last = finished.steps[-1].after
        if last is None or last["status"] == "placed":
            return
        with self._lock:
            self._offered += 1
            if self._offered % self._every == 0:
                for waiting in self._waiting.values():
                    waiting.append(finished)

    def finish(self, seconds: float) -> None:
        """Returns when every order was seen, or after so many seconds."""
        deadline = time.monotonic() + seconds
        while any(self._waiting.values()) and time.monotonic() < deadline and not self._error:
            self._stop.wait(LOOK_EVERY)

    def samples(self) -> Mapping[str, Mapping[Key, float]]:
        """Per sink the lag of each order, once the sampler was left; raises what a look raised."""
        if self._error is not None:
            raise self._error
        return self._lags

    def lags(self) -> dict[str, Lag]:
        """The samples of each sink in three numbers."""
        return {sink: summary(lags.values()) for sink, lags in self.samples().items() if lags}

    def _follow(self) -> None:
        try:
            while not self._stop.wait(LOOK_EVERY):
                for sink, look in self._looks.items():
                    self._look(sink, look)
        except Exception as error:  # for the thread that asks for the lags
            self._error = error

    def _look(self, sink: str, look: Look) -> None:
        with self._lock:
            oldest = self._waiting[sink][:_AT_ONCE]
        if not oldest:
            return
        visible = look(oldest)
        now = time.monotonic()
        self._lags[sink] |= {
            each.key: now - each.acknowledged for each in oldest if each.key in visible
        }
        with self._lock:
            self._waiting[sink] = [each for each in self._waiting[sink] if each.key not in visible]


def summary(lags: Iterable[float]) -> Lag:
    """At least one lag in three numbers."""
    ordered = sorted(lags)
    return Lag(len(ordered), _percentile(ordered, 50), _percentile(ordered, 99))


def _percentile(ordered: Sequence[float], percent: int) -> float:
    """The smallest value that is not below so many percent of the values."""
    return ordered[math.ceil(len(ordered) * percent / 100) - 1]
