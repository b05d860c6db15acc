"""What a lab's table refuses, as DynamoDB does; and what it takes, to the byte.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html.
"""

from decimal import Decimal
from typing import Any

import pytest

from dynamodb_streams_cdc.testing import Lab
from dynamodb_streams_cdc.testing.simulation.limits import WriteRefused
from tests.unit.labs import deliver, succeed


def nested(levels: int) -> Any:
    value: object = "leaf"
    for _ in range(levels):
        value = {"a": value}
    return value


INVALID = "ValidationException: One or more parameter values were invalid: "
EMPTY_KEY = (
    "ValidationException: One or more parameter values are not valid. The AttributeValue for a key "
    "attribute cannot contain an empty {} value. Key: id"
)
LONG_KEY = f"{INVALID}Size of hashkey has exceeded the maximum size limit of2048 bytes"
TOO_DEEP = (
    "ValidationException: Nesting Levels have exceeded supported limits: Attributes in the item "
    "have nested levels beyond supported limit"
)
OUT_OF_RANGE = "ValidationException: Number overflow or underflow"
TOO_EXACT = "ValidationException: Attempting to store more than 38 significant digits in a Number"
TYPES = {
    "NULL": None,
    "BOOL": True,
    "L": ["1"],
    "M": {"a": "1"},
    "SS": {"1"},
    "NS": {1},
    "BS": {b"1"},
}


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"id": ""}, EMPTY_KEY.format("string")),
        ({"id": b""}, EMPTY_KEY.format("binary")),
        *(
            ({"id": value}, f"{INVALID}Type mismatch for key id expected: S actual: {kind}")
            for kind, value in TYPES.items()
        ),
        ({"id": "k" * 2049}, LONG_KEY),
        ({"id": "é" * 1025}, LONG_KEY),
        ({"id": b"k" * 2049}, LONG_KEY),
        (
            {"id": "1", "blob": "x" * (400 * 1024 - 6)},
            "ValidationException: Item size has exceeded the maximum allowed size",
        ),
        ({"id": "1", "": "x"}, "an attribute name must have at least one character"),
        ({"id": "1", "n" * 65_536: "x"}, f"{INVALID}an attribute's name"),
        ({"id": "1", "deep": nested(32)}, TOO_DEEP),
        ({"id": "1", "number": Decimal("1E126")}, OUT_OF_RANGE),
        ({"id": "1", "number": Decimal("1E-131")}, OUT_OF_RANGE),
        ({"id": "1", "number": 10**38 + 1}, TOO_EXACT),
        ({"id": "1", "text": "\ud800"}, "text: a string must be text that UTF-8 can hold"),
        ({"id": "1", "set": set()}, "set: a set must hold only strings"),
        ({"name": "1"}, f"{INVALID}Missing the key id in the item"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_dynamodb_refuses_makes_no_record(item: dict[str, Any], words: str) -> None:
    lab = Lab(succeed)
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - the words are compared below
        lab.put(item)
    assert str(refusal.value).startswith(words)
    lab.run()
    assert lab.deliveries == []


@pytest.mark.parametrize(
    "item",
    [
        {"id": "k" * 2048},
        {"id": b"k" * 2048},
        {"id": Decimal("1E125")},
        {"id": "1", "blob": "x" * (400 * 1024 - 7)},
        {"id": "1", "empty": "", "bytes": b"", "list": [], "map": {}, "nothing": None},
        {"id": "1", "n" * 65_535: "x"},
        {"id": "1", "deep": nested(31)},
    ],
    ids=["text", "binary", "number", "400 KB", "empty values", "name", "31 levels"],
)
def test_what_dynamodb_takes_is_delivered(item: dict[str, Any]) -> None:
    lab = Lab(succeed)
    lab.put(item)
    lab.run()
    assert len(lab.deliveries) == 1


def test_a_sort_key_is_shorter() -> None:
    lab = Lab(succeed, keys=("customer", "order"))
    lab.put({"customer": "c" * 2048, "order": "o" * 1024})
    with pytest.raises(WriteRefused, match="all range keys has exceeded the size limit of 1024"):
        lab.put({"customer": "c", "order": "o" * 1025})


def test_a_key_keeps_its_given_or_first_type() -> None:
    lab = Lab(succeed)
    lab.put({"id": 1})
    with pytest.raises(WriteRefused, match="Type mismatch for key id expected: N actual: S"):
        lab.put({"id": "1"})
    with pytest.raises(WriteRefused, match="Type mismatch for key id expected: N actual: S"):
        lab.delete({"id": "1"})
    typed = Lab(succeed, keys={"id": "B"})
    with pytest.raises(WriteRefused, match="Type mismatch for key id expected: B actual: S"):
        typed.put({"id": "1"})


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ((), "a partition key, or that and a sort key"),
        (("a", "b", "c"), "a partition key, or that and a sort key"),
        (("a", "a"), "a partition key, or that and a sort key"),
        (("",), "1 to 255 bytes"),
        (("n" * 256,), "1 to 255 bytes"),
        ({"id": "BOOL"}, "S, N or B"),
        ("id", 'a list of names such as \\["id"\\]'),
    ],
)
def test_a_key_that_no_table_has_is_refused(keys: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Lab(succeed, keys=keys)


def test_a_deletion_names_the_key_and_nothing_else() -> None:
    lab = Lab(succeed)
    lab.put({"id": "1", "status": "placed"})
    for remove in (lab.delete, lab.expire):
        with pytest.raises(
            WriteRefused, match="The provided key element does not match the schema"
        ):
            remove({"id": "1", "status": "placed"})


def test_a_record_holds_json_and_no_enums() -> None:
    lab = Lab(succeed)
    deliver(lab, "1")
    kind = lab.deliveries[0].records[0]["dynamodb"]["StreamViewType"]
    assert (type(kind), kind) == (str, "NEW_AND_OLD_IMAGES")
