"""The converter: DynamoDB JSON to plain JSON and back; an item, a record, a line of an export."""

import json
from base64 import b64encode
from collections.abc import Mapping, Set
from decimal import Decimal
from typing import Any, NoReturn

from dynamodb_streams_cdc.deserializer import base64_text, deserialize_item, serialize_item
from dynamodb_streams_cdc.errors import MalformedValue
from playground.lab.errors import Mistaken

LONGEST = 1_000_000
"""Characters of an input."""

IMAGES = ("Keys", "NewImage", "OldImage", "Item", "Key", "Attributes")
"""Members of records, export lines and answers of the API that hold an item."""


def plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return DynamoDB JSON in plain values; text with several lines is taken line by line.

    Raises:
        Mistaken: it is not DynamoDB JSON.
    """
    values = _values(str(given.get("text", "")))
    shown = [_plain(value) for value in values]
    return {"text": "\n".join(_written(each, 2 if len(shown) == 1 else None) for each in shown)}


def typed(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain JSON with DynamoDB's types.

    Raises:
        Mistaken: it is not JSON, or DynamoDB cannot hold it.
    """
    values = _values(str(given.get("text", "")))
    shown = []
    for value in values:
        if not isinstance(value, dict):
            _refuse('an item is an object: write such as {"id": "1", "total": 5}')
        try:
            shown.append(serialize_item(value))
        except MalformedValue as error:
            raise Mistaken(str(error), "record") from error
    indent = 2 if len(shown) == 1 else None
    texts = [
        json.dumps(each, indent=indent, default=base64_text, ensure_ascii=False) for each in shown
    ]
    return {"text": "\n".join(texts)}


def _values(text: str) -> list[Any]:
    if len(text) > LONGEST:
        _refuse(f"the text has {len(text):,} characters: give at most a megabyte")
    try:
        return [_read(text)]
    except (ValueError, RecursionError) as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2 or not all(line.lstrip().startswith("{") for line in lines):
            message = f"that is not JSON: {error}"
            raise Mistaken(message, "record", getattr(error, "lineno", None)) from error
    return [_line(line, number) for number, line in enumerate(lines, 1)]


def _line(line: str, number: int) -> Any:
    try:
        return _read(line)
    except (ValueError, RecursionError) as error:
        message = f"line {number} is not JSON: {error}"
        raise Mistaken(message, "record", number) from error


def _read(text: str) -> Any:
    return json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=_no_constant)


def _no_constant(name: str) -> NoReturn:
    message = f"{name} is not a number of JSON"
    raise ValueError(message)


def _plain(value: Any) -> Any:
    """Return a value with the items in it in plain values, and everything else as it is."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if not isinstance(value, dict):
        _refuse("that is a plain value: give an item, a record, an event or a line of an export")
    if "Records" in value:
        return {**value, "Records": _plain(value["Records"])}
    if "dynamodb" in value:
        return {**value, "dynamodb": _images(value["dynamodb"])}
    if any(name in value for name in IMAGES) and not _is_item(value):
        return _images(value)
    return _item(value, "")


def _is_item(value: Mapping[str, Any]) -> bool:
    types = {"S", "N", "B", "SS", "NS", "BS", "BOOL", "NULL", "L", "M"}
    values = value.values()
    return all(isinstance(each, dict) and len(each) == 1 and set(each) <= types for each in values)


def _images(body: Any) -> Any:
    if not isinstance(body, dict):
        _refuse("dynamodb must be an object, as in a stream record")
    return {name: _item(each, name) if name in IMAGES else each for name, each in body.items()}


def _item(attributes: Any, path: str) -> Any:
    try:
        return deserialize_item(attributes, path)
    except MalformedValue as error:
        message = f"that is not DynamoDB JSON: {error}"
        raise Mistaken(message, "record") from error


def _written(value: Any, indent: int | None, level: int = 0) -> str:
    """Return a value as JSON, with every digit of its numbers."""
    match value:
        case Decimal():
            return _number(value)
        case bytes():
            return json.dumps(b64encode(value).decode())
        case Mapping():
            inner = [
                f"{json.dumps(name, ensure_ascii=False)}: {_written(each, indent, level + 1)}"
                for name, each in value.items()
            ]
            return _bracketed("{}", inner, indent, level)
        case list():
            return _bracketed("[]", [_written(e, indent, level + 1) for e in value], indent, level)
        case Set():
            inner = sorted(_written(each, indent, level + 1) for each in value)
            return _bracketed("[]", inner, indent, level)
    return json.dumps(value, ensure_ascii=False)


def _number(value: Decimal) -> str:
    plain = format(value, "f")
    return plain if len(plain) <= 60 else str(value)


def _bracketed(brackets: str, inner: list[str], indent: int | None, level: int) -> str:
    left, right = brackets[0], brackets[1]
    if not inner or indent is None:
        return f"{left}{', '.join(inner)}{right}"
    space = " " * indent
    lines = (",\n").join(f"{space * (level + 1)}{each}" for each in inner)
    return f"{left}\n{lines}\n{space * level}{right}"


def _refuse(message: str) -> NoReturn:
    raise Mistaken(message, "record")


EXAMPLE = """{
  "eventName": "MODIFY",
  "dynamodb": {
    "Keys": {"id": {"S": "order-7"}},
    "NewImage": {
      "id": {"S": "order-7"},
      "total": {"N": "29.90"},
      "lines": {"L": [{"M": {"sku": {"S": "a1"}, "count": {"N": "2"}}}]},
      "tags": {"SS": ["gift", "new"]},
      "paid": {"BOOL": true},
      "note": {"NULL": true},
      "photo": {"B": "aGVsbG8="}
    }
  }
}"""
"""A record to begin with."""
