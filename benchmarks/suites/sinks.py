"""The three sinks as they are deployed, over clients whose requests are counted.

Table, ledger, sums and log are on DynamoDB Local. The work of OpenSearch is not counted, so its
client is a fake that answers the requests of the index. A dead letter ends a benchmark: its change
costs almost nothing, and every figure would look better.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from benchmarks.harness.clients import as_deployed, by_default, create_table
from benchmarks.harness.delivery import context
from benchmarks.harness.meter import Meter, Traffic
from benchmarks.harness.operated import KEYS, STREAMS
from benchmarks.harness.records import SOURCE
from benchmarks.peers.sums import Tables
from dynamodb_streams_cdc import Aggregation, ChangeLog, Processor, Search, Sink
from dynamodb_streams_cdc.aws.dynamodb.ledger import DynamoDbLedger
from dynamodb_streams_cdc.aws.dynamodb.log import DynamoDbLog
from dynamodb_streams_cdc.aws.dynamodb.source_table import DynamoDbSourceTable
from dynamodb_streams_cdc.aws.opensearch import OpenSearchIndex
from dynamodb_streams_cdc.aws.opensearch_errors import CONFLICT, DOCUMENT_MISSING, MISSING
from dynamodb_streams_cdc.deadline import SystemClock
from dynamodb_streams_cdc.deserializer import serialize_item
from dynamodb_streams_cdc.sinks.documents import CDC, supersedes
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters, MemoryImageStore
from lambdas.example_domain.order import INDEX, contributions, document
from lambdas.search.handler import encoded

NAMES = ("aggregation", "audit", "search")
REMEMBERED = 1_000
OPERATED = 500


class DeadLettersWritten(Exception):
    """Changes became dead letters although all can succeed."""


@dataclass(frozen=True)
class Counted:
    """A function, the counts of its requests so far, and its source table, which is empty."""

    function: Processor
    traffic: Traffic
    client: Any
    orders: str

    def fill(self, orders: Sequence[Mapping[str, Any]]) -> None:
        """Put items into the source table, all in one request."""
        puts = [{"PutRequest": {"Item": serialize_item(order)}} for order in orders]
        self.client.batch_write_item(RequestItems={self.orders: puts})

    def operate(self, operation: str, **event: Any) -> None:
        """Do an operation with all of the table, in requests of about `OPERATED`."""
        place, done = None, False
        while not done:
            asked = {
                "operation": operation,
                "streamArn": STREAMS.format(self.orders, "2026-01-01T00:00:00.000"),
                "keys": KEYS,
                "limit": OPERATED,
                "place": place,
                "Records": [],
                **event,
            }
            answer: Any = self.function(asked, context())
            assert not answer.get("problem"), answer
            assert not answer.get("differences"), answer
            assert not answer.get("failures"), answer
            place, done = answer.get("place"), answer.get("done", True)


class StandingClock(SystemClock):
    """A clock that stands: what a sink looks up every ten seconds, it looks up once.

    So the counts do not depend on how fast the machine is.
    """

    def __init__(self) -> None:
        self.time = time.time()

    def now(self) -> float:
        """Return the time at which the clock was made."""
        return self.time


@contextmanager
def counted(name: str, url: str) -> Iterator[Counted]:
    """Make the sink of that name on the DynamoDB at `url`, with tables of its own.

    Raises:
        DeadLettersWritten: in the end, if there are any.
    """
    dead_letters = MemoryDeadLetters()
    client, orders = as_deployed(url), f"orders-{uuid4()}"
    create_table(client, orders, list(KEYS.items()))
    traffic = Meter(client, by_default(url)).traffic
    table = DynamoDbSourceTable(lambda: client, orders)
    with _sink(name, client, traffic) as sink:
        clock = StandingClock()
        function = Processor("bench", SOURCE, sink, dead_letters, clock=clock, source_table=table)
        yield Counted(function, traffic, client, orders)
    client.delete_table(TableName=orders)
    client.close()
    if written := list(dead_letters.dead_letters.values()):
        message = (
            f"{name}: {len(written):,} changes became dead letters, so the cost was not measured. "
            f"The first: {written[0].reason}: {written[0].error}"
        )
        raise DeadLettersWritten(message)


@contextmanager
def _sink(name: str, client: Any, traffic: Traffic) -> Iterator[Sink]:
    if name == "search":
        search: Any = IndexClient(traffic)
        index = OpenSearchIndex(search, "orders", INDEX.properties, INDEX.settings, encoded)
        yield Search(index, document)
        return
    tables, log = Tables.create(client), f"log-{uuid4()}"
    create_table(client, log, [("item", "S"), ("version", "S")])
    ledger = DynamoDbLedger(client, tables.markers, tables.sums)
    sinks: dict[str, Sink] = {
        "aggregation": Aggregation(ledger, contributions),
        "audit": ChangeLog(DynamoDbLog(client, log), MemoryImageStore()),
    }
    yield sinks[name]
    tables.delete(client)
    client.delete_table(TableName=log)


@dataclass
class IndexClient:
    """A client of OpenSearch that answers as a node would, and counts.

    It remembers the last `REMEMBERED` documents.
    """

    traffic: Traffic
    _held: dict[str, Any] = field(default_factory=dict)

    @property
    def indices(self) -> "IndexClient":
        return self

    def refresh(self, **_: Any) -> Any:
        """Count a refresh."""
        self._count({})
        return {"_shards": {}}

    def get(self, id: str, **_: Any) -> Any:
        """Return a document that is there."""
        self._count(id)
        return self._hit(id)

    def mget(self, body: Any, **_: Any) -> Any:
        """Return documents by their ids."""
        self._count(body)
        found = ((id, id in self._held) for id in body["ids"])
        return {
            "docs": [
                {**self._hit(id), "found": True} if there else {"_id": id, "found": False}
                for id, there in found
            ]
        }

    def search(self, body: Any, **_: Any) -> Any:
        """Return the next documents of a walk; there are none without an identity."""
        self._count(body)
        [after] = body.get("search_after", [""])
        [(field, _)] = body["sort"][0].items()
        names = sorted(self._held) if field == f"{CDC}.item" else []
        left = [name for name in names if name > after][: body["size"]]
        hits = [{**self._hit(name), "sort": [name]} for name in left]
        return {"timed_out": False, "_shards": {"failed": 0}, "hits": {"hits": hits}}

    def _hit(self, id: str) -> dict[str, Any]:
        found = {"_index": "orders-v1", "_id": id, "_source": self._held[id]}
        return {**found, "_seq_no": 1, "_primary_term": 1}

    def _count(self, body: object) -> None:
        self.traffic.requests += 1
        self.traffic.bytes += len(json.dumps(body))

    def get_alias(self, **_: Any) -> Any:
        """Answer whether a rebuild is under way, once in ten seconds; it is not counted."""
        return {"error": {"type": MISSING}, "status": 404}

    def bulk(self, body: bytes, index: str, params: Any) -> Any:
        """Take a bulk request: an action and what it writes, on two lines for each document."""
        self.traffic.requests += 1
        self.traffic.bytes += len(body)
        lines = [json.loads(line) for line in body.split(b"\n")[:-1]]
        return {
            "items": [self._answer(*pair) for pair in zip(lines[::2], lines[1::2], strict=True)]
        }

    def _answer(self, action: Any, written: Any) -> Any:
        ((kind, about),) = action.items()
        source = written if kind == "create" else written["script"]["params"]["source"]
        document = self._held.get(about["_id"])
        if kind == "create" and document is not None:
            return {kind: {"status": 409, "error": {"type": CONFLICT}}}
        if kind == "update" and document is None and "upsert" not in written:
            return {kind: {"status": 404, "error": {"type": DOCUMENT_MISSING}}}
        if document is not None and not supersedes(document, source[CDC]["version"]):
            return {kind: {"status": 200, "result": "noop"}}
        self._held[about["_id"]] = source
        if len(self._held) > REMEMBERED:
            del self._held[next(iter(self._held))]
        return {kind: {"status": 200, "result": "updated"}}
