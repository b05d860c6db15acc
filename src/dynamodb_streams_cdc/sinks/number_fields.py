"""Check that the number fields of an index hold a document's values without loss.

OpenSearch takes some numbers that a field cannot hold and says nothing: a `scaled_float` saturates
at the largest `long`, a `double` rounds integers beyond 2^53. The document then shows the right
number, and searches, sorting and sums use another one
(https://docs.opensearch.org/latest/field-types/supported-field-types/numeric/). What it refuses, it
refuses as a `mapper_parsing_exception`, with the value in the message.

Fractions are rounded to the field's precision, as anyone who declares a float expects; only
magnitude is checked. The index checks a value that is not a number.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Self

from dynamodb_streams_cdc.errors import PermanentError

EXACT_DOUBLE = 2**53
"""A double holds every integer up to here; IEEE 754 has 53 bits for it."""

RANGES: Mapping[str, tuple[int, int]] = {
    "byte": (-(2**7), 2**7 - 1),
    "short": (-(2**15), 2**15 - 1),
    "integer": (-(2**31), 2**31 - 1),
    "long": (-(2**63), 2**63 - 1),
    "unsigned_long": (0, 2**64 - 1),
    "double": (-EXACT_DOUBLE, EXACT_DOUBLE),
    "float": (-(2**24), 2**24),
    "half_float": (-(2**11), 2**11),
}
"""The least and the greatest number of a field type; a float is exact for integers in between."""


@dataclass(frozen=True)
class NumberFields:
    """The number fields of a mapping, found once: a check costs a look at each of them.

    Attributes:
        numbers: name, type, and the least and the greatest number of each field.
        objects: the fields of each object, by its name.
    """

    numbers: Sequence[tuple[str, str, int | Decimal, int | Decimal]]
    objects: Sequence[tuple[str, "NumberFields"]]

    @classmethod
    def of(cls, properties: Mapping[str, Any]) -> Self:
        """Return those of the properties of a mapping, with objects inside."""
        numbers: list[tuple[str, str, int | Decimal, int | Decimal]] = []
        objects: list[tuple[str, NumberFields]] = []
        for name, mapping in properties.items():
            kind = mapping.get("type")
            head, _, rest = name.partition(".")
            if rest:  # OpenSearch reads "price.amount" as the field `amount` of the object `price`
                objects.append((head, cls.of({rest: mapping})))
            elif kind in RANGES:
                numbers.append((name, kind, *RANGES[kind]))
            elif kind == "scaled_float":
                greatest = EXACT_DOUBLE / Decimal(str(mapping["scaling_factor"]))
                numbers.append((name, kind, -greatest, greatest))
            elif inner := mapping.get("properties"):
                objects.append((name, cls.of(inner)))
            if not rest:  # the same values under other types
                for other in (mapping.get("fields") or {}).values():
                    numbers += cls.of({name: other}).numbers
        return cls(numbers, objects)

    def check(self, document: Mapping[str, Any], path: str = "") -> None:
        """Find that the fields hold the document's numbers.

        `document` is as `search.encoded` returns it. Fields that the mapping does not name are
        stored only, and hold anything.

        Raises:
            PermanentError: a number is out of range; names the field and its type, not the number.
        """
        for name, kind, least, greatest in self.numbers:
            for member in _members(document.get(name)):
                number = member if type(member) is int else _number(member)
                if number is not None and not least <= number <= greatest:
                    message = f"{path}{name}: the index's {kind} holds {least} to {greatest} only"
                    raise PermanentError(message, "NumberOutOfRange")
        for name, inner in self.objects:
            for member in _members(document.get(name)):
                if isinstance(member, Mapping):
                    inner.check(member, f"{path}{name}.")
            prefix = f"{name}."
            dotted = {n.removeprefix(prefix): document[n] for n in document if n.startswith(prefix)}
            if dotted:
                inner.check(dotted, f"{path}{prefix}")


def _members(value: object) -> Iterable[object]:
    """Return the values of a field: OpenSearch reads lists within lists as one list."""
    if type(value) is not list:
        return (value,)
    return [member for each in value for member in _members(each)]


def _number(value: object) -> Decimal | None:
    """Return the number that a text is: numbers that are not whole travel as text."""
    if type(value) is not str:
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
