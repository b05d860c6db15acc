"""The search sink: a last-writer-wins map from item to document, or to a tombstone.

The user writes one pure function, `document(image) -> dict`. The index keeps with each document
the version of the change that it shows, and a script in OpenSearch compares the two before it
replaces anything. A deleted item leaves a tombstone with the version of its REMOVE: OpenSearch
itself forgets deleted versions after a minute (`index.gc_deletes`), and a late replay would bring
the document back. Readers go through an alias that filters tombstones out.

Every document has these fields, in addition to the user's:

    cdc.item        identity of the item; also the document's _id
    cdc.version     of the change that it shows
    cdc.changed_at  when DynamoDB recorded that change, seconds since 1970
    cdc.written_at  when the sink wrote, seconds since 1970
    cdc.deleted     whether this is a tombstone
"""

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol, TypeAlias, cast

from dynamodb_streams_cdc.change import BEGINNINGS, Change, Image, by_item
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.errors import DeadlineExceeded, RetryableError
from dynamodb_streams_cdc.sinks.base import ItemVersion, Outcome, ReadItem, evaluated, purge_horizon
from dynamodb_streams_cdc.sinks.comparison import (
    CopyDifference,
    CopyPage,
    DifferenceKind,
    Place,
    Segment,
)

Document: TypeAlias = Mapping[str, Any]

CDC = "cdc"
"""The field of a document that belongs to this library."""

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
    """

    live: Sequence[str]
    foreign: Mapping[str, str]
    following: Place | None
    read: int


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

    def purge(self, before: float, deadline: Deadline) -> int:
        """Delete the tombstones written before then that have not moved; return how many.

        Raises:
            RetryableError: they cannot be deleted at the moment.
        """

    def read_many(self, item_ids: Sequence[str], deadline: Deadline) -> Mapping[str, Held]:
        """Return the documents and tombstones that exist, by item, as last written.

        Raises:
            RetryableError: they cannot be read at the moment.
        """

    def walk(self, place: Place | None, most: int, deadline: Deadline) -> DocumentPage:
        """Return the next documents in the order of their items, tombstones included.

        Raises:
            RetryableError: they cannot be read at the moment.
        """

    def remove(self, name: str, token: str, deadline: Deadline) -> bool:
        """Delete a document that has not moved; return False if it has.

        Raises:
            RetryableError: it cannot be deleted at the moment.
        """


def supersedes(held: str | None, offered: str) -> bool:
    """Return whether a document of version `offered` replaces one of version `held`.

    The script that OpenSearch runs says the same; both are tested with one table of cases.
    """
    return held is None or held < offered


@dataclass(frozen=True)
class Search:
    """The sink.

    Attributes:
        index: store of the documents.
        document: returns the document of an item; pure. `None` keeps the item out of the index.
            Its errors are permanent for the image.
    """

    index: SearchIndex
    document: Callable[[Image], Document | None]

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Outcome:
        """Write the newest change of each item, or the newest on which `document` does not fail."""
        outcome = Outcome()
        written_at = deadline.now()
        writes: list[tuple[Change, Sequence[Change], Upsert]] = []
        unread: RetryableError | DeadlineExceeded | None = None
        for group in by_item(changes):
            for position, change in enumerate(group):
                try:
                    if unread is not None and change.image_loader is not None:
                        raise unread  # every further read would time out as well
                    is_first = group[-1].kind in BEGINNINGS
                    upsert = self._upsert(change, written_at, is_first)
                    writes.append((change, group[position + 1 :], upsert))
                except (RetryableError, DeadlineExceeded) as error:
                    unread = error
                    outcome.failures |= dict.fromkeys(group[position:], error)
                    break
                except Exception as error:
                    outcome.failures[change] = error
                else:
                    break
        try:
            results = self.index.upsert([upsert for *_, upsert in writes], deadline)
        except (RetryableError, DeadlineExceeded) as error:
            results = [error] * len(writes)
        for (change, older, _), result in zip(writes, results, strict=True):
            match result:
                case Stale(timestamp):
                    outcome.refused(change, timestamp)
                    outcome.stale += len(older)
                case None:
                    outcome.applied += 1
                    outcome.stale += len(older)
                case _:
                    outcome.failures |= dict.fromkeys((change, *older), result)
        return outcome

    retains = False
    """A document that expired is gone; nothing of it is kept."""

    def repair(
        self,
        item_id: str,
        read_item: ReadItem,
        deadline: Deadline,
        known: ItemVersion | None = None,
    ) -> bool:
        """Repair the document of an item from the table; return whether it differed.

        See `Repairable`. A document without a version, from another writer, is replaced.

        Raises:
            RetryableError: the index cannot be read or written at the moment.
            DeadlineExceeded: the deadline has passed.
        """
        while True:
            held = self.index.read(item_id, deadline)
            item_version = _item_version(item_id, held)
            if known is not None and (item_version is None or known.version > item_version.version):
                item_version = known
            if item_version is None:
                return False
            deadline.check()
            upsert = self._document(
                item_id, read_item(), item_version.version, item_version.timestamp, deadline.now()
            )
            differs = held is None or _shown(upsert.source) != _shown(held.source)
            if not differs and item_version == _item_version(item_id, held):
                return False
            if self.index.replace(held, upsert, deadline):
                return differs

    def held(self, item_id: str, deadline: Deadline) -> Mapping[str, Any] | None:
        """Return the document or tombstone of an item, its `cdc.version` as `version` as well."""
        held = self.index.read(item_id, deadline)
        item_version = _item_version(item_id, held)
        if held is None:
            return None
        return {**held.source, "version": item_version.version if item_version else None}

    def purge(self, older_than: float, deadline: Deadline) -> int:
        """Forget the items that were deleted more than so many seconds ago; return how many.

        A change that arrives later still is repaired after it is applied, so that nothing comes
        back.

        Raises:
            ValueError: `older_than` is less than `TOMBSTONE_SECONDS`.
            RetryableError: the index cannot be written at the moment.
        """
        return self.index.purge(purge_horizon(older_than, deadline), deadline)

    @property
    def store(self) -> object:
        """The index."""
        return self.index

    def compare(
        self, items: Mapping[str, Image | None], deadline: Deadline
    ) -> Iterator[CopyDifference]:
        """Yield the documents that differ from these items; see `Comparable`."""
        documents = self.index.read_many(list(items), deadline)
        for item_id, image in items.items():
            held = documents.get(item_id)
            try:
                wanted = None if image is None else evaluated(self._of, image)
            except (MemoryError, OSError, ImportError):
                raise
            except Exception as error:
                yield _different(item_id, held, DifferenceKind.REFUSED, type(error).__name__)
                continue
            if kind := _kind_of_difference(item_id, held, wanted):
                yield _different(item_id, held, kind, _fields_that_differ(held, wanted))

    def copies(
        self, segment: Segment, place: Place | None, most: int, deadline: Deadline
    ) -> CopyPage:
        """Return the next documents; the first segment has all of them. See `Comparable`."""
        if segment.number:
            return CopyPage((), None, 0)
        page = self.index.walk(place, most, deadline)
        foreign = [
            CopyDifference(name, DifferenceKind.FOREIGN, token)
            for name, token in page.foreign.items()
        ]
        return CopyPage(page.live, page.following, page.read, foreign)

    def remove(self, name: str, token: str, deadline: Deadline) -> bool:
        """Delete a document that is none of an item, unless it has moved; return whether it was."""
        return self.index.remove(name, token, deadline)

    def _upsert(self, change: Change, written_at: float, is_first: bool) -> Upsert:
        return self._document(
            change.item_id,
            change.new_image,
            change.version,
            change.timestamp,
            written_at,
            is_first,
        )

    def _document(
        self,
        item_id: str,
        image: Image | None,
        version: str,
        changed_at: float,
        written_at: float,
        is_first: bool = False,
    ) -> Upsert:
        document = None if image is None else evaluated(self._of, image)
        item_version = {
            "item": item_id,
            "version": version,
            "changed_at": changed_at,
            "written_at": written_at,
            "deleted": document is None,
        }
        return Upsert(item_id, {**(document or {}), CDC: item_version}, is_first)

    def _of(self, image: Image) -> Document | None:
        document = self.document(image)
        if document is None:
            return None
        if CDC in document:
            message = f"the field {CDC!r} belongs to the sink; name the document's field otherwise"
            raise TypeError(message)
        return cast("Document", encoded(document))


def token_of(held: Held | None) -> str:
    """Return the text of a document's revision; empty for none."""
    return "" if held is None else json.dumps(held.revision, default=str)


def _different(
    item_id: str, held: Held | None, kind: DifferenceKind, detail: str
) -> CopyDifference:
    item_version = _item_version(item_id, held)
    version = item_version.version if item_version else None
    return CopyDifference(item_id, kind, token_of(held), version, detail)


def _kind_of_difference(
    item_id: str, held: Held | None, wanted: Document | None
) -> DifferenceKind | None:
    """Return how a document differs from the one wanted, or from none; `None` if it does not."""
    about = held.source.get(CDC) if held else None
    is_live = held is not None and not (isinstance(about, Mapping) and about.get("deleted"))
    if held is not None and (not isinstance(about, Mapping) or "version" not in about):
        return DifferenceKind.FOREIGN
    if isinstance(about, Mapping) and about.get("item") != item_id:
        return DifferenceKind.FOREIGN
    if wanted is None:
        return DifferenceKind.EXTRA if is_live else None
    if not is_live:
        return DifferenceKind.MISSING
    assert held is not None
    return DifferenceKind.WRONG if _fields_that_differ(held, wanted) else None


def _fields_that_differ(held: Held | None, wanted: Document | None) -> str:
    """Return the names of the fields that differ, as a list in text."""
    if held is None or wanted is None:
        return ""
    shown = {name: value for name, value in held.source.items() if name != CDC}
    names = shown.keys() | wanted.keys()
    return ", ".join(sorted(n for n in names if shown.get(n, _NONE) != wanted.get(n, _NONE)))


_NONE = object()


def _shown(source: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields of a document that readers see, and whether it is a tombstone."""
    return {**source, CDC: source.get(CDC, {}).get("deleted")}


def _item_version(item_id: str, held: Held | None) -> ItemVersion | None:
    about = held.source.get(CDC, {}) if held else {}
    if "version" not in about:
        return None
    return ItemVersion(item_id, about["version"], about.get("changed_at", 0.0))


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
            message = f"a document cannot hold a {type(value).__name__}"
            raise TypeError(message)
