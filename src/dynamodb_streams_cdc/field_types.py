"""What the number fields of an index hold without loss, held against a document before it is sent.

OpenSearch takes some numbers that a field cannot hold and says nothing: a `scaled_float` saturates
at the largest `long`, a `double` rounds integers beyond 2^53. The document then shows the right
number, and searches, sorting and sums use another one
(https://docs.opensearch.org/latest/field-types/supported-field-types/numeric/). What it refuses, it
refuses as a `mapper_parsing_exception`, with the value in the message.

Fractions are rounded to the field's precision, as anyone who declares a float expects; only
magnitude is checked. A value that is no number is left to the index.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

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


def check_numbers(document: Mapping[str, Any], properties: Mapping[str, Any]) -> None:
    """Find that the index's number fields hold the document's numbers.

    `document` is as `search.encoded` returns it; `properties` are those of the mapping, with
    objects inside. Fields that the mapping does not name are stored only, and hold anything.

    Raises:
        PermanentError: a number is out of range; names the field and its type, not the number.
    """
    for path, value, mapping in _leaves(document, properties, ""):
        least, greatest = _range(mapping)
        number = _number(value)
        if number is not None and not least <= number <= greatest:
            message = f"{path}: the index's {mapping['type']} holds {least} to {greatest} only"
            raise PermanentError(message, "NumberOutOfRange")


def _leaves(
    value: Mapping[str, Any], properties: Mapping[str, Any], path: str
) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """Return the values of number fields, with their path and mapping."""
    for name, mapping in properties.items():
        found = value.get(name)
        if found is None:
            continue
        place = f"{path}.{name}" if path else name
        for member in found if isinstance(found, list) else [found]:
            if isinstance(member, Mapping):
                yield from _leaves(member, mapping.get("properties", {}), place)
            elif mapping.get("type") in RANGES or mapping.get("type") == "scaled_float":
                yield place, member, mapping


def _range(mapping: Mapping[str, Any]) -> tuple[int | Decimal, int | Decimal]:
    if mapping["type"] != "scaled_float":
        return RANGES[mapping["type"]]
    greatest = EXACT_DOUBLE / Decimal(str(mapping["scaling_factor"]))
    return -greatest, greatest


def _number(value: object) -> Decimal | int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    try:
        number = Decimal(value) if isinstance(value, str) else None
    except InvalidOperation:
        return None
    return number if number is not None and number.is_finite() else None
