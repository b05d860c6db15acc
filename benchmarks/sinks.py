"""The three sinks as they are deployed, over clients whose requests are counted.

Ledger, sums and log are on DynamoDB Local. What OpenSearch would do is not counted, so its client
is a stand-in that takes bulk requests.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from benchmarks.clients import as_deployed, by_default
from benchmarks.meter import Meter, Traffic
from benchmarks.sums import Tables
from dynamodb_streams_cdc import Aggregation, ChangeLog, Processor, SearchSync, Sink
from dynamodb_streams_cdc.aws.index import OpenSearchIndex
from dynamodb_streams_cdc.aws.ledger import DynamoDbLedger
from dynamodb_streams_cdc.aws.log import DynamoDbLog
from dynamodb_streams_cdc.memory import MemoryLetters, MemoryOverflow
from lambdas.domain.contributions import EXPIRY, contributions
from lambdas.domain.search_document import PROPERTIES, SETTINGS, document
from tests.factories import SOURCE
from tests.lambdas.conftest import create_table

NAMES = ("aggregation", "audit", "search")


@dataclass(frozen=True)
class Counted:
    """A function, its client, and what that has sent so far."""

    function: Processor
    traffic: Traffic
    client: Any


@contextmanager
def counted(name: str, url: str, *, units: bool = True) -> Iterator[Counted]:
    """Make the sink of that name on the DynamoDB at `url`, with tables of its own.

    Counting units takes reading back what is written: do without where time matters.
    """
    if name == "search":
        search = BulkClient(Traffic())
        index: Any = OpenSearchIndex(search, "orders", PROPERTIES, SETTINGS)  # type: ignore[arg-type]
        yield Counted(_processor(SearchSync(index, document)), search.traffic, search)
        return
    client = as_deployed(url)
    with client_tables(client) as (tables, log):
        meter = Meter(client, by_default(url) if units else None)
        sinks: dict[str, Sink] = {
            "aggregation": Aggregation(
                DynamoDbLedger(client, tables.markers, tables.sums), contributions, EXPIRY
            ),
            "audit": ChangeLog(DynamoDbLog(client, log), MemoryOverflow()),
        }
        yield Counted(_processor(sinks[name]), meter.traffic, client)
    client.close()


@contextmanager
def client_tables(client: Any) -> Iterator[tuple[Tables, str]]:
    """Create the tables of the sums, and a change log; delete them in the end."""
    tables, log = Tables.create(client), f"log-{uuid4()}"
    create_table(client, log, [("item", "S"), ("version", "S")])
    yield tables, log
    tables.delete(client)
    client.delete_table(TableName=log)


def _processor(sink: Sink) -> Processor:
    return Processor("bench", SOURCE, sink, MemoryLetters())


@dataclass
class BulkClient:
    """A client of OpenSearch that takes every document, and counts."""

    traffic: Traffic

    def bulk(self, body: str, index: str, params: Any) -> Any:
        """Take a bulk request: an action and what it writes, on two lines for each document."""
        self.traffic.requests += 1
        self.traffic.bytes += len(body.encode())
        actions = [json.loads(line) for line in body.splitlines()[::2]]
        return {"items": [{"update": {**action, "result": "created"}} for action in actions]}
