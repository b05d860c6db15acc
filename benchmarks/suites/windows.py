"""What the mapping's window costs in lag and saves in invocations, in virtual time.

A mapping waits so long at most for a batch to fill. Changes come at random, so many in a second on
the average; the project's own engine polls, waits and invokes as Lambda does, and a batch takes as
long as one of ours 5 ms away from DynamoDB. Time is a number here: every run gives the same.
"""

import heapq
import random
import statistics
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.harness.common import Options, Row
from benchmarks.suites.engine import SHARD, START, make_records
from dynamodb_streams_cdc.esm import SHARD_END, Deliver, DescribeStream, Engine, Invoke, ReadShard

WINDOWS = (0, 1, 2, 5)
DEPLOYED = 1
RATES = (1, 10, 100)
SECONDS = 600
BATCH_SECONDS, CHANGE_SECONDS = 0.015, 0.0005
"""What a batch takes, and each change in it: three requests of 5 ms, and `batch_sizes`."""


@dataclass(frozen=True)
class Cost:
    """What became of the changes: seconds from each to its end, and how many invocations."""

    lags: list[float]
    invocations: int


def run(options: Options) -> list[Row]:
    """Run every window at every rate beside the one that the stacks ask for."""
    return [row for rate in RATES for row in _rows(rate)]


def _rows(rate: int) -> Iterator[Row]:
    costs = {window: deliver(window, rate) for window in WINDOWS}
    deployed = costs.pop(DEPLOYED)
    for window, cost in costs.items():
        name, peer = f"{rate} changes/s, {window} s window", f"{DEPLOYED} s window"
        values = [(_lag(each, 50), _lag(each, 99), _per_change(each)) for each in (cost, deployed)]
        units = ("s, p50", "s, p99", "invocations/change")
        for unit, ours, theirs in zip(units, *values, strict=True):
            yield Row("windows", name, unit, [ours], peer, [theirs])


def _lag(cost: Cost, percentile: int) -> float:
    return statistics.quantiles(cost.lags, n=100, method="inclusive")[percentile - 1]


def _per_change(cost: Cost) -> float:
    return cost.invocations / len(cost.lags)


def deliver(window: int, rate: int) -> Cost:
    """Return what a shard with that many changes a second costs in ten minutes."""
    engine = Engine(
        {
            "StartingPosition": "TRIM_HORIZON",
            "BatchSize": 100,
            "MaximumBatchingWindowInSeconds": window,
        }
    )
    times = list(_arrivals(rate))
    waiting = deque(zip(times, make_records(len(times)), strict=True))
    arrived: dict[str, float] = {}
    ends: list[tuple[float, Any]] = []
    lags: list[float] = []
    invocations, now = 0, START
    while engine.checkpoints.get(SHARD) != SHARD_END:
        while ends and ends[0][0] <= now:
            engine.answered(heapq.heappop(ends)[1], None, now)
        for command in engine.commands(now):
            match command:
                case DescribeStream():
                    engine.shards([{"ShardId": SHARD}], now)
                case ReadShard(shard_id=shard, limit=limit):
                    found: list[Any] = []
                    while waiting and waiting[0][0] <= now and len(found) < limit:
                        at, record = waiting.popleft()
                        record["dynamodb"]["ApproximateCreationDateTime"] = at
                        arrived[record["eventID"]] = at
                        found.append(record)
                    engine.records(shard, found, "next" if waiting else None, now)
                case Invoke(token=token, event=event):
                    records = event["Records"]
                    end = now + BATCH_SECONDS + CHANGE_SECONDS * len(records)
                    heapq.heappush(ends, (end, token))
                    lags += [end - arrived[each["eventID"]] for each in records]
                    invocations += 1
                case Deliver(token=token):
                    engine.delivered(token, ok=True)
        due = [at for at in (engine.wake_at(now), ends[0][0] if ends else None) if at is not None]
        now = min(due, default=now)
    assert len(lags) == len(times)
    return Cost(lags, invocations)


def _arrivals(rate: int) -> Iterator[float]:
    source = random.Random(rate)
    at = START + source.expovariate(rate)
    while at < START + SECONDS:
        yield at
        at += source.expovariate(rate)
