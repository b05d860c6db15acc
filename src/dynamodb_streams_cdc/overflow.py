"""Images that are too large for an entry of the change log, kept as objects beside it.

An item may be 400 KB and a change carries two images of it, so an entry can be larger than an item
of the log may be (400 KB) or nested deeper than one may be (32 levels, of which the entry takes
one) (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html). The images
of such an entry go into an object, written before the entry that points at it: a pointer whose
object is missing cannot come about, an object without a pointer is found again by the redelivery.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from dynamodb_streams_cdc.deserializer import base64_text
from dynamodb_streams_cdc.errors import MalformedRecord

ENTRY_CHARACTERS = 100_000
"""How long images may be, as JSON, to stay in their entry.

JSON is never shorter than what DynamoDB counts, so an entry stays far below 400 KB and 25 of them
below what one request takes. Beyond 100 KB an object also costs a fraction of the 100 write units.
"""

ENTRY_LEVELS = 30
"""How many maps and lists images may nest to stay in their entry: an item holds 31 of them with a
value inside, the 32nd level, and the entry's own map is one."""


class Images(NamedTuple):
    """An item before and after a change, as DynamoDB JSON; `None` where there is none."""

    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


class Overflow(Protocol):
    """Where large images are kept."""

    def keep(self, name: str, text: str) -> None:
        """Write an object; that it is there already is success.

        Raises:
            OutageError: it cannot be written at the moment.
        """

    def read(self, name: str) -> str:
        """Return what an object holds.

        Raises:
            OutageError: it cannot be read at the moment.
            PermanentError: it is not there.
        """


def name_of(item_id: str, version: str) -> str:
    """Return the object's name: `<SHA-256 of the item>/<version, / as _>.json`."""
    digest = hashlib.sha256(item_id.encode()).hexdigest()
    return f"{digest}/{version.replace('/', '_')}.json"


_encode = json.JSONEncoder(default=base64_text).encode


def packed(images: Images) -> str:
    """Return images as the text of an object: `{"before": ..., "after": ...}`."""
    return _encode({"before": images.before, "after": images.after})


def unpacked(name: str, text: str) -> Images:
    """Return the images that an object holds.

    Raises:
        MalformedRecord: it holds something else.
    """
    try:
        return Images(**json.loads(text))
    except (ValueError, TypeError) as error:
        message = f"overflow object {name}: expected an object with before and after, {error}"
        raise MalformedRecord(message) from error


def fits(text: str, images: Images) -> bool:
    """Return whether images, `packed` as `text`, may stay in their entry."""
    if len(text) > ENTRY_CHARACTERS:
        return False
    # Quotes inside of values are escaped, so these are levels and nothing else.
    levels = text.count('{"M": ') + text.count('{"L": ')
    return levels < ENTRY_LEVELS or max(map(_depth, filter(None, images))) <= ENTRY_LEVELS


def _depth(attributes: Mapping[str, Any]) -> int:
    """Return how many levels of maps and lists there are below an item."""
    deepest, level = 0, [*attributes.values()]
    while level:
        inner: list[Any] = []
        for value in level:
            inner += value.get("L", ()) or value.get("M", {}).values()
        if not any("L" in value or "M" in value for value in level):
            break
        deepest, level = deepest + 1, inner
    return deepest
