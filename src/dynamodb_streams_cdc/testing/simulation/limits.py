"""Writes that DynamoDB refuses, with its own messages.

The limits: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html. The
words are those that DynamoDB answers with, as ScyllaDB's tests for it (test/alternator), moto and
dynalite keep them; "limit of2048" is not a slip of this page.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dynamodb_streams_cdc.errors import CdcError, MalformedValue

LARGEST_ITEM = 400 * 1024
"""Bytes of names and values."""

LARGEST_PARTITION_KEY = 2048
LARGEST_SORT_KEY = 1024
LONGEST_NAME = 65_535
LONGEST_KEY_NAME = 255
"""Bytes."""

KEY_TYPES = ("S", "N", "B")

_INVALID = "One or more parameter values were invalid: "
_NOT_VALID = "One or more parameter values are not valid. "

_WORDS = {
    "must not be nested deeper": (
        "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels "
        "beyond supported limit"
    ),
    "at most 38 digits": "Attempting to store more than 38 significant digits in a Number",
    "of a magnitude from": (
        "Number overflow or underflow. Attempting to store a number with magnitude outside the "
        "supported range"
    ),
}
"""DynamoDB's messages for errors that the codec finds first."""


class WriteRefused(CdcError, ValueError):
    """A write that DynamoDB refuses with a `ValidationException`: there is no record of it."""

    def __init__(self, message: str) -> None:
        super().__init__(f"ValidationException: {message}")


def refused(error: MalformedValue) -> WriteRefused | MalformedValue:
    """Return the error for a value that the codec does not take, in DynamoDB's words if known."""
    for sign, words in _WORDS.items():
        if sign in error.problem:
            return WriteRefused(f"{words} ({error})")
    return error


def check_schema(keys: Sequence[str], types: Mapping[str, str]) -> None:
    """Refuse a key that no table has.

    Raises:
        WriteRefused: it has no attribute or more than two, or one of a type that keys do not have.
    """
    if len(keys) not in (1, 2) or len(set(keys)) != len(keys):
        message = f"{_INVALID}a key is a partition key, or that and a sort key; got {list(keys)}"
        raise WriteRefused(message)
    for name in keys:
        if not 1 <= len(name.encode("utf-8", "surrogatepass")) <= LONGEST_KEY_NAME:
            message = f"{_INVALID}a key's name has 1 to {LONGEST_KEY_NAME} bytes; got {name[:40]!r}"
            raise WriteRefused(message)
    for name, kind in types.items():
        if kind not in KEY_TYPES:
            message = f"{_INVALID}the type of key {name} is S, N or B; got {kind!r}"
            raise WriteRefused(message)


def check_keys(
    keys: Sequence[str], types: Mapping[str, str], attributes: Mapping[str, Mapping[str, Any]]
) -> None:
    """Refuse key attributes that DynamoDB refuses; `attributes` are in the form of an event.

    Raises:
        WriteRefused: one is missing, empty, too long or of another type.
    """
    for position, name in enumerate(keys):
        if name not in attributes:
            message = (
                f"{_INVALID}Missing the key {name} in the item (the table's key is "
                f"{', '.join(keys)}: give `keys` if it is another; "
                f"the item has {', '.join(attributes) or 'no attributes'})"
            )
            raise WriteRefused(message)
        ((kind, content),) = attributes[name].items()
        expected = types.get(name, "S")
        if kind not in KEY_TYPES or (name in types and kind != expected):
            message = f"{_INVALID}Type mismatch for key {name} expected: {expected} actual: {kind}"
            raise WriteRefused(message)
        if content == "":
            what = "binary" if kind == "B" else "string"
            message = (
                f"{_NOT_VALID}The AttributeValue for a key attribute cannot contain an empty "
                f"{what} value. Key: {name}"
            )
            raise WriteRefused(message)
        _check_length(position, kind, content)


def check_key_alone(keys: Sequence[str], given: Mapping[str, Any]) -> None:
    """Refuse a key that names other attributes, as `DeleteItem` does.

    Raises:
        WriteRefused: there are attributes beyond the table's key.
    """
    if more := sorted(given.keys() - set(keys)):
        message = (
            f"The provided key element does not match the schema (the table's key is "
            f"{', '.join(keys)}; {', '.join(more)} is not part of it)"
        )
        raise WriteRefused(message)


def _check_length(position: int, kind: str, content: str) -> None:
    if kind == "N":
        return
    size = len(content.encode()) if kind == "S" else len(content.rstrip("=")) * 3 // 4
    if position == 0 and size > LARGEST_PARTITION_KEY:
        message = (
            f"{_INVALID}Size of hashkey has exceeded the maximum size limit "
            f"of{LARGEST_PARTITION_KEY} bytes"
        )
        raise WriteRefused(message)
    if position == 1 and size > LARGEST_SORT_KEY:
        message = (
            f"{_INVALID}Aggregated size of all range keys has exceeded the size limit of "
            f"{LARGEST_SORT_KEY} bytes"
        )
        raise WriteRefused(message)


def check_item(attributes: Mapping[str, Mapping[str, Any]], size: int) -> None:
    """Refuse an item that DynamoDB refuses, with any keys; `size` is its size in bytes.

    Raises:
        WriteRefused: it is too large, or the name of an attribute is empty or too long.
    """
    for name in attributes:
        if not 1 <= len(name.encode()) <= LONGEST_NAME:
            message = f"{_INVALID}an attribute's name has 1 to {LONGEST_NAME} bytes"
            raise WriteRefused(message)
    if size > LARGEST_ITEM:
        message = (
            f"Item size has exceeded the maximum allowed size ({size} of {LARGEST_ITEM} bytes)"
        )
        raise WriteRefused(message)
