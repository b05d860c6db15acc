"""Writes to the change log, on DynamoDB Local: ours, and one conditional put for each entry.

All write the same entries, made by the same code, and none overwrites an entry. On loopback a
request takes no time on its way, and DynamoDB Local does one thing at a time: the result is
processor time, above all of DynamoDB Local. One row is its speed with the same requests, as many
at a time as ours, made before the clock started. So a second set of rows has clients that are five
milliseconds away.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

import urllib3

from benchmarks.harness.clients import as_deployed, by_default, create_table, move_away
from benchmarks.harness.delivery import Function, deliver
from benchmarks.harness.meter import Meter, Traffic
from benchmarks.harness.records import BATCH, SOURCE, Record, batches, changes
from benchmarks.harness.rows import OURS, Options, Row, compare, turns
from benchmarks.suites.aggregation import Speed
from dynamodb_streams_cdc import Change, ChangeLog, Processor
from dynamodb_streams_cdc.aws.dynamodb.log import BATCH_STATEMENTS, PARALLEL, DynamoDbLog
from dynamodb_streams_cdc.deserializer import base64_text
from dynamodb_streams_cdc.sinks.log_entries import entry_of
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters, MemoryImageStore
from local.services import service

CHANGES = 1_000
REPEATS = 5
WARM_UP = 5
"""Turns that are not counted: DynamoDB Local is up to five times slower for the first thousands of
inserts."""

PUTS = "one put each"
OUR_CLIENT = "one put each, our client"
RAW = "raw engine"
GOALS = {PUTS: 5.0}
AWAY = 0.005

HEADERS = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=test/19970101/us-east-1/dynamodb/aws4_request, "
    "SignedHeaders=host, Signature=none",
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Date": "19970101T000000Z",
    "X-Amz-Target": "DynamoDB_20120810.BatchExecuteStatement",
}
"""DynamoDB Local reads the owner of the tables from them, and verifies no signature."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Variant:
    """A way to write the log, and the client that it has."""

    connect: Callable[[str], Any]
    make: Callable[[Any, str], Function]


def run(options: Options) -> list[Row]:
    """Measure both; count their requests and units."""
    records = changes(options.records, options.changes or CHANGES)
    repeats = options.repeats or REPEATS
    with service.dynamodb_local() as engine:
        traffic = {name: count(engine.url, each, records) for name, each in VARIANTS.items()}
        on_loopback = _measured(engine.url, records, 0.0)
        on_loopback[RAW] = partial(measure_engine, engine.url, records)
        turns(on_loopback, WARM_UP)
        near = turns(on_loopback, repeats)
        away = turns(_measured(engine.url, records, AWAY), repeats)
    rows: list[Row] = []
    for name, runs, goals in (("speed", near, GOALS), ("speed, 5 ms away", away, None)):
        speed = {v: [run.events_per_second for run in of_one] for v, of_one in runs.items()}
        rows += compare("audit", name, "entries/s", speed, better="more", goals=goals)
    cpu = {name: [run.cpu_us for run in near[name]] for name in VARIANTS}
    rows += compare("audit", "client CPU", "us/entry", cpu)
    del traffic[OUR_CLIENT]
    for what in ("requests", "bytes", "write_units"):
        values = {name: [getattr(sent, what) / len(records)] for name, sent in traffic.items()}
        words = what.replace("_", " ")
        rows += compare("audit", words, f"{words}/entry", values)
    return rows


def ours(client: Any, table: str) -> Function:
    """Return the audit sink behind its processor."""
    log = ChangeLog(DynamoDbLog(client, table), MemoryImageStore())
    return Processor("audit", SOURCE, log, MemoryDeadLetters())


def one_put_each(client: Any, table: str) -> Function:
    """Return a loop with a conditional put for each record."""

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


VARIANTS = {
    OURS: Variant(as_deployed, ours),
    PUTS: Variant(by_default, one_put_each),
    OUR_CLIENT: Variant(as_deployed, one_put_each),
}


def _measured(url: str, records: list[Record], away: float) -> dict[str, Callable[[], Speed]]:
    return {name: partial(measure, url, each, records, away) for name, each in VARIANTS.items()}


def count(url: str, variant: Variant, records: list[Record]) -> Traffic:
    """Return the requests for all the records."""
    with _log(url, variant, len(records)) as (client, table):
        meter = Meter(client, by_default(url))
        deliver(variant.make(client, table), batches(records, BATCH))
        return replace(meter.traffic)


def measure(url: str, variant: Variant, records: list[Record], away: float) -> Speed:
    """Return the speed of all the records, with a client so many seconds away."""
    with _log(url, variant, len(records)) as (client, table):
        move_away(client, away)
        function, events = variant.make(client, table), batches(records, BATCH)
        began, cpu = time.perf_counter(), time.process_time()
        deliver(function, events)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return Speed(len(records) / seconds, cpu / len(records) * 1e6)


def measure_engine(url: str, records: list[Record]) -> Speed:
    """Return the speed of DynamoDB Local with prepared requests."""
    entries = [entry_of(Change.from_record(record, SOURCE)) for record in records]
    with (
        _log(url, VARIANTS[OURS], len(records)) as (client, table),
        urllib3.PoolManager(maxsize=PARALLEL) as http,
    ):
        log = DynamoDbLog(client, table)
        bodies = [
            json.dumps({"Statements": list(map(log.statement, of_request))}, default=base64_text)
            for of_request in _chunks(entries, BATCH_STATEMENTS)
        ]

        def send(body: str) -> None:
            answer = http.request("POST", url, body=body, headers=HEADERS)
            assert answer.status == 200
            assert b"Error" not in answer.data

        began, cpu = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(PARALLEL) as pool:
            for of_batch in _chunks(bodies, PARALLEL):
                list(pool.map(send, of_batch))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return Speed(len(records) / seconds, cpu / len(records) * 1e6)


def _chunks(sequence: Sequence[_T], size: int) -> list[Sequence[_T]]:
    return [sequence[start : start + size] for start in range(0, len(sequence), size)]


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
