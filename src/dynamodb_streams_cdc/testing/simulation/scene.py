"""The table, the items and the mapping that all schedules of a simulation share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from dynamodb_streams_cdc.change import Image
from dynamodb_streams_cdc.testing.simulation.table import SimulatedTable

POISON = "poison"
"""An item with this attribute can neither be counted nor found. Its value says how it fails."""

TIMEOUT_SECONDS = 10.0
"""Timeout of a function, unless the scene has another."""


def item_of(number: int, group: int, amount: int) -> Image:
    """Return the item of a write: its number, and three values that change.

    No float is equal to the price.
    """
    return {
        "id": f"item-{number}",
        "group": Decimal(group),
        "amount": Decimal(amount),
        "price": Decimal(f"{amount}.1"),
    }


def poisoned(item: Image) -> Image:
    """Return the item as no sink but the log can take it."""
    return {**item, POISON: "strange" if item["group"] == 0 else "hopeless"}


@dataclass(frozen=True)
class Scene:
    """The table and the mapping of a simulation.

    Attributes:
        item: makes the item of a write from its number, group and amount. The keys follow from the
            number alone.
        poisoned: makes of an item one that the functions cannot take.
        keys: names of the key attributes, or their types by name.
        view_type: of the stream.
        settings: of the mapping, by the names of `ListEventSourceMappings`, in place of those of
            the schedule.
        timeout: of the function, in seconds.
    """

    item: Callable[[int, int, int], Image] = item_of
    poisoned: Callable[[Image], Image] = poisoned
    keys: Sequence[str] | Mapping[str, str] = ("id",)
    view_type: str = "NEW_AND_OLD_IMAGES"
    settings: Mapping[str, Any] = field(default_factory=dict)
    timeout: float = TIMEOUT_SECONDS

    def table(self) -> SimulatedTable:
        """Return the table, without items and without a stream."""
        types = dict(self.keys) if isinstance(self.keys, Mapping) else {}
        return SimulatedTable("items-1A2B", tuple(self.keys), key_types=types)
