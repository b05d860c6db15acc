"""What smaller and larger batches cost the sums and the log, on DynamoDB Local 5 ms away.

The mapping's batch size is the most that a function gets at a time. Each row is one size beside the
hundred that the stacks ask for. Orders are shipped after a thousand others, so that even the
largest batch coalesces no more than it would in a busy shop.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from operator import attrgetter

from benchmarks.harness.clients import move_away
from benchmarks.harness.common import Options, Row, turns
from benchmarks.harness.records import BATCH, Record, batches, stream
from benchmarks.suites.aggregation import deliver
from benchmarks.suites.sinks import counted
from local.services import engines

SIZES = (10, 25, 50, 100, 250, 500, 1_000)
CHANGES = 2_000
IN_FLIGHT = 1_000
REPEATS = 3
AWAY = 0.005


@dataclass(frozen=True)
class Cost:
    """What a change costs in batches of one size."""

    ms: float
    cpu_us: float


def run(options: Options) -> list[Row]:
    """Measure every size, taking turns, and count."""
    number = options.changes or CHANGES
    records = list(islice(stream(options.records, in_flight=IN_FLIGHT), number))
    rows: list[Row] = []
    with engines.dynamodb_local() as engine:
        for sink in ("aggregation", "audit"):
            sent = {size: count(sink, engine.url, records, size) for size in SIZES}
            variants = {size: partial(measure, sink, engine.url, records, size) for size in SIZES}
            costs = turns(variants, options.repeats or REPEATS)
            for size in SIZES:
                if size != BATCH:
                    rows += _rows(f"{sink}, {size} a batch", costs, sent, size)
    return rows


def _rows(
    name: str, costs: dict[int, list[Cost]], sent: dict[int, dict[str, float]], size: int
) -> Iterator[Row]:
    of_size = partial(Row, "batch_sizes", name, peer=f"{BATCH} a batch")
    for unit, read in (("ms/change", attrgetter("ms")), ("CPU us/change", attrgetter("cpu_us"))):
        ours, theirs = (list(map(read, costs[each])) for each in (size, BATCH))
        yield of_size(unit, ours, theirs=theirs)
    for unit, mine in sent[size].items():
        yield of_size(unit, [mine], theirs=[sent[BATCH][unit]])


def count(sink: str, url: str, records: list[Record], size: int) -> dict[str, float]:
    """Return what each change sends, by unit."""
    with counted(sink, url) as made:
        deliver(made.function, batches(records, size))
        return {
            "requests/change": made.traffic.requests / len(records),
            "write units/change": made.traffic.write_units / len(records),
        }


def measure(sink: str, url: str, records: list[Record], size: int) -> Cost:
    """Return what each change takes."""
    with counted(sink, url, units=False) as made:
        move_away(made.client, AWAY)
        events = batches(records, size)
        began, cpu = time.perf_counter(), time.process_time()
        deliver(made.function, events)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return Cost(seconds / len(records) * 1e3, cpu / len(records) * 1e6)
