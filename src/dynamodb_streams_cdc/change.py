"""One change of one item, from the table's stream or from the change log.

`Change.from_record` reads a record of a table's stream; `sinks.log_entries` reads an entry of the
change log, which keeps the record's content and version. A change is immutable; each image is
decoded when it is first used.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple, NoReturn, TypeAlias, TypeVar

from dynamodb_streams_cdc.deserializer import deserialize_item
from dynamodb_streams_cdc.diff import Difference, diff
from dynamodb_streams_cdc.errors import (
    MalformedRecord,
    MalformedSource,
    MissingImage,
    form_of,
)
from dynamodb_streams_cdc.identity import (
    check_epoch,
    check_table,
    item_id,
    stream_label,
    version_of,
)
from dynamodb_streams_cdc.lambda_types import AnyRecord
from dynamodb_streams_cdc.lambda_types import Attributes as Attributes

Image: TypeAlias = dict[str, Any]
"""An image as Python reads it: `{"total": Decimal("29.33")}`."""

HOLDERS = (dict, Mapping)  # `dict` alone is found ten times as fast as by way of `Mapping`
_T = TypeVar("_T")
_E = TypeVar("_E", bound=StrEnum)

TTL_PRINCIPAL = "dynamodb.amazonaws.com"
"""Who deletes expired items, by `userIdentity.principalId`
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/time-to-live-ttl-streams.html)."""


LONGEST_ACTOR = 1024
"""Characters; a longer text is not a name, and would not fit an entry of the change log."""


_YEAR_10000 = 253_402_300_800
"""Seconds since 1970 that no calendar holds; milliseconds of this century are beyond it as well."""


UNKNOWN_TIME = 0.0
"""The time of a change whose record tells none: AWS marks `ApproximateCreationDateTime` as optional
(https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_AnyRecord.html).
Nothing is ordered by it. Such a change counts as late, so its item is repaired after it, and it is
compared with no other time (`version_order_violations`)."""


class Images(NamedTuple):
    """An item before and after a change, as DynamoDB JSON; `None` where there is none."""

    before: Attributes | None
    after: Attributes | None


class ChangeKind(StrEnum):
    """The kind of a change, by the words of `eventName`; no record says BACKFILL."""

    INSERT = "INSERT"
    MODIFY = "MODIFY"
    REMOVE = "REMOVE"
    BACKFILL = "BACKFILL"
    """The item as a backfill read it: at the floor of its stream, below every change of it."""

    __hash__ = str.__hash__  # that of an enumeration is a function in Python


INSERT, REMOVE, BACKFILL = ChangeKind.INSERT, ChangeKind.REMOVE, ChangeKind.BACKFILL


class ViewType(StrEnum):
    """The images in the records of a stream.

    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_StreamSpecification.html
    """

    KEYS_ONLY = "KEYS_ONLY"
    NEW_IMAGE = "NEW_IMAGE"
    OLD_IMAGE = "OLD_IMAGE"
    NEW_AND_OLD_IMAGES = "NEW_AND_OLD_IMAGES"

    @property
    def carries_new(self) -> bool:
        """Whether records have the image after the change."""
        return "NEW" in self

    @property
    def carries_old(self) -> bool:
        """Whether records have the image before the change."""
        return "OLD" in self


KINDS = {kind.value: kind for kind in ChangeKind}
RECORDED = {name: kind for name, kind in KINDS.items() if kind is not BACKFILL}
BEGINNINGS = frozenset({INSERT, BACKFILL})
"""Kinds of changes without an image before."""

VIEW_TYPES = {view_type.value: view_type for view_type in ViewType}


@dataclass(frozen=True, slots=True)
class Source:
    """The table that changes come from, by facts that a stream record does not have.

    Attributes:
        table: the table's logical name, part of every item's identity. It stays when the physical
            table is replaced.
        epoch: four digits, raised when the sinks move to another lineage of streams.
        actor_attribute: the attribute in which the application says who wrote the item.

    Raises:
        ValueError: a name or an epoch of another form.
    """

    table: str
    epoch: str = "0001"
    actor_attribute: str | None = None

    def __post_init__(self) -> None:
        check_table(self.table)
        check_epoch(self.epoch)


@dataclass(frozen=True, eq=False)
class Change:
    """One change of one item; each image is decoded when it is first read.

    Two deliveries of one record are two changes: they have the same fields and are not equal.

    Attributes:
        kind: INSERT, MODIFY, REMOVE or BACKFILL.
        table: logical name of the table.
        version: orders this change among all changes of its item; see `version`.
        sequence_number: of the record that was delivered; `itemIdentifier` of a failed record.
            For a change read from the change log's stream it is the number in *that* stream.
        event_id: the same at every delivery of the record.
        timestamp: when the item changed, in seconds since 1970, rounded down to the second by
            DynamoDB: it cannot order the changes of an item. `UNKNOWN_TIME` if no record tells it.
        recorded_at: when the record that was delivered was written: later than `timestamp` for a
            change that comes by way of the change log.
        view_type: images in the stream's records.
        expired: whether Time to Live deleted the item.
        actor: who made the change, where that is known: the service for an expiry, otherwise the
            application's actor attribute in the new image, up to 1,024 characters.
        raw_keys, raw_old, raw_new: as DynamoDB JSON; no images where there is a loader.
        image_loader: reads the images that are stored elsewhere (a claim check); `None` if the
            change carries its images.
        item_id: the identity of the item in every sink; see `identity`.
    """

    kind: ChangeKind
    table: str
    version: str
    sequence_number: str
    event_id: str
    timestamp: float
    recorded_at: float
    view_type: ViewType
    expired: bool
    actor: str | None
    raw_keys: Attributes
    raw_old: Attributes | None
    raw_new: Attributes | None
    image_loader: Callable[[], Images] | None = field(default=None, repr=False)
    item_id: str = field(init=False)

    def __post_init__(self) -> None:
        vars(self)["item_id"] = item_id(self.table, self.keys)

    @classmethod
    def from_record(cls, record: AnyRecord, source: Source) -> "Change":
        """Return the change of a record of the table's stream.

        `record` is an element of `event["Records"]`.

        Raises:
            MalformedSource: a field that the stream or its mapping fills has the wrong form.
            MalformedRecord: another field is missing or has the wrong form. Images are checked when
                they are decoded.
        """
        body = field_of(record, "dynamodb", dict)
        kind = choice_of(RECORDED, record, "eventName")
        view_type = choice_of(VIEW_TYPES, body, "StreamViewType", MalformedSource)
        carries_new, carries_old = view_type.carries_new, view_type.carries_old
        new, old = body.get("NewImage"), body.get("OldImage")
        if kind is not REMOVE and carries_new and not isinstance(new, dict):
            reject("NewImage", f"the image that a {kind} carries", new)
        if kind is not INSERT and carries_old and not isinstance(old, dict):
            reject("OldImage", f"the image that a {kind} carries", old)
        label = stream_label(field_of(record, "eventSourceARN", str, MalformedSource))
        sequence_number = field_of(body, "SequenceNumber", str)
        timestamp = timestamp_of(body.get("ApproximateCreationDateTime"))
        expired = _by_ttl(record.get("userIdentity"))
        return cls.made(
            kind=kind,
            table=source.table,
            version=version_of(source.epoch, label, sequence_number),
            sequence_number=sequence_number,
            event_id=field_of(record, "eventID", str),
            timestamp=timestamp,
            recorded_at=timestamp,
            view_type=view_type,
            expired=expired,
            actor=TTL_PRINCIPAL if expired else _actor(source.actor_attribute, new),
            raw_keys=field_of(body, "Keys", dict),
            raw_old=old if carries_old else None,
            raw_new=new if carries_new else None,
            image_loader=None,
        )

    @classmethod
    def made(cls, **fields: Any) -> "Change":
        """Return a change with all of these fields.

        A frozen dataclass sets one after the other, by a call each: a third of `from_record`.
        """
        change = object.__new__(cls)
        object.__setattr__(change, "__dict__", fields)
        change.__post_init__()
        return change

    @property
    def time(self) -> datetime:
        """When DynamoDB recorded the change, in UTC, rounded down to the second."""
        return datetime.fromtimestamp(self.timestamp, UTC)

    @cached_property
    def keys(self) -> Image:
        """The primary key: one or two attributes."""
        return deserialize_item(self.raw_keys, "Keys")

    @property
    def images(self) -> Images:
        """The raw images, from the record or from the image store.

        Raises:
            RetryableError: they are kept elsewhere, and cannot be read at the moment.
            PermanentError: they are not where they should be kept.
        """
        if self.image_loader is None:
            return Images(self.raw_old, self.raw_new)
        return self._large_images

    @cached_property
    def _large_images(self) -> Images:
        assert self.image_loader is not None
        return self.image_loader()

    @cached_property
    def old_image(self) -> Image | None:
        """The item before the change; `None` for an INSERT, before which there was none.

        `None` for a BACKFILL as well, which does not know it.

        Raises:
            MissingImage: the stream's view type carries no old images.
            MalformedValue: the record holds something that is not DynamoDB JSON.
        """
        if not self.view_type.carries_old:
            self._missing("old image", ViewType.OLD_IMAGE)
        if self.kind in BEGINNINGS:
            return None
        old = self.images.before
        return None if old is None else deserialize_item(old, "OldImage")

    @cached_property
    def new_image(self) -> Image | None:
        """The item after the change; `None` for a REMOVE, after which there is none.

        Raises:
            MissingImage: the stream's view type carries no new images.
            MalformedValue: the record holds something that is not DynamoDB JSON.
        """
        if not self.view_type.carries_new:
            self._missing("new image", ViewType.NEW_IMAGE)
        if self.kind is REMOVE:
            return None
        new = self.images.after
        return None if new is None else deserialize_item(new, "NewImage")

    def release_images(self) -> None:
        """Forget what was decoded, or read from elsewhere; the next use does it again.

        A function may have altered the keys or the image that it was given, and a retry takes the
        item as it was. A batch of some kilobytes may stand for a gigabyte of images that are kept
        elsewhere.
        """
        for name in ("_large_images", "old_image", "new_image", "keys"):
            vars(self).pop(name, None)

    def diff(self) -> list[Difference]:
        """Return the differences between the images; an absent image has no attributes.

        Raises:
            MissingImage: the stream's view type does not carry both images.
        """
        return diff(self.old_image or {}, self.new_image or {})

    def _missing(self, image: str, needed: ViewType) -> NoReturn:
        message = (
            f"the {image} of {self.item_id} is not in the record: the stream's view type is "
            f"{self.view_type}. It takes {needed} or {ViewType.NEW_AND_OLD_IMAGES}; a view type "
            "can be changed only by making a new stream"
        )
        raise MissingImage(message)


def by_item(changes: Iterable[Change]) -> list[list[Change]]:
    """Return the changes of each item, the newest first; items in order of first appearance."""
    items: dict[str, list[Change]] = {}
    for change in changes:
        items.setdefault(change.item_id, []).append(change)
    for group in items.values():
        group.sort(key=lambda change: change.version, reverse=True)
    return list(items.values())


def reject(
    path: str,
    expected: str,
    got: object,
    cause: Exception | None = None,
    fault: type[MalformedRecord] = MalformedRecord,
) -> NoReturn:
    """Raise an error with the expected and the actual form of the field at `path`."""
    message = f"{path}: expected {expected}, got {form_of(got)}"
    if fault is MalformedSource:
        raise MalformedSource(message, path) from cause
    raise MalformedRecord(message) from cause


def field_of(
    holder: object, name: str, kind: type[_T], fault: type[MalformedRecord] = MalformedRecord
) -> _T:
    """Return a field, or reject it if it is not of this type."""
    value = holder.get(name) if isinstance(holder, HOLDERS) else None
    if not isinstance(value, kind):
        expected = {"str": "text", "dict": "an object"}[kind.__name__]
        reject(name, expected, value, fault=fault)
    return value


def choice_of(
    kinds: Mapping[str, _E],
    holder: Mapping[str, Any],
    name: str,
    fault: type[MalformedRecord] = MalformedRecord,
) -> _E:
    """Return the member that a field names, or reject it."""
    value = holder.get(name)
    kind = kinds.get(value) if isinstance(value, str) else None
    if kind is None:
        reject(name, f"one of {', '.join(kinds)}", value, fault=fault)
    return kind


def _by_ttl(identity: object) -> bool:
    """Return whether a `userIdentity` is that of Time to Live.

    Lambda's events spell its members `type` and `principalId`, the Streams API `Type` and
    `PrincipalId` (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_Identity.html).
    """
    if identity is None:
        return False
    if not isinstance(identity, HOLDERS):
        reject("userIdentity", "an object with type and principalId", identity)
    kind = identity.get("type", identity.get("Type"))
    return kind == "Service" and TTL_PRINCIPAL in (
        identity.get("principalId"),
        identity.get("PrincipalId"),
    )


def timestamp_of(value: object) -> float:
    """Return an `ApproximateCreationDateTime` in seconds since 1970; `UNKNOWN_TIME` for none."""
    if value is None:
        return UNKNOWN_TIME
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.timestamp()
    if isinstance(value, (float, int)) and not isinstance(value, bool) and 0 <= value < _YEAR_10000:
        return float(value)
    expected = "seconds since 1970 as a number, no later than the year 9999"
    reject("ApproximateCreationDateTime", expected, value, fault=MalformedSource)


def _actor(attribute: str | None, new: object) -> str | None:
    if attribute is None or not isinstance(new, HOLDERS):
        return None
    value = new.get(attribute)
    actor = value.get("S") if isinstance(value, HOLDERS) else None
    return actor if isinstance(actor, str) and len(actor) <= LONGEST_ACTOR else None
