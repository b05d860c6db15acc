"""Identity of an item in every sink: one string for the typed keys of a table.

    orders/S=00004/S=00004-0001

The logical name of the table, then each key in the order of the attribute names, with its type.
`%` and `/` are escaped in what people choose, so different keys never meet in one string: `a|b`
with `c` and `a` with `b|c` differ, and so do the number 1, the text "1" and the byte 0x31.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from decimal import Decimal

from dynamodb_streams_cdc.errors import MalformedRecord

MAX_ITEM_ID_BYTES = 512
"""The longest identity: OpenSearch takes no `_id` of more than 512 bytes.
(https://docs.opensearch.org/latest/api-reference/document-apis/index-document/); a DynamoDB key may
have 2,048 + 1,024 bytes, so longer identities become `#` and a SHA-256."""

_TABLE = re.compile(r"[A-Za-z0-9_.-]{1,255}", re.ASCII)

Key = str | Decimal | bytes


def check_table(table: str) -> str:
    """Return `table` if it may be a table's logical name: 1 to 255 of `A-Z a-z 0-9 _ . -`.

    Raises:
        ValueError: it may not.
    """
    if not _TABLE.fullmatch(table):
        message = f"a table's logical name is 1 to 255 of A-Z a-z 0-9 _ . -, got {table!r}"
        raise ValueError(message)
    return table


def item_id(table: str, keys: Mapping[str, Key]) -> str:
    """Return the identity of the item with these keys, of at most 512 bytes in UTF-8.

    `keys` maps one or two attribute names to `str`, `Decimal` or `bytes`.

    Raises:
        MalformedRecord: there is no key, or a key is of another type or holds half a character.
    """
    if not keys:
        message = "an item has at least one key attribute, got none"
        raise MalformedRecord(message)
    identity = table
    for name in sorted(keys):
        value = keys[name]
        if value.__class__ is str and "%" not in value and "/" not in value:  # most are
            identity += f"/S={value}"
        else:
            identity += f"/{_component(name, value)}"
    try:
        encoded = identity.encode()
    except UnicodeEncodeError as error:
        message = "Keys must be text that UTF-8 can hold, got half a character"
        raise MalformedRecord(message) from error
    if len(encoded) <= MAX_ITEM_ID_BYTES:
        return identity
    return "#" + hashlib.sha256(encoded).hexdigest()


def _component(name: str, value: object) -> str:
    match value:
        case str():
            return "S=" + value.replace("%", "%25").replace("/", "%2F")
        case Decimal():
            return "N=" + canonical_number(value)
        case bytes():
            return "B=" + base64.urlsafe_b64encode(value).decode("ascii")
        case _:
            message = f"Keys.{name} must be a string, number or binary, got {type(value).__name__}"
            raise MalformedRecord(message)


def canonical_number(value: Decimal) -> str:
    """Return the one text of a number: `1`, `1.0` and `1E0` all give `1`.

    Exact for the 38 digits that DynamoDB holds: no context rounds here.
    """
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        message = "a key must be a finite number"
        raise MalformedRecord(message)
    text = "".join(map(str, digits)).lstrip("0")
    stripped = text.rstrip("0")
    if not stripped:
        return "0"
    exponent += len(text) - len(stripped)
    return f"{'-' if sign else ''}{stripped}" + (f"E{exponent}" if exponent else "")
