"""Virtual time, and what happens in it.

One thing happens at a time, in the order of the clock. Somebody who sleeps lets everybody else go
on: a function that waits for its sink is overtaken by others, as on many machines at once.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

START = 1_714_564_800.0
"""2024-05-01T12:00:00Z: when every simulation begins."""

Action = Callable[[], None]


@dataclass
class World:
    """A clock and an agenda. It is a `Clock`: handlers and sinks get it as theirs."""

    time: float = START
    _agenda: list[tuple[float, int, Action]] = field(default_factory=list)
    _order: "itertools.count[int]" = field(default_factory=itertools.count)

    def now(self) -> float:
        """Return seconds since 1970."""
        return self.time

    def at(self, moment: float, action: Action) -> None:
        """Do `action` at `moment`, or now if that is past, after what was put there before."""
        heapq.heappush(self._agenda, (max(moment, self.time), next(self._order), action))

    def soon(self, action: Action) -> None:
        """Do `action` now, after what was put there before."""
        heapq.heappush(self._agenda, (self.time, next(self._order), action))

    def sleep(self, seconds: float) -> None:
        """Let time pass, and with it what is on the agenda until then.

        Others may sleep in turn, so it may take longer than asked for, and never less.
        """
        self.run_until(self.time + seconds)

    def run_until(self, moment: float) -> None:
        """Do what is on the agenda up to `moment`."""
        while self._agenda and self._agenda[0][0] <= moment:
            self._next()
        self.time = max(self.time, moment)

    def run(self) -> None:
        """Do all that is on the agenda, however long it takes."""
        while self._agenda:
            self._next()

    def _next(self) -> None:
        moment, _, action = heapq.heappop(self._agenda)
        self.time = max(self.time, moment)
        action()


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Let everything that draws random numbers, such as the jitter of a pause, draw the same."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
