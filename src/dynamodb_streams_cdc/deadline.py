"""The time that an invocation has left, and how a sink waits within it.

A sink asks before each request whether there is time for another, and pauses between retries only
as long as the invocation lasts. So an outage ends in a clean report of what is not done, not in
Lambda killing the function.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from dynamodb_streams_cdc.errors import DeadlineExceeded
from dynamodb_streams_cdc.lambda_types import LambdaContext

RESERVE_SECONDS = 12.0
"""What is kept back at the end of an invocation: for one request that hangs until its own timeout
(keep that below 10 seconds), and for the report. Clients time out by the silence between two bytes:
a sink that drips costs the invocation its end, and the batch is delivered again."""

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
    """Where the time comes from; a simulation moves its own by hand."""

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
        """Return what is left of an invocation, less `reserve` seconds for its end.

        At most half of what is left is kept back, so that a function with a short timeout works.
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
        """Go on only while time is left.

        Raises:
            DeadlineExceeded: none is left.
        """
        if self.remaining() <= 0:
            message = "the invocation's time ran out before this change was taken up"
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
