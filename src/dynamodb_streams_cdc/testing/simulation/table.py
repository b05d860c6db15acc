"""A DynamoDB table with a stream, in memory: enough of it for change data capture to be tried on.

Its stream writes as DynamoDB's does: nothing for a write that changes nothing, a service
identity for an expiry, sizes by DynamoDB's rule, and times rounded down to the second.
"""

import json
import math
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Any

from dynamodb_streams_cdc.change import TTL_PRINCIPAL, Image
from dynamodb_streams_cdc.deserializer import base64_text, serialize_item
from dynamodb_streams_cdc.errors import MalformedValue
from dynamodb_streams_cdc.testing.simulation.limits import (
    check_item,
    check_keys,
    check_schema,
    refused,
)
from dynamodb_streams_cdc.testing.simulation.stream import SimulatedStream

_EXACT = Context(prec=38)


@dataclass
class SimulatedTable:
    """A table: items in plain Python, and the stream of their changes.

    Attributes:
        name: physical name of the table.
        keys: names of its key attributes.
        items: the table's content, by key.
        streams: all that it ever had, the current one last.
        history: every state that each item ever had, by key; None for one that was removed.
        unrecorded: how many of these each item had before there was a stream.
        forgotten: up to which of these an erasure may have erased each item.
        key_types: types of the key attributes, "S", "N" or "B"; a missing one is that of the first
            item.
    """

    name: str
    keys: tuple[str, ...]
    items: dict[str, Image] = field(default_factory=dict)
    streams: list[SimulatedStream] = field(default_factory=list)
    history: dict[str, list[Image | None]] = field(default_factory=dict)
    unrecorded: dict[str, int] = field(default_factory=dict)
    forgotten: dict[str, int] = field(default_factory=dict)
    key_types: dict[str, str] = field(default_factory=dict)
    _events: int = 0

    def __post_init__(self) -> None:
        check_schema(self.keys, self.key_types)

    @property
    def stream(self) -> SimulatedStream | None:
        """The stream that is enabled, if one is."""
        return self.streams[-1] if self.streams and self.streams[-1].enabled else None

    def enable_stream(self, now: float, **options: Any) -> SimulatedStream:
        """Turn a new stream on; the one before it, if any, is turned off.

        No two streams of a table have the same label: one that is turned on within a millisecond of
        another gets the next.
        """
        self.disable_stream()
        if self.streams:
            now = max(now, self.streams[-1].enabled_at + 0.001)
        self.streams.append(SimulatedStream(self.name, now=now, **options))
        return self.streams[-1]

    def disable_stream(self) -> None:
        """Turn the stream off: later changes are not recorded."""
        if self.stream is not None:
            self.stream.disable()

    def put(self, item: Image, now: float) -> bool:
        """Write an item; return whether that changed anything.

        Raises:
            WriteRefused: DynamoDB refuses the item.
            MalformedValue: it holds something that DynamoDB cannot.
        """
        attributes = self._checked(item)
        check_item(attributes, size_of(attributes))
        key = self._key(attributes)
        before = self.items.get(key)
        if before == item and event_form(before) == attributes:  # 1 and True are equal
            return False
        for name in self.keys:
            self.key_types.setdefault(name, *attributes[name])
        self.items[key] = item
        self.history.setdefault(key, []).append(item)
        if not self.streams:
            self.unrecorded[key] = len(self.history[key])
        self._record(key, before, item, now)
        return True

    def delete(self, item: Image, now: float, *, expired: bool = False) -> bool:
        """Remove the item with these keys, if it is there; return whether it was."""
        key = self.key_of(item)
        before = self.items.pop(key, None)
        if before is None:
            return False
        self.history[key].append(None)
        identity = {"type": "Service", "principalId": TTL_PRINCIPAL}
        self._record(key, before, None, now, {"userIdentity": identity} if expired else {})
        return True

    def key_of(self, item: Image) -> str:
        """Return one text for the item's keys.

        Raises:
            WriteRefused: it lacks one, or has one that no key can be.
        """
        return self._key(self._checked({n: item[n] for n in self.keys if n in item}))

    def _key(self, attributes: Mapping[str, Any]) -> str:
        return json.dumps({name: attributes[name] for name in self.keys}, sort_keys=True)

    def _checked(self, item: Image) -> dict[str, Any]:
        """Return attributes in the form of an event, with keys that DynamoDB takes."""
        try:
            attributes = event_form(item)
        except MalformedValue as error:
            raise refused(error) from error
        check_keys(self.keys, self.key_types, attributes)
        return attributes

    def _record(
        self,
        key: str,
        before: Image | None,
        after: Image | None,
        now: float,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        if self.stream is None:
            return
        self._events += 1
        view = self.stream.view_type
        state = after if after is not None else before
        assert state is not None
        body: dict[str, Any] = {
            "ApproximateCreationDateTime": float(math.floor(now)),
            "Keys": event_form({name: state[name] for name in self.keys}),
        }
        if after is not None and view in ("NEW_IMAGE", "NEW_AND_OLD_IMAGES"):
            body["NewImage"] = event_form(after)
        if before is not None and view in ("OLD_IMAGE", "NEW_AND_OLD_IMAGES"):
            body["OldImage"] = event_form(before)
        body["SequenceNumber"] = ""  # the stream's to give; here for the order of the fields
        images = (body.get(name, {}) for name in ("Keys", "NewImage", "OldImage"))
        body["SizeBytes"] = sum(size_of(image) for image in images)
        body["StreamViewType"] = str(view)
        kind = "INSERT" if before is None else "REMOVE" if after is None else "MODIFY"
        self.stream.append(
            key,
            {
                "eventID": f"{self._events:032x}",
                "eventName": kind,
                "eventVersion": "1.1",
                "eventSource": "aws:dynamodb",
                "awsRegion": "us-east-1",
                "dynamodb": body,
                **(more or {}),
            },
        )


def event_form(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item as the event of a Lambda function holds it.

    Typed, binary as base64 text, numbers as DynamoDB writes them: 1.0 is stored as 1.
    """
    text = json.dumps(serialize_item(item), default=base64_text)
    delivered: dict[str, Any] = json.loads(text, object_hook=_stored)
    return delivered


def _stored(value: dict[str, Any]) -> dict[str, Any]:
    match value:
        case {"N": str(number)}:
            return {"N": _number(number)}
        case {"NS": list(numbers)}:
            return {"NS": [_number(number) for number in numbers]}
        case _:
            return value


def _number(text: str) -> str:
    return format(Decimal(text).normalize(_EXACT), "f")


def size_of(image: Mapping[str, Any]) -> int:
    """Return the bytes that DynamoDB counts for an image: names and values.

    Text and names count in UTF-8, a number 1 byte and 1 more for each two significant digits.
    """
    return sum(len(name.encode()) + _value_size(value) for name, value in image.items())


def _value_size(value: Mapping[str, Any]) -> int:
    match value:
        case {"S": str(text)}:
            return len(text.encode())
        case {"N": str(number)}:
            return _number_size(number)
        case {"B": str(text)}:
            return len(b64decode(text))
        case {"BOOL": _} | {"NULL": _}:
            return 1
        case {"SS": texts}:
            return sum(len(text.encode()) for text in texts)
        case {"NS": numbers}:
            return sum(_number_size(number) for number in numbers)
        case {"BS": texts}:
            return sum(len(b64decode(text)) for text in texts)
        case {"L": values}:
            return 3 + sum(1 + _value_size(inner) for inner in values)
        case {"M": attributes}:
            return 3 + size_of(attributes) + len(attributes)
        case _:
            message = f"not an attribute value: {value!r}"
            raise ValueError(message)


def _number_size(number: str) -> int:
    digits = number.lstrip("-").partition("E")[0].replace(".", "").strip("0")
    return 1 + math.ceil(len(digits) / 2)
