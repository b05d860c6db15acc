"""What the processor asks of a sink, and what a sink answers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dynamodb_streams_cdc.budget import Budget
from dynamodb_streams_cdc.change import Change


@dataclass
class Outcome:
    """What became of the changes of one call: each is applied, or stale, or a failure.

    Attributes:
        applied: changes that the sink took.
        stale: changes that it refused because it holds the same version or a greater one, and
            changes that a greater one in the same call made unnecessary.
        stale_but_newer: those of them that are more than a second younger than what it holds. None
            is expected; see `STALE_BUT_NEWER_SECONDS`.
        failures: the exception for each change that was not taken.
    """

    applied: int = 0
    stale: int = 0
    stale_but_newer: int = 0
    failures: dict[Change, Exception] = field(default_factory=dict)

    def refused(self, change: Change, held_timestamp: float) -> None:
        """Compare a stale change with what the sink holds."""
        self.stale_but_newer += change.timestamp > held_timestamp + STALE_BUT_NEWER_SECONDS


STALE_BUT_NEWER_SECONDS = 1.0
"""How much younger a refused change must be to be counted as `stale_but_newer`.

Timestamps are rounded down to the second, so a difference of one second says nothing. A larger one
would mean that sequence numbers of an item did not grow, which AWS promises within a shard and
nobody documents across a split. The count is alarmed, and a repair of the item heals it.
"""


class Sink(Protocol):
    """Somewhere that changes are applied to."""

    def apply(self, changes: Sequence[Change], budget: Budget) -> Outcome:
        """Apply what can be applied, in order within each item, and report the rest as failures.

        Called again with changes that it has already seen, in any composition and order: a sink
        must be idempotent and refuse what is stale. Raising fails all the changes of the call.
        """
