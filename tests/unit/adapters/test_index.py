"""What goes to OpenSearch where no answer tells it.

The contract of the index runs on OpenSearch itself, in `tests/integration/test_ports.py`.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest
from opensearchpy import Connection, OpenSearch

from dynamodb_streams_cdc.aws.opensearch import OpenSearchIndex
from dynamodb_streams_cdc.aws.opensearch_documents import (
    CDC_MAPPING,
    REQUEST_SECONDS,
    RETRY_ON_CONFLICT,
)
from dynamodb_streams_cdc.aws.opensearch_errors import EXISTS, MISSING
from dynamodb_streams_cdc.errors import RetryableError
from dynamodb_streams_cdc.sinks.comparison import Segment
from dynamodb_streams_cdc.sinks.documents import CDC
from lambdas.example_domain.order import INDEX
from tests.contracts.index import ITEM, upsert
from tests.factories import deadline

ANSWERS = {
    ("PUT", "/orders-v1"): {"acknowledged": True},
    ("POST", "/orders-write/_bulk"): {"items": [{"update": {"status": 200}}]},
    ("GET", "/orders-write/_doc/1"): {
        "_index": "orders-v1",
        "_source": {},
        "_seq_no": 4,
        "_primary_term": 2,
    },
    ("PUT", "/orders-write/_doc/1"): {"_index": "orders-v1", "result": "updated"},
    ("POST", "/orders-write/_refresh"): {"_shards": {}},
    ("POST", "/orders-write/_delete_by_query"): {"deleted": 3},
}


class Sent(NamedTuple):
    method: str
    path: str
    params: Mapping[str, Any]
    body: Any
    timeout: float | None


class Wire(Connection):
    """The client's connection: keeps requests, refuses the first of some, answers the others."""

    sent: list[Sent]
    refusals: list[tuple[int, str]]

    def perform_request(
        self, method: str, url: str, params: Any = None, body: Any = None, *args: Any, **others: Any
    ) -> Any:
        timeout = others.get("timeout", args[0] if args else None)
        self.sent.append(Sent(method, url, dict(params or {}), body, timeout))
        if self.refusals and method == "PUT":
            status, type_ = self.refusals.pop(0)
            answer = {"error": {"type": type_, "reason": "as told"}, "status": status}
            self._raise_error(status, json.dumps(answer), "application/json")
        return 200, {"content-type": "application/json"}, json.dumps(ANSWERS[method, url])


def wired(*refusals: tuple[int, str], **others: Any) -> tuple[OpenSearchIndex, list[Sent]]:
    """Return an index, and the requests that it will send; some of its PUTs are refused."""
    sent: list[Sent] = []
    wire = type("Wired", (Wire,), {"sent": sent, "refusals": list(refusals)})
    client = OpenSearch("http://node", connection_class=wire, max_retries=0)
    declared = {"properties": INDEX.properties, "settings": INDEX.settings}
    return OpenSearchIndex(client, "orders", **{**declared, **others}), sent


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
def test_a_replica_waits_for_a_second_node(given: dict[str, Any], made: dict[str, Any]) -> None:
    """A domain of one node would be yellow; what the declaration says of replicas is kept."""
    index, sent = wired(settings=given)
    index.create(deadline())
    assert json.loads(sent[0].body)["settings"] == made


def test_an_index_from_before_that_default_needs_no_rebuild() -> None:
    index, sent = wired(properties={}, settings={})
    index.create(deadline())
    of_before = hashlib.sha256(b"[{}, {}]").hexdigest()[:16]
    assert json.loads(sent[0].body)["mappings"]["_meta"][CDC] == of_before


def test_index_guesses_no_field() -> None:
    """A field that an item brings along must not fix the type of that field for all others."""
    index, sent = wired()
    index.create(deadline())
    mappings = json.loads(sent[0].body)["mappings"]
    assert mappings["dynamic"] is False
    assert mappings["properties"] == {**INDEX.properties, CDC: CDC_MAPPING}
    assert CDC_MAPPING["properties"].keys() == {"deleted", "written_at", "item", "bucket"}


def test_index_that_is_made_meanwhile_is_success() -> None:
    index, sent = wired((400, EXISTS))
    index.create(deadline())
    assert [each.path for each in sent] == ["/orders-v1"]


def test_missing_index_is_never_guessed_by_a_repair() -> None:
    """OpenSearch makes an index of the alias's name otherwise, and readers find nothing."""
    index, sent = wired((404, MISSING))
    assert index.replace(None, upsert("1", "1"), deadline())
    assert [each.path for each in sent] == [
        "/orders-write/_doc/1",
        "/orders-v1",
        "/orders-write/_doc/1",
    ]
    assert [str(each.params.get("require_alias")) for each in sent] == ["true", "None", "true"]


def test_update_that_meets_others_is_retried_by_the_node() -> None:
    index, sent = wired()
    index.upsert([upsert("2")], deadline())
    action = json.loads(sent[0].body.splitlines()[0])
    assert action == {"update": {"_id": ITEM, "retry_on_conflict": RETRY_ON_CONFLICT}}


def test_purge_goes_on_past_what_moved_while_it_ran() -> None:
    """The item of a tombstone comes back before it is deleted; a search finds what is left."""
    index, sent = wired()
    assert index.purge(7.0, 100, deadline()) == 3
    refresh, purge = sent
    assert refresh.path == "/orders-write/_refresh"
    assert (purge.params["conflicts"], purge.params["max_docs"]) == ("proceed", 100)
    assert str(purge.params["refresh"]) == "true"


def test_every_request_ends_before_the_invocation_does() -> None:
    """opensearch-py waits for 10 s by default, and its own time-out is the node's."""
    index, sent = wired()
    index.create(deadline())
    index.upsert([upsert("1", "1")], deadline())
    assert index.replace(index.read("1", deadline()), upsert("1", "1"), deadline())
    assert {each.timeout for each in sent} == {REQUEST_SECONDS}
    assert len(sent) == 4


class Proxy(Connection):
    """Answers in the place of OpenSearch."""

    answer: tuple[int, Mapping[str, str], str] = (200, {"content-type": "text/html"}, "<html>")

    def perform_request(self, *args: Any, **others: Any) -> Any:
        return self.answer


def behind(proxy: type[Connection]) -> OpenSearchIndex:
    client = OpenSearch("http://node", connection_class=proxy, max_retries=0)
    return OpenSearchIndex(client, "orders", properties={}, settings={})


REQUESTS: dict[str, Callable[[OpenSearchIndex], object]] = {
    "begin": lambda index: index.begin(deadline()),
    "create": lambda index: index.create(deadline()),
    "delete": lambda index: index.delete(3, deadline()),
    "every": lambda index: index.every(deadline()),
    "pair": lambda index: index.pair(deadline()),
    "purge": lambda index: index.purge(7.0, 100, deadline()),
    "read": lambda index: index.read("1", deadline()),
    "read_many": lambda index: index.read_many(["1"], deadline()),
    "release": lambda index: index.release(1, deadline()),
    "remove": lambda index: index.remove("1", "[1, 1]", deadline()),
    "replace": lambda index: index.replace(None, upsert("1", "1"), deadline()),
    "swap": lambda index: index.swap(1, 2, deadline()),
    "tombstones": lambda index: index.tombstones(None, deadline()),
    "walk": lambda index: index.walk(Segment(), None, 10, deadline()),
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_a_page_in_the_place_of_an_answer_is_an_outage(
    request_: Callable[[OpenSearchIndex], object],
) -> None:
    """Each write looks first whether there is a second index: no record is at fault for a page."""
    with pytest.raises(RetryableError, match="not JSON"):
        request_(behind(Proxy))


class Stranger(Connection):
    """Says yes to everything."""

    body = ""

    def perform_request(self, *args: Any, **others: Any) -> Any:
        return 200, {"content-type": "application/json"}, self.body


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("body", ["", "[]", "{}", '{"message": "ok"}'])
def test_an_answer_of_another_program_is_an_outage(
    request_: Callable[[OpenSearchIndex], object], body: str
) -> None:
    """A repair would count as done, and a change as at fault."""
    with pytest.raises(RetryableError, match="not of OpenSearch"):
        request_(behind(type("Told", (Stranger,), {"body": body})))


class Hiding(Connection):
    """Shows the write alias alone, or says that it is not there."""

    live: tuple[int, Mapping[str, Any]]

    def perform_request(self, method: str, url: str, *args: Any, **others: Any) -> Any:
        status, answer = self.live if "/orders-write/" in url else (200, {})
        return status, {"content-type": "application/json"}, json.dumps(answer)


@pytest.mark.parametrize(
    "live",
    [
        (200, {"orders-v1": {"aliases": {"orders-write": {}}}}),
        (404, {"error": {"type": MISSING, "reason": "as told"}, "status": 404}),
    ],
    ids=["there", "missing"],
)
def test_a_hidden_name_tells_of_one_index_alone(live: tuple[int, Mapping[str, Any]]) -> None:
    """Of a role that may see its own aliases alone."""
    assert behind(type("Told", (Hiding,), {"live": live})).pair(deadline()) is None


class Other(Connection):
    """Answers with a status 404 that is not of OpenSearch."""

    body = ""

    def perform_request(self, *args: Any, **others: Any) -> Any:
        if 404 not in others["ignore"]:
            self._raise_error(404, self.body, "application/json")
        return 404, {"content-type": "application/json"}, self.body


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        '{"message": "no route"}',
        '{"error": "Not Found", "status": 404}',
        '{"error": {"code": 404, "message": "no route"}}',
    ],
)
def test_another_404_does_not_say_that_nothing_is_there(
    request_: Callable[[OpenSearchIndex], object], body: str
) -> None:
    """An index that is missed misses changes, and an erasure finds no document in it."""
    with pytest.raises(RetryableError):
        request_(behind(type("Told", (Other,), {"body": body})))
