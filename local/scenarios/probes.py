"""Probes of the sinks: does a sink show the last state of an item yet?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from local.verify import ReadError, checks_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from local.verify import DeployedCopies, SinkCheck
    from local.workload.stories import ItemStory
    from local.workload.traffic import Finished


class Probe(Protocol):
    """Looks at one sink."""

    def follows(self, story: ItemStory) -> bool:
        """Return whether the sink has the item and tells its last state from earlier ones."""

    def shown(self, finished: Sequence[Finished]) -> set[str]:
        """Return the items that a reader of the sink sees in their last state now."""


@dataclass(frozen=True)
class SinkProbe:
    """A probe of one sink over all tables; `checks` are by the table's name."""

    sink: str
    checks: Mapping[str, SinkCheck]

    def follows(self, story: ItemStory) -> bool:
        check, entity = self.checks.get(story.table.name), story.entity
        if check is None or entity is None or not entity.uses(self.sink) or story.last is None:
            return False
        return check.tells_last(entity, story.states)

    def shown(self, finished: Sequence[Finished]) -> set[str]:
        shown: set[str] = set()
        for name, check in self.checks.items():
            last = {
                each.item: (each.story.entity, each.story.states)
                for each in finished
                if each.story.table.name == name and each.story.entity is not None
            }
            if last:
                shown |= check.shown(last)
        return shown


@dataclass(frozen=True)
class TolerantProbe:
    """A probe to which a sink that does not answer shows no item."""

    probe: Probe

    def follows(self, story: ItemStory) -> bool:
        return self.probe.follows(story)

    def shown(self, finished: Sequence[Finished]) -> set[str]:
        try:
            return self.probe.shown(finished)
        except ReadError:
            return set()


def probes_of(tables: Sequence[DeployedCopies]) -> dict[str, Probe]:
    """Return a probe by sink."""
    checks: dict[str, dict[str, SinkCheck]] = {}
    for copies in tables:
        for sink, check in checks_of(copies).items():
            checks.setdefault(sink, {})[copies.table.name] = check
    return {sink: SinkProbe(sink, each) for sink, each in checks.items()}
