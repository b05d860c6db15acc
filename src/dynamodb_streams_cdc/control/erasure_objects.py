"""The places of an erasure that are objects in buckets: dead letters, their archive, large images.

A dead letter of a processor is of one item, which its key names by a digest. A batch that Lambda
gave up is of many: the records of an erased item are taken out of it, and the others stay under
the same key. One request replaces the object, so that a crash leaves the one or the other.

A bucket may keep versions: each is an object here. An old version of a batch is deleted as a whole,
because the current one has the records of the other items.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from decimal import Context, Decimal
from functools import partial
from typing import Any, NamedTuple, Protocol

from dynamodb_streams_cdc.change import Attributes
from dynamodb_streams_cdc.control.erasure import Found, Start, Trace
from dynamodb_streams_cdc.control.parts import LAST_PAGE_SECONDS
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.deserializer import deserialize_item
from dynamodb_streams_cdc.errors import MalformedRecord
from dynamodb_streams_cdc.identity import item_id
from dynamodb_streams_cdc.names import ARCHIVE, CHANGE_LOG_KEYS, DEAD_LETTERS

PAGE = 200
"""Objects that are listed at a time; a request goes on while there is time."""

READERS = 8
"""Objects that are read at the same time: a batch that Lambda gave up has up to 6 MB."""

OF_ONE_ITEM = re.compile(rf"(?:{ARCHIVE})?{DEAD_LETTERS}[^/]+/[0-9a-f]{{64}}/")
"""Keys that tell the item, by its digest; see `dead_letters`. Any other object is read."""


class StoredVersion(NamedTuple):
    """One version of an object: `written_at` in seconds since 1970.

    `is_marker` is true for the marker that a delete leaves in a bucket with versions.
    """

    key: str
    version: str
    written_at: float
    is_latest: bool = True
    is_marker: bool = False


class ObjectVersions(Protocol):
    """The objects of a bucket, with all of their versions."""

    def page(
        self, prefix: str, start: Start, most: int, deadline: Deadline
    ) -> tuple[Sequence[StoredVersion], Start]:
        """Return the next versions in the order of their keys, and where to go on.

        Raises:
            RetryableError: they cannot be listed at the moment.
        """

    def after(self, stored: StoredVersion) -> Start:
        """Return where a walk goes on after a version."""

    def read(self, stored: StoredVersion, deadline: Deadline) -> tuple[bytes, str] | None:
        """Return the content of a version, and a token of it; None if it is gone.

        Raises:
            RetryableError: it cannot be read at the moment.
        """

    def replace(self, stored: StoredVersion, token: str, body: bytes, deadline: Deadline) -> bool:
        """Replace the content that was read with the token; return False if it has moved.

        Raises:
            RetryableError: it cannot be written at the moment.
        """

    def delete(self, versions: Sequence[StoredVersion], deadline: Deadline) -> None:
        """Delete versions for good; that one is gone already is success.

        Raises:
            RetryableError: they cannot be deleted at the moment.
        """


def digest_of(item: str) -> str:
    """Return the digest of an item in the keys of its objects."""
    return hashlib.sha256(item.encode()).hexdigest()


@dataclass(frozen=True)
class ImagesPlace:
    """The large images of the change log: all below the digests of the items."""

    objects: ObjectVersions

    def find(self, items: Mapping[str, Attributes], start: Start, deadline: Deadline) -> Found:
        """Return the images of the next item; `start` counts the items."""
        names = sorted(items)
        number = start or 0
        if number >= len(names):
            return Found()
        item = names[number]
        versions, more = self.objects.page(f"{digest_of(item)}/", None, PAGE, deadline)
        following = number + 1 if number + 1 < len(names) else None
        traces = [_whole(self.objects, versions, item)] if versions else []
        return Found(traces, following, again=more is not None)


@dataclass(frozen=True)
class DeadLettersPlace:
    """The dead letters under a prefix of a bucket.

    Attributes:
        table: logical name of the source table.
        may_move: whether a redrive may be applying them: then nothing is done for a while.
        own: names of the functions by processor, of sinks whose copies the erasure does not know. A
            dead letter of one may be the delete that its copy lacks, so it blocks the item.
        readers: objects that are read at the same time.
    """

    objects: ObjectVersions
    prefix: str
    table: str
    may_move: bool
    own: Mapping[str, str] = field(default_factory=dict)
    readers: int = READERS

    def find(self, items: Mapping[str, Attributes], start: Start, deadline: Deadline) -> Found:
        """Return the dead letters of items in the next part of the bucket."""
        reading = _Reading(items, {digest_of(item): item for item in items}, self.table)
        unclear: list[str] = []
        following = start
        while True:
            versions, end = self.objects.page(self.prefix, following, PAGE, deadline)
            for few in _slices(versions, self.readers):
                found = self._traces(reading, few, deadline)
                unclear += [name for name in found if isinstance(name, str)]
                traces = [trace for trace in found if isinstance(trace, Trace)]
                is_last = end is None and few[-1] == versions[-1]
                following = None if is_last else self.objects.after(few[-1])
                # A trace holds its object: no more of them at a time.
                if traces or deadline.remaining() < LAST_PAGE_SECONDS:
                    return Found(traces, following, unclear=unclear)
            if end is None:
                return Found(unclear=unclear)
            following = end

    def _traces(
        self, reading: "_Reading", few: Sequence[StoredVersion], deadline: Deadline
    ) -> Sequence[Trace | str | None]:
        look = partial(self._trace, reading, deadline)
        if len(few) == 1:
            return [look(few[0])]
        with ThreadPoolExecutor(self.readers) as pool:
            return list(pool.map(look, few))

    def _trace(
        self, reading: "_Reading", deadline: Deadline, stored: StoredVersion
    ) -> Trace | str | None:
        """Return what an object holds of the items; its key if that is not clear."""
        item = reading.item_of(stored.key)
        waits = self.may_move and stored.is_latest and not stored.is_marker
        since = float("inf") if waits else stored.written_at
        if item is not None:
            whole = _whole(self.objects, [stored], item, since)
            return replace(whole, blocked=self._blocked(stored.key) if waits else "")
        if stored.is_marker or OF_ONE_ITEM.match(stored.key):
            return None
        body = self.objects.read(stored, deadline)
        if body is None:
            return None
        content, token = body
        found = reading.records_of(content)
        if found is None:
            return stored.key
        if not found:
            return None

        def erase(allowed: frozenset[str], deadline: Deadline) -> None:
            rest = reading.without(content, allowed)
            if rest is None or not stored.is_latest:
                self.objects.delete([stored], deadline)
            else:
                self.objects.replace(stored, token, rest, deadline)

        blocked = self._blocked(stored.key, content) if waits else ""
        return Trace(frozenset(found), since, erase, blocked=blocked)

    def _blocked(self, key: str, content: bytes = b"") -> str:
        """Return why a dead letter blocks its items: its processor is not known here."""
        function = _function_of(content)
        for processor, name in self.own.items():
            if processor in key.split("/") or name == function:
                return f"{processor} has a dead letter, which may be the delete that its copy lacks"
        return ""


@dataclass(frozen=True)
class _Reading:
    """The reading of dead letters for some items."""

    items: Mapping[str, Attributes]
    digests: Mapping[str, str]
    table: str

    def item_of(self, key: str) -> str | None:
        """Return the item whose digest is in a key."""
        return next(filter(None, map(self.digests.get, key.split("/"))), None)

    def records_of(self, content: bytes) -> set[str] | None:
        """Return the items that have records in a dead letter; None if that is not clear."""
        records = _records(content)
        if records is None:
            return None if self._mentions(content.decode("utf-8", "replace")) else set()
        found: set[str] = set()
        for record in records:
            names = _identities(record, self.table)
            if names:
                found |= names & self.items.keys()
            elif self._mentions(json.dumps(record, ensure_ascii=False)):
                return None
        return found

    def without(self, content: bytes, items: frozenset[str]) -> bytes | None:
        """Return a dead letter without the records of items; None if none is left."""
        document = json.loads(content)
        records = _records(content) or []
        rest = [record for record in records if not _identities(record, self.table) & items]
        if not rest:
            return None
        payload = {"Records": rest}
        is_text = isinstance(document["payload"], str)
        document["payload"] = json.dumps(payload) if is_text else payload
        if isinstance(batch := document.get("DDBStreamBatchInfo"), dict):
            batch["batchSize"] = len(rest)
        return json.dumps(document).encode()

    def _mentions(self, text: str) -> bool:
        """Return whether a text has all key values of an item, in any of the forms of JSON."""
        return any(
            all(_has(text, *one) for key in keys.values() for one in key.items())
            for keys in self.items.values()
        )


def _has(text: str, tag: str, value: object) -> bool:
    values = [str(value)]
    if tag == "N":  # as DynamoDB writes it: 4, where a program may ask for 4.0
        values.append(f"{Decimal(str(value)).normalize(Context(prec=38)):f}")
    forms = [json.dumps(each, ensure_ascii=a) for each in values for a in (True, False)]
    forms += [json.dumps(form)[1:-1] for form in forms]  # in a payload that is text
    return any(form in text for form in forms)


def _records(content: bytes) -> Sequence[Any] | None:
    """Return the records of a dead letter; None if it cannot be read."""
    try:
        payload = json.loads(content)["payload"]
        event = json.loads(payload) if isinstance(payload, str) else payload
        records = event["Records"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return records if isinstance(records, list) else None


def _function_of(content: bytes) -> str:
    """Return the name of the function that a batch was for; empty if it does not say."""
    try:
        arn = str(json.loads(content)["requestContext"]["functionArn"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return arn.partition(":function:")[2].partition(":")[0]


def _identities(record: Any, table: str) -> set[str]:
    """Return the items that a record may be of; empty if it cannot be read.

    A record of the change log's stream has the item as a key. The table's own keys may have the
    same names, so that such a record counts as one of either stream.
    """
    try:
        keys = deserialize_item(record["dynamodb"]["Keys"])
        found = {item_id(table, keys)}  # type: ignore[arg-type]
    except (MalformedRecord, LookupError, TypeError, AttributeError):
        return set()
    if keys.keys() == set(CHANGE_LOG_KEYS):
        found.add(str(keys["item"]))
    return found


def _whole(
    objects: ObjectVersions,
    versions: Sequence[StoredVersion],
    item: str,
    since: float | None = None,
) -> Trace:
    """Return the trace of objects that are of one item alone."""

    def erase(allowed: frozenset[str], deadline: Deadline) -> None:
        objects.delete(versions, deadline)

    newest = max(stored.written_at for stored in versions)
    return Trace(frozenset({item}), newest if since is None else since, erase, len(versions))


def _slices(versions: Sequence[StoredVersion], size: int) -> Iterator[Sequence[StoredVersion]]:
    for start in range(0, len(versions), size):
        yield versions[start : start + size]
