"""What goes to OpenSearch in which request, and whose failure a failed request is."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from opensearchpy.exceptions import ConnectionTimeout, RequestError

from dynamodb_streams_cdc import RetryableError
from dynamodb_streams_cdc.aws.opensearch import OpenSearchIndex
from dynamodb_streams_cdc.aws.opensearch_documents import BULK_BYTES
from dynamodb_streams_cdc.aws.opensearch_errors import CONFLICT, DOCUMENT_MISSING, SearchRefused
from dynamodb_streams_cdc.sinks.documents import Stale, Upsert
from lambdas.search.handler import encoded
from tests.factories import deadline

DONE = {"result": "created", "status": 201}
THERE = {"status": 409, "error": {"type": CONFLICT}}
NOT_THERE = {"status": 404, "error": {"type": DOCUMENT_MISSING}}
OLDER = {"result": "noop", "status": 200, "get": {"_source": {"cdc": {"changed_at": 7.0}}}}


@dataclass
class Bulk:
    """A client that gives prepared answers, or says that all went well."""

    answers: list[Any] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def bulk(self, body: bytes, index: str, params: Any) -> Any:
        self.bodies.append(body)
        if not self.answers:
            return {"items": [{"update": DONE} for _ in self.ids(-1)]}
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {"items": [{"update": each} for each in answer]}

    def ids(self, number: int) -> list[str]:
        """Return the documents of a request."""
        actions = [json.loads(line) for line in self.bodies[number].split(b"\n")[:-1:2]]
        return [about["_id"] for action in actions for about in action.values()]


def index(client: Bulk) -> OpenSearchIndex:
    opensearch: Any = client
    return OpenSearchIndex(opensearch, "orders", {}, {}, encoded)


def upsert(item: str, text: str = "", *, is_first: bool = True) -> Upsert:
    return Upsert(item, {"text": text, "cdc": {"item": item, "version": "1"}}, is_first)


def test_a_second_request_writes_open_documents() -> None:
    client = Bulk([[DONE, THERE, NOT_THERE, OLDER], [DONE, DONE, OLDER]])
    upserts = [upsert("a"), upsert("b"), *(upsert(item, is_first=False) for item in "cd")]
    assert index(client).upsert(upserts, deadline()) == [None, None, None, Stale(7.0)]
    assert [client.ids(0), client.ids(1)] == [["a", "b", "c", "d"], ["b", "c", "d"]]
    assert client.bodies[1].count(b"scripted_upsert") == 3


def test_a_failed_second_request_fails_open_documents_only() -> None:
    client = Bulk([[DONE, THERE, DONE], ConnectionTimeout("TIMEOUT", "8 s", OSError())])
    first, second, third = index(client).upsert([upsert(each) for each in "abc"], deadline())
    assert first is third is None
    assert type(second) is RetryableError


def test_a_refused_second_request_fails_one_document() -> None:
    refused = RequestError(400, "odd", {"error": {"type": "odd", "reason": "this one"}})
    first = [THERE, DONE, THERE, THERE, THERE]
    client = Bulk([first, refused, [DONE, OLDER], refused, refused, [DONE]])
    results = index(client).upsert([upsert(each) for each in "abcde"], deadline())
    assert [client.ids(number) for number in range(1, 6)] == [
        ["a", "c", "d", "e"],
        ["a", "c"],
        ["d", "e"],
        ["d"],
        ["e"],
    ]
    assert [*results[:3], results[4]] == [None, None, Stale(7.0), None]
    assert type(results[3]) is SearchRefused


@pytest.mark.parametrize("character", ["x", "é", "漢", "😀"])
def test_requests_are_measured_in_bytes_for_any_text(character: str) -> None:
    client = Bulk()
    upserts = [upsert(str(number), character * 60_000) for number in range(100)]
    assert index(client).upsert(upserts, deadline()) == [None] * 100
    assert max(map(len, client.bodies)) < BULK_BYTES * 1.01
    assert sum(map(len, client.bodies)) > 100 * 60_000 * len(character.encode())


def test_half_a_character_is_escaped() -> None:
    client = Bulk()
    assert (
        index(client).upsert([upsert("a", "half: \ud83d"), upsert("b")], deadline()) == [None] * 2
    )
    assert b"half: \\ud83d" in client.bodies[0]
