"""Errors of OpenSearch, and the exceptions that the port raises for them.

The errors come from a real node; a proxy answers in place of a managed domain's load balancer.
`test_failure_table_aws` does the same for DynamoDB and S3, and `test_failure_outcomes` checks the
results of whole batches.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest

from dynamodb_streams_cdc import Deadline, PermanentError, RetryableError
from dynamodb_streams_cdc.aws import opensearch_documents as index_module
from dynamodb_streams_cdc.aws.opensearch_documents import SCRIPT
from dynamodb_streams_cdc.aws.opensearch_errors import SearchRefused
from dynamodb_streams_cdc.errors import AccessDeniedError, ConflictError, MisconfiguredError
from dynamodb_streams_cdc.sinks.documents import Stale, Upsert
from lambdas.example_domain.order import INDEX
from tests.contracts.index import ReadableIndex
from tests.integration import clients
from tests.integration.clients import result_of
from tests.integration.faulty_proxy import PAGE, Answer, Exchange, faulty_proxy, reset


def upsert(item_id: str = "item", version: str = "1", **fields: Any) -> Upsert:
    stamp = {"item": item_id, "version": version, "changed_at": 7.0, "written_at": 8.0}
    return Upsert(item_id, {**fields, "cdc": {**stamp, "deleted": False}})


PARSING = "mapper_parsing_exception"


def nested(levels: int) -> Any:
    return "deep" if levels == 0 else [nested(levels - 1)]


@pytest.mark.parametrize(
    ("fields", "reason", "cause"),
    [
        ({"placed_at": "yesterday"}, PARSING, "failed to parse field [placed_at] of type [date]"),
        ({"total": "a lot"}, PARSING, "failed to parse field [total] of type [scaled_float]"),
        ({"units": "9" * 20}, "NumberOutOfRange", "units: the index's long holds"),
        ({"status": {"a": 1}}, PARSING, "failed to parse field [status] of type [keyword]"),
        ({"updated_by": nested(21)}, PARSING, "caused by parse_exception"),
        ({"": "x"}, PARSING, "caused by illegal_argument_exception"),
        ({"status": "x" * 32767}, "max_bytes_length_exceeded_exception", "immense term"),
    ],
)
def test_a_document_that_the_mapping_cannot_take(
    index: ReadableIndex, fields: dict[str, Any], reason: str, cause: str
) -> None:
    before, refused, after = index.upsert(
        [upsert("first"), upsert("bad", **fields), upsert("last")], Deadline()
    )
    assert before is after is None
    assert isinstance(refused, PermanentError)
    assert refused.reason == reason
    assert cause in str(refused)
    for value in ("yesterday", "a lot", "9999", "xxx"):
        assert value not in str(refused), "logs contain no data of customers"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (upsert("x" * 513), "action_request_validation_exception"),
        (upsert("bad", **{"x" * 50_001: "text"}), "stream_constraints_exception"),
        (upsert("bad", titles="x" * 101 * 2**20), "request_too_large"),
    ],
    ids=["id of 513 bytes", "name of 50,001 characters", "request of 101 MB"],
)
def test_a_document_that_fails_its_whole_request(
    index: ReadableIndex, bad: Upsert, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "BULK_BYTES", 2**30)
    with pytest.raises(PermanentError) as refused:
        index.upsert([upsert("first"), bad, upsert("last")], Deadline())
    assert refused.value.reason == reason
    assert index.search() == {}


def test_a_script_that_fails_is_unexpected(
    index: ReadableIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "SCRIPT", "ctx.gone.version()")
    (refused,) = index.upsert([upsert()], Deadline())
    assert type(refused) is SearchRefused
    assert "null_pointer_exception" in str(refused)


Outage = Callable[[ReadableIndex], AbstractContextManager[None]]


@contextmanager
def _setting(index: ReadableIndex, name: str) -> Iterator[None]:
    put = index.client.indices.put_settings
    put(index=f"{index.name}-v1", body={name: True})
    yield
    put(index=f"{index.name}-v1", body={name: None})


@contextmanager
def _cluster_setting(index: ReadableIndex, name: str, value: object) -> Iterator[None]:
    put = index.client.cluster.put_settings
    put(body={"transient": {name: value}})
    try:
        yield
    finally:
        put(body={"transient": {name: None}})


def write_block(index: ReadableIndex) -> AbstractContextManager[None]:
    return _setting(index, "index.blocks.write")


def flood_stage(index: ReadableIndex) -> AbstractContextManager[None]:
    return _setting(index, "index.blocks.read_only_allow_delete")


def cluster_block(index: ReadableIndex) -> AbstractContextManager[None]:
    return _cluster_setting(index, "cluster.blocks.read_only", value=True)


def memory_short(index: ReadableIndex) -> AbstractContextManager[None]:
    return _cluster_setting(index, "network.breaker.inflight_requests.limit", "1b")


@contextmanager
def closed(index: ReadableIndex) -> Iterator[None]:
    index.client.indices.close(index=f"{index.name}-v1")
    yield
    index.client.indices.open(index=f"{index.name}-v1", params={"wait_for_active_shards": "1"})


@contextmanager
def compilations_used_up(index: ReadableIndex) -> Iterator[None]:
    """Other scripts have used up what may be compiled in a while; ours has dropped out."""
    with (
        _cluster_setting(index, "script.context.update.max_compilations_rate", "1/10m"),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(index_module, "SCRIPT", f"{SCRIPT} // {uuid4()}")
        assert index.upsert([upsert("other", "0")], Deadline()) == [None]
        patch.setattr(index_module, "SCRIPT", f"{SCRIPT} // {uuid4()}")
        yield


OUTAGES = [
    pytest.param(write_block, "cluster_block_exception", id="write block"),
    pytest.param(flood_stage, "TOO_MANY_REQUESTS/12/disk usage exceeded", id="flood stage"),
    pytest.param(cluster_block, "cluster read-only", id="cluster read-only"),
    pytest.param(memory_short, "circuit_breaking_exception", id="memory"),
    pytest.param(closed, "index_closed_exception", id="closed index"),
    pytest.param(compilations_used_up, "Too many dynamic script compilations", id="compilations"),
]
"""Each ends with its context: nothing about the documents was wrong."""


@pytest.mark.parametrize(("outage", "text"), OUTAGES)
def test_an_index_that_takes_nothing_for_now(
    index: ReadableIndex, outage: Outage, text: str
) -> None:
    with outage(index):
        [refused] = index.upsert([upsert()], Deadline())
        assert type(refused) is RetryableError
        assert text in str(refused)
    assert index.upsert([upsert()], Deadline()) == [None]


def test_conflicts_that_are_used_up(index: ReadableIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "RETRY_ON_CONFLICT", 0)
    met: list[object] = []
    numbers = iter(range(4_000))

    def write() -> None:
        for number in numbers:
            met.extend(index.upsert([upsert("hot", f"{number:04}")], Deadline()))
            if any(isinstance(result, Exception) for result in met):
                return

    lanes = [Thread(target=write) for _ in range(8)]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    refused = [result for result in met if not (result is None or isinstance(result, Stale))]
    assert {type(result) for result in refused} == {ConflictError}
    assert "version_conflict_engine_exception" in str(refused[0])


def test_an_index_that_is_missing_is_made_as_it_should_be(index: ReadableIndex) -> None:
    """Without `require_alias` an index of the alias's name would be there, its mapping guessed."""
    indices = index.client.indices
    indices.delete(index=f"{index.name}-v1")
    assert index.upsert([upsert(status="placed")], Deadline()) == [None]
    assert index.search() == {"item": {"status": "placed"}}
    made = indices.get(index=f"{index.name}*")
    assert made.keys() == {f"{index.name}-v1"}
    assert made[f"{index.name}-v1"]["mappings"]["dynamic"] == "false"
    assert made[f"{index.name}-v1"]["aliases"][index.alias] == {"is_write_index": True}


def a_wrong_mapping(index: ReadableIndex) -> ReadableIndex:
    return replace(index, properties={"status": {"type": "nonsense"}})


def a_wrong_setting(index: ReadableIndex) -> ReadableIndex:
    return replace(index, settings={"index": {"nonsense": 1}})


def an_index_of_the_alias_name(index: ReadableIndex) -> ReadableIndex:
    index.client.indices.create(index=index.alias)
    return index


@pytest.mark.parametrize("wrong", [a_wrong_mapping, a_wrong_setting, an_index_of_the_alias_name])
def test_an_index_that_cannot_be_made_blames_no_document(
    index: ReadableIndex, wrong: Callable[[ReadableIndex], ReadableIndex]
) -> None:
    """OpenSearch has one error for a wrong mapping and for a document that the mapping refuses."""
    index.client.indices.delete(index=f"{index.name}-v1")
    [refused] = wrong(index).upsert([upsert()], Deadline())
    assert type(refused) is MisconfiguredError
    assert "cannot be created" in str(refused)


def test_a_node_that_is_not_there() -> None:
    client = clients.opensearch("http://127.0.0.1:1")
    index = ReadableIndex(client, "nowhere", INDEX.properties, INDEX.settings)
    [refused] = index.upsert([upsert()], Deadline())
    assert type(refused) is RetryableError
    assert "Connection refused" in str(refused)


DENIED = "User: arn:aws:sts::000000000000:assumed-role/search is not authorized to perform: es:"
EXPIRED = "The security token included in the request is expired"


@pytest.mark.parametrize(
    ("act", "expected", "text"),
    [
        (reset, RetryableError, "Connection"),
        (Answer(403, {"message": EXPIRED}), RetryableError, "HTTP 403"),
        (Answer(403, {"Message": f"{DENIED}ESHttpPost"}), AccessDeniedError, "HTTP 403"),
        (Answer(429, "429 Too Many Requests /_bulk", "text/plain"), RetryableError, "HTTP 429"),
        (PAGE, RetryableError, "HTTP 503"),
        (replace(PAGE, status=504), RetryableError, "HTTP 504"),
        (Answer(413, {"Message": "Request size exceeded 10485760 bytes"}), PermanentError, "large"),
        (Answer(400, {"Message": "never heard of"}), SearchRefused, "HTTP 400"),
    ],
)
def test_answers_before_opensearch(
    index: ReadableIndex,
    opensearch_url: str,
    act: Callable[[Exchange], None],
    expected: type[Exception],
    text: str,
) -> None:
    with faulty_proxy(opensearch_url) as proxy:
        spoiled = replace(index, client=clients.opensearch(proxy.url))
        proxy.once(f"POST /{index.alias}/_bulk", act)
        refused = result_of(lambda: spoiled.upsert([upsert()], Deadline())[0])
        assert type(refused) is expected
        assert text in str(refused)
