"""Entries of the change log: an entry of a change, and the change of an entry.

Attributes of an entry:

    item, version  the key (S, S)
    table, kind    logical name of the table; INSERT, MODIFY, REMOVE or BACKFILL (S)
    keys           the item's key attributes (M)
    before, after  the images (M); absent where there is none
    changed        names of the attributes that differ, of a MODIFY (L of S)
    overflow       in place of these three where they are too large: the object with the images (S)
    changed_at     when DynamoDB recorded the change, ISO 8601, whole seconds, UTC (S)
    event_id       of the stream record (S)
    expired        whether Time to Live deleted the item (BOOL)
    actor          who made the change, where that is known (S)

Images too large for an entry are stored as an object, and the entry has a claim check. An item may
be 400 KB and a change carries two images of it, so an entry can be larger than an item of the log
may be (400 KB) or nested deeper than one may be (32 levels, of which the entry takes one)
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html). The object is
written before the entry that points at it: a pointer whose object is missing cannot occur, and an
object without an entry is found again by the redelivery. A backfill that is repeated reads the item
again, which may have changed: its object has another name then.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, Protocol, TypeAlias

from dynamodb_streams_cdc.change import (
    BEGINNINGS,
    HOLDERS,
    KINDS,
    REMOVE,
    VIEW_TYPES,
    Attributes,
    Change,
    ChangeKind,
    Image,
    Images,
    Source,
    ViewType,
    choice_of,
    field_of,
    reject,
    timestamp_of,
)
from dynamodb_streams_cdc.deserializer import base64_text, with_bytes
from dynamodb_streams_cdc.diff import diff
from dynamodb_streams_cdc.errors import CdcError, MalformedRecord, MalformedSource
from dynamodb_streams_cdc.identity import check_version
from dynamodb_streams_cdc.lambda_types import AnyRecord

Entry: TypeAlias = dict[str, dict[str, Any]]
"""An entry as DynamoDB JSON, binary values as `bytes`."""

_TAGGED: dict[str, type] = {"S": str, "BOOL": bool, "M": dict}

ENTRY_CHARACTERS = 100_000
"""How long images may be, as JSON, to stay in their entry.

JSON is never shorter than what DynamoDB counts, so an entry stays far below 400 KB and 25 of them
below what one request takes. Beyond 100 KB an object also costs a fraction of the 100 write units.
"""

ENTRY_LEVELS = 30
"""How many maps and lists images may nest to stay in their entry: an item holds 31 of them with a
value inside, the 32nd level, and the entry's own map is one."""


class ImageStore(Protocol):
    """Store of large images."""

    def keep(self, name: str, text: str) -> None:
        """Write an object; that it is there already is success.

        Raises:
            RetryableError: it cannot be written at the moment.
        """

    def read(self, name: str) -> str:
        """Return the text of an object.

        Raises:
            RetryableError: it cannot be read at the moment.
            PermanentError: it is not there.
        """


def entry_of(change: Change) -> Entry:
    """Return the entry that keeps a change.

    Raises:
        MissingImage: the stream's view type does not carry both images.
        MalformedValue: an image is not DynamoDB JSON.
    """
    entry: Entry = {
        "item": {"S": change.item_id},
        "version": {"S": change.version},
        "table": {"S": change.table},
        "kind": {"S": change.kind.value},
        "keys": {"M": with_bytes(change.raw_keys)},
        "changed_at": {"S": _moment(change.timestamp)},
        "event_id": {"S": change.event_id},
        "expired": {"BOOL": change.expired},
    }
    old, new = change.old_image or {}, change.new_image or {}  # nothing unreadable gets in
    images = change.images
    if images.before is not None:
        entry["before"] = {"M": with_bytes(images.before)}
    if images.after is not None:
        entry["after"] = {"M": with_bytes(images.after)}
    if change.kind is ChangeKind.MODIFY:
        entry["changed"] = {"L": [{"S": name} for name in _changed(images, old, new)]}
    if change.actor is not None:
        entry["actor"] = {"S": change.actor}
    return entry


@lru_cache(maxsize=64)  # the changes of a batch are of few seconds
def _moment(timestamp: float) -> str:
    return f"{datetime.fromtimestamp(timestamp, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _changed(images: Images, old: Image, new: Image) -> list[str]:
    """Return the names of the attributes that differ; equal JSON is not decoded."""
    before, after = images.before or {}, images.after or {}
    suspects = [name for name in old.keys() | new.keys() if before.get(name) != after.get(name)]
    return sorted(name for name in suspects if _differs(name, old, new))


def _differs(name: str, old: Image, new: Image) -> bool:
    both = [{name: image[name]} if name in image else {} for image in (old, new)]
    return bool(diff(*both))


def change_from_log_record(
    record: AnyRecord, source: Source, image_store: ImageStore | None = None
) -> Change:
    """Return the change that a record of the *change log's* stream carries as its new image.

    The sequence number is that of the log's record, by which a failure is reported; the version
    is the one that the source table gave. `image_store` is where the log keeps large images.

    Raises:
        MalformedRecord: the record is not an INSERT with an entry of the change log, or the
            entry belongs to another table.
    """
    body = field_of(record, "dynamodb", dict)
    if record.get("eventName") != "INSERT":
        wanted = "INSERT (filter the mapping: entries of the log are only ever inserted)"
        reject("eventName", wanted, record.get("eventName"))
    view_type = VIEW_TYPES.get(str(body.get("StreamViewType")))
    carried = view_type is None or view_type.carries_new
    fault = MalformedRecord if carried else MalformedSource
    entry = change_from_entry(field_of(body, "NewImage", dict, fault), image_store)
    if entry.table != source.table:
        wanted = f"{source.table!r}, the table in the settings"
        reject("NewImage.table", wanted, entry.table, fault=MalformedSource)
    vars(entry).update(  # nothing else refers to it yet
        sequence_number=field_of(body, "SequenceNumber", str),
        recorded_at=timestamp_of(body.get("ApproximateCreationDateTime")),
    )
    return entry


def change_from_entry(entry: Attributes, image_store: ImageStore | None = None) -> Change:
    """Return the change that an entry of the change log keeps, as DynamoDB JSON.

    Images in the image store are read when they are first used.

    Raises:
        MalformedRecord: a field of the entry is missing or has the wrong form.
    """
    version = check_version(_attribute(entry, "version", "S"))
    kind = choice_of(KINDS, {"kind": _attribute(entry, "kind", "S")}, "kind")
    timestamp = _seconds(_attribute(entry, "changed_at", "S"))
    name = _attribute(entry, "overflow", "S") if "overflow" in entry else None
    whole = name is None
    return Change.made(
        kind=kind,
        table=_attribute(entry, "table", "S"),
        version=version,
        sequence_number=version.rpartition("/")[2].lstrip("0") or "0",
        event_id=_attribute(entry, "event_id", "S"),
        timestamp=timestamp,
        recorded_at=timestamp,
        view_type=ViewType.NEW_AND_OLD_IMAGES,
        expired=_attribute(entry, "expired", "BOOL"),
        actor=_attribute(entry, "actor", "S") if "actor" in entry else None,
        raw_keys=_attribute(entry, "keys", "M"),
        raw_old=_attribute(entry, "before", "M") if whole and kind not in BEGINNINGS else None,
        raw_new=_attribute(entry, "after", "M") if whole and kind is not REMOVE else None,
        image_loader=None if name is None else partial(_images, kind, name, image_store),
    )


def kind_of(entry: Attributes) -> str | None:
    """Return the kind of an entry as it is written; None if another writer took or altered it."""
    kind = entry.get("kind")
    return kind.get("S") if isinstance(kind, HOLDERS) else None


def name_of(item_id: str, version: str, read: str = "") -> str:
    """Return the object's name: `<SHA-256 of the item>/<version, / as _>.json`.

    With `read`, the text of what a backfill read, the version has its digest behind it.
    """
    digest = hashlib.sha256(item_id.encode()).hexdigest()
    suffix = f"-{hashlib.sha256(read.encode()).hexdigest()[:16]}" if read else ""
    return f"{digest}/{version.replace('/', '_')}{suffix}.json"


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
        message = f"large image {name}: expected an object with before and after, {error}"
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


def _attribute(entry: Attributes, name: str, tag: str) -> Any:
    value = entry.get(name)
    found = value.get(tag) if isinstance(value, HOLDERS) else None
    if not isinstance(found, _TAGGED[tag]):
        reject(f"entry.{name}", f"an attribute of type {tag}", value)
    return found


def _seconds(text: str) -> float:
    try:
        # In UTC, a time with another zone may be of the year 0 or 10000.
        return datetime.fromisoformat(text).astimezone(UTC).timestamp()
    except (ValueError, OverflowError) as error:
        reject("entry.changed_at", "an ISO time of the years 1 to 9999", text, error)


class NoImageStore(CdcError):
    """Images are kept elsewhere, and the processor was not told where: its setup is at fault."""


def _images(kind: ChangeKind, name: str, image_store: ImageStore | None) -> Images:
    if image_store is None:
        message = f"the images are in the object {name}: say where to read it (image_store=)"
        raise NoImageStore(message)
    images = unpacked(name, image_store.read(name))
    for part, image, wanted in (
        ("before", images.before, kind not in BEGINNINGS),
        ("after", images.after, kind is not REMOVE),
    ):
        if isinstance(image, dict) is not wanted:
            expected = f"{'an' if wanted else 'no'} image, as a {kind} has"
            reject(f"large image {name}: {part}", expected, image)
    return images
