"""Result of a comparison: the compared items of each copy, and every difference."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

Kind = Literal["missing", "extra", "different"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between a sink and the table.

    `missing` and `extra` concern a whole item of the sink: an aggregate, a document, a history.
    """

    sink: str
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
    """A copy: `compared` items were found on both sides and compared field by field.

    Attributes:
        sink: name of the sink.
        compared: number of items; `parts` says what they are made of.
        differences: all of them.
        table: logical name of the source table.
        of: the entity, or the part of the sink that is of no single entity.
        unit: what `compared` counts, such as `documents`.
    """

    sink: str
    compared: int
    parts: str
    differences: tuple[Difference, ...]
    table: str = ""
    of: str = ""
    unit: str = "items"

    def count(self, kind: Kind) -> int:
        """Return the number of items with a difference of this kind."""
        return len({each.item for each in self.differences if each.kind == kind})

    @property
    def equal(self) -> bool:
        """Whether items were compared and none differs."""
        return self.compared > 0 and not self.differences


@dataclass(frozen=True, slots=True)
class Comparison:
    """All copies; `items` is the number of items in the tables."""

    items: int
    sinks: tuple[SinkComparison, ...]

    @property
    def equal(self) -> bool:
        """Whether each sink of each table has compared items, and none differs."""
        return bool(self.sinks) and not self.differences and not self.empty

    @property
    def empty(self) -> tuple[str, ...]:
        """Sinks that neither have an item nor should have one, each with its table."""
        compared: dict[str, int] = {}
        for each in self.sinks:
            name = f"{each.sink} of {each.table}" if each.table else each.sink
            compared[name] = compared.get(name, 0) + each.compared + len(each.differences)
        return tuple(name for name, count in compared.items() if not count)

    @property
    def differing(self) -> tuple[str, ...]:
        """Sinks that do not equal the table, by name, each once."""
        empty = {name.partition(" of ")[0] for name in self.empty}
        names = dict.fromkeys(each.sink for each in self.sinks)
        differ = {each.sink for each in self.differences} | empty
        return tuple(name for name in names if name in differ)

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
