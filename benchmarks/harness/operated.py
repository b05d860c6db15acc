"""A table of orders, its copies and their functions, for what an operator does.

Table, ledger and sums are on DynamoDB Local, documents on OpenSearch. The functions are as
deployed and run in this process; events and responses pass as JSON.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from opensearchpy import OpenSearch, Urllib3HttpConnection

from benchmarks.harness.clients import as_deployed, create_table
from benchmarks.harness.delivery import context
from benchmarks.harness.records import SOURCE, placed
from dynamodb_streams_cdc import Aggregation, ChangeLog, Processor, Search, Sink
from dynamodb_streams_cdc.aws.dynamodb.ledger import DynamoDbLedger
from dynamodb_streams_cdc.aws.dynamodb.log import DynamoDbLog
from dynamodb_streams_cdc.aws.dynamodb.source_table import DynamoDbSourceTable
from dynamodb_streams_cdc.aws.opensearch import OpenSearchIndex
from dynamodb_streams_cdc.deadline import SystemClock
from dynamodb_streams_cdc.deserializer import serialize_item
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters, MemoryImageStore
from lambdas.example_domain.order import INDEX, contributions, document
from lambdas.search.handler import encoded

KEYS = {"customer_id": "S", "order_id": "S"}
STREAMS = "arn:aws:dynamodb:us-east-1:000000000000:table/{}/stream/{}"
WORKERS = 4
INVOCATION_SECONDS = 120.0

READS = frozenset({"scan", "query", "get_item", "batch_get_item", "mget", "search"})
WRITES = frozenset({"transact_write_items", "batch_execute_statement", "bulk"})

_AT_ONCE = 25

Request = Callable[[], Any]


class SkippingClock(SystemClock):
    """The machine's clock, which skips what is slept: the waits for other invocations."""

    skipped = 0.0

    def now(self) -> float:
        """Return seconds since 1970, and those that were skipped."""
        return time.time() + self.skipped

    def sleep(self, seconds: float) -> None:
        """Skip so many seconds."""
        self.skipped += seconds


class Recording:
    """A client that keeps its requests of `READS` and `WRITES` while `requests` is a list."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.requests: list[Request] | None = None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if name not in READS | WRITES:
            return method

        def call(**parameters: Any) -> Any:
            if self.requests is not None:
                self.requests.append(lambda: method(**parameters))
            return method(**parameters)

        return call


@dataclass
class Operated:
    """Stores of one size, and the functions on them.

    Attributes:
        name: begins the names of tables and index.
        url: of DynamoDB Local.
        search_url: of OpenSearch.
        orders: ends the name of the source table.
        epoch: of the versions.
        since: label of the table's stream.
    """

    name: str
    url: str
    search_url: str
    orders: str = "orders"
    epoch: str = SOURCE.epoch
    since: str = "2026-01-01T00:00:00.000"
    clock: SkippingClock = field(default_factory=SkippingClock)

    def __post_init__(self) -> None:
        # Two clients: the requests to the table are not the sinks'.
        self.source, self.client = (Recording(as_deployed(self.url)) for _ in range(2))
        node = OpenSearch(
            self.search_url,
            connection_class=Urllib3HttpConnection,
            max_retries=0,
            timeout=60,
            pool_maxsize=WORKERS,
        )
        self.search = Recording(node)
        client: Any = self.client
        search: Any = self.search
        source: Any = self.source
        index = OpenSearchIndex(search, self.name, INDEX.properties, INDEX.settings, encoded)
        ledger = DynamoDbLedger(client, self.table("ledger"), self.table("sums"))
        sinks: dict[str, Sink] = {
            "aggregation": Aggregation(ledger, contributions),
            "audit": ChangeLog(DynamoDbLog(client, self.table("log")), MemoryImageStore()),
            "search": Search(index, document),
        }
        table = DynamoDbSourceTable(lambda: source, self.table(self.orders))
        named = replace(SOURCE, epoch=self.epoch)
        self.functions = {
            name: Processor(
                name, named, sink, MemoryDeadLetters(), clock=self.clock, source_table=table
            )
            for name, sink in sinks.items()
        }

    @property
    def stream(self) -> str:
        """ARN of a stream of the table, which has none."""
        return STREAMS.format(self.table(self.orders), self.since)

    def table(self, name: str) -> str:
        """Return the name of one of the tables."""
        return f"{self.name}-{name}"

    def invoke(self, processor: str, event: Mapping[str, Any]) -> Any:
        """Invoke a function, with JSON in between."""
        asked = json.loads(json.dumps(event))
        answer = self.functions[processor](asked, context(INVOCATION_SECONDS))
        return json.loads(json.dumps(answer))

    def fill(self, records: Path, number: int) -> None:
        """Make the table and its items; the sinks are empty."""
        self.create()
        orders = islice(placed(records), number)
        with ThreadPoolExecutor(WORKERS) as pool:
            while some := list(islice(orders, 40 * _AT_ONCE)):
                list(pool.map(self._put, _chunks([serialize_item(each) for each in some])))
        for name in ("ledger", "log"):
            self.empty(name)

    def create(self, items: Sequence[Any] = ()) -> None:
        """Make the source table with these items, as DynamoDB JSON."""
        create_table(self.source, self.table(self.orders), list(KEYS.items()))
        for some in _chunks(items):
            self._put(some)

    def _put(self, items: Sequence[Any]) -> None:
        puts: Any = [{"PutRequest": {"Item": item}} for item in items]
        self.source.batch_write_item(RequestItems={self.table(self.orders): puts})

    def empty(self, what: str) -> None:
        """Make the stores of a sink again, empty: `ledger`, `log` or `index`."""
        if what == "index":
            self.search.indices.delete(index=f"{self.name}-v*")
            return
        tables = {
            "ledger": {"ledger": [("id", "S")], "sums": [("aggregate", "S"), ("shard", "N")]},
            "log": {"log": [("item", "S"), ("version", "S")]},
        }
        there = set(self.source.list_tables()["TableNames"])
        for name, keys in tables[what].items():
            if self.table(name) in there:
                self.source.delete_table(TableName=self.table(name))
            create_table(self.source, self.table(name), keys)

    def saved(self) -> dict[str, list[Any]]:
        """Return the rows of ledger and sums."""
        found = {}
        for name in ("ledger", "sums"):
            pages = self.source.get_paginator("scan").paginate(TableName=self.table(name))
            found[name] = [row for page in pages for row in page["Items"]]
        return found

    def restore(self, saved: Mapping[str, list[Any]]) -> None:
        """Give ledger and sums the rows that were saved."""
        self.empty("ledger")
        for name, rows in saved.items():
            for some in _chunks(rows):
                puts: Any = [{"PutRequest": {"Item": row}} for row in some]
                self.source.batch_write_item(RequestItems={self.table(name): puts})

    def recorded(self, work: Callable[[], object], *, source: bool) -> list[Request]:
        """Do something; return the requests of the sinks, and those to the table if `source`."""
        requests: list[Request] = []
        clients = [self.client, self.search, *([self.source] if source else [])]
        for client in clients:
            client.requests = requests
        work()
        for client in clients:
            client.requests = None
        return requests


def _chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(rows), _AT_ONCE):
        yield rows[start : start + _AT_ONCE]


def send(requests: Iterable[Request]) -> None:
    """Send requests, as many at one time as the operator does, and drop the responses."""
    with ThreadPoolExecutor(WORKERS) as pool:
        for _ in pool.map(lambda request: request(), requests):
            pass
