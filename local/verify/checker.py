"""Compares every item of every table with every sink, in both directions.

The wanted state of a copy is computed from the items in the table with the functions that the
declaration has; how a sink stores it is computed again, without the sink's code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dynamodb_streams_cdc.entities import AGGREGATION, AUDIT, SEARCH
from local.verify.aggregation import AggregationCheck
from local.verify.audit import AuditCheck
from local.verify.comparison import Comparison
from local.verify.items import Items
from local.verify.search import SearchCheck

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dynamodb_streams_cdc.entities import Entity, Table
    from local.items import Image
    from local.verify.comparison import SinkComparison
    from local.verify.deployed_copies import DeployedCopies


class SinkCheck(Protocol):
    """Reads one sink's copy of one table. `states` are those of an item, first to last.

    Methods with an entity get only entities that use the sink.
    """

    def compare(self, items: Items) -> list[SinkComparison]:
        """Compare the copy with the items, in both directions: a comparison for each entity."""

    def count(self) -> int:
        """Return how much the copy has, in a unit of the sink that is cheap to count."""

    def due(self, entity: Entity, states: Sequence[Image | None]) -> int:
        """Return how much of that an item with these states adds."""

    def tells_last(self, entity: Entity, states: Sequence[Image | None]) -> bool:
        """Return whether the copy of the last state differs from those of the states before."""

    def shown(self, last: Mapping[str, tuple[Entity, Sequence[Image | None]]]) -> set[str]:
        """Return which of these items, by identity, a reader sees in their last state now."""


CHECKS: Mapping[str, Callable[[DeployedCopies], SinkCheck]] = {
    AGGREGATION: AggregationCheck,
    SEARCH: SearchCheck,
    AUDIT: AuditCheck,
}
"""By the sink's name. A further sink adds its own here; without one, the sink is not compared."""


def checks_of(copies: DeployedCopies) -> dict[str, SinkCheck]:
    """Return the checks of a table, by sink.

    A built-in sink that no entity uses is checked as well where it is deployed: it must be empty.
    """
    deployed = copies.resources.functions
    return {
        sink: check(copies)
        for sink, check in CHECKS.items()
        if copies.table.using(sink) or sink in deployed
    }


def unchecked(table: Table) -> list[str]:
    """Return the sinks that the table's entities use and that have no check."""
    return [sink for sink in table.further_sinks if sink not in CHECKS]


def compare(
    tables: Sequence[DeployedCopies], writes: Mapping[str, int] | None = None
) -> Comparison:
    """Read everything once and compare; `writes` counts the effective writes by item."""
    count = 0
    found: list[SinkComparison] = []
    for copies in tables:
        images = dict(copies.items())
        count += len(images)
        mine = None if writes is None else _of_table(writes, copies.table)
        items = Items(copies.table, images, mine)
        for check in checks_of(copies).values():
            found += check.compare(items)
    return Comparison(count, tuple(found))


def _of_table(writes: Mapping[str, int], table: Table) -> dict[str, int]:
    own = (f"{table.name}/", "#")  # a digest does not tell its table
    return {item: count for item, count in writes.items() if item.startswith(own)}
