"""Documents of a search index: their form, and the port to the index that stores them."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import ceil
from typing import Any, NamedTuple, Protocol, TypeAlias
from zlib import crc32

from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.sinks.comparison import Place, Segment

Document: TypeAlias = Mapping[str, Any]

CDC = "cdc"
"""The field of a document that belongs to this library."""

BUCKETS = 1000
"""Buckets that items fall into, by their identities: several walks of an index each take some."""

LONG = 2**63
"""Integers from here on do not fit OpenSearch's `long`; they travel as text, like fractions."""


@dataclass(frozen=True, slots=True)
class Upsert:
    """One document for the index.

    Attributes:
        item_id: of the item that it shows.
        source: JSON-ready; carries its version under `cdc`.
        is_first: whether the item came into being with this change, or with one in the same call
            that this one made unnecessary. The index holds nothing of it then, and something
            otherwise, but for redeliveries, items that come back, and those that are older than
            the stream: a hint that saves work, and decides nothing.
    """

    item_id: str
    source: Mapping[str, Any]
    is_first: bool = False


@dataclass(frozen=True, slots=True)
class Stale:
    """The index holds this version or a greater one, of a change recorded at `timestamp`."""

    timestamp: float

    @classmethod
    def than(cls, source: Mapping[str, Any]) -> "Stale":
        """Return the refusal by a document; no change is newer than one without its time."""
        changed_at = source.get(CDC, {}).get("changed_at")
        return cls(float(changed_at) if isinstance(changed_at, float | int) else float("inf"))


Upserted: TypeAlias = Stale | Exception | None
"""Result of one document: refused as stale, the error, or `None` if it was written."""


@dataclass(frozen=True, slots=True)
class Held:
    """A document, or a tombstone, as the index holds it.

    Attributes:
        source: with its version under `cdc`.
        revision: token of the index that changes with every write of the document.
    """

    source: Mapping[str, Any]
    revision: object


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """Some documents of an index.

    Attributes:
        live: identities of the items that they show.
        foreign: names of documents without an identity, each with the token of its revision.
        following: where the walk goes on; None at the end.
        read: number of documents, tombstones included.
        deleted: identities of the items whose tombstones they are.
    """

    live: Sequence[str]
    foreign: Mapping[str, str]
    following: Place | None
    read: int
    deleted: Sequence[str] = ()


class SearchIndex(Protocol):
    """Store of documents."""

    def upsert(self, upserts: Sequence[Upsert], deadline: Deadline) -> Sequence[Upserted]:
        """Write each document that is newer than the one held; return each result, in order.

        Raises:
            RetryableError: none of them could be written.
        """

    def read(self, item_id: str, deadline: Deadline) -> Held | None:
        """Return the document or tombstone of an item, as last written; `None` if there is none.

        Raises:
            RetryableError: it cannot be read at the moment.
        """

    def replace(self, held: Held | None, upsert: Upsert, deadline: Deadline) -> bool:
        """Write a document in the place of the one held, or of none; return False if that moved.

        Raises:
            RetryableError: it cannot be written at the moment.
            PermanentError: it can never be written.
        """

    def tombstones(self, before: float | None, deadline: Deadline) -> int:
        """Return the number of tombstones; of those written before then, if a time is given.

        Raises:
            RetryableError: they cannot be counted at the moment.
        """

    def purge(self, before: float, most: int, deadline: Deadline) -> int:
        """Delete at most so many tombstones written before then; return how many.

        One that has moved since it was found is left.

        Raises:
            RetryableError: they cannot be deleted at the moment.
        """

    def read_many(self, item_ids: Sequence[str], deadline: Deadline) -> Mapping[str, Held]:
        """Return the documents and tombstones that exist, by item, as last written.

        Raises:
            RetryableError: they cannot be read at the moment.
        """

    def walk(
        self,
        segment: Segment,
        place: Place | None,
        most: int,
        deadline: Deadline,
        *,
        tombstones: bool = False,
    ) -> DocumentPage:
        """Return the next documents of a segment, about `most`; of tombstones alone if asked to.

        A walk finds the documents that were written before it began, each once. The first segment
        has those without an identity, and those in no bucket.

        Raises:
            RetryableError: they cannot be read at the moment.
        """

    def remove(self, name: str, token: str, deadline: Deadline) -> bool:
        """Delete a document that has not moved; return False if it has.

        Raises:
            RetryableError: it cannot be deleted at the moment.
        """


class Pair(NamedTuple):
    """The two indexes that are written while one is rebuilt.

    Each is reached by a name that does not move: a swap between two requests changes neither.
    """

    live: SearchIndex
    second: SearchIndex


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """The indexes behind a name, by number.

    Attributes:
        live: the one that readers find; None if there is none yet.
        second: the one that is written in addition; None if there is none. Its number is greater
            than that of the live one until it is live, and less if it was live before.
        fits: whether the second one, or else the live one, has the mapping and settings that are
            deployed.
        leftovers: indexes that are neither: a delete was interrupted.
        made: differs for each second index that was ever made; empty without one.
        live_made: the same of the live index; empty for one of an earlier version.
    """

    live: int | None
    second: int | None
    fits: bool
    leftovers: Sequence[int] = ()
    made: str = ""
    live_made: str = ""


class RebuildableIndex(SearchIndex, Protocol):
    """An index that can be rebuilt while it is read; see `index_rebuild`.

    A change of names takes effect as a whole, and only if the names are as the caller says: of
    operators that work at the same time, one has its way, and the others are told.
    """

    @property
    def name(self) -> str:
        """The name by which readers find it."""

    def pair(self, deadline: Deadline) -> Pair | None:
        """Return the live index and the second one; `None` if there is no second one.

        Raises:
            RetryableError: that cannot be read at the moment.
        """

    def every(self, deadline: Deadline) -> Sequence[SearchIndex]:
        """Return the live index, the second one, and leftovers; none if there is no index.

        Raises:
            RetryableError: they cannot be read at the moment.
        """

    def status(self, deadline: Deadline) -> IndexStatus:
        """Return the indexes behind the name.

        Raises:
            RetryableError: they cannot be read at the moment.
        """

    def begin(self, deadline: Deadline) -> None:
        """Make a second index, unless there is one.

        Raises:
            RetryableError: it cannot be made at the moment.
        """

    def swap(self, live: int, second: int, deadline: Deadline) -> bool:
        """Make the second index the live one, and the reverse; return False if others are it.

        Raises:
            RetryableError: the names cannot be changed at the moment.
        """

    def release(self, second: int, deadline: Deadline) -> bool:
        """Take the name from the second index; return False if it is another.

        Raises:
            RetryableError: the names cannot be changed at the moment.
        """

    def delete(self, number: int, deadline: Deadline) -> bool:
        """Delete an index that is neither live nor second; return False if it is, or is gone.

        Raises:
            RetryableError: it cannot be deleted at the moment.
        """


def bucket_of(item_id: str) -> int:
    """Return the bucket of an item."""
    return crc32(item_id.encode()) % BUCKETS


def buckets_of(segment: Segment) -> range:
    """Return the buckets of a segment."""
    first, end = (ceil(BUCKETS * n / segment.of) for n in (segment.number, segment.number + 1))
    return range(first, end)


def supersedes(source: Document, offered: str) -> bool:
    """Return whether a document of version `offered` replaces one with this source.

    One without a version, as another writer makes it, is replaced by any: an error would be blamed
    on the change.

    The script that OpenSearch runs says the same; both are tested with one table of cases.
    """
    about = source.get(CDC)
    held = about.get("version") if isinstance(about, Mapping) else None
    return not isinstance(held, str) or held < offered


def token_of(held: Held | None) -> str:
    """Return the text of a document's revision; empty for none."""
    return "" if held is None else json.dumps(held.revision, default=str)


def document_of(returned: Any) -> dict[str, Any] | None:
    """Return what `document` returned as the fields of a document; None for none.

    Raises:
        TypeError: it is not a mapping, has the sink's own field, or a value of a type that no item
            has.
    """
    if returned is None:
        return None
    if not isinstance(returned, Mapping):
        message = f"`document` must return {{field: value}}, or None; got {type(returned).__name__}"
        raise TypeError(message)
    fields: dict[str, Any] = {}
    for name, value in returned.items():
        try:
            fields[str(name)] = value if value.__class__ is str else encoded(value)  # most are
        except TypeError as error:
            message = f"field {name!r}: {error}"
            raise TypeError(message) from error
    # OpenSearch reads "cdc.deleted" as the field `deleted` of the object `cdc`.
    if own := [name for name in fields if name.partition(".")[0] == CDC]:
        message = f"the field {own[0]!r} belongs to the sink; name the document's field otherwise"
        raise TypeError(message)
    return fields


def encoded(value: Any) -> Any:
    """Return a document, or a part of it, as JSON can carry it without loss.

    Fractions and integers beyond 64 bits become text, which the index's mapping coerces: a script's
    parameters would turn them into doubles. Bytes become base64 text, sets become sorted lists.

    Raises:
        TypeError: a value of a type that no item has.
    """
    match value:
        case str():
            return value
        case Decimal():
            whole = value == value.to_integral_value() and -LONG <= value < LONG
            return int(value) if whole else format(value, "f")
        case None | bool():
            return value
        case int():
            return value if -LONG <= value < LONG else str(value)
        case list() | tuple():
            return [encoded(member) for member in value]
        case bytes():
            return base64.b64encode(value).decode("ascii")
        case dict() | Mapping():
            return {
                str(name): member if member.__class__ is str else encoded(member)  # most are
                for name, member in value.items()
            }
        case set() | frozenset():
            return [encoded(member) for member in sorted(value)]
        case _:
            instead = ", use Decimal" if isinstance(value, float) else ""
            message = f"a document cannot hold a {type(value).__name__}{instead}"
            raise TypeError(message)
