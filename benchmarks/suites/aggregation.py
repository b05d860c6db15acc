"""Sums over items, on DynamoDB Local: ours, a lock for each event, plain counters.

    ours        the aggregation sink behind its processor
    Powertools  BatchProcessor with the DynamoDB idempotency layer around atomic counters, as its
                page shows
    counters    an atomic counter for each record and sum, nothing else

Twice: with sums that many items share (day, status), and with one sum for each customer. Requests
and units are counted in a run of their own. Then the same changes come with faults: batches that
are delivered twice, and functions killed between two requests, whose batch Lambda delivers again.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

from benchmarks.harness.clients import as_deployed, by_default
from benchmarks.harness.delivery import Function, ProcessKilled, Speed, deliver, speed
from benchmarks.harness.meter import Meter, Traffic
from benchmarks.harness.records import BATCH, SOURCE, Record, batches, changes
from benchmarks.harness.rows import OURS, Options, Row, by_name, compare, turns
from benchmarks.peers.sums import (
    VARIANTS,
    Contributions,
    Tables,
    by_customer,
    by_day_and_status,
    expected,
)
from dynamodb_streams_cdc import Change
from local.services import service

CHANGES = 1_000
REPEATS = 3
KILLED = 0.8
TWICE = 0.2
INVOCATION_SECONDS = 3.0
"""With faults: the lock of a killed function holds until its invocation would have timed out."""

SCENARIOS: dict[str, Contributions] = {"shared": by_day_and_status, "by customer": by_customer}

SPEED = {"shared": 6.0, "by customer": 3.5}
CPU = {"shared": 8.0}
WRITE_UNITS = {"shared": 2.1, "by customer": 4.2}
REQUESTS = {"shared": 0.05}

Make: TypeAlias = Callable[[Any, Tables, Contributions], Function]


def run(options: Options) -> list[Row]:
    """Measure every variant with both kinds of sums."""
    records = changes(options.records, options.changes or CHANGES)
    rows: list[Row] = []
    with service.dynamodb_local(sustained=True) as dynamodb:
        for name in SCENARIOS:
            rows += Scenario(name, dynamodb.url, records).run(options.repeats or REPEATS)
    return rows


@dataclass(frozen=True)
class Scenario:
    """One kind of sums, and the records."""

    name: str
    url: str
    records: list[Record]

    @property
    def contributions(self) -> Contributions:
        return SCENARIOS[self.name]

    def run(self, repeats: int) -> list[Row]:
        """Count, which also warms up; then measure; then inject faults."""
        traffic = {variant: self.count(make) for variant, make in VARIANTS.items()}
        runs = turns({v: partial(self.measure, make) for v, make in VARIANTS.items()}, repeats)
        errors = {
            variant: [self.error(make, traffic[variant])] for variant, make in VARIANTS.items()
        }
        compared = partial(compare, "aggregation")
        goals = {"Powertools": SPEED[self.name]}
        rows = compared(
            f"{self.name}: speed",
            "events/s",
            by_name(runs, "events_per_second"),
            better="more",
            goals=goals,
        )
        if self.name in CPU:
            goals = {"Powertools": CPU[self.name]}
            cpu = by_name(runs, "cpu_us")
            rows += compared(f"{self.name}: client CPU", "us/event", cpu, goals=goals)
        rows += self._units(traffic[OURS])
        rows += compared(f"{self.name}: error after faults", "%", errors, at_most=0.0)
        return rows

    def _units(self, sent: Traffic) -> Iterator[Row]:
        items = changed_items(self.records)
        for what, goal in (("requests", REQUESTS), ("write_units", WRITE_UNITS)):
            if self.name in goal:
                words = what.replace("_", " ")
                name, unit = f"{self.name}: {words}", f"{words}/changed item"
                mine = [getattr(sent, what) / items]
                yield Row("aggregation", name, unit, mine, at_most=goal[self.name])

    def count(self, make: Make) -> Traffic:
        with self._function(make) as (function, client, tables):
            meter = Meter(client, by_default(self.url))
            deliver(function, batches(self.records, BATCH))
            sent = replace(meter.traffic)
            self._check(client, tables)
        return sent

    def measure(self, make: Make) -> Speed:
        with self._function(make) as (function, client, tables):
            found = speed(function, batches(self.records, BATCH))
            self._check(client, tables)
        return found

    def error(self, make: Make, clean: Traffic) -> float:
        """Return the error of the sums, in percent, after batches came twice or were killed."""
        source = random.Random(self.name)
        with self._function(make) as (function, client, tables):
            killer = Killer(client)
            requests = clean.requests * BATCH / len(self.records)
            for event in batches(self.records, BATCH):
                if source.random() < KILLED:
                    killer.kill_at(source.random() * requests)
                deliver(function, [event], INVOCATION_SECONDS)
                if source.random() < TWICE:
                    deliver(function, [event], INVOCATION_SECONDS)
            killer.disarm()
            return tables.error(client, expected(self.records, self.contributions))

    def _check(self, client: Any, tables: Tables) -> None:
        error = tables.error(client, expected(self.records, self.contributions))
        assert error == 0, f"without any fault the sums are {error} % off"

    @contextmanager
    def _function(self, make: Make) -> Iterator[tuple[Function, Any, Tables]]:
        client = (as_deployed if make is VARIANTS[OURS] else by_default)(self.url)
        tables = Tables.create(client)
        yield make(client, tables, self.contributions), client, tables
        tables.delete(client)
        client.close()


class Killer:
    """Kills the function after so many requests: before the next one, or after its response."""

    def __init__(self, client: Any) -> None:
        self.left = float("inf")
        client.meta.events.register("before-send.dynamodb", self._sending)
        client.meta.events.register("response-received.dynamodb", self._answered)

    def kill_at(self, request: float) -> None:
        """Kill at that request: before it is sent if the fraction is below one half, else after."""
        self.left = request

    def disarm(self) -> None:
        self.left = float("inf")

    def _sending(self, **others: Any) -> None:
        if self.left < 0.5:
            self._kill()

    def _answered(self, **others: Any) -> None:
        if self.left < 1.0:
            self._kill()
        self.left -= 1.0

    def _kill(self) -> None:
        self.disarm()
        raise ProcessKilled


def changed_items(records: list[Record]) -> int:
    """Return how many items the batches change; twice in a batch counts once."""
    return sum(
        len({Change.from_record(record, SOURCE).item_id for record in event["Records"]})
        for event in batches(records, BATCH)
    )
