"""Writes to the change log, on DynamoDB Local: ours, and one conditional put for each entry.

Both write the same entries, made by the same code, and neither overwrites an entry. On loopback a
request takes no time on its way, and DynamoDB Local does one thing at a time: the result is
processor time, above all of DynamoDB Local. What it takes at most is measured with our requests,
signed and encoded before the clock starts, sent as many at one time. A second set of rows has
clients that are five milliseconds away.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from urllib3 import PoolManager

from benchmarks.harness.clients import as_deployed, by_default, create_table, move_away
from benchmarks.harness.delivery import Function, Speed, context, number, speed
from benchmarks.harness.records import BATCH, SOURCE, Record, batches, changes
from benchmarks.harness.rows import OURS, Options, Row, by_name, compare, turns
from dynamodb_streams_cdc import Change, ChangeLog, Processor
from dynamodb_streams_cdc.aws.dynamodb.log import PARALLEL, DynamoDbLog
from dynamodb_streams_cdc.sinks.log_entries import entry_of
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters, MemoryImageStore
from local.services import service

CHANGES = 1_000
REPEATS = 5
WARM_UP = 5
"""Turns that are not counted: DynamoDB Local is up to five times slower for the first thousands of
inserts."""

PUTS, READY = "one put each", "requests ready"
NEAR_GOALS, AWAY_GOALS = {READY: 0.9}, {PUTS: 8.0}
AWAY = 0.005


Event = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """A way to write the log, and the client that it has.

    Attributes:
        prepare: makes a function of these events, before the clock starts, in place of `make`.
    """

    connect: Callable[[str], Any]
    make: Callable[[Any, str], Function]
    prepare: Callable[[Any, str, Sequence[Event]], Function] | None = None


def run(options: Options) -> list[Row]:
    """Measure both, and what DynamoDB Local takes at most."""
    records = changes(options.records, options.changes or CHANGES)
    repeats = options.repeats or REPEATS
    with service.dynamodb_local(sustained=True) as dynamodb:
        on_loopback = _measured(dynamodb.url, records, 0.0, (OURS, PUTS, READY))
        turns(on_loopback, WARM_UP)
        near = turns(on_loopback, repeats)
        away = turns(_measured(dynamodb.url, records, AWAY, (OURS, PUTS)), repeats)
    rows: list[Row] = []
    for name, runs, goals in (("speed", near, NEAR_GOALS), ("speed, 5 ms away", away, AWAY_GOALS)):
        speeds = by_name(runs, "events_per_second")
        rows += compare("audit", name, "entries/s", speeds, better="more", goals=goals)
    return rows


def ours(client: Any, table: str) -> Function:
    log = ChangeLog(DynamoDbLog(client, table), MemoryImageStore())
    return Processor("audit", SOURCE, log, MemoryDeadLetters())


def one_put_each(client: Any, table: str) -> Function:

    def handler(event: Any, context: Any) -> Any:
        for record in event["Records"]:
            entry = entry_of(Change.from_record(record, SOURCE))
            try:
                client.put_item(
                    TableName=table,
                    Item=entry,
                    ConditionExpression="attribute_not_exists(#item)",
                    ExpressionAttributeNames={"#item": "item"},
                )
            except client.exceptions.ConditionalCheckFailedException:
                continue  # a redelivery
        return {"batchItemFailures": []}

    return handler


def requests_ready(client: Any, table: str, events: Sequence[Event]) -> Function:
    """Return a function that sends what ours would send for these events, made beforehand."""
    made: list[Any] = []

    def keep(request: Any, **others: Any) -> AWSResponse:
        made.append(request)
        answer: Any = {"Responses": [{}] * len(json.loads(request.body)["Statements"])}
        raw = SimpleNamespace(stream=lambda **_: [json.dumps(answer).encode()])
        return AWSResponse(request.url, 200, HTTPHeaders(), raw)

    client.meta.events.register("before-send.dynamodb", keep)
    function = ours(client, table)
    requests: dict[str, list[Any]] = {}
    for event in events:
        function(event, context())
        requests[number(event["Records"][0])] = [*made]
        made.clear()
    client.meta.events.unregister("before-send.dynamodb", keep)
    http = PoolManager(maxsize=PARALLEL)
    pool = ThreadPoolExecutor(PARALLEL)

    def send(request: Any) -> None:
        answer = http.request("POST", request.url, body=request.body, headers=request.headers)
        assert answer.status == 200, answer.data
        assert b"Error" not in answer.data, answer.data

    def handler(event: Any, context: Any) -> Any:
        list(pool.map(send, requests[number(event["Records"][0])]))
        return {"batchItemFailures": []}

    return handler


VARIANTS = {
    OURS: Variant(as_deployed, ours),
    PUTS: Variant(by_default, one_put_each),
    READY: Variant(as_deployed, ours, requests_ready),
}


def _measured(
    url: str, records: list[Record], away: float, names: Sequence[str]
) -> dict[str, Callable[[], Speed]]:
    return {name: partial(measure, url, VARIANTS[name], records, away) for name in names}


def measure(url: str, variant: Variant, records: list[Record], away: float) -> Speed:
    """Return the speed of all the records, with a client so many seconds away."""
    with _log(url, variant, len(records)) as (client, table):
        events = batches(records, BATCH)
        if variant.prepare is not None:
            return speed(variant.prepare(client, table, events), events)
        move_away(client, away)
        return speed(variant.make(client, table), events)


@contextmanager
def _log(url: str, variant: Variant, entries: int) -> Iterator[tuple[Any, str]]:
    """Create a log, make sure in the end that it has so many entries, and delete it."""
    client, table = variant.connect(url), f"log-{uuid4()}"
    create_table(client, table, [("item", "S"), ("version", "S")])
    yield client, table
    pages = by_default(url).get_paginator("scan").paginate(TableName=table, Select="COUNT")
    found = sum(page["Count"] for page in pages)
    assert found == entries, f"the log has {found} entries, not {entries}"
    client.delete_table(TableName=table)
    client.close()
