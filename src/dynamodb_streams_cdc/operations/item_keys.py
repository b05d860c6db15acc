"""Keys of an item as an operator types them: `customer_id=00004 order_id:N=7`."""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation

from dynamodb_streams_cdc.change import Attributes
from dynamodb_streams_cdc.deserializer import serialize_item
from dynamodb_streams_cdc.errors import MalformedRecord, form_of
from dynamodb_streams_cdc.identity import Key, item_id, keys_of
from dynamodb_streams_cdc.operations.errors import UsageError
from dynamodb_streams_cdc.operations.manifest import DeployedTable, Manifest

_KEY = re.compile(r"(?P<name>.+?)(?::(?P<type>[SNB]))?=(?P<value>.*)", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


def parse_keys(words: Sequence[str], types: Mapping[str, str]) -> dict[str, Key]:
    """Return an item's keys, each of the type that the table has for it.

    A name that ends in `:S` (text), `:N` (number) or `:B` (base64) says its type.

    Raises:
        UsageError: a word is not of this form, or there are not one or two different keys.
    """
    keys: dict[str, Key] = {}
    for word in words:
        match = _KEY.fullmatch(word)
        if match is None:
            message = f"expected the item's keys, as in customer_id=00004, got {word!r}"
            raise UsageError(message)
        kind = match["type"] or types.get(match["name"], "S")
        keys[match["name"]] = _value(word, kind, match["value"])
    if not 1 <= len(keys) == len(words) <= 2:
        message = f"an item has one key or two, each given once, got {' '.join(words)!r}"
        raise UsageError(message)
    return keys


def parse_item(words: Sequence[str], manifest: Manifest, table: str | None = None) -> str:
    """Return the identity of an item, given as identity (`orders/S=00004`) or by its keys.

    Raises:
        UsageError: the keys are malformed or not those of the table, or the table is not clear.
    """
    if _is_identity(words):
        return words[0]
    source = manifest.source_table(table)
    keys = parse_keys(words, source.keys)
    typed_keys(keys, source)
    try:
        return item_id(source.name, keys)
    except MalformedRecord as error:
        message = f"{' '.join(words)}: {error}"
        raise UsageError(message) from error


def parse_item_keys(words: Sequence[str], table: DeployedTable) -> Attributes:
    """Return the keys of an item of a table, given as identity or by its keys, as DynamoDB JSON.

    Raises:
        UsageError: they are malformed, or not the keys of the table, by name and type.
    """
    if _is_identity(words):
        return keys_of_identity(words[0], table)
    return typed_keys(parse_keys(words, table.keys), table)


def read_json_keys(line: str, table: DeployedTable) -> Attributes:
    """Return the keys of an item of a table, given in JSON as object or as identity.

    A number may be a JSON number or text; binary is base64 text.

    Raises:
        UsageError: they are malformed, or not the keys of the table, by name and type.
    """
    try:
        given = json.loads(line, parse_float=Decimal, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        message = f"expected the keys of an item as JSON ({error})."
        raise UsageError(message) from error
    if isinstance(given, str):
        return keys_of_identity(given, table)
    if not isinstance(given, dict):
        message = (
            f"expected the keys of an item as JSON, as in {_example(table)}, got {form_of(given)}"
        )
        raise UsageError(message)
    if given.keys() != table.keys.keys():
        wanted = ", ".join(f"{name}:{kind}" for name, kind in sorted(table.keys.items()))
        got = ", ".join(sorted(given)) or "none"
        message = f"the keys of table {table.table} are {wanted}, got {got}"
        raise UsageError(message)
    return typed_keys({n: _json_value(n, value, table) for n, value in given.items()}, table)


def _json_value(name: str, value: object, table: DeployedTable) -> Key:
    kind = table.keys[name]
    is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    if isinstance(value, str) or (is_number and kind == "N"):
        return _value(f"{name}={value}", kind, str(value))
    form = "DynamoDB JSON" if isinstance(value, dict) and len(value) == 1 else form_of(value)
    wanted = {"S": "text", "N": "a number", "B": "base64 text"}[kind]
    message = f"{name}: expected {wanted}, got {form}: write {_example(table)}"
    raise UsageError(message)


def _example(table: DeployedTable) -> str:
    """Return a line of JSON with keys of the table's types."""
    values = {"S": "00004", "N": 7, "B": "AQ=="}
    return json.dumps({name: values[kind] for name, kind in table.keys.items()})


def _once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        message = "an attribute is given twice"
        raise ValueError(message)
    return found


def typed_keys(keys: Mapping[str, Key], table: DeployedTable) -> Attributes:
    """Return an item's keys as DynamoDB JSON.

    Raises:
        UsageError: they are not the keys of the table, by name and type. Nothing would be found.
    """
    try:
        found: Attributes = serialize_item(keys)
    except MalformedRecord as error:
        raise UsageError(str(error)) from error
    types = {name: next(iter(value)) for name, value in found.items()}
    if types != dict(table.keys):
        wanted, got = (
            ", ".join(f"{name}:{kind}" for name, kind in sorted(each.items()))
            for each in (table.keys, types)
        )
        message = f"the keys of table {table.table} are {wanted}, got {got}"
        raise UsageError(message)
    return found


def keys_of_identity(identity: str, table: DeployedTable) -> Attributes:
    """Return the keys of the item with this identity as DynamoDB JSON.

    Raises:
        UsageError: it is of no item of the table.
    """
    found = keys_of(identity, table.keys)
    if found is None or identity.partition("/")[0] != table.name:
        message = f"{identity} names no item of table {table.name}"
        raise UsageError(message)
    return found


def _is_identity(words: Sequence[str]) -> bool:
    return len(words) == 1 and (words[0].startswith("#") or "/" in words[0].partition("=")[0])


def _value(word: str, kind: str, text: str) -> Key:
    if not text:
        message = f"{word!r} has no value, and a key of an item is never empty"
        raise UsageError(message)
    try:
        if kind == "N":
            # Decimal takes underscores, spaces and the digits of any script; DynamoDB does not.
            return Decimal(text if _NUMBER.fullmatch(text) else "")
        return base64.b64decode(text, validate=True) if kind == "B" else text
    except (InvalidOperation, binascii.Error):
        wanted = "a number, as in 7, -0.5 or 1e3" if kind == "N" else "base64"
        message = f"{word}: {text!r} is not {wanted}"
        raise UsageError(message) from None
