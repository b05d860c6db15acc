"""Identity and version of an item, as plain strings; every sink orders changes by them.

    item id   orders/S=00004/S=00004-0001
    version   <epoch>/<stream label>/<sequence number, zero-padded to 40 digits>

The item id is the logical name of the table, then each key in the order of the attribute names,
with its type. `%` and `/` are escaped in table names and values, so different keys never meet in
one string: `a|b` with `c` and `a` with `b|c` differ, and so do the number 1, the text "1" and the
byte 0x31.

Versions are a total order over all the changes of an item. A version is a pure function of a stream
record and one setting, so a redelivered record carries the version that it carried before. Sequence
numbers have 21 to 40 digits of varying width
(https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_StreamRecord.html):
they fit neither a 64-bit integer nor a DynamoDB number, and mean nothing compared unpadded. The
label orders a stream after the one that it replaced on the same table. The operator raises the
epoch when the sinks move to another lineage: a restored table, another Region.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

from dynamodb_streams_cdc.deserializer import deserialize_item
from dynamodb_streams_cdc.errors import MalformedRecord, MalformedSource
from dynamodb_streams_cdc.lambda_types import Attributes

MAX_ITEM_ID_BYTES = 512
"""The longest identity: OpenSearch takes no `_id` of more than 512 bytes
(https://docs.opensearch.org/latest/im-plugin/indexing-data/); a DynamoDB key may
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
        MalformedRecord: a key is missing, is of another type, or holds a lone surrogate.
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


def keys_of(item: str, keys: Mapping[str, str]) -> Attributes | None:
    """Return the key of the item with an identity, as DynamoDB JSON with base64 text.

    `keys` has the types of the key attributes by name. `None` for an identity that is a digest, of
    a long key, or that is of another form, as another writer makes it: it names no item of a table
    with these keys.
    """
    table, *components = item.split("/")
    if len(components) != len(keys):
        return None
    found: dict[str, dict[str, str]] = {}
    for name, component in zip(sorted(keys), components, strict=True):
        tag, _, text = component.partition("=")
        if tag != keys[name] or not text:
            return None
        if tag == "S":
            text = text.replace("%2F", "/").replace("%25", "%")
        elif tag == "B":
            text = text.replace("-", "+").replace("_", "/")
        found[name] = {tag: text}
    try:
        decoded: dict[str, Any] = deserialize_item(found)
        return found if item_id(table, decoded) == item else None
    except MalformedRecord:
        return None


def canonical_number(value: Decimal) -> str:
    """Return the canonical text of a number: `1`, `1.0` and `1E0` all give `1`.

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


SEQUENCE_DIGITS = 40
"""The most digits that a sequence number has (StreamRecord.SequenceNumber, length 21 to 40)."""

_EPOCH = re.compile(r"\d{4}", re.ASCII)
_SECOND = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
_LABEL = re.compile(rf"({_SECOND})(?:\.(\d{{1,9}}))?", re.ASCII)
_VERSION = re.compile(
    rf"{_EPOCH.pattern}/{_SECOND}\.\d{{3}}(?:\d{{0,5}}[1-9])?/\d{{{SEQUENCE_DIGITS}}}", re.ASCII
)


def check_epoch(epoch: str) -> str:
    """Return `epoch` if it is four digits such as `0001`.

    Raises:
        ValueError: it is not.
    """
    if not _EPOCH.fullmatch(epoch):
        message = f"an epoch is four digits such as 0001, got {epoch!r}"
        raise ValueError(message)
    return epoch


@lru_cache(maxsize=64)
def stream_label(stream_arn: str) -> str:
    """Return the label at the end of a stream's ARN, such as `2024-05-01T12:00:00.000`.

    A moment has one label: with three digits of a second, more (up to nine) only where they are
    not zero. AWS documents milliseconds and promises no width; labels that are compared as text
    must not differ by it.

    Raises:
        MalformedSource: the ARN does not end in `/stream/<label>`.
    """
    _, _, label = stream_arn.partition("/stream/")
    parts = _LABEL.fullmatch(label)
    if parts is None:
        message = (
            "eventSourceARN must end in /stream/<label> with a label such as "
            "2024-05-01T12:00:00.000 (UTC, no Z or offset)"
        )
        raise MalformedSource(message, "eventSourceARN")
    second, fraction = parts.groups(default="")
    return f"{second}.{fraction.rstrip('0').ljust(3, '0')}"


def version_of(epoch: str, label: str, sequence_number: str) -> str:
    """Return the version of the change with that sequence number.

    Raises:
        MalformedRecord: the sequence number is not 1 to 40 decimal digits.
    """
    number = sequence_number
    if not (number.isascii() and number.isdecimal() and len(number) <= SEQUENCE_DIGITS):
        message = f"SequenceNumber must be 1 to {SEQUENCE_DIGITS} decimal digits"
        raise MalformedRecord(message)
    return f"{epoch}/{label}/{number.zfill(SEQUENCE_DIGITS)}"


def floor_of(epoch: str, label: str) -> str:
    """Return the version below every change of a stream, and above all of the one before it.

    A backfill writes with it: a change of this stream wins over the backfill, and the backfill wins
    over every change of an earlier stream.
    """
    return version_of(epoch, label, "0")


def is_floor(version: str) -> bool:
    """Return whether a version is the floor of its stream, which no change has."""
    return version.rpartition("/")[2].strip("0") == ""


def is_version(value: object) -> bool:
    """Return whether a value has the form that `version_of` gives."""
    return isinstance(value, str) and _VERSION.fullmatch(value) is not None


def check_version(version: str) -> str:
    """Return `version` if it has the form that `version_of` gives.

    Raises:
        MalformedRecord: it has not.
    """
    if not is_version(version):
        message = (
            f"a version is <epoch>/<stream label>/<{SEQUENCE_DIGITS} digits> such as "
            f"0001/2024-05-01T12:00:00.000/{'1'.zfill(SEQUENCE_DIGITS)}"
        )
        raise MalformedRecord(message)
    return version
