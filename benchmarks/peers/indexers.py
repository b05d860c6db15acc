"""Ways to write the orders of a stream into an index of OpenSearch.

The peers are written as the client's guide shows
(https://docs.opensearch.org/latest/clients/python-low-level/), with boto3's `TypeDeserializer` for
the images. The raw node gets bodies that were encoded before the clock started: our documents by
scripted upserts.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import urllib3
from boto3.dynamodb.types import TypeDeserializer
from opensearchpy import OpenSearch, Urllib3HttpConnection, helpers

from benchmarks.harness.delivery import context
from benchmarks.harness.records import BATCH, SOURCE
from benchmarks.harness.rows import OURS
from dynamodb_streams_cdc import Change, Deadline, Processor, Search
from dynamodb_streams_cdc.aws.opensearch import OpenSearchIndex
from dynamodb_streams_cdc.aws.opensearch_documents import ANSWERS, CDC_MAPPING, SCRIPT
from dynamodb_streams_cdc.sinks.documents import CDC, encoded
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters
from lambdas.example_domain.order import INDEX, document
from lambdas.search.handler import encoded as encoded_as_deployed

HELPER, ONE_EACH, RAW_SCRIPTED = "bulk helper", "one request each", "raw node, scripted"

Event = Mapping[str, Any]
Write = Callable[[Any], object]


@dataclass(frozen=True)
class Case:
    """Documents to write.

    Attributes:
        document: makes one of an item.
        properties: their mapping.
        batch: records of an event.
        prefix: of the names of the rows.
    """

    document: Callable[[Any], Mapping[str, Any]] = document
    properties: Mapping[str, Any] = field(default_factory=lambda: INDEX.properties)
    batch: int = BATCH
    prefix: str = ""


@dataclass(frozen=True)
class Indexer:
    """One way to write.

    Attributes:
        open: creates an index and returns a function that writes one input.
        inputs: makes inputs of events before the clock starts.
        batches: number of events, spread over all, for a variant that would take minutes; `None`:
            all.
    """

    open: Callable[[str], Write]
    inputs: Callable[[Sequence[Event]], Sequence[Any]] = list
    batches: int | None = None


def indexers(url: str, case: Case) -> dict[str, Indexer]:
    """Return all ways to write these documents to the node at `url`."""
    client = OpenSearch(url, connection_class=Urllib3HttpConnection)
    http = urllib3.PoolManager()

    def bulk_helper(index: str) -> Write:
        _create(client, index, case.properties)
        return lambda event: helpers.bulk(client, _actions(event, index, case))

    def one_each(index: str) -> Write:
        _create(client, index, case.properties)

        def write(event: Event) -> None:
            for id, image in _images(event):
                if image is None:
                    client.delete(index=index, id=id, params={"ignore": 404})
                else:
                    client.index(index=index, id=id, body=case.document(image))

        return write

    def raw(index: str) -> Write:
        _create(client, index, {**case.properties, CDC: CDC_MAPPING})
        headers = {"Content-Type": "application/x-ndjson"}

        def write(body: bytes) -> bytes:
            path = f"/{index}/_bulk?filter_path={ANSWERS}"
            answer = http.request("POST", url + path, body=body, headers=headers)
            assert answer.status == 200
            return answer.data

        return write

    return {
        OURS: Indexer(lambda index: ours(url, index, case)),
        HELPER: Indexer(bulk_helper),
        ONE_EACH: Indexer(one_each, batches=2),
        RAW_SCRIPTED: Indexer(raw, lambda events: [_scripted(event, case) for event in events]),
    }


def results(answer: bytes) -> list[str]:
    """Return the raw node's result of each item, or the type of its error."""
    found = [about for item in json.loads(answer)["items"] for about in item.values()]
    return [each["error"]["type"] if "error" in each else each["result"] for each in found]


def ours(url: str, index: str, case: Case) -> Write:
    """Return the search function without its environment."""
    dead_letters = MemoryDeadLetters()
    processor = Processor(
        "search", SOURCE, Search(_target(url, index, case), case.document), dead_letters
    )

    def write(event: Event) -> None:
        answer = processor(event, context())
        assert answer["batchItemFailures"] == []
        assert not dead_letters.dead_letters

    return write


def _target(url: str, index: str, case: Case) -> OpenSearchIndex:
    client = OpenSearch(url, connection_class=Urllib3HttpConnection, max_retries=0, pool_maxsize=2)
    target = OpenSearchIndex(client, index, case.properties, INDEX.settings, encoded_as_deployed)
    target.create(Deadline())
    return target


def _create(client: OpenSearch, index: str, properties: Mapping[str, Any]) -> None:
    mappings = {"dynamic": False, "properties": properties}
    client.indices.create(index=index, body={"settings": INDEX.settings, "mappings": mappings})


def _images(event: Event) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Yield the id and the new image of each record, read without a library."""
    decode = TypeDeserializer().deserialize
    for each in event["Records"]:
        change = each["dynamodb"]
        new = change.get("NewImage")
        id = "/".join(value["S"] for value in change["Keys"].values())
        yield id, None if new is None else {name: decode(value) for name, value in new.items()}


def _actions(event: Event, index: str, case: Case) -> Iterator[dict[str, Any]]:
    for id, image in _images(event):
        if image is None:
            yield {"_op_type": "delete", "_index": index, "_id": id}
        else:
            yield {"_index": index, "_id": id, "_source": case.document(image)}


def _scripted(event: Event, case: Case) -> bytes:
    """Return the body of a request with our documents, tombstones included."""
    bodies = []
    for each in event["Records"]:
        change = Change.from_record(each, SOURCE)
        image = change.new_image
        stamp = {
            "item": change.item_id,
            "version": change.version,
            "changed_at": change.timestamp,
            "written_at": change.timestamp,
            "deleted": image is None,
        }
        source = {**encoded(case.document(image) if image else {}), CDC: stamp}
        script = {"source": SCRIPT, "params": {"source": source}}
        update = {"scripted_upsert": True, "script": script, "upsert": {}}
        bodies.append(f"{_json({'update': {'_id': change.item_id}})}\n{_json(update)}\n")
    return "".join(bodies).encode()


_json = json.JSONEncoder(separators=(",", ":")).encode
