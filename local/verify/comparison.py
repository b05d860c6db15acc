"""Result of a comparison: the compared items of each sink, and every difference."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

Sink = Literal["aggregation", "search", "audit"]
Kind = Literal["missing", "extra", "different"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between a sink and the table.

    `missing` and `extra` concern a whole item of the sink: an aggregate, a document, a history.
    """

    sink: Sink
    kind: Kind
    item: str
    field: str
    expected: Any
    found: Any

    def __str__(self) -> str:
        if self.kind == "different":
            return (
                f"{self.item}: {self.field} should be {_shown(self.expected)},"
                f" is {_shown(self.found)}"
            )
        if self.kind == "missing":
            return f"{self.item} is missing; should be {_shown(self.expected)}"
        return f"{self.item} should not be there; holds {_shown(self.found)}"


@dataclass(frozen=True, slots=True)
class SinkComparison:
    """One sink: `compared` items were found on both sides and compared field by field."""

    sink: Sink
    compared: int
    parts: str
    differences: tuple[Difference, ...]

    def count(self, kind: Kind) -> int:
        """Return the number of items with a difference of this kind."""
        return len({each.item for each in self.differences if each.kind == kind})

    @property
    def equal(self) -> bool:
        """Whether items were compared and none differs."""
        return self.compared > 0 and not self.differences


@dataclass(frozen=True, slots=True)
class Inserts:
    """Totals of the INSERT entries of the change log."""

    orders: int = 0
    total: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All sinks; `items` is the number of orders in the table."""

    items: int
    sinks: tuple[SinkComparison, ...]
    inserts: Inserts

    @property
    def equal(self) -> bool:
        return bool(self.sinks) and all(sink.equal for sink in self.sinks)

    @property
    def differences(self) -> tuple[Difference, ...]:
        return tuple(each for sink in self.sinks for each in sink.differences)


def _shown(value: Any) -> str:
    if value is None:
        return "absent"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_shown(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return str(value)
