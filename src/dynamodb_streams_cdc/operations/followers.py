"""The sinks that follow the change log: work that writes the log rests while they are behind it.

A backfill writes the log as fast as DynamoDB takes it, and a search index may take far less. Live
changes wait behind the entries of the backfill, and what is older than 20 hours when its turn comes
is a dead letter. So the age of what the followers read bounds the backfill.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dynamodb_streams_cdc.deadline import Clock, SystemClock
from dynamodb_streams_cdc.operations.status import METRICS_SECONDS, StatusReader

REST_ABOVE_SECONDS = 300.0
"""Iterator age of a follower at which work begins to rest. What it has still to read by then takes
it longer: so many times longer as the log is written faster than the follower reads."""

GO_ON_BELOW_SECONDS = 60.0
"""Iterator age of a follower at which work goes on."""

QUIET_SECONDS = 600.0
"""A follower that has read nothing for so long has nothing to read."""


@dataclass
class Followers:
    """The processors that follow the change log of a pipeline.

    Attributes:
        status: reads their iterator age.
        names: of the processors.
        say: called with a sentence when work begins to rest, and when it goes on.
    """

    status: StatusReader
    names: Sequence[str]
    say: Callable[[str], None] = lambda text: None
    clock: Clock = field(default_factory=SystemClock)
    _looked_at: float = float("-inf")
    _are_behind: bool = False
    _said: set[str] = field(default_factory=set)

    def are_behind(self) -> bool:
        """Return whether work that writes the log is to rest."""
        if self.clock.now() - self._looked_at >= METRICS_SECONDS:
            self._looked_at = self.clock.now()
            self._look()
        return self._are_behind

    def _look(self) -> None:
        ages = self.status.ages(self.clock.now(), QUIET_SECONDS)
        unknown = [name for name in self.names if ages[name].unknown]
        for name in {*unknown} - self._said:
            self._said.add(name)
            self.say(f"How far {name} is behind the change log is unknown: {ages[name].unknown}")
        if unknown:
            return
        oldest, name = max((ages[name].value, name) for name in self.names)
        was_behind = self._are_behind
        self._are_behind = oldest > (GO_ON_BELOW_SECONDS if was_behind else REST_ABOVE_SECONDS)
        if self._are_behind and not was_behind:
            self.say(
                f"{name} is {oldest / 60:.0f} minutes behind the change log: resting until it is "
                f"less than {GO_ON_BELOW_SECONDS:.0f} seconds behind."
            )
        elif was_behind and not self._are_behind:
            self.say(f"{name} has caught up with the change log: going on.")
