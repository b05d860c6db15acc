"""Keys of an item as an operator types them: `customer_id=00004 order_id:N=7`."""

import base64
import binascii
import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from dynamodb_streams_cdc.errors import MalformedRecord
from dynamodb_streams_cdc.identity import Key, item_id
from dynamodb_streams_cdc.operations.errors import UsageError
from dynamodb_streams_cdc.operations.manifest import Manifest

_KEY = re.compile(r"(?P<name>.+?)(?::(?P<type>[SNB]))?=(?P<value>.*)", re.DOTALL)


def parse_keys(words: Sequence[str]) -> dict[str, Key]:
    """Return an item's keys; text, unless a name ends in `:N` (number) or `:B` (base64).

    Raises:
        UsageError: a word is not of this form, or there are not one or two different keys.
    """
    keys: dict[str, Key] = {}
    for word in words:
        match = _KEY.fullmatch(word)
        if match is None:
            message = f"expected the item's keys, as in customer_id=00004, got {word!r}"
            raise UsageError(message)
        keys[match["name"]] = _value(word, match["type"] or "S", match["value"])
    if not 1 <= len(keys) == len(words) <= 2:
        message = f"an item has one key or two, each given once, got {' '.join(words)!r}"
        raise UsageError(message)
    return keys


def parse_item(words: Sequence[str], manifest: Manifest, table: str | None = None) -> str:
    """Return the identity of an item, given as identity (`orders/S=00004`) or by its keys.

    Raises:
        UsageError: the keys are malformed, or the table is not clear.
    """
    if len(words) == 1 and (words[0].startswith("#") or "/" in words[0].partition("=")[0]):
        return words[0]
    try:
        return item_id(manifest.source_table(table).name, parse_keys(words))
    except MalformedRecord as error:
        message = f"{' '.join(words)}: {error}"
        raise UsageError(message) from error


def _value(word: str, kind: str, text: str) -> Key:
    if not text:
        message = f"{word!r} has no value, and a key of an item is never empty"
        raise UsageError(message)
    try:
        if kind == "N":
            return Decimal(text)
        return base64.b64decode(text, validate=True) if kind == "B" else text
    except (InvalidOperation, binascii.Error):
        message = f"{word}: {text!r} is not {'a number' if kind == 'N' else 'base64'}"
        raise UsageError(message) from None
