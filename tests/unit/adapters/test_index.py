"""The index adapter keeps its contract without a server; what each condition is for."""

import hashlib
from typing import Any

import pytest

from dynamodb_streams_cdc import RetryableError, Search
from dynamodb_streams_cdc.aws.opensearch_documents import (
    CDC_MAPPING,
    REQUEST_SECONDS,
    RETRY_ON_CONFLICT,
)
from dynamodb_streams_cdc.aws.opensearch_errors import SearchRefused
from dynamodb_streams_cdc.errors import ConflictError
from dynamodb_streams_cdc.sinks.comparison import Segment
from dynamodb_streams_cdc.sinks.documents import CDC, Stale
from lambdas.example_domain.order import INDEX, document
from tests.contracts.index import (
    ITEM,
    IndexContract,
    ReadableIndex,
    SearchableIndex,
    upsert,
    walked,
)
from tests.factories import change, deadline, order
from tests.unit.adapters.search_node import Node

PLACED = order()


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def index(node: Node) -> ReadableIndex:
    return ReadableIndex(node.client(), "orders", INDEX.properties, INDEX.settings)


class TestOpenSearchIndex(IndexContract):
    @pytest.fixture
    def index(self, node: Node) -> SearchableIndex:
        return ReadableIndex(node.client(), "orders", INDEX.properties, INDEX.settings)


def test_missing_index_is_never_guessed_by_a_bulk_request(node: Node, index: ReadableIndex) -> None:
    """OpenSearch makes an index of the alias's name otherwise, and readers find nothing."""
    assert index.upsert([upsert("1")], deadline()) == [None]
    assert list(node.indices) == ["orders-v1"]
    assert set(node.indices["orders-v1"].aliases) == {
        "orders",
        "orders-write",
        "orders-v1-own",
    }


def test_missing_index_is_never_guessed_by_a_repair(node: Node, index: ReadableIndex) -> None:
    assert index.replace(None, upsert("1"), deadline())
    assert list(node.indices) == ["orders-v1"]


def test_index_that_is_made_meanwhile_is_success(node: Node, index: ReadableIndex) -> None:
    index.create(deadline())
    index.create(deadline())
    assert list(node.indices) == ["orders-v1"]


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({}, {"index.auto_expand_replicas": "0-1"}),
        (
            {"index": {"number_of_shards": 3}},
            {"index": {"number_of_shards": 3}, "index.auto_expand_replicas": "0-1"},
        ),
        *(
            (replicas, replicas)
            for replicas in (
                {"number_of_replicas": 2},
                {"index.number_of_replicas": 2},
                {"index": {"number_of_replicas": 2}},
                {"index": {"auto_expand_replicas": "0-2"}},
            )
        ),
    ],
)
def test_a_replica_waits_for_a_second_node(
    node: Node, given: dict[str, Any], made: dict[str, Any]
) -> None:
    """A domain of one node would be yellow; what the declaration says of replicas is kept."""
    index = ReadableIndex(node.client(), "orders", {}, given)
    index.create(deadline())
    assert node.indices["orders-v1"].settings == made
    assert index.status(deadline()).fits


def test_an_index_from_before_that_default_needs_no_rebuild(node: Node) -> None:
    index = ReadableIndex(node.client(), "orders", {}, {})
    index.create(deadline())
    of_before = hashlib.sha256(b"[{}, {}]").hexdigest()[:16]
    assert node.indices["orders-v1"].meta[CDC] == of_before


@pytest.mark.parametrize(("others", "written"), [(RETRY_ON_CONFLICT, True), (4, False)])
def test_update_that_meets_others_is_retried_by_the_node(
    node: Node, index: ReadableIndex, others: int, written: bool
) -> None:
    index.upsert([upsert("1", status="placed")], deadline())
    node.conflicts[ITEM] = others
    [result] = index.upsert([upsert("2", status="shipped")], deadline())
    assert result is None if written else isinstance(result, ConflictError)
    assert index.search() == {ITEM: {"status": "shipped" if written else "placed"}}


def test_document_is_read_as_last_written(node: Node, index: ReadableIndex) -> None:
    """A search would find what was there at the last refresh, and undo what came since."""
    index.upsert([upsert("1", status="placed")], deadline())
    node.indices["orders-v1"].refresh()
    index.upsert([upsert("2", status="shipped")], deadline())
    held = index.read(ITEM, deadline())
    assert held is not None
    assert held.source["status"] == "shipped"


def test_tombstone_is_read_by_a_repair(index: ReadableIndex) -> None:
    """Readers' alias hides it; a repair that missed it would write an item without a version."""
    sink = Search(index, document)
    sink.apply([change(1, PLACED, None)], deadline())
    assert sink.held(ITEM, deadline()) is not None


def test_purge_finds_tombstones_that_no_search_has_seen_yet(index: ReadableIndex) -> None:
    Search(index, document).apply([change(1, PLACED, None)], deadline())
    assert index.purge(deadline().now() + 1, 100, deadline()) == 1


def test_purge_leaves_what_moved_while_it_ran(node: Node, index: ReadableIndex) -> None:
    """Two tombstones are found; the item of one comes back before it is deleted."""
    sink, other = Search(index, document), order("00009-0001")
    sink.apply([change(1, PLACED, None), change(1, other, None)], deadline())

    def come_back() -> None:
        sink.apply([change(2, None, PLACED)], deadline())

    node.meanwhile = come_back
    assert index.purge(deadline().now() + 1, 100, deadline()) == 1
    assert list(index.search()) == [ITEM]


def test_purged_tombstones_are_not_found_again(node: Node, index: ReadableIndex) -> None:
    Search(index, document).apply([change(1, PLACED, None)], deadline())
    index.purge(deadline().now() + 1, 100, deadline())
    assert node.indices["orders-v1"].searchable == {}


def test_every_request_ends_before_the_invocation_does(node: Node, index: ReadableIndex) -> None:
    """opensearch-py waits for 10 s by default, and its own time-out is the node's."""
    index.upsert([upsert("1")], deadline())
    index.upsert([upsert("1")], deadline())
    index.replace(index.read(ITEM, deadline()), upsert("1"), deadline())
    kinds = {request.path.split("/")[2] for request in node.requests if request.method != "PUT"}
    assert kinds == {"_bulk", "_doc"}
    assert [r.path for r in node.requests if r.method == "PUT"] == [
        "/orders-v1",
        "/orders-write/_doc/orders%2FS%3D00004%2FS%3D00004-0001",
    ]
    assert {request.timeout for request in node.requests} == {REQUEST_SECONDS}


def test_stale_document_is_told_from_one_that_is_lost(index: ReadableIndex) -> None:
    """The time of what is held decides whether a refusal is alarmed: it has to be asked for."""
    index.upsert([upsert("2")], deadline())
    assert index.upsert([upsert("1")], deadline()) == [Stale(7.0)]


def test_writes_go_through_the_write_alias(node: Node, index: ReadableIndex) -> None:
    """A new index is filled behind it while readers search the old one."""
    index.upsert([upsert("1")], deadline())
    index.replace(index.read(ITEM, deadline()), upsert("1"), deadline())
    aliases: Any = {request.path.split("/")[1] for request in node.requests}
    assert aliases == {"orders-write", "orders-v1"}
    assert node.indices["orders-v1"].aliases["orders-write"] == {"is_write_index": True}


@pytest.mark.parametrize(("status", "meaning"), [(429, RetryableError), (400, SearchRefused)])
def test_status_tells_an_outage_from_a_refusal(
    node: Node, index: ReadableIndex, status: int, meaning: type[Exception]
) -> None:
    node.refusals[ITEM] = status, "of_no_table"
    [result] = index.upsert([upsert("1")], deadline())
    assert isinstance(result, meaning)


def test_index_guesses_no_field(node: Node, index: ReadableIndex) -> None:
    """A field that an item brings along must not fix the type of that field for all others."""
    index.create(deadline())
    mappings = node.requests[0].body["mappings"]
    assert mappings["dynamic"] is False
    assert mappings["properties"] == {**INDEX.properties, CDC: CDC_MAPPING}
    assert CDC_MAPPING["properties"].keys() == {"deleted", "written_at", "item", "bucket"}


def test_two_documents_of_one_item_at_the_border_of_a_page(
    node: Node, index: ReadableIndex
) -> None:
    names = [f"orders/S={number}/S=1" for number in range(4)]
    index.upsert([upsert("1", name) for name in names], deadline())
    made = node.indices["orders-v1"]
    for number in range(3):
        made.put(f"double-{number}", made.documents[names[1]].source)
    for most in range(1, 6):
        pages = walked(index, most=most)
        assert [name for page in pages for name in page.live] == names
        foreign = [name for page in pages for name in page.foreign]
        assert sorted(foreign) == ["double-0", "double-1", "double-2"]


def test_one_walk_finds_all_documents_without_an_identity(node: Node, index: ReadableIndex) -> None:
    index.upsert([upsert("1")], deadline())
    made = node.indices["orders-v1"]
    for number in range(1_200):
        made.put(f"stranger-{number}", {"hello": number, **({CDC: {}} if number % 2 else {})})
    pages = walked(index, most=500)
    foreign = [name for page in pages for name in page.foreign]
    assert len(foreign) == len(set(foreign)) == 1_200
    assert all(page.read <= 500 for page in pages)
    [second] = walked(index, Segment(1, 2), most=500)
    assert second.foreign == {}
