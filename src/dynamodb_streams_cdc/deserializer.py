"""DynamoDB's typed JSON to Python values, and back.

A stream hands over every attribute with its type, such as `{"N": "12.50"}`; every module past this
one works on plain values. It guarantees two things:

- Exact values. They equal those of boto3's `TypeDeserializer`, so a number is a `Decimal` of up to
  38 digits. Binary alone differs: it comes out as plain `bytes`, from the base64 text of a Lambda
  event as well as from the raw bytes of an API client.
- Nothing malformed passes. What DynamoDB cannot hold raises `MalformedValue` with the path to it:
  `NewImage.lines[2].price: S must be a string, got a decimal number`.

| DynamoDB  | Python    | DynamoDB | Python           |
| --------- | --------- | -------- | ---------------- |
| S         | `str`     | SS       | set of `str`     |
| N         | `Decimal` | NS       | set of `Decimal` |
| B         | `bytes`   | BS       | set of `bytes`   |
| BOOL      | `bool`    | L        | `list`           |
| NULL      | `None`    | M        | `dict`           |

The limits are DynamoDB's: 38 significant digits, magnitudes of 1E-130 to 9.99...E+125, 32 levels
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html).
"""

import decimal
import json
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterable, Mapping, Set
from contextlib import suppress
from decimal import Decimal
from typing import Any, TypeAlias

from dynamodb_streams_cdc.errors import MalformedValue, form_of

AttributeValue: TypeAlias = dict[str, Any]
"""A value with its DynamoDB type, a map of exactly one entry: `{"S": "text"}`, `{"L": [...]}`."""

Value: TypeAlias = (
    "str | Decimal | bool | bytes | list[Value] | dict[str, Value]"
    " | set[str] | set[Decimal] | set[bytes] | None"
)
"""The value of an attribute in Python."""

_LEVELS = 32

# Rounding is not trapped, inexactness is: DynamoDB trims zeros before it counts the digits. Text
# without a number comes out as NaN, which like infinity is refused for not being finite.
_exact = decimal.Context(
    prec=38, Emin=-130, Emax=125, traps=[decimal.Overflow, decimal.Inexact, decimal.Subnormal]
).create_decimal


def deserialize(value: Mapping[str, Any], path: str = "") -> Value:
    """Return the Python value of one attribute value: `{"N": "1.5"}` gives `Decimal("1.5")`.

    Raises `MalformedValue`, its path beginning with `path`, for anything that is not DynamoDB JSON.
    """
    try:
        return _decode_list([value], 1)[0]  # type: ignore[no-any-return]
    except _Fault as fault:
        fault.path = fault.path.removeprefix("[0]")
        raise fault.at(path) from None


def deserialize_item(attributes: Mapping[str, Any], path: str = "") -> dict[str, Value]:
    """Return the Python values of an item, an image or a key: a map of attribute name to value.

    The argument is left as it is. Raises `MalformedValue` as `deserialize` does.
    """
    try:
        return _decode_map(attributes, 1)
    except _Fault as fault:
        raise fault.at(path) from None
    except _FAILURES:
        raise _Fault("expected a map of attribute values", attributes).at(path) from None


def serialize(value: object, path: str = "") -> AttributeValue:
    """Return `value` with its DynamoDB type, as API clients take it: binary as raw `bytes`.

    Takes `str`, `int`, `Decimal`, `bool`, `None`, `bytes` (also `bytearray` and boto3's `Binary`),
    lists and tuples, mappings with string names, and non-empty sets of one kind, which come out
    sorted so that equal values give equal output. There is one form for binary, because JSON has no
    bytes: `json.dumps(attributes, default=base64_text)` gives the text of a Lambda event.

    Raises `MalformedValue`, its path beginning with `path`, for a float (use `Decimal`) and for
    everything else that DynamoDB cannot hold.
    """
    try:
        return _encode(value, 1)
    except _Fault as fault:
        raise fault.at(path) from None


def serialize_item(item: Mapping[str, object], path: str = "") -> dict[str, AttributeValue]:
    """Return an item, a map of attribute name to value, with DynamoDB's types; see `serialize`."""
    try:
        if "" in item:
            raise _Fault(_EMPTY_NAME, "")
        return _encode_all(item, item.items(), 1, str)
    except _Fault as fault:
        raise fault.at(path) from None


def base64_text(value: object) -> str:
    """Return binary as base64 text: the `default` of `json.dumps` for what `serialize` returns.

    Raises `TypeError` for anything but binary, as `json` expects of the function.
    """
    return b2a_base64(_raw_bytes(value), newline=False).decode("ascii")


def with_bytes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes with the base64 text of a Lambda event as the bytes that API clients take.

    Everything else is as it was; attributes from an API client come back unchanged.
    """
    return {name: _value_with_bytes(value) for name, value in attributes.items()}


def _value_with_bytes(value: Mapping[str, Any]) -> Mapping[str, Any]:
    if "S" in value or "N" in value:  # most are one of these, and `match` takes three times as long
        return value
    match value:
        case {"B": str(text)}:
            return {"B": a2b_base64(text)}
        case {"BS": list(texts)}:
            return {"BS": [a2b_base64(text) if isinstance(text, str) else text for text in texts]}
        case {"M": attributes}:
            return {"M": with_bytes(attributes)}
        case {"L": values}:
            return {"L": [_value_with_bytes(value) for value in values]}
        case _:
            return value


class _Fault(ValueError):
    """A problem on its way out: each container that it leaves puts a step before the path."""

    def __init__(self, problem: str, got: object) -> None:
        self.problem = f"{problem}, got {form_of(got)}"
        self.path = ""

    def under(self, key: object) -> "_Fault":
        self.path = _step(key) + self.path
        return self

    def at(self, path: str) -> MalformedValue:
        return MalformedValue(self.problem, f"{path}{self.path}" if path else self.path.lstrip("."))


# What the operations below raise when a value is not what they expect.
_FAILURES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def _decode_map(attributes: Any, level: int) -> dict[Any, Any]:
    """Return the values of a map, whose contents stand at `level`.

    This loop and the next are the hot path: the frequent types are inline, and nothing looks for
    what might be wrong. Where an operation fails, `_explain` does. Names are taken as they are:
    JSON and API clients have only strings, and a check costs a twentieth of the whole.
    """
    if level > _LEVELS and attributes:
        raise _Fault(_TOO_DEEP, attributes)
    result: dict[Any, Any] = {}
    pairs = attributes.items()
    name = value = None
    try:
        for name, value in pairs:
            (tag,) = value
            content = value[tag]
            if tag == "S" and content.__class__ is str:
                if not content.isascii():
                    content.encode()
                result[name] = content
            elif tag == "N":
                number = _exact(content)
                if not (content.isascii() and number.is_finite()):
                    raise ValueError
                result[name] = number
            elif tag == "M":
                result[name] = _decode_map(content, level + 1)
            elif tag == "L":
                result[name] = _decode_list(content, level + 1)
            else:
                result[name] = _DECODERS[tag](content)
    except _FAILURES as error:
        raise _explain(error, value).under(name) from None
    return result


def _decode_list(values: Any, level: int) -> list[Any]:
    if not isinstance(values, list):
        raise TypeError
    if level > _LEVELS and values:
        raise _Fault(_TOO_DEEP, values)
    result: list[Any] = []
    value = None
    try:
        for value in values:
            (tag,) = value
            content = value[tag]
            if tag == "M":
                result.append(_decode_map(content, level + 1))
            elif tag == "S" and content.__class__ is str:
                if not content.isascii():
                    content.encode()
                result.append(content)
            elif tag == "N":
                result.append(_number(content))
            elif tag == "L":
                result.append(_decode_list(content, level + 1))
            else:
                result.append(_DECODERS[tag](content))
    except _FAILURES as error:
        raise _explain(error, value).under(len(result)) from None
    return result


def _string(content: Any) -> str:
    if not isinstance(content, str):
        raise TypeError
    content.encode()
    return content


def _number(content: Any) -> Decimal:
    number = _exact(content)
    if not (content.isascii() and number.is_finite()):
        raise ValueError
    return number


def _binary(content: Any) -> bytes:
    if isinstance(content, str):
        return a2b_base64(content, strict_mode=True)
    return _raw_bytes(content)


def _raw_bytes(value: Any) -> bytes:
    # boto3's `Binary` keeps its bytes in `value`; the core does not import boto3 to ask.
    content = value if isinstance(value, bytes | bytearray) else getattr(value, "value", None)
    if not isinstance(content, bytes | bytearray):
        message = f"expected bytes, got {form_of(value)}"
        raise TypeError(message)
    return bytes(content)


def _boolean(content: Any) -> bool:
    if not isinstance(content, bool):
        raise TypeError
    return content


def _null(content: Any) -> None:
    if content is not True:
        raise ValueError


def _set(decode: Callable[[Any], Any]) -> Callable[[Any], set[Any]]:
    def decode_set(content: Any) -> set[Any]:
        if not isinstance(content, list):
            raise TypeError
        values = set(map(decode, content))
        if not values or len(values) != len(content):
            raise ValueError
        return values

    return decode_set


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "S": _string,
    "N": _number,
    "B": _binary,
    "BOOL": _boolean,
    "NULL": _null,
    "SS": _set(_string),
    "NS": _set(_number),
    "BS": _set(_binary),
}

_EXPECTED = {
    "S": "a string",
    "N": "a decimal number of at most 38 digits, written as a string",
    "B": "base64 text or bytes",
    "BOOL": "true or false",
    "NULL": "true",
    "SS": "a list of distinct strings, at least one",
    "NS": "a list of distinct numbers, at least one",
    "BS": "a list of distinct binaries, at least one",
    "L": "a list of attribute values",
    "M": "a map of attribute values",
}
_FLOAT = "a float is not exact, use Decimal"
_ONE_KIND = "a set must hold only strings, only numbers or only binaries"
_SCALARS = (str, int, Decimal, bytes)
_NAME = "an attribute name must be a string"
_EMPTY_NAME = "an attribute name must have at least one character"
_UTF_8 = "text that UTF-8 can hold, without half of a surrogate pair"
_TOO_DEEP = f"must not be nested deeper than {_LEVELS} levels"


def _explain(error: Exception, value: Any) -> _Fault:
    """Say why `value` could not be decoded, unless a container within it already did."""
    if isinstance(error, _Fault):
        return error
    if not isinstance(value, Mapping):
        return _Fault('expected an attribute value such as {"S": "text"}', value)
    if len(value) != 1:
        return _Fault("an attribute value must have exactly one type", value)
    ((tag, content),) = value.items()
    if tag not in _EXPECTED:
        known = ", ".join(_EXPECTED)
        name = f" (here {tag})" if _is_type_name(tag) else ""
        return _Fault(f"a type must be one of {known}{name}", tag)
    if tag in {"SS", "NS", "BS"} and isinstance(content, list):
        for index, element in enumerate(content):
            try:
                _DECODERS[tag[0]](element)
            except _FAILURES as failure:
                return _explain(failure, {tag[0]: element}).under(index)
    expected = _expected_number(content) if tag == "N" else _EXPECTED[tag]
    if tag == "S" and isinstance(content, str):
        expected = _UTF_8
    return _Fault(f"{tag} must be {expected}", content)


def _expected_number(content: object) -> str:
    if isinstance(content, str | int | Decimal):
        try:
            _exact(content)
        except (decimal.Overflow, decimal.Subnormal):
            return "zero or of a magnitude from 1E-130 to 9.99E+125"
        except ArithmeticError:
            pass
    return _EXPECTED["N"]


def _encode(value: object, level: int) -> AttributeValue:
    if isinstance(value, _SCALARS):
        return _encode_scalar(value)
    if isinstance(value, Mapping):
        return {"M": _encode_all(value, value.items(), level + 1, str)}
    if isinstance(value, list | tuple):
        return {"L": list(_encode_all(value, enumerate(value), level + 1, int).values())}
    if isinstance(value, Set):
        return _encode_set(value)
    return _encode_scalar(value)


def _encode_all(
    container: Any, pairs: Iterable[tuple[Any, object]], level: int, key_type: type
) -> dict[Any, AttributeValue]:
    if level > _LEVELS and container:
        raise _Fault(_TOO_DEEP, container)
    result = {}
    for key, value in pairs:
        try:
            if not isinstance(key, key_type):
                raise _Fault(_NAME, key)
            if isinstance(key, str) and not _is_utf_8(key):
                problem = f"an attribute name must be {_UTF_8}"
                raise _Fault(problem, key)
            result[key] = _encode(value, level)
        except _Fault as fault:
            raise fault.under(key) from None
    return result


def _encode_scalar(value: object) -> AttributeValue:
    if isinstance(value, str):
        if not _is_utf_8(value):
            problem = f"a string must be {_UTF_8}"
            raise _Fault(problem, value)
        return {"S": value}
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int | Decimal):
        return {"N": _number_text(value)}
    if isinstance(value, float):
        raise _Fault(_FLOAT, value)
    try:
        return {"B": _raw_bytes(value)}
    except TypeError:
        problem = f"DynamoDB cannot hold a {type(value).__name__} here"
        raise _Fault(problem, value) from None


def _is_utf_8(text: str) -> bool:
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _number_text(value: int | Decimal) -> str:
    with suppress(ArithmeticError):
        number = _exact(value)
        if number.is_finite():
            return str(number)
    problem = f"a number must be {_expected_number(value)}"
    raise _Fault(problem, value)


def _encode_set(values: Set[Any]) -> AttributeValue:
    encoded = [_encode_scalar(value) for value in values]
    tags = {tag for element in encoded for tag in element}
    if len(tags) != 1 or not tags < {"S", "N", "B"}:
        raise _Fault(_ONE_KIND, values)
    (tag,) = tags
    contents = [element[tag] for element in encoded]
    return {f"{tag}S": sorted(contents, key=Decimal if tag == "N" else None)}


_PLAIN_NAME = re.compile(r"[^\s.\[\]\"]{1,40}")


def _step(key: Any) -> str:
    """Return how a path shows `key`: `.name`, `["odd name"]` or `[2]`."""
    if isinstance(key, str) and _PLAIN_NAME.fullmatch(key) and key.isprintable():
        return f".{key}"
    if not isinstance(key, str):
        return f"[{key}]" if isinstance(key, int) else f"[{form_of(key)}]"
    name = key if len(key) <= 40 else f"{key[:39]}…"
    return f"[{json.dumps(name, ensure_ascii=not name.isprintable())}]"


def _is_type_name(tag: object) -> bool:
    """Return whether this may be a type of DynamoDB's that is newer than this module."""
    return isinstance(tag, str) and len(tag) <= 4 and tag.isascii() and tag.isupper()
