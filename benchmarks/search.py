"""Documents into a real OpenSearch: ours, the bulk helper, one request each, and the raw node.

Every variant gets the same stream records, a hundred in each event, and an index of its own with
the mapping of the app: first orders that are placed, then changes of the same orders, a tenth of
which are cancelled. Ours is the whole function, from the event to the answer. So are the peers,
written as the client's guide has them (https://docs.opensearch.org/latest/clients/python-low-level/):
`opensearchpy.helpers.bulk` with an action for each record, and one `index` or `delete` for each
record; both decode the images with boto3's `TypeDeserializer`. The raw node gets bodies that were
encoded before the clock started: plain ones, and those of scripted upserts.

Afterwards everything is delivered once more, late: what a retried batch or a redrive does. What
then stands in the index is compared with the last state of each order.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import urllib3
from boto3.dynamodb.types import TypeDeserializer
from opensearchpy import OpenSearch, Urllib3HttpConnection, helpers

from benchmarks.common import OURS, Options, Row, compare, turns
from benchmarks.records import BATCH, Record, batches, orders
from dynamodb_streams_cdc import Budget, Change, Processor, SearchSync, SystemClock
from dynamodb_streams_cdc.aws.index import SCRIPT, OpenSearchIndex
from dynamodb_streams_cdc.memory import MemoryLetters
from dynamodb_streams_cdc.search import CDC, encoded
from lambdas.domain.search_document import PROPERTIES, SETTINGS, document
from local.engines import opensearch
from tests.factories import SOURCE, FakeContext, record

CHANGES = 2_000
REPEATS = 5
CANCELLED_ONE_IN = 10
ONE_EACH_BATCHES = 2

HELPER, ONE_EACH = "bulk helper", "one request each"
RAW_PLAIN, RAW_SCRIPTED = "raw node, plain", "raw node, scripted"
GOALS = {HELPER: 1.0, ONE_EACH: 20.0, RAW_SCRIPTED: 0.85}
PHASES = ("inserts", "updates")

Event = Mapping[str, Any]
Handler = Callable[[Event], object]


class CountingConnection(Urllib3HttpConnection):
    """A connection that counts what goes over all of its kind."""

    requests = 0

    def perform_request(self, *arguments: Any, **options: Any) -> Any:
        CountingConnection.requests += 1
        return super().perform_request(*arguments, **options)


@dataclass(frozen=True)
class Work:
    """Events by phase, and how the orders end: `None` for one that was cancelled."""

    events: Mapping[str, Sequence[Event]]
    last: Mapping[str, str | None]

    @property
    def documents(self) -> int:
        """How many documents each phase writes."""
        return len(self.last)

    def part(self, batches: int) -> "Work":
        """Return the first batches of each phase: for a variant that would take minutes."""
        number = batches * BATCH
        events = {phase: events[:batches] for phase, events in self.events.items()}
        return Work(events, dict(list(self.last.items())[:number]))


@dataclass(frozen=True)
class Result:
    """What one variant did in one turn.

    Attributes:
        speeds: documents per second by phase.
        requests: for each document, in the order of phases; empty for the raw node.
        stale: orders that the index shows in an earlier state after the late redelivery.
        resurrected: orders that it shows although they were cancelled.
    """

    speeds: Mapping[str, float]
    requests: float
    stale: int
    resurrected: int


@dataclass(frozen=True)
class Variant:
    """One way to write: `open` makes an index and returns what writes an input of `inputs`."""

    name: str
    open: Callable[[str], Callable[[Any], object]]
    inputs: Callable[[Sequence[Event]], Sequence[Any]] = list
    batches: int | None = None


def run(options: Options) -> list[Row]:
    """Measure inserts and updates apart, requests, and what a late redelivery breaks."""
    work = _work(options)
    repeats = options.repeats or REPEATS
    with opensearch() as node:
        contestants = {
            variant.name: _contestant(variant, node.url, work) for variant in _variants(node.url)
        }
        turns(contestants, 1)  # the node's first thousands are three times slower
        results = turns(contestants, repeats)
    rows: list[Row] = []
    for phase in PHASES:
        speeds = {name: [each.speeds[phase] for each in done] for name, done in results.items()}
        rows += compare("search", phase, "documents/s", speeds, better="more", goals=GOALS)
    senders = {
        name: done for name, done in results.items() if name not in (RAW_PLAIN, RAW_SCRIPTED)
    }
    per_document = {name: [each.requests for each in done] for name, done in senders.items()}
    rows += compare("search", "requests", "requests/document", per_document)
    stale = {name: [float(each.stale) for each in done] for name, done in senders.items()}
    rows += compare("search", "stale after a redelivery", "documents", stale, at_most=0.0)
    back = {name: [float(each.resurrected) for each in done] for name, done in senders.items()}
    rows += compare("search", "resurrected by it", "documents", back, at_most=0.0)
    return rows


def _work(options: Options) -> Work:
    """Return orders that are placed, then each shipped or cancelled."""
    now = float(int(time.time()))
    inserts: list[Record] = []
    updates: list[Record] = []
    last: dict[str, str | None] = {}
    found = orders(options.records, options.changes or CHANGES)
    for number, placed in enumerate(found):
        cancelled = number % CANCELLED_ONE_IN == 0
        after = None if cancelled else {**placed, "status": "shipped", "updated_by": "warehouse"}
        inserts.append(record(number + 1, None, placed, timestamp=now))
        updates.append(record(len(found) + number + 1, placed, after, timestamp=now))
        last[placed["order_id"]] = None if after is None else after["status"]
    return Work({"inserts": batches(inserts), "updates": batches(updates)}, last)


def _contestant(variant: Variant, url: str, work: Work) -> Callable[[], Result]:
    work = work if variant.batches is None else work.part(variant.batches)
    inputs = {phase: variant.inputs(work.events[phase]) for phase in PHASES}

    def take_a_turn() -> Result:
        index = f"{uuid4().hex}"
        write = variant.open(index)
        speeds: dict[str, float] = {}
        before = CountingConnection.requests
        for phase in PHASES:
            began = time.perf_counter()
            for each in inputs[phase]:
                write(each)
            speeds[phase] = work.documents / (time.perf_counter() - began)
        requests = (CountingConnection.requests - before) / (len(PHASES) * work.documents)
        for phase in PHASES[:1]:
            for each in inputs[phase]:
                write(each)
        client = OpenSearch(url)
        stale, resurrected = _differences(client, index, work)
        client.indices.delete(index=f"{index}*")
        return Result(speeds, requests, stale, resurrected)

    return take_a_turn


def _differences(client: OpenSearch, index: str, work: Work) -> tuple[int, int]:
    client.indices.refresh(index=index)
    query = {"_source": ["order_id", "status"]}
    found = {
        hit["_source"]["order_id"]: hit["_source"]["status"]
        for hit in helpers.scan(client, index=index, query=query)
        if "order_id" in hit["_source"]
    }
    missing = [each for each, status in work.last.items() if status and each not in found]
    assert not missing, f"{len(missing)} orders are not in the index"
    stale = sum(bool(work.last[each]) and work.last[each] != found[each] for each in found)
    return stale, sum(work.last[each] is None for each in found)


def _variants(url: str) -> Iterator[Variant]:
    client = OpenSearch(url, connection_class=CountingConnection)
    http = urllib3.PoolManager()

    def ours(index: str) -> Handler:
        own = OpenSearch(url, connection_class=CountingConnection, max_retries=0, pool_maxsize=2)
        target = OpenSearchIndex(own, index, PROPERTIES, SETTINGS)
        target.create(Budget())
        processor = Processor("search", SOURCE, SearchSync(target, document), MemoryLetters())

        def write(event: Event) -> None:
            answer = processor(event, FakeContext(SystemClock()))
            assert answer["batchItemFailures"] == []

        return write

    def bulk_helper(index: str) -> Handler:
        _create(client, index)
        return lambda event: helpers.bulk(client, _actions(event, index))

    def one_each(index: str) -> Handler:
        _create(client, index)

        def write(event: Event) -> None:
            for id, image in _images(event):
                if image is None:
                    client.delete(index=index, id=id, params={"ignore": 404})
                else:
                    client.index(index=index, id=id, body=document(image))

        return write

    def raw(index: str) -> Callable[[bytes], None]:
        _create(client, index)
        headers = {"Content-Type": "application/x-ndjson"}

        def write(body: bytes) -> None:
            answer = http.request("POST", f"{url}/{index}/_bulk", body=body, headers=headers)
            assert answer.status == 200

        return write

    yield Variant(OURS, ours)
    yield Variant(HELPER, bulk_helper)
    yield Variant(ONE_EACH, one_each, batches=ONE_EACH_BATCHES)
    yield Variant(RAW_PLAIN, raw, lambda events: [_encoded(event, _plain) for event in events])
    yield Variant(
        RAW_SCRIPTED, raw, lambda events: [_encoded(event, _scripted) for event in events]
    )


def _create(client: OpenSearch, index: str) -> None:
    cdc = {"dynamic": False, "properties": {"version": {"type": "keyword"}}}
    mappings = {"dynamic": False, "properties": {**PROPERTIES, CDC: cdc}}
    client.indices.create(index=index, body={"settings": SETTINGS, "mappings": mappings})


def _images(event: Event) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Yield the id and the new image of each record, as consumers without a library read them."""
    decode = TypeDeserializer().deserialize
    for each in event["Records"]:
        change = each["dynamodb"]
        new = change.get("NewImage")
        id = "/".join(value["S"] for value in change["Keys"].values())
        yield id, None if new is None else {name: decode(value) for name, value in new.items()}


def _actions(event: Event, index: str) -> Iterator[dict[str, Any]]:
    for id, image in _images(event):
        if image is None:
            yield {"_op_type": "delete", "_index": index, "_id": id}
        else:
            yield {"_index": index, "_id": id, "_source": document(image)}


def _encoded(event: Event, lines: Callable[[str, Mapping[str, Any]], str]) -> bytes:
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
        source = {**encoded(document(image) if image else {}), CDC: stamp}
        bodies.append(lines(change.item_id, source))
    return "".join(bodies).encode()


def _plain(id: str, source: Mapping[str, Any]) -> str:
    return f"{json.dumps({'index': {'_id': id}})}\n{json.dumps(source)}\n"


def _scripted(id: str, source: Mapping[str, Any]) -> str:
    script = {"source": SCRIPT, "params": {"source": source}}
    update = {"scripted_upsert": True, "script": script, "upsert": {}}
    return f"{json.dumps({'update': {'_id': id}})}\n{json.dumps(update)}\n"
