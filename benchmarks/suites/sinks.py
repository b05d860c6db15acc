"""The three sinks as they are deployed, over clients whose requests are counted.

Ledger, sums and log are on DynamoDB Local. The work of OpenSearch is not counted, so its client is
a fake that answers bulk requests. A dead letter ends a benchmark: its change costs almost nothing,
and every figure would look better.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from benchmarks.harness.clients import as_deployed, by_default, create_table
from benchmarks.harness.meter import Meter, Traffic
from benchmarks.harness.records import SOURCE
from benchmarks.peers.sums import Tables
from dynamodb_streams_cdc import Aggregation, ChangeLog, Processor, Search, Sink
from dynamodb_streams_cdc.aws.dynamodb.ledger import DynamoDbLedger
from dynamodb_streams_cdc.aws.dynamodb.log import DynamoDbLog
from dynamodb_streams_cdc.aws.opensearch import OpenSearchIndex
from dynamodb_streams_cdc.aws.opensearch_errors import CONFLICT, DOCUMENT_MISSING
from dynamodb_streams_cdc.deadline import SystemClock
from dynamodb_streams_cdc.sinks.documents import CDC, supersedes
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters, MemoryImageStore
from lambdas.example_domain.order import INDEX, contributions, document
from lambdas.search.handler import encoded

NAMES = ("aggregation", "audit", "search")
REMEMBERED = 1_500


class DeadLettersWritten(Exception):
    """Changes became dead letters although all can succeed."""


@dataclass(frozen=True)
class Counted:
    """A function, and the counts of its requests so far."""

    function: Processor
    traffic: Traffic


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
    with _sink(name, url) as (sink, traffic):
        function = Processor("bench", SOURCE, sink, dead_letters, clock=StandingClock())
        yield Counted(function, traffic)
    if written := list(dead_letters.dead_letters.values()):
        message = (
            f"{name}: {len(written):,} changes became dead letters, so the cost was not measured. "
            f"The first: {written[0].reason}: {written[0].error}"
        )
        raise DeadLettersWritten(message)


@contextmanager
def _sink(name: str, url: str) -> Iterator[tuple[Sink, Traffic]]:
    if name == "search":
        search: Any = BulkClient(Traffic())
        index = OpenSearchIndex(search, "orders", INDEX.properties, INDEX.settings, encoded)
        yield Search(index, document), search.traffic
        return
    client = as_deployed(url)
    tables, log = Tables.create(client), f"log-{uuid4()}"
    create_table(client, log, [("item", "S"), ("version", "S")])
    ledger = DynamoDbLedger(client, tables.markers, tables.sums)
    sinks: dict[str, Sink] = {
        "aggregation": Aggregation(ledger, contributions),
        "audit": ChangeLog(DynamoDbLog(client, log), MemoryImageStore()),
    }
    yield sinks[name], Meter(client, by_default(url)).traffic
    tables.delete(client)
    client.delete_table(TableName=log)
    client.close()


@dataclass
class BulkClient:
    """A client of OpenSearch that answers bulk requests as a node would, and counts.

    It remembers the versions of the last `REMEMBERED` documents, and holds nothing else.
    """

    traffic: Traffic
    _versions: dict[str, str] = field(default_factory=dict)

    @property
    def indices(self) -> "BulkClient":
        return self

    def get_alias(self, **_: Any) -> Any:
        """Answer whether a rebuild is under way, once in ten seconds; it is not counted."""
        return {"error": "alias missing", "status": 404}

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
        held, version = self._versions.get(about["_id"]), source[CDC]["version"]
        if kind == "create" and held is not None:
            return {kind: {"status": 409, "error": {"type": CONFLICT}}}
        if kind == "update" and held is None and "upsert" not in written:
            return {kind: {"status": 404, "error": {"type": DOCUMENT_MISSING}}}
        if held is not None and not supersedes(held, version):
            return {kind: {"status": 200, "result": "noop"}}
        self._versions[about["_id"]] = version
        if len(self._versions) > REMEMBERED:
            del self._versions[next(iter(self._versions))]
        return {kind: {"status": 200, "result": "updated"}}
