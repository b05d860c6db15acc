"""Compare the copies of a sink with the table, a part at a time.

    {"operation": "verify", "of": "table", ...}   compare the items of a segment with their copies
    {"operation": "verify", "of": "copies", ...}  look up the items of a segment's copies
    {... "lookUp": false}                          only add up what the copies count
    {"operation": "verify", "of": "sums", ...}    return the sums, to be compared with the ledger's
    {"operation": "verify", "of": "items", "Records": [{"Keys": ...}]}  compare these items

What differs may be a change on its way, so the operator asks about it once more, later.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NotRequired, TypedDict, cast

from dynamodb_streams_cdc.applier import SinkApplier
from dynamodb_streams_cdc.change import Attributes, Image, Source
from dynamodb_streams_cdc.control.parts import Page, Part, PartResponse, as_text, size_of, take
from dynamodb_streams_cdc.control.slices import Slices
from dynamodb_streams_cdc.deserializer import base64_text, deserialize_item
from dynamodb_streams_cdc.errors import MalformedRecord, PermanentError
from dynamodb_streams_cdc.identity import item_id, keys_of
from dynamodb_streams_cdc.lambda_types import BatchResponse
from dynamodb_streams_cdc.sinks.aggregation import Aggregation
from dynamodb_streams_cdc.sinks.base import WholeTable
from dynamodb_streams_cdc.sinks.comparison import (
    Comparable,
    CopyDifference,
    CopyPage,
    DifferenceKind,
    Place,
)
from dynamodb_streams_cdc.sinks.contributions import Contribution, add
from dynamodb_streams_cdc.sinks.search import Search

PAGE_ITEMS = 500
"""Items of one page: small enough that a request to the sink stays far below its limits."""


class DifferenceReport(TypedDict):
    """A copy that differs.

    `keys` are the item's, as DynamoDB JSON; None if the copy is of no item that belongs there, or
    its identity is a digest. `store` is the number of the sink's store that holds it. The rest is
    in `CopyDifference`.
    """

    item: str
    kind: str
    keys: Attributes | None
    store: int
    token: str
    version: str | None
    detail: str
    delta: NotRequired[Mapping[str, Mapping[str, str]]]


class VerifyResponse(PartResponse):
    """The response to a verification of a part.

    Attributes:
        comparable: false, and nothing was done, for a sink that cannot be compared.
        stores: how many stores the sink has.
        ledgers: how many of them are ledgers: of several, the sums cannot be compared, because two
            may have one table of sums.
        uncompared: entities whose sink cannot be compared; of items, those of these alone.
        sums: what the copies read add up to, or the sums read; amounts as text.
        revisions: number of writes of the sums read.
        unchecked: copies whose identity is a digest, so that their item cannot be looked up.
    """

    comparable: bool
    stores: int
    ledgers: int
    uncompared: list[str]
    differences: list[DifferenceReport]
    sums: Mapping[str, Mapping[str, str]]
    revisions: Mapping[str, int]
    unchecked: int


class RemoveResponse(BatchResponse):
    """The response to a removal: the number of copies that were deleted."""

    removed: int


@dataclass(frozen=True)
class _Page:
    read: int
    following: Place | None
    units: float = 0.0
    differences: Sequence[DifferenceReport] = ()
    sums: Contribution = field(default_factory=dict)
    revisions: Mapping[str, int] = field(default_factory=dict)
    unchecked: int = 0

    @property
    def size(self) -> int:
        """Bytes of its findings in a response."""
        found = (self.differences, self.revisions, as_text(self.sums))
        return sum(size_of(each) for each in found)


@dataclass
class Verification:
    """The verification of one part.

    Attributes:
        applier: knows the sinks, the table and the deadline.
        source: names the table in identities.
    """

    applier: SinkApplier
    source: Source
    stores: list[Comparable] = field(default_factory=list, init=False)
    """A sink of each store; of a ledger that several have, one that keeps nothing that expired."""
    _numbers: dict[int, int] = field(default_factory=dict, init=False)
    """Numbers of the stores, by the identity of each sink that can be compared."""
    _slices: Slices | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        # Once: `isinstance` of a protocol makes a hundred calls.
        for sink in self.applier.sinks:
            if isinstance(sink, Comparable):
                stores = [each.store for each in self.stores]
                if sink.store not in stores:
                    self.stores.append(sink)
                    stores.append(sink.store)
                number = self._numbers[id(sink)] = stores.index(sink.store)
                if isinstance(sink, Aggregation) and not sink.retains:
                    self.stores[number] = sink

    def run(self, part: Part) -> VerifyResponse:
        """Read the part up to its limit, and as long as there is time."""
        table = self.applier.source_table
        response = VerifyResponse(
            batchItemFailures=[],
            comparable=bool(self.stores) and isinstance(table, WholeTable),
            stores=len(self.stores),
            ledgers=sum(isinstance(store, Aggregation) for store in self.stores),
            uncompared=self._uncompared(part.records),
            read=0,
            units=0.0,
            place=part.place,
            done=True,
            differences=[],
            sums={},
            revisions={},
            unchecked=0,
            problem="",
        )
        if not response["comparable"]:
            return response
        assert isinstance(table, WholeTable)
        response["done"] = False
        sums: list[Contribution] = []
        take(self._told(part, table, response, sums), part, response, self.applier.deadline)
        response["sums"] = as_text(add(sums))
        return response

    def _uncompared(self, records: Sequence[Mapping[str, Any]]) -> list[str]:
        keys = (record["Keys"] for record in records if isinstance(record.get("Keys"), Mapping))
        asked = {self.applier.entity_of(deserialize_item(each, "Keys")) for each in keys}
        return [
            entity
            for entity, sink in self.applier.sinks_by_entity.items()
            if id(sink) not in self._numbers and (not records or entity in asked)
        ]

    def _told(
        self, part: Part, table: WholeTable, response: VerifyResponse, sums: list[Contribution]
    ) -> Iterator[Page]:
        """Yield pages, each once its findings are in the response."""
        for page in self._pages(part, table):
            response["differences"] += page.differences
            response["unchecked"] += page.unchecked
            response["revisions"] = _counted(response["revisions"], page.revisions)
            sums.append(page.sums)
            yield Page(page.read, page.units, page.following, page.size)

    def _pages(self, part: Part, table: WholeTable) -> Iterator[_Page]:
        place = part.place
        match part.of:
            case "items":
                yield self._of_items(part, table)
                return
            case "table":
                of = self._of_table
            case "copies":
                of = self._of_copies
            case _:
                of = self._of_sums
        most, units = min(PAGE_ITEMS, part.limit), 0.0
        while True:
            page = of(part, place, table, most)
            units += page.units
            if page.size > part.page_bytes and most > 1:
                most //= 2
                continue
            yield replace(page, units=units)
            place, units = page.following, 0.0

    def _of_table(self, part: Part, place: Place | None, table: WholeTable, most: int) -> _Page:
        # What differs is asked about again, with consistent reads: this one may cost half of that.
        page = table.scan(part.segment, place, most, self.applier.deadline, consistent=False)
        found = [(self._keys_in(item, part.keys), item) for item in page.items]
        differences = list(self._compared(found, part.entity))
        return _Page(len(page.items), page.following, page.units, differences)

    def _keys_in(self, item: Attributes, keys: Mapping[str, str]) -> Attributes:
        return {name: item[name] for name in keys}

    def _compared(
        self, items: Iterable[tuple[Attributes, Attributes | None]], entity: str | None = None
    ) -> Iterator[DifferenceReport]:
        """Compare items, by their keys, with their copies."""
        wanted: dict[int, tuple[Comparable, dict[str, Image | None]]] = {}
        keys_by_id: dict[str, Attributes] = {}
        for raw_keys, raw in items:
            keys: Image = deserialize_item(raw_keys, "Keys")
            if entity is not None and self.applier.entity_of(keys) != entity:
                continue
            name = item_id(self.source.table, keys)
            keys_by_id[name] = raw_keys
            try:
                sink = self.applier.sink_of(keys)
            except PermanentError as error:
                if raw is not None:
                    detail = type(error).__name__
                    refused = CopyDifference(name, DifferenceKind.REFUSED, detail=detail)
                    yield self._report(refused, raw_keys, 0)
                continue
            if id(sink) not in self._numbers:
                continue
            image = None if raw is None else deserialize_item(raw)
            comparable = cast("Comparable", sink)
            wanted.setdefault(id(sink), (comparable, {}))[1][name] = image
        for number, (comparable, group) in wanted.items():
            for difference in comparable.compare(group, self.applier.deadline):
                yield self._report(difference, keys_by_id[difference.item], self._numbers[number])

    def _of_copies(self, part: Part, place: Place | None, table: WholeTable, most: int) -> _Page:
        if part.store >= len(self.stores):
            message = f"store: there are {len(self.stores)}, got {part.store}"
            raise MalformedRecord(message)
        sink = self.stores[part.store]
        page: CopyPage = sink.copies(part.segment, place, most, self.applier.deadline)
        keys = {name: keys_of(name, part.keys) for name in page.live}
        known = [(name, found) for name, found in keys.items() if found is not None]
        unchecked = sum(name.startswith("#") for name in keys)
        strange = [
            CopyDifference(name, DifferenceKind.FOREIGN)
            for name, found in keys.items()
            if (found is None and not name.startswith("#"))
            or not name.startswith((f"{self.source.table}/", "#"))
        ]
        looked_up = [(n, k) for n, k in known if n.startswith(f"{self.source.table}/")]
        differences = [self._report(d, None, part.store) for d in (*page.foreign, *strange)]
        units = page.units
        if part.entity is None and part.look_up:
            units += self._look_up(sink, looked_up, table, part.store, differences)
        return _Page(
            page.read,
            page.following,
            units,
            differences,
            page.sums,
            unchecked=unchecked,
        )

    def _look_up(
        self,
        sink: Comparable,
        copies: Sequence[tuple[str, Attributes]],
        table: WholeTable,
        store: int,
        differences: list[DifferenceReport],
    ) -> float:
        """Look up the items of copies; add the copies that have none in this store.

        Returns:
            The read capacity units that it took.
        """
        misplaced = [each for each in copies if not self._belongs(each[1], store)]
        rest = [each for each in copies if self._belongs(each[1], store)]
        slices = self._slices_of(table)
        before = slices.units
        items = slices.items([keys for _, keys in rest])
        # Each by its own sink: of several with one store, some may keep what expired.
        differences += self._compared(
            (keys, None) for (_, keys), item in zip(rest, items, strict=True) if item is None
        )
        differences += self._misplaced(sink, (name for name, _ in misplaced), store)
        return slices.units - before

    def _slices_of(self, table: WholeTable) -> Slices:
        """Return the reader of items, which knows from earlier pages how large they are."""
        if self._slices is None:
            self._slices = Slices(table, self.applier.deadline)
        return self._slices

    def _misplaced(
        self, sink: Comparable, names: Iterable[str], store: int
    ) -> Iterator[DifferenceReport]:
        """Report the copies of these items, none of which belongs into the store."""
        items = dict.fromkeys(names)
        for difference in sink.compare(items, self.applier.deadline) if items else ():
            if difference.kind is DifferenceKind.EXTRA:
                detail = "of an item that this sink does not hold"
                difference = replace(difference, kind=DifferenceKind.FOREIGN, detail=detail)
            yield self._report(difference, None, store)

    def _belongs(self, raw_keys: Attributes, store: int, *, refused: bool = False) -> bool:
        """Return whether the store holds the item; `refused` for one that no sink may hold."""
        keys: Image = deserialize_item(raw_keys, "Keys")
        try:
            sink = self.applier.sink_of(keys)
        except PermanentError:
            return refused
        return self._numbers.get(id(sink)) == store

    def _of_sums(self, part: Part, place: Place | None, table: WholeTable, most: int) -> _Page:
        for sink in self.stores:
            if isinstance(sink, Aggregation):
                page = sink.sums(place, most, self.applier.deadline)
                return _Page(
                    len(page.revisions),
                    page.following,
                    page.units,
                    sums=page.sums,
                    revisions=page.revisions,
                )
        return _Page(0, None)

    def _of_items(self, part: Part, table: WholeTable) -> _Page:
        keyed: dict[str, Attributes] = {}
        elsewhere: dict[int, list[str]] = {}
        for record in part.records:
            raw_keys, store = record.get("Keys"), record.get("store")
            if isinstance(raw_keys, Mapping):
                decoded: Image = deserialize_item(raw_keys, "Keys")
                name = item_id(self.source.table, decoded)
                # That no sink may hold an item is told by its keys, not by what a store has of it.
                if store is None or self._belongs(raw_keys, store, refused=True):
                    keyed[name] = raw_keys
                    continue
            else:
                name = str(record.get("item"))
            elsewhere.setdefault(int(store or 0), []).append(name)
        differences: list[DifferenceReport] = []
        for some in self._slices_of(table).read(list(keyed.values())):
            differences += self._compared(some)
        for store, names in elsewhere.items():
            differences += self._misplaced(self.stores[store], names, store)
        return _Page(len(part.records), None, 0.0, differences)

    def remove(self, records: Sequence[Any]) -> RemoveResponse:
        """Delete copies that are none of an item, each unless it has moved since it was read.

        Raises:
            RetryableError: the sink cannot be written at the moment.
        """
        removed = 0
        for record in records:
            sink = self.stores[int(record["store"])]
            if not isinstance(sink, Search):
                message = "only the search index has copies that are none of an item"
                raise MalformedRecord(message)
            removed += sink.remove(str(record["item"]), str(record["token"]), self.applier.deadline)
        return RemoveResponse(batchItemFailures=[], removed=removed)

    def _report(
        self, difference: CopyDifference, keys: Attributes | None, store: int
    ) -> DifferenceReport:
        report = DifferenceReport(
            item=difference.item,
            kind=difference.kind.value,
            keys=None if keys is None else json.loads(json.dumps(keys, default=base64_text)),
            store=store,
            token=difference.token,
            version=difference.version,
            detail=difference.detail,
        )
        if difference.delta:
            report["delta"] = as_text(difference.delta)
        return report


def _counted(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in one.keys() | other.keys()}
