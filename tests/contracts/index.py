"""What every index must do; run against the one in memory and the one on OpenSearch."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any, Protocol

import pytest

from dynamodb_streams_cdc import Deadline, Image, Search
from dynamodb_streams_cdc.aws.opensearch import OpenSearchIndex
from dynamodb_streams_cdc.sinks.base import ItemVersion
from dynamodb_streams_cdc.sinks.comparison import Segment
from dynamodb_streams_cdc.sinks.documents import (
    CDC,
    DocumentPage,
    IndexStatus,
    Pair,
    RebuildableIndex,
    SearchIndex,
    Stale,
    Upsert,
    token_of,
)
from lambdas.example_domain.order import document
from tests.factories import ManualClock, change, deadline, order

PLACED, SHIPPED = order(), order(status="shipped")
ALL = Segment()
ITEM = "orders/S=00004/S=00004-0001"

VERSIONS = [
    pytest.param(None, "0001/2024-05-01T12:00:00.000/0", True, id="nothing held"),
    pytest.param("a/9", "a/10", False, id="text compares as text"),
    pytest.param("0001/x/0009", "0001/x/0010", True, id="padded numbers"),
    pytest.param("0001/x/0010", "0001/x/0010", False, id="the same again"),
    pytest.param("0001/x/0010", "0001/x/0009", False, id="older"),
    pytest.param("0001/2024-05-01/0009", "0001/2024-05-02/0000", True, id="a later stream"),
    pytest.param("0001/2024-05-02/0009", "0002/2024-05-01/0000", True, id="a later epoch"),
]
"""Held, offered, whether the offer replaces what is held: script and twin agree on these."""


class SearchableIndex(RebuildableIndex, Protocol):
    def search(self) -> dict[str, dict[str, Any]]: ...


def upsert(version: str, item: str = ITEM, *, deleted: bool = False, **document: Any) -> Upsert:
    body = {
        "version": version,
        "changed_at": 7.0,
        "written_at": 8.0,
        "deleted": deleted,
        "item": item,
    }
    return Upsert(item, {**document, "cdc": body})


def statuses(index: SearchIndex) -> dict[str, Any]:
    """Return the status field of some documents, as last written."""
    held = index.read_many([ITEM, "orders/S=1/S=1"], deadline())
    return {name: each.source.get("status") for name, each in held.items()}


def standing(index: RebuildableIndex) -> IndexStatus:
    """Return the indexes behind the name."""
    return replace(index.status(deadline()), made="", live_made="")


def pair_of(index: RebuildableIndex) -> Pair:
    pair = index.pair(deadline())
    assert pair is not None
    return pair


def walked(
    index: SearchIndex, segment: Segment = ALL, *, most: int, tombstones: bool = False
) -> list[DocumentPage]:
    """Return all pages of a walk; each place passes as JSON."""
    pages: list[DocumentPage] = []
    place = None
    while not pages or place is not None:
        pages.append(index.walk(segment, place, most, deadline(), tombstones=tombstones))
        place = json.loads(json.dumps(pages[-1].following))
    return pages


class ReadableIndex(OpenSearchIndex):
    """An index that a test can read back the way that readers do."""

    def search(self) -> dict[str, dict[str, Any]]:
        self.client.indices.refresh(index=self.alias)
        hits = self.client.search(index=self.name, body={"size": 1000})["hits"]["hits"]
        assert self.client.count(index=self.name)["count"] == len(hits)
        return {
            hit["_id"]: {name: value for name, value in hit["_source"].items() if name != CDC}
            for hit in hits
        }


class IndexContract:
    """For a class with a fixture `index`."""

    @pytest.mark.parametrize(("held", "offered", "replaces"), VERSIONS)
    def test_a_greater_version_replaces_and_no_other_does(
        self, index: SearchableIndex, held: str | None, offered: str, replaces: bool
    ) -> None:
        if held is not None:
            assert index.upsert([upsert(held, status="placed")], deadline()) == [None]
        result = index.upsert([upsert(offered, status="shipped")], deadline())
        assert result == [None if replaces else Stale(7.0)]
        assert index.search() == {ITEM: {"status": "shipped" if replaces else "placed"}}

    @pytest.mark.parametrize(
        "strange",
        [
            {},
            {CDC: None},
            {CDC: {}},
            {CDC: [{"item": ITEM, "version": "1"}]},
            {CDC: {"item": ITEM, "version": None}},
            {CDC: {"item": ITEM, "version": 7}},
        ],
        ids=["nothing", "null", "empty", "list", "no version", "number"],
    )
    def test_a_document_of_another_writer_fails_no_change(
        self, index: SearchableIndex, strange: dict[str, Any]
    ) -> None:
        assert index.upsert([upsert("1", status="placed")], deadline()) == [None]
        held = index.read(ITEM, deadline())
        assert index.replace(held, Upsert(ITEM, {"status": "lost", **strange}), deadline())
        assert index.upsert([upsert("2", status="shipped")], deadline()) == [None]
        assert index.search() == {ITEM: {"status": "shipped"}}

    @pytest.mark.parametrize("about", [{}, {"changed_at": None}], ids=["missing", "null"])
    def test_a_document_without_its_time_refuses_a_change(
        self, index: SearchableIndex, about: dict[str, Any]
    ) -> None:
        assert index.upsert([upsert("1", status="placed")], deadline()) == [None]
        held, newer = index.read(ITEM, deadline()), {"item": ITEM, "version": "3", "deleted": False}
        source = {"status": "shipped", CDC: {**newer, **about}}
        assert index.replace(held, Upsert(ITEM, source), deadline())
        assert index.upsert([upsert("2", status="lost")], deadline()) == [Stale(float("inf"))]

    def test_a_replaced_document_keeps_no_field_of_the_old_one(
        self, index: SearchableIndex
    ) -> None:
        index.upsert([upsert("1", status="placed", currency="USD")], deadline())
        index.upsert([upsert("2", status="shipped")], deadline())
        assert index.search() == {ITEM: {"status": "shipped"}}

    def test_a_tombstone_is_not_found_and_stops_a_late_replay(self, index: SearchableIndex) -> None:
        sink = Search(index, document)
        placed, removed = change(1, None, PLACED), change(2, PLACED, None)
        assert sink.apply([placed], deadline()).applied == 1
        assert ITEM in index.search()
        assert sink.apply([removed], deadline()).applied == 1
        assert index.search() == {}
        assert sink.apply([placed], deadline()).stale == 1
        assert index.search() == {}

    def test_a_returning_item_replaces_its_older_tombstone(self, index: SearchableIndex) -> None:
        sink = Search(index, document)
        placed, removed = change(1, None, PLACED), change(3, PLACED, None)
        again, between = change(4, None, SHIPPED), change(2, None, PLACED)
        assert sink.apply([placed], deadline()).applied == 1
        assert sink.apply([removed], deadline()).applied == 1
        assert sink.apply([between], deadline()).stale == 1
        assert index.search() == {}
        assert sink.apply([again], deadline()).applied == 1
        assert index.search()[ITEM]["status"] == "shipped"
        outcome = sink.apply([placed], deadline())
        assert (outcome.applied, outcome.stale, outcome.version_order_violations) == (0, 1, 0)
        assert index.search()[ITEM]["status"] == "shipped"

    def test_numbers_survive(self, index: SearchableIndex) -> None:
        """A script's parameters would turn them into doubles."""
        exact = Decimal("12345678901234567.89")

        def detailed(image: Image) -> dict[str, Any]:
            return {**document(image), "not_searchable": exact}

        assert Search(index, detailed).apply([change(1, None, order())], deadline()).applied == 1
        assert index.search()[ITEM]["not_searchable"] == "12345678901234567.89"

    def test_many_at_once_each_with_its_own_answer(self, index: SearchableIndex) -> None:
        sink = Search(index, document)
        orders = [order(f"{number:05}-1") for number in range(300)]
        later = change(900, orders[7], {**orders[7], "status": "shipped"})
        assert sink.apply([later], deadline()).applied == 1
        outcome = sink.apply([change(n + 1, None, o) for n, o in enumerate(orders)], deadline())
        assert (outcome.applied, outcome.stale, outcome.failures) == (299, 1, {})
        assert outcome.version_order_violations == 0
        assert len(index.search()) == 300

    def test_a_document_is_read_and_replaced_unless_it_moved(self, index: SearchableIndex) -> None:
        assert index.read(ITEM, deadline()) is None
        index.upsert([upsert("1", status="placed")], deadline())
        held = index.read(ITEM, deadline())
        assert held is not None
        assert held.source == upsert("1", status="placed").source
        assert index.replace(held, upsert("1", status="repaired"), deadline())
        assert not index.replace(held, upsert("1", status="overwritten"), deadline())
        assert index.search() == {ITEM: {"status": "repaired"}}

    def test_a_repair_shows_the_table_and_newer_changes_win(self, index: SearchableIndex) -> None:
        sink = Search(index, document)
        assert not sink.repair(ITEM, lambda: PLACED, deadline())
        sink.apply([change(1, None, PLACED)], deadline())
        assert not sink.repair(ITEM, lambda: PLACED, deadline())
        assert sink.repair(ITEM, lambda: SHIPPED, deadline())
        assert index.search()[ITEM]["status"] == "shipped"
        assert sink.repair(ITEM, lambda: None, deadline())
        assert index.search() == {}
        assert sink.apply([change(2, PLACED, SHIPPED)], deadline()).applied == 1
        assert index.search()[ITEM]["status"] == "shipped"

    def test_a_document_is_made_where_there_is_none(self, index: SearchableIndex) -> None:
        index.upsert([], deadline())
        assert index.replace(None, upsert("2", status="repaired"), deadline())
        assert not index.replace(None, upsert("3", status="overwritten"), deadline())
        assert index.search() == {ITEM: {"status": "repaired"}}

    @pytest.mark.parametrize("image", [SHIPPED, None])
    def test_a_repair_writes_a_missing_document(
        self, index: SearchableIndex, image: dict[str, Any] | None
    ) -> None:
        sink = Search(index, document)
        poison = change(5, None, order(status="lost"))
        assert sink.repair(ITEM, lambda: image, deadline(), ItemVersion.of(poison))
        held = sink.held(ITEM, deadline())
        assert held is not None
        assert held["version"] == poison.version
        assert held["cdc"]["deleted"] is (image is None)
        assert sink.apply([change(4, None, PLACED)], deadline()).stale == 1
        assert (ITEM in index.search()) is (image is not None)
        assert sink.apply([change(6, None, PLACED)], deadline()).applied == 1

    def test_tombstones_that_are_old_enough_are_purged(self, index: SearchableIndex) -> None:
        sink = Search(index, document)
        gone, lately, there = order("00001-1"), order("00002-1"), order("00003-1")
        sink.apply([change(1, gone, None), change(2, None, there)], deadline())
        later = Deadline(ManualClock(deadline().now() + 10))
        sink.apply([change(3, lately, None)], later)
        old = deadline().now() + 1
        assert index.tombstones(None, deadline()) == 2
        assert index.tombstones(old, deadline()) == 1
        assert index.purge(old, 100, deadline()) == 1
        assert index.tombstones(None, deadline()) == 1
        assert sink.held("orders/S=00001/S=00001-1", deadline()) is None
        assert sink.held("orders/S=00002/S=00002-1", deadline()) is not None
        assert len(index.search()) == 1

    def test_a_purge_deletes_as_many_as_it_is_asked_to(self, index: SearchableIndex) -> None:
        sink = Search(index, document)
        sink.apply([change(n, order(f"0000{n}-1"), None) for n in range(1, 6)], deadline())
        old = deadline().now() + 1
        assert [index.purge(old, 2, deadline()) for _ in range(4)] == [2, 2, 1, 0]

    def test_a_repair_that_is_overtaken_reads_again(self, index: SearchableIndex) -> None:
        sink = Search(index, document)
        sink.apply([change(1, None, PLACED)], deadline())
        reads: list[str] = []

        def read_item() -> dict[str, Any]:
            if not reads:
                sink.apply([change(2, PLACED, SHIPPED)], deadline())
            reads.append("item")
            return order(status="refunded") if len(reads) == 1 else SHIPPED

        assert not sink.repair(ITEM, read_item, deadline())
        assert len(reads) == 2
        assert index.search()[ITEM]["status"] == "shipped"

    def test_a_stale_change_that_is_younger_is_counted(self, index: SearchableIndex) -> None:
        sink = Search(index, document)
        sink.apply([change(5, PLACED, SHIPPED, timestamp=100)], deadline())
        outcome = sink.apply([change(4, None, PLACED, timestamp=102)], deadline())
        assert (outcome.stale, outcome.version_order_violations) == (1, 1)
        outcome = sink.apply([change(3, PLACED, PLACED, timestamp=102)], deadline())
        assert (outcome.stale, outcome.version_order_violations) == (1, 1)

    def test_documents_and_tombstones_are_read_by_their_items(self, index: SearchableIndex) -> None:
        assert index.read_many([], deadline()) == {}
        assert index.read_many([ITEM], deadline()) == {}
        tombstone = upsert("2", "orders/S=2/S=2", deleted=True)
        index.upsert([upsert("1", status="placed"), tombstone], deadline())
        held = index.read_many([ITEM, "orders/S=2/S=2", "orders/S=3/S=3"], deadline())
        assert {name: each.source for name, each in held.items()} == {
            ITEM: upsert("1", status="placed").source,
            "orders/S=2/S=2": tombstone.source,
        }
        assert held[ITEM] == index.read(ITEM, deadline())

    def test_a_walk_returns_each_document_once_in_order(self, index: SearchableIndex) -> None:
        names = [f"orders/S={number}/S=1" for number in range(7)]
        index.upsert([upsert("1", n, deleted=n == names[3]) for n in reversed(names)], deadline())
        pages = walked(index, most=3)
        assert [name for page in pages for name in page.live] == [*names[:3], *names[4:]]
        assert [name for page in pages for name in page.deleted] == [names[3]]
        assert sum(page.read for page in pages) == 7
        assert all(page.read <= 3 and not page.foreign for page in pages)

    def test_a_walk_of_no_documents_ends_at_once(self, index: SearchableIndex) -> None:
        [page] = walked(index, most=3)
        assert (list(page.live), page.following, page.read) == ([], None, 0)

    def test_segments_of_a_walk_have_each_document_once(self, index: SearchableIndex) -> None:
        sink = Search(index, document)
        orders = [order(f"{number:05}-1") for number in range(40)]
        sink.apply([change(n + 1, None, each) for n, each in enumerate(orders)], deadline())
        sink.apply([change(99, orders[7], None)], deadline())
        index.upsert([upsert("1", "orders/S=in/S=no bucket")], deadline())
        parts = [walked(index, Segment(number, 4), most=3) for number in range(4)]
        found = [n for pages in parts for page in pages for n in (*page.live, *page.deleted)]
        assert len(found) == len(set(found)) == 41
        assert all(sum(page.read for page in pages) > 2 for pages in parts)

    def test_a_walk_of_tombstones_returns_these_alone(self, index: SearchableIndex) -> None:
        names = [f"orders/S={number}/S=1" for number in range(7)]
        index.upsert([upsert("1", name, deleted=name > names[3]) for name in names], deadline())
        pages = walked(index, most=2, tombstones=True)
        assert [name for page in pages for name in page.deleted] == names[4:]
        assert sum(page.read for page in pages) == 3

    def test_a_document_that_moved_is_not_removed(self, index: SearchableIndex) -> None:
        index.upsert([upsert("1", status="placed")], deadline())
        token = token_of(index.read(ITEM, deadline()))
        index.upsert([upsert("2", status="shipped")], deadline())
        assert not index.remove(ITEM, token, deadline())
        assert statuses(index) == {ITEM: "shipped"}
        assert index.remove(ITEM, token_of(index.read(ITEM, deadline())), deadline())
        assert index.read(ITEM, deadline()) is None
        assert not index.remove(ITEM, token, deadline())

    def test_there_is_no_second_index_until_one_is_begun(self, index: SearchableIndex) -> None:
        index.upsert([upsert("1", status="placed")], deadline())
        assert index.pair(deadline()) is None
        assert standing(index) == IndexStatus(1, None, True, [])
        index.begin(deadline())
        index.begin(deadline())
        assert standing(index) == IndexStatus(1, 2, True, [])
        live, second = pair_of(index)
        assert statuses(live) == {ITEM: "placed"}
        assert statuses(second) == {}

    def test_readers_do_not_find_the_second_index(self, index: SearchableIndex) -> None:
        index.upsert([upsert("1", status="placed")], deadline())
        index.begin(deadline())
        live, second = pair_of(index)
        second.upsert([upsert("2", status="shipped")], deadline())
        assert index.search() == {ITEM: {"status": "placed"}}
        live.upsert([upsert("3", status="refunded")], deadline())
        assert index.search() == {ITEM: {"status": "refunded"}}
        assert statuses(second) == {ITEM: "shipped"}

    def test_a_swap_exchanges_the_indexes_and_another_one_back(
        self, index: SearchableIndex
    ) -> None:
        index.upsert([upsert("1", status="placed")], deadline())
        index.begin(deadline())
        before = pair_of(index)
        before.second.upsert([upsert("1", status="rebuilt")], deadline())
        assert index.swap(1, 2, deadline())
        assert index.search() == {ITEM: {"status": "rebuilt"}}
        assert standing(index) == IndexStatus(2, 1, True, [])
        after = pair_of(index)
        assert (statuses(after.live), statuses(after.second)) == (
            {ITEM: "rebuilt"},
            {ITEM: "placed"},
        )
        assert statuses(before.live) == {ITEM: "placed"}, "a name moved that must not"
        assert index.swap(2, 1, deadline())
        assert index.search() == {ITEM: {"status": "placed"}}

    def test_a_swap_by_an_outdated_operator_changes_nothing(self, index: SearchableIndex) -> None:
        index.upsert([upsert("1", status="placed")], deadline())
        assert not index.swap(1, 2, deadline())
        index.begin(deadline())
        assert index.swap(1, 2, deadline())
        assert not index.swap(1, 2, deadline())
        assert not index.release(2, deadline())
        assert not index.delete(1, deadline())
        assert not index.delete(2, deadline())
        assert standing(index) == IndexStatus(2, 1, True, [])

    def test_an_index_is_deleted_once_it_is_released(self, index: SearchableIndex) -> None:
        index.upsert([upsert("1", status="placed")], deadline())
        index.begin(deadline())
        assert index.swap(1, 2, deadline())
        assert index.release(1, deadline())
        assert not index.release(1, deadline())
        assert not index.swap(2, 1, deadline())
        assert index.pair(deadline()) is None
        assert standing(index) == IndexStatus(2, None, True, [1])
        assert index.delete(1, deadline())
        assert not index.delete(1, deadline())
        assert standing(index) == IndexStatus(2, None, True, [])
        index.begin(deadline())
        assert standing(index) == IndexStatus(2, 3, True, [])

    def test_an_index_is_told_from_an_earlier_one_of_its_name(self, index: SearchableIndex) -> None:
        index.upsert([upsert("1", status="placed")], deadline())
        assert index.status(deadline()).made == ""
        index.begin(deadline())
        made = index.status(deadline()).made
        assert made == index.status(deadline()).made != ""
        assert index.release(2, deadline())
        assert index.delete(2, deadline())
        index.begin(deadline())
        assert standing(index) == IndexStatus(1, 2, True, [])
        assert index.status(deadline()).made != made

    def test_every_index_is_listed_while_there_are_several(self, index: SearchableIndex) -> None:
        tombstone = upsert("1", deleted=True)
        index.upsert([tombstone], deadline())
        index.begin(deadline())
        pair_of(index).second.upsert([tombstone], deadline())
        assert index.release(2, deadline())
        index.begin(deadline())
        pair_of(index).second.upsert([tombstone], deadline())
        every = index.every(deadline())
        assert len(every) == 3
        for each in every:
            (held,) = each.read_many([ITEM], deadline()).values()
            assert each.remove(ITEM, token_of(held), deadline())
            assert each.read_many([ITEM], deadline()) == {}
        assert not any(each.read_many([ITEM], deadline()) for each in index.every(deadline()))
