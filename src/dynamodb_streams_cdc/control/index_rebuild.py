"""Rebuild a search index while it is read and written, a part at a time.

    {"operation": "rebuild-index", "step": "status"}    the indexes behind each name

and with the name of an index as `index`:

    {... "step": "begin"}                      make a second index
    {... "step": "copy", "segment": 0, ...}    copy a segment of the table into it
    {... "step": "tombstones", ...}            copy the live index's tombstones into it
    {... "step": "verify", "of": ..., ...}     compare it with the table; see `verification`
    {... "step": "swap", "live": 1, "second": 2}    exchange the two
    {... "step": "release", "second": 1}       write the second one no longer
    {... "step": "delete", "number": 1}        delete an index that is neither

A function writes the second index as well once it has noticed it: at most `LOOKUP_SECONDS` after
`begin`, and an invocation that began before ends after its time-out. The operator waits for both,
then copies. The order within a copy decides: first the live index's document, then the item by a
consistent read, so that the item is at least as new as the version that its document gets. That is
the version of the live index's document and not the floor of the stream: a change that is delivered
once more would be above the floor, and win.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypedDict

from dynamodb_streams_cdc.applier import SinkApplier
from dynamodb_streams_cdc.change import Attributes, Image, Source
from dynamodb_streams_cdc.control.backfill import FillFailure, FillResponse, begun, refusal
from dynamodb_streams_cdc.control.parts import Page, Part, size_of, take, whole_table
from dynamodb_streams_cdc.control.slices import Slices
from dynamodb_streams_cdc.control.verification import Verification, VerifyResponse
from dynamodb_streams_cdc.deserializer import deserialize_item
from dynamodb_streams_cdc.errors import (
    DeadlineExceeded,
    MalformedRecord,
    PermanentError,
    RetryableError,
)
from dynamodb_streams_cdc.identity import floor_of, item_id, stream_label
from dynamodb_streams_cdc.lambda_types import BatchResponse
from dynamodb_streams_cdc.sinks.base import ItemVersion, Sink, SinkChoice, Skip, WholeTable
from dynamodb_streams_cdc.sinks.comparison import Place, Segment
from dynamodb_streams_cdc.sinks.documents import (
    CDC,
    Held,
    IndexStatus,
    Pair,
    RebuildableIndex,
    Upsert,
)
from dynamodb_streams_cdc.sinks.search import Search, item_version_of, shows
from dynamodb_streams_cdc.sinks.written_indexes import rebuildable

PAGE_ITEMS = 200
"""Documents of one request to the second index."""


class IndexReport(TypedDict):
    """The indexes behind a name; see `IndexStatus`."""

    index: str
    live: int | None
    second: int | None
    fits: bool
    leftovers: list[int]
    made: str
    live_made: str


class RebuildResponse(BatchResponse):
    """The response to a step that changes which index is which.

    Attributes:
        done: whether the step took effect; otherwise the indexes are others than the request says.
        indexes: the indexes as they are now.
        problem: why they could not be read; empty if they were.
    """

    done: bool
    indexes: list[IndexReport]
    problem: str


@dataclass
class IndexRebuild:
    """The rebuild of an index of the search sink.

    Attributes:
        applier: knows the sinks, the table and the deadline.
        source: names the table in identities.
    """

    applier: SinkApplier
    source: Source
    failures: list[FillFailure] = field(default_factory=list, init=False)

    def run(self, event: Mapping[str, Any]) -> RebuildResponse | FillResponse | VerifyResponse:
        """Do the step that an event asks for.

        Raises:
            MalformedRecord: the event has another form, or the function has no such index.
            RetryableError: the index cannot be read or changed at the moment. The step `status`
                tells that as its problem: to ask may not look like a crash of the function.
        """
        step = event.get("step")
        if step == "status":
            try:
                return self._response(True, self._indexes)
            except (RetryableError, DeadlineExceeded) as error:
                problem = f"{type(error).__name__}: {error}"
                return RebuildResponse(
                    batchItemFailures=[], done=False, indexes=[], problem=problem
                )
        index = self._index(event.get("index"))
        deadline = self.applier.deadline
        match step:
            case "begin":
                index.begin(deadline)
                return self._response(True, [index])
            case "swap":
                live, second = _number(event, "live"), _number(event, "second")
                return self._response(index.swap(live, second, deadline), [index])
            case "release":
                released = index.release(_number(event, "second"), deadline)
                return self._response(released, [index])
            case "delete":
                deleted = index.delete(_number(event, "number"), deadline)
                return self._response(deleted, [index])
            case "copy" | "tombstones":
                return self._walk(index, event, of_table=step == "copy")
            case "verify":
                return self._verification(index).run(Part.from_event(event))
        message = (
            "step: expected status, begin, copy, tombstones, verify, swap, release or delete, "
            f"got {step!r}"
        )
        raise MalformedRecord(message)

    @property
    def _sinks(self) -> list[tuple[Search, RebuildableIndex]]:
        sinks = (sink for sink in self.applier.sinks if isinstance(sink, Search))
        return [(s, index) for s in sinks if (index := rebuildable(s.index)) is not None]

    @property
    def _indexes(self) -> list[RebuildableIndex]:
        """The indexes, each once: several entities may share one."""
        return list({index.name: index for _, index in self._sinks}.values())

    def _index(self, name: object) -> RebuildableIndex:
        for index in self._indexes:
            if index.name == name:
                return index
        known = ", ".join(index.name for index in self._indexes) or "no index that it can rebuild"
        message = f"index: the function has {known}; got {name!r}"
        raise MalformedRecord(message)

    def _response(self, done: bool, indexes: Sequence[RebuildableIndex]) -> RebuildResponse:
        reports = [_report(i.name, i.status(self.applier.deadline)) for i in indexes]
        return RebuildResponse(batchItemFailures=[], done=done, indexes=reports, problem="")

    def _pair(self, index: RebuildableIndex) -> Pair:
        pair = index.pair(self.applier.deadline)
        if pair is None:
            message = f"index: {index.name} has no second index; begin one first"
            raise MalformedRecord(message)
        return pair

    @property
    def table(self) -> WholeTable:
        """The table that the copy is made from."""
        return whole_table(self.applier)

    def _walk(
        self, index: RebuildableIndex, event: Mapping[str, Any], *, of_table: bool
    ) -> FillResponse:
        part = Part.from_event(event, "table")
        response = begun(part.place, self.failures)
        floor = floor_of(self.source.epoch, stream_label(str(event.get("streamArn"))))
        copy = _Copy(self, index.name, self._pair(index), floor, response)
        pages = self._table_pages(part, copy) if of_table else self._tombstone_pages(part, copy)
        take(pages, part, response, self.applier.deadline)
        return response

    def _table_pages(self, part: Part, copy: "_Copy") -> Iterator[Page]:
        place, most = part.place, min(PAGE_ITEMS, part.limit)
        while True:
            deadline = self.applier.deadline
            page = self.table.scan(part.segment, place, most, deadline, consistent=True)
            before = len(self.failures)
            copy.items([{name: item[name] for name in part.keys} for item in page.items])
            place = page.following
            yield Page(len(page.items), page.units, place, size_of(self.failures[before:]))

    def _tombstone_pages(self, part: Part, copy: "_Copy") -> Iterator[Page]:
        place, most = part.place, min(PAGE_ITEMS, part.limit)
        while True:
            before = len(self.failures)
            read, place = copy.tombstones(part.segment, place, most)
            yield Page(read, 0.0, place, size_of(self.failures[before:]))

    def _verification(self, index: RebuildableIndex) -> Verification:
        """Return the verification of the second index."""
        second = self._pair(index).second
        sinks: dict[int, Sink] = {
            id(sink): replace(sink, index=second)
            for sink, its in self._sinks
            if its.name == index.name
        }
        return Verification(replace(self.applier, sink=_Only(self.applier, sinks)), self.source)


@dataclass(frozen=True)
class _Only(SinkChoice):
    """The sinks of one index, each with another index in its place.

    Attributes:
        applier: has the choice among all sinks.
        replaced: the sinks, by the identity of those that they replace.
    """

    applier: SinkApplier
    replaced: Mapping[int, Sink]

    @property
    def sinks(self) -> Mapping[str, Sink]:
        return {str(name): sink for name, sink in self.replaced.items()}

    def entity_of(self, keys: Image) -> str | None:
        return self.applier.entity_of(keys)

    def sink_of(self, keys: Image) -> Sink | Skip:
        try:
            found = self.applier.sink_of(keys)
        except PermanentError:  # no index has such an item, and no rebuild brings it in
            return Skip.UNKNOWN
        return found if isinstance(found, Skip) else self.replaced.get(id(found), Skip.UNUSED)


@dataclass
class _Copy:
    """The copy of one part into the second index."""

    rebuild: IndexRebuild
    index: str
    pair: Pair
    floor: str
    response: FillResponse

    def items(self, keys: Sequence[Attributes]) -> None:
        """Copy the items with these keys.

        Raises:
            RetryableError: the table or an index cannot be read or written at the moment.
        """
        wanted = dict(self._of_index(keys))
        names, deadline = list(wanted), self.rebuild.applier.deadline
        old = self.pair.live.read_many(names, deadline)
        new = self.pair.second.read_many(names, deadline)
        slices = Slices(self.rebuild.table, deadline)
        read = slices.items([k for _, k in wanted.values()])
        writes: list[Upsert] = []
        for (name, (sink, raw_keys)), item in zip(wanted.items(), read, strict=True):
            version = self._version(name, old.get(name))
            if version is None:
                if item is None:
                    continue
                version = ItemVersion(name, self.floor, deadline.now())
            try:
                image = None if item is None else deserialize_item(item)
                is_first = name not in new
                upsert = sink.upsert_of(version, image, deadline.now(), is_first)
            except (PermanentError, MalformedRecord) as error:
                self._refused(name, error)
                continue
            held = self._version(name, new.get(name))
            if held is None or held.version < version.version:
                writes.append(upsert)
            elif shows(new[name], upsert):
                self.response["held"] += 1
            else:
                self._repair(sink, name, raw_keys)
        self._write(writes)

    def tombstones(
        self, segment: Segment, place: Place | None, most: int
    ) -> tuple[int, Place | None]:
        """Copy the next tombstones; return how many were read, and where to go on.

        Raises:
            RetryableError: an index cannot be read or written at the moment.
        """
        deadline = self.rebuild.applier.deadline
        page = self.pair.live.walk(segment, place, most, deadline, tombstones=True)
        held = self.pair.live.read_many(list(page.deleted), deadline)
        gone = {n: h for n, h in held.items() if self._version(n, h) and h.source[CDC]["deleted"]}
        self._write([Upsert(name, each.source) for name, each in gone.items()])
        return page.read, page.following

    def _of_index(
        self, keys: Sequence[Attributes]
    ) -> Iterator[tuple[str, tuple[Search, Attributes]]]:
        """Yield the identity, sink and keys of each item that the index holds."""
        applier = self.rebuild.applier
        for raw_keys in keys:
            decoded: Image = deserialize_item(raw_keys, "Keys")
            try:
                sink = applier.sink_of(decoded)
            except PermanentError:
                sink = Skip.UNKNOWN
            its = rebuildable(sink.index) if isinstance(sink, Search) else None
            if its is not None and its.name == self.index:
                assert isinstance(sink, Search)
                yield item_id(self.rebuild.source.table, decoded), (sink, raw_keys)
            else:
                self.response["skipped"] += 1

    def _version(self, name: str, held: Held | None) -> ItemVersion | None:
        """Return the version of a document; `None` for one that is of another item."""
        if held is None or (held.source.get(CDC) or {}).get("item") != name:
            return None
        return item_version_of(name, held)

    def _repair(self, sink: Search, name: str, keys: Attributes) -> None:
        """Repair a document of the second index that is as new, and different."""
        read_item = partial(self.rebuild.table.read, keys)
        try:
            sink.repair_in(self.pair.second, name, read_item, self.rebuild.applier.deadline)
        except (PermanentError, MalformedRecord) as error:
            self._refused(name, error)
        else:
            self.response["applied"] += 1

    def _write(self, upserts: Sequence[Upsert]) -> None:
        """Write documents that are newer than those held; all are written when it returns.

        Raises:
            RetryableError: the second index does not take some of them at the moment.
        """
        deadline, attempt = self.rebuild.applier.deadline, 0
        while upserts:
            waiting: list[Upsert] = []
            problem: Exception | None = None
            results = self.pair.second.upsert(upserts, deadline)
            for upsert, result in zip(upserts, results, strict=True):
                match result:
                    case RetryableError() | DeadlineExceeded():
                        waiting.append(upsert)
                        problem = result
                    case Exception():
                        self._refused(upsert.item_id, result)
                    case None:
                        self.response["applied"] += 1
                    case _:
                        self.response["held"] += 1
            if problem is not None and not deadline.pause(attempt):
                raise problem
            upserts, attempt = waiting, attempt + 1

    def _refused(self, name: str, error: Exception) -> None:
        self.rebuild.failures.append(refusal(name, error))


def _report(name: str, status: IndexStatus) -> IndexReport:
    return IndexReport(
        index=name,
        live=status.live,
        second=status.second,
        fits=status.fits,
        leftovers=list(status.leftovers),
        made=status.made,
        live_made=status.live_made,
    )


def _number(event: Mapping[str, Any], name: str) -> int:
    value = event.get(name)
    if type(value) is not int:
        message = f"{name}: expected the number of an index, got {value!r}"
        raise MalformedRecord(message)
    return value
