"""Writing the change log, on DynamoDB Local: ours beside one conditional put for each entry.

Both write the same entries, made by the same code, and neither writes one that is there.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias
from uuid import uuid4

from benchmarks.aggregation import Speed, deliver
from benchmarks.common import OURS, Options, Row, compare, turns
from benchmarks.meter import Meter, Traffic
from benchmarks.records import BATCH, Record, batches, changes
from dynamodb_streams_cdc import Change, ChangeLog, Processor
from dynamodb_streams_cdc.aws.log import DynamoDbLog
from dynamodb_streams_cdc.change_log import entry_of
from dynamodb_streams_cdc.memory import MemoryLetters, MemoryOverflow
from local import engines
from tests.factories import SOURCE
from tests.integration import clients
from tests.lambdas.conftest import create_table

CHANGES = 2_000
REPEATS = 5
PUTS = "one put each"
GOAL = 5.0

Function: TypeAlias = Callable[[Any, Any], Any]


def run(options: Options) -> list[Row]:
    """Measure both; count their requests and units."""
    records = changes(options.records, options.changes or CHANGES)
    with engines.dynamodb_local() as engine:
        traffic = {name: count(engine.url, make, records) for name, make in VARIANTS.items()}
        runs = turns(
            {n: partial(measure, engine.url, make, records) for n, make in VARIANTS.items()},
            options.repeats or REPEATS,
        )
    speed = {name: [run.events_per_second for run in of_one] for name, of_one in runs.items()}
    cpu = {name: [run.cpu_us for run in of_one] for name, of_one in runs.items()}
    rows = compare("audit", "speed", "entries/s", speed, better="more", goals={PUTS: GOAL})
    rows += compare("audit", "client CPU", "us/entry", cpu)
    for what in ("requests", "bytes", "write_units"):
        values = {name: [getattr(sent, what) / len(records)] for name, sent in traffic.items()}
        words = what.replace("_", " ")
        rows += compare("audit", words, f"{words}/entry", values)
    return rows


def ours(client: Any, table: str) -> Function:
    """Return the audit sink behind its processor."""
    log = ChangeLog(DynamoDbLog(client, table), MemoryOverflow())
    return Processor("audit", SOURCE, log, MemoryLetters())


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


VARIANTS: dict[str, Callable[[Any, str], Function]] = {OURS: ours, PUTS: one_put_each}


def count(url: str, make: Callable[[Any, str], Function], records: list[Record]) -> Traffic:
    """Return what is sent for all the records."""
    with _log(url) as (client, table):
        meter = Meter(client, clients.dynamodb(url, 30.0))
        deliver(make(client, table), batches(records, BATCH))
        found = meter.reader.scan(TableName=table, Select="COUNT")["Count"]
        assert found or not records, "nothing was written"
    return meter.traffic


def measure(url: str, make: Callable[[Any, str], Function], records: list[Record]) -> Speed:
    """Return how fast all the records are done."""
    with _log(url) as (client, table):
        function, events = make(client, table), batches(records, BATCH)
        began, cpu = time.perf_counter(), time.process_time()
        deliver(function, events)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return Speed(len(records) / seconds, cpu / len(records) * 1e6)


@contextmanager
def _log(url: str) -> Iterator[tuple[Any, str]]:
    client, table = clients.dynamodb(url, 30.0), f"log-{uuid4()}"
    create_table(client, table, [("item", "S"), ("version", "S")])
    yield client, table
    client.delete_table(TableName=table)
    client.close()
