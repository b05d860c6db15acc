"""What a comparison found: per sink how much was compared, and each difference by name."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

Sink = Literal["aggregates", "search index", "audit log"]
Kind = Literal["missing", "extra", "different"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One place in which a sink is not what the table says.

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
class SinkReport:
    """One sink: `compared` items were found on both sides and looked at field by field."""

    sink: Sink
    compared: int
    parts: str
    differences: tuple[Difference, ...]

    def count(self, kind: Kind) -> int:
        """Items with at least one difference of this kind."""
        return len({each.item for each in self.differences if each.kind == kind})

    @property
    def equal(self) -> bool:
        """Comparing nothing is not equality."""
        return self.compared > 0 and not self.differences


@dataclass(frozen=True, slots=True)
class Inserts:
    """What the INSERT entries of the audit log add up to."""

    orders: int = 0
    total: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict over all sinks; `items` is how many orders the table held."""

    items: int
    sinks: tuple[SinkReport, ...]
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
