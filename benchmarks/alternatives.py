"""Counts what a change costs each alternative, by records of an invocation.

    python -m benchmarks.alternatives

It writes `docs/alternatives.json`: requests and capacity units of each change, for this project and
for its peers, with sums and a log on DynamoDB Local. `tools.cost_comparison` makes dollars of them.
The changes are those of the benchmarks, and no count depends on the speed of the machine.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks.harness.clients import as_deployed, by_default, create_table
from benchmarks.harness.delivery import Function, deliver
from benchmarks.harness.meter import Meter
from benchmarks.harness.records import batches, changes
from benchmarks.peers.sums import Tables, by_day_and_status, powertools
from benchmarks.peers.sums import ours as our_sums
from benchmarks.suites.audit import one_put_each
from benchmarks.suites.audit import ours as our_log
from benchmarks.suites.sinks import counted
from lambdas.example_domain.stories.purchases import SAMPLE
from local.services import service

WRITTEN = Path(__file__).parents[1] / "docs" / "alternatives.json"
RECORDS = (1, 25, 100)
"""Records of an invocation."""

CHANGES = 1_000
COUNTED = ("requests", "write_units", "read_units")

Counts = Mapping[str, float]


def measure() -> Mapping[str, Mapping[str, Counts]]:
    """Return the counts of a change, by variant and by records of an invocation."""
    with service.dynamodb_local() as dynamodb:
        url = dynamodb.url
        variants: Mapping[str, Callable[[int], Counts]] = {
            "sums: this project": partial(_sums, url, as_deployed, our_sums),
            "sums: Powertools with idempotency": partial(_sums, url, by_default, powertools),
            "log: this project": partial(_log, url, as_deployed, our_log),
            "log: one put each": partial(_log, url, by_default, one_put_each),
            "search: this project": partial(_search, url),
            "search: one request each": lambda records: (
                dict.fromkeys(COUNTED, 0.0) | {"requests": 1.0}
            ),
        }
        return {
            name: {str(records): count(records) for records in RECORDS}
            for name, count in variants.items()
        }


@contextmanager
def _table(client: Any) -> Any:
    name = f"log-{uuid4()}"
    create_table(client, name, [("item", "S"), ("version", "S")])
    yield name
    client.delete_table(TableName=name)


def _sums(url: str, connect: Any, make: Any, records: int) -> Counts:
    client = connect(url)
    tables = Tables.create(client)
    function = make(client, tables, by_day_and_status)
    counts = _counted(function, Meter(client, by_default(url)), records)
    tables.delete(client)
    return counts


def _log(url: str, connect: Any, make: Any, records: int) -> Counts:
    client = connect(url)
    with _table(client) as name:
        return _counted(make(client, name), Meter(client, by_default(url)), records)


def _search(url: str, records: int) -> Counts:
    with counted("search", url) as sink:
        return _counted(sink.function, sink, records)


def _counted(function: Function, meter: Any, records: int) -> Counts:
    deliver(function, batches(changes(SAMPLE, CHANGES), records))
    return {name: round(getattr(meter.traffic, name) / CHANGES, 4) for name in COUNTED}


if __name__ == "__main__":
    WRITTEN.write_text(json.dumps(measure(), indent=2) + "\n", "utf-8")
