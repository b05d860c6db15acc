"""What one invocation did, in numbers, and where they go."""

from dataclasses import dataclass
from typing import Protocol


@dataclass
class Counts:
    """What one invocation did, for metrics.

    `canaries` are the changes of the canary that the sink has, now or already. `breaker_open` is 1
    if the breaker kept records from becoming dead letters, `access_denied` 1 if the function lacked
    a permission.
    """

    received: int = 0
    applied: int = 0
    stale: int = 0
    stale_but_newer: int = 0
    dead_lettered: int = 0
    reported: int = 0
    repaired: int = 0
    canaries: int = 0
    breaker_open: int = 0
    access_denied: int = 0


class Metrics(Protocol):
    """Where the counts of an invocation go."""

    def emit(self, counts: Counts) -> None:
        """Publish the counts."""


class NoMetrics:
    """Metrics for those who want none."""

    def emit(self, counts: Counts) -> None:
        """Publish nothing."""
