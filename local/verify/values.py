"""Strict comparison of values: Python takes 1 for true, and `.get` takes NULL for absent."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from typing import Any


class Mark(Enum):
    """In place of a value that an attribute or field does not have."""

    MISSING = "absent"
    NULL = "NULL"

    def __str__(self) -> str:
        return self.value


def value_of(image: Mapping[str, Any], name: str) -> Any:
    """Return the value of an attribute or field, with a mark for NULL and for none."""
    value = image.get(name, Mark.MISSING)
    return Mark.NULL if value is None else value


def same_value(one: Any, other: Any) -> bool:
    """Return whether two values are the same: of one type, numbers equal by value."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same_value(one[n], other[n]) for n in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_value, one, other))
    if _is_number(one) and _is_number(other):
        return bool(one == other)
    return type(one) is type(other) and bool(one == other)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)
