"""Record deliveries per second through the event-source-mapping engine, and its memory.

One core, an empty handler, virtual time: measured are the engine, the dictionaries of its records
and a loop of twenty lines. A delivery is one record in one invocation; seconds are processor time,
which does not depend on the load of the machine. There is no peer: no other program runs a
mapping's rules. Python's memory is compared after a tenth of the records and near the end: the
engine holds unfinished records only, so the two are alike.
"""

import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from benchmarks.harness.rows import Options, Row, turns
from dynamodb_streams_cdc.esm import (
    SHARD_END,
    Deliver,
    DescribeStream,
    Engine,
    Invoke,
    ReadShard,
)

DELIVERIES = 50_000
REPEATS = 5
MICROSECONDS = 50.0
"""Goal for one delivery: 20,000 in a second."""

GROWTH_MB = 1.0
START = 1_700_000_000.0
SHARD = "shardId-00000001573689847184-864758bb"

MAPPINGS: dict[str, dict[str, Any]] = {
    "one lane": {},
    "ten lanes": {"ParallelizationFactor": 10},
    "filtered": {
        "FilterCriteria": {
            "Filters": [{"Pattern": '{"dynamodb": {"NewImage": {"status": {"S": ["placed"]}}}}'}]
        }
    },
    "partial failures": {"FunctionResponseTypes": ["ReportBatchItemFailures"]},
}

Record = dict[str, Any]
Handler = Callable[[Mapping[str, Any]], Any]


def run(options: Options) -> list[Row]:
    """Deliver to each kind of mapping in turns; then measure the memory of one."""
    count = max(options.changes or DELIVERIES, 1_000)
    times = turns(
        {name: partial(_microseconds, name, count) for name in MAPPINGS},
        options.repeats or REPEATS,
    )
    rows = [
        Row("engine", name, "us/delivery", found, at_most=MICROSECONDS)
        for name, found in times.items()
    ]
    growth = _growth("ten lanes", 4 * count)
    return [
        *rows,
        Row("engine", "memory at the end", "MB more", [growth], at_most=GROWTH_MB),
    ]


def _microseconds(mapping: str, count: int) -> float:
    began = time.process_time()
    delivered = deliver(mapping, count)
    return 1e6 * (time.process_time() - began) / delivered


def _growth(mapping: str, count: int) -> float:
    """Return how many megabytes more are in use near the end than after a tenth of the records."""
    held: list[int] = []

    def observe(delivered: int) -> None:
        if delivered >= count // 10 and delivered < count:
            held.append(tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    try:
        deliver(mapping, count, observe)
    finally:
        tracemalloc.stop()
    return (held[-1] - held[0]) / 1e6


def deliver(
    mapping: str, count: int, observe: Callable[[int], None] = lambda delivered: None
) -> int:
    """Run a mapping over one shard that ends after `count` records; return the deliveries."""
    engine = Engine({"StartingPosition": "TRIM_HORIZON", "BatchSize": 100} | MAPPINGS[mapping])
    handler: Handler = fail_once_in_the_middle if mapping == "partial failures" else do_nothing
    source = make_records(count)
    now, delivered = START, 0
    while engine.checkpoints.get(SHARD) != SHARD_END:
        for command in engine.commands(now):
            match command:
                case DescribeStream():
                    engine.shards([{"ShardId": SHARD}], now)
                case ReadShard(shard_id=shard, limit=limit):
                    found = [record for _, record in zip(range(limit), source, strict=False)]
                    engine.records(shard, found, "next" if len(found) == limit else None, now)
                case Invoke(token=token, event=event):
                    delivered += len(event["Records"])
                    engine.answered(token, handler(event), now)
                case Deliver(token=token):
                    engine.delivered(token, ok=True)
        observe(delivered)
        now = engine.wake_at(now) or now
    assert delivered >= count
    return delivered


def do_nothing(event: Mapping[str, Any]) -> None:
    """Handle nothing."""


def fail_once_in_the_middle(event: Mapping[str, Any]) -> dict[str, Any] | None:
    """Report the middle of each full batch: half of it is delivered twice."""
    records = event["Records"]
    if len(records) < 100:
        return None
    return {"batchItemFailures": [{"itemIdentifier": records[50]["dynamodb"]["SequenceNumber"]}]}


def make_records(count: int) -> Iterator[Record]:
    """Yield changes of orders, each with a number and a key of its own."""
    for number in range(1, count + 1):
        keys = {"customer_id": {"S": f"{number % 2_357:05}"}, "order_id": {"S": f"{number}"}}
        image = keys | {
            "status": {"S": "placed"},
            "placed_at": {"S": "1997-01-01T00:00:00Z"},
            "total": {"N": "29.33"},
            "currency": {"S": "USD"},
            "updated_by": {"S": "checkout"},
        }
        yield {
            "eventID": f"{number:032x}",
            "eventName": "INSERT",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "us-east-1",
            "dynamodb": {
                "ApproximateCreationDateTime": START,
                "Keys": keys,
                "NewImage": image,
                "SequenceNumber": f"{number}00000000003126276362",
                "SizeBytes": 120,
                "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
        }
