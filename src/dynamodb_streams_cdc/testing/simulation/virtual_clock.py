"""Virtual time, and the events in it.

One thing happens at a time, in the order of the clock. A sleeping task lets all others go
on: a function that waits for its sink is overtaken by others, as on many machines at once.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from dynamodb_streams_cdc.testing.simulation.process import current

START = 1_714_564_800.0
"""2024-05-01T12:00:00Z: when every simulation begins."""

Action = Callable[[], None]

MOST_ACTIONS = 500_000
"""Most events of one run: about a minute of the machine's time."""


class EndlessRun(AssertionError):
    """A run in virtual time came to its bound and still went on."""


@dataclass
class VirtualClock:
    """A clock and an agenda. It is a `Clock`: handlers and sinks get it as theirs."""

    time: float = START
    _agenda: list[tuple[float, int, Action]] = field(default_factory=list)
    _order: "itertools.count[int]" = field(default_factory=itertools.count)

    def now(self) -> float:
        """Return seconds since 1970; to a thread of a function, those of the thread."""
        invocation = current()
        if invocation is None or invocation.virtual_clock is not self:
            return self.time
        return invocation.read_time()

    def at(self, moment: float, action: Action) -> None:
        """Do `action` at `moment`, or now if that is past, after earlier actions of that moment."""
        heapq.heappush(self._agenda, (max(moment, self.time), next(self._order), action))

    def soon(self, action: Action) -> None:
        """Do `action` now, after earlier actions of this moment."""
        heapq.heappush(self._agenda, (self.time, next(self._order), action))

    def sleep(self, seconds: float) -> None:
        """Let time pass, with the actions that are due in it.

        Others may sleep in turn, so it may take longer than asked for, and never less; but a
        function is ended at its timeout, as by Lambda.

        Raises:
            ProcessKilled: within a function, whose process is gone by then.
        """
        invocation = current()
        if invocation is None or invocation.virtual_clock is not self:
            self.run_until(self.time + seconds)
        else:
            invocation.sleep(seconds)

    def run_until(self, moment: float) -> None:
        """Do the actions that are due up to `moment`."""
        while self._agenda and self._agenda[0][0] <= moment:
            self._next()
        self.time = max(self.time, moment)

    def run(self, seconds: float, goes_on: Callable[[], str] = lambda: "") -> None:
        """Do all that is on the agenda, as long as it takes, up to a bound.

        Args:
            seconds: the bound, in virtual time, so make it longer than anything takes.
            goes_on: returns a description of the endless work, once the bound is reached.

        Raises:
            EndlessRun: there is still something on the agenda.
        """
        bound = self.time + seconds
        for _ in range(MOST_ACTIONS):
            if not self._agenda:
                return
            if self._agenda[0][0] > bound:
                took = f"{seconds / 3600:g} hours of virtual time"
                break
            self._next()
        else:
            took = f"{MOST_ACTIONS:,} steps"
        message = f"the run does not end: after {took} it still goes on{goes_on()}"
        raise EndlessRun(message)

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
