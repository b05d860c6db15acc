"""The deadline of an invocation, and pauses within it.

A sink checks the deadline before each request, and pauses between retries only while the invocation
lasts. So an outage ends in a report of the failed records, and Lambda does not kill the function.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from dynamodb_streams_cdc.errors import DeadlineExceeded
from dynamodb_streams_cdc.lambda_types import LambdaContext

RESERVE_SECONDS = 12.0
"""Reserve at the end of an invocation, for one request that hangs until its own timeout (keep that
below 10 seconds) and for the report. Clients time out by the silence between two bytes: a sink that
sends bytes slowly can exceed the reserve; Lambda then kills the function and delivers again."""

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 5.0


def backoff(
    attempt: int,
    jitter: Callable[[], float] = random.random,
    first: float = FIRST_PAUSE_SECONDS,
    longest: float = LONGEST_PAUSE_SECONDS,
) -> float:
    """Return the seconds to wait before retry number `attempt`, from 0.

    Exponential with jitter: between `first` and twice `first` before the first retry, and `longest`
    at most (https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/).
    """
    return first + (min(longest, first * 2.0 ** min(attempt + 1, 16)) - first) * jitter()


class Clock(Protocol):
    """Source of time; a simulation has its own."""

    def now(self) -> float:
        """Return seconds since 1970."""

    def sleep(self, seconds: float) -> None:
        """Let that much time pass."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Return seconds since 1970."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Let that much time pass."""
        time.sleep(seconds)


@dataclass(frozen=True)
class Deadline:
    """The time until `deadline`, in seconds since 1970 on `clock`."""

    clock: Clock = field(default_factory=SystemClock)
    deadline: float = float("inf")
    jitter: Callable[[], float] = random.random

    @classmethod
    def of(
        cls, context: LambdaContext, clock: Clock, reserve: float = RESERVE_SECONDS
    ) -> "Deadline":
        """Return the deadline of an invocation: its end, less `reserve` seconds.

        The reserve is at most half of the time left, so that a function with a short timeout works.
        """
        left = context.get_remaining_time_in_millis() / 1000
        return cls(clock, clock.now() + left - min(reserve, left / 2))

    def now(self) -> float:
        """Return seconds since 1970."""
        return self.clock.now()

    def remaining(self) -> float:
        """Return the seconds left; zero or less when there are none."""
        return self.deadline - self.clock.now()

    def check(self) -> None:
        """Check that time is left.

        Raises:
            DeadlineExceeded: no time is left.
        """
        if self.remaining() <= 0:
            message = "the invocation's deadline passed before this change was tried"
            raise DeadlineExceeded(message)

    def pause(self, attempt: int) -> bool:
        """Wait before retry number `attempt` (from 0); return False, at once, if no time is left.

        See `backoff`.
        """
        seconds = backoff(attempt, self.jitter)
        if seconds >= self.remaining():
            return False
        self.clock.sleep(seconds)
        return True
