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
    cdc.bucket      a number from 0 to 999 that follows from the item: a part of a walk
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dynamodb_streams_cdc.change import BEGINNINGS, Change, Image, by_item
from dynamodb_streams_cdc.dead_letters import reason_of
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.errors import DeadlineExceeded, PermanentError, RetryableError
from dynamodb_streams_cdc.guards.preparation import Preparation
from dynamodb_streams_cdc.identity import is_version
from dynamodb_streams_cdc.sinks.base import (
    ItemVersion,
    Outcome,
    PurgePage,
    ReadItem,
    evaluated,
    evaluated_or_refused,
    purge_all,
)
from dynamodb_streams_cdc.sinks.comparison import (
    CopyDifference,
    CopyPage,
    DifferenceKind,
    Place,
    Segment,
    same,
)
from dynamodb_streams_cdc.sinks.documents import (
    CDC,
    Document,
    Held,
    Pair,
    SearchIndex,
    Stale,
    Upsert,
    bucket_of,
    document_of,
    token_of,
)
from dynamodb_streams_cdc.sinks.written_indexes import WrittenIndexes, note_refusal


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
    _written: WrittenIndexes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_written", WrittenIndexes(self.index))

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Outcome:
        """Write the newest change of each item that neither `document` nor the index refuses."""
        outcome = Outcome()
        groups: Sequence[Sequence[Change]] = by_item(changes)
        while groups:
            writes = self._prepared(groups, deadline, outcome)
            try:
                results = self._written.upsert([upsert for *_, upsert in writes], deadline)
            except (RetryableError, DeadlineExceeded) as error:
                results = [error] * len(writes)
            refused: list[Sequence[Change]] = []
            for (change, older, _), result in zip(writes, results, strict=True):
                match result:
                    case Stale(timestamp):
                        outcome.refused(change, timestamp)
                        outcome.stale += len(older)
                    case None:
                        outcome.applied += 1
                        outcome.stale += len(older)
                    case PermanentError() if older:
                        outcome.failures[change] = result
                        refused.append(older)
                    case _:
                        outcome.failures |= dict.fromkeys((change, *older), result)
            groups = refused
        return outcome

    def _prepared(
        self, groups: Sequence[Sequence[Change]], deadline: Deadline, outcome: Outcome
    ) -> list[tuple[Change, Sequence[Change], Upsert]]:
        """Return the write of each item, with its change and the older ones that it stands for.

        It takes half of the time. Images that are kept elsewhere are held one at a time.
        """
        written_at = deadline.now()
        preparation = Preparation(deadline)
        writes: list[tuple[Change, Sequence[Change], Upsert]] = []
        for group in groups:
            for position, change in enumerate(group):
                try:
                    preparation.begin(older=position > 0)
                    is_first = group[-1].kind in BEGINNINGS
                    image = preparation.new_image(change)
                    upsert = self.upsert_of(ItemVersion.of(change), image, written_at, is_first)
                    writes.append((change, group[position + 1 :], upsert))
                except (RetryableError, DeadlineExceeded) as error:
                    outcome.failures |= dict.fromkeys(group[position:], error)
                    break
                except Exception as error:
                    outcome.failures[change] = error
                else:
                    break
                finally:
                    change.release_images()
        return writes

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
        pair = self._written.pair(deadline)
        index = self.index if pair is None else pair.live
        differs, item_version = self._repair(index, item_id, read_item, deadline, known)
        if pair is not None:
            self._repair_second(pair, item_id, read_item, deadline, item_version)
        return differs

    def _repair_second(
        self,
        pair: Pair,
        item_id: str,
        read_item: ReadItem,
        deadline: Deadline,
        known: ItemVersion | None,
    ) -> None:
        try:
            self._repair(pair.second, item_id, read_item, deadline, known)
        except PermanentError as error:
            note_refusal(item_id, error)

    def repair_in(
        self, index: SearchIndex, item_id: str, read_item: ReadItem, deadline: Deadline
    ) -> None:
        """Repair the document of an item in one index; it keeps its version. See `repair`."""
        self._repair(index, item_id, read_item, deadline, None)

    def _repair(
        self,
        index: SearchIndex,
        item_id: str,
        read_item: ReadItem,
        deadline: Deadline,
        known: ItemVersion | None,
    ) -> tuple[bool, ItemVersion | None]:
        """Repair a document; return whether it differed, and its version."""
        while True:
            held = index.read(item_id, deadline)
            shown = item_version = item_version_of(item_id, held)
            if known is not None and (item_version is None or known.version > item_version.version):
                item_version = known
            if item_version is None:
                return False, None
            deadline.check()
            upsert = self.upsert_of(item_version, read_item(), deadline.now())
            differs = held is None or shown is None or not shows(held, upsert)
            if not differs and item_version == shown:
                return False, item_version
            if index.replace(held, upsert, deadline):
                return differs, item_version

    def held(self, item_id: str, deadline: Deadline) -> Mapping[str, Any] | None:
        """Return the document or tombstone of an item, its `cdc.version` as `version` as well."""
        held = self.index.read(item_id, deadline)
        item_version = item_version_of(item_id, held)
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
        return purge_all(self, older_than, deadline)

    def purge_page(
        self,
        before: float,
        segment: Segment,
        place: Place | None,
        most: int,
        deadline: Deadline,
        *,
        dry_run: bool = False,
    ) -> PurgePage:
        """Delete the next tombstones written before then; during a rebuild, of both indexes.

        An index has one segment: the first.
        """
        if segment.number:
            return PurgePage(0, 0, 0, None)
        pair = self._written.pair(deadline)
        live = self.index if pair is None else pair.live
        # Counted once: by the first request.
        tombstones = 0 if place else live.tombstones(None, deadline)
        if dry_run:
            old = live.tombstones(before, deadline)
            return PurgePage(tombstones, tombstones, old, None)
        purged = live.purge(before, most, deadline)
        others = 0 if pair is None else pair.second.purge(before, most, deadline)
        following = "more" if max(purged, others) >= most else None
        return PurgePage(purged, tombstones, purged, following)

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
                wanted = None if image is None else evaluated_or_refused(self._of, image)
            except PermanentError as error:
                yield _different(item_id, held, DifferenceKind.REFUSED, reason_of(error))
                continue
            if kind := _kind_of_difference(item_id, held, wanted):
                yield _different(item_id, held, kind, _fields_that_differ(held, wanted))

    def copies(
        self, segment: Segment, place: Place | None, most: int, deadline: Deadline
    ) -> CopyPage:
        """Return the next documents of a segment; see `Comparable`."""
        page = self.index.walk(segment, place, most, deadline)
        foreign = [
            CopyDifference(name, DifferenceKind.FOREIGN, token)
            for name, token in page.foreign.items()
        ]
        return CopyPage(page.live, page.following, page.read, foreign)

    def remove(self, name: str, token: str, deadline: Deadline) -> bool:
        """Delete a document that is none of an item, unless it has moved; return whether it was."""
        return self.index.remove(name, token, deadline)

    def pair(self, deadline: Deadline) -> Pair | None:
        """Return the live index and the second one during a rebuild; see `WrittenIndexes`."""
        return self._written.pair(deadline)

    def upsert_of(
        self,
        item_version: ItemVersion,
        image: Image | None,
        written_at: float,
        is_first: bool = False,
    ) -> Upsert:
        """Return the document of an item in this state, or its tombstone.

        Raises:
            PermanentError: `document` fails on the image.
        """
        document = None if image is None else evaluated(self._of, image)
        about = {
            "item": item_version.item_id,
            "version": item_version.version,
            "changed_at": item_version.timestamp,
            "written_at": written_at,
            "deleted": document is None,
            "bucket": bucket_of(item_version.item_id),
        }
        return Upsert(item_version.item_id, {**(document or {}), CDC: about}, is_first)

    def _of(self, image: Image) -> Document | None:
        return document_of(self.document(image))


def _different(
    item_id: str, held: Held | None, kind: DifferenceKind, detail: str
) -> CopyDifference:
    item_version = item_version_of(item_id, held)
    version = item_version.version if item_version else None
    return CopyDifference(item_id, kind, token_of(held), version, detail)


def _kind_of_difference(
    item_id: str, held: Held | None, wanted: Document | None
) -> DifferenceKind | None:
    """Return how a document differs from the one wanted, or from none; `None` if it does not."""
    about = held.source.get(CDC) if held else None
    is_live = held is not None and not (isinstance(about, Mapping) and about.get("deleted"))
    if held is not None and item_version_of(item_id, held) is None:
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
    differing = {n for n in names if not same(shown.get(n, _NONE), wanted.get(n, _NONE))}
    if not isinstance(_shown(held.source)[CDC], bool):  # readers filter by it, and find nothing
        differing.add(f"{CDC}.deleted")
    return ", ".join(sorted(differing))


_NONE = object()


def shows(held: Held, upsert: Upsert) -> bool:
    """Return whether a document shows what another one would."""
    return same(_shown(held.source), _shown(upsert.source))


def _shown(source: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields of a document that readers see, and whether it is a tombstone."""
    about = source.get(CDC)
    return {**source, CDC: about.get("deleted") if isinstance(about, Mapping) else None}


def item_version_of(item_id: str, held: Held | None) -> ItemVersion | None:
    """Return the version of a document; `None` if there is none, or none with a version.

    What another writer put in its place is none: one above all others would refuse every change.
    """
    about = held.source.get(CDC) if held else None
    if not isinstance(about, Mapping) or not is_version(about.get("version")):
        return None
    return ItemVersion(item_id, about["version"], about.get("changed_at", 0.0))
