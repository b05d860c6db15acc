"""Eight mistakes of stream consumers, each next to the correct function.

Every module has two `simulation.Consumer` factories, `wrong` and `right`. Both meet the same
schedules of duplicates, crashes, throttles and outages; only `right` ends in the demanded state.
The shortest story of each failure is in docs/explanation/mistakes.md.
"""

from dataclasses import dataclass
from types import ModuleType

from dynamodb_streams_cdc.examples.mistakes import (
    continuing_past_a_failure,
    delete_without_tombstone,
    event_id_as_identifier,
    marker_before_effect,
    new_minus_old,
    swallowed_exception,
    timestamp_as_version,
    unpadded_sequence_numbers,
)
from dynamodb_streams_cdc.testing.simulation import Consumer, VirtualClock


@dataclass(frozen=True)
class Mistake:
    """A mistake by its module."""

    module: ModuleType

    @property
    def name(self) -> str:
        """Such as `event_id_as_identifier`."""
        return self.module.__name__.rpartition(".")[2]

    def wrong(self, virtual_clock: VirtualClock) -> list[Consumer]:
        """Return the function with the mistake, for `Simulation`."""
        return [self.module.wrong(virtual_clock)]

    def right(self, virtual_clock: VirtualClock) -> list[Consumer]:
        """Return its correct twin, for `Simulation`."""
        return [self.module.right(virtual_clock)]


MISTAKES = tuple(
    Mistake(module)
    for module in (
        event_id_as_identifier,
        marker_before_effect,
        continuing_past_a_failure,
        new_minus_old,
        unpadded_sequence_numbers,
        delete_without_tombstone,
        swallowed_exception,
        timestamp_as_version,
    )
)
