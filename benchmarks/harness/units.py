"""Size of an item as DynamoDB counts it, and the capacity units to read or write it.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

from collections.abc import Mapping
from decimal import Decimal
from math import ceil
from typing import Any


def item_size(item: Mapping[str, Any]) -> int:
    """Return the bytes of an item: names and values of its attributes."""
    return sum(_bytes(name) + _value_size(value) for name, value in item.items())


def write_units(size: int) -> int:
    """Return the units of a write: one for each started KB."""
    return max(1, ceil(size / 1024))


def read_units(size: int, consistent: bool) -> float:
    """Return the units of a read: one for each started 4 KB; half if not consistent."""
    return max(1, ceil(size / 4096)) * (1.0 if consistent else 0.5)


def _bytes(text: str) -> int:
    return len(text.encode())


def _value_size(value: Mapping[str, Any]) -> int:
    ((tag, content),) = value.items()
    match tag:
        case "S":
            return _bytes(content)
        case "N":
            return _number_size(content)
        case "B":
            return len(content)
        case "SS":
            return sum(map(_bytes, content))
        case "NS":
            return sum(map(_number_size, content))
        case "BS":
            return sum(map(len, content))
        case "L":
            return 3 + sum(1 + _value_size(member) for member in content)
        case "M":
            return 3 + sum(1 + _bytes(n) + _value_size(member) for n, member in content.items())
        case _:
            return 1


def _number_size(text: str) -> int:
    """About one byte for each two significant digits, one more, and one for a sign."""
    sign, digits, _ = Decimal(text).normalize().as_tuple()
    return (len(digits) + 1) // 2 + 1 + sign
