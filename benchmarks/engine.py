"""Record deliveries per second through the event-source-mapping engine, and its memory.

    python -m benchmarks.engine [--json] [--records N] [--rounds N]

One core, an empty handler, time that is only a number: what is measured is the engine with the
dictionaries of its records and a runner of twenty lines. A delivery is one record in one
invocation; seconds are the processor's, which a busy machine does not stretch. Each kind of mapping
has its turn in each round, and the table gives the median round. Memory is the peak of the process
after a tenth of the records and after all of them: the engine holds what is unfinished, so the two
are alike.
"""

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from dynamodb_streams_cdc.esm import (
    SHARD_END,
    Deliver,
    DescribeStream,
    Engine,
    Invoke,
    ReadShard,
)

GOAL_PER_SECOND = 20_000
GOAL_GROWTH_MB = 16.0
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


@dataclass(frozen=True)
class Row:
    """One kind of mapping: how many records it delivers per second."""

    mapping: str
    deliveries: int
    per_second: float
    slowest_round: float
    goal: int


@dataclass(frozen=True)
class Memory:
    """The peak of the process, in megabytes."""

    mapping: str
    records: int
    after_a_tenth_mb: float
    at_the_end_mb: float
    growth_mb: float
    goal_mb: float


def main() -> None:
    """Print both tables, or JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--records", type=int, default=1_000_000, help="for the memory")
    parser.add_argument("--rounds", type=int, default=5, help="of 50,000 records, for the speed")
    arguments = parser.parse_args()
    memory = [measure_memory(mapping, arguments.records) for mapping in ("one lane", "ten lanes")]
    rows = measure_speed(arguments.rounds, 50_000)
    if arguments.json:
        tables = {"speed": [asdict(r) for r in rows], "memory": [asdict(m) for m in memory]}
        print(json.dumps(tables, indent=2))
    else:
        print_tables(rows, memory)


def measure_speed(rounds: int, count: int) -> list[Row]:
    """Let every mapping deliver `count` records in every round."""
    speeds: dict[str, list[float]] = {mapping: [] for mapping in MAPPINGS}
    deliveries: dict[str, int] = {}
    for _ in range(rounds):
        for mapping, found in speeds.items():
            start = time.process_time()
            deliveries[mapping] = run(mapping, count)
            found.append(deliveries[mapping] / (time.process_time() - start))
    return [
        Row(mapping, deliveries[mapping], statistics.median(found), min(found), GOAL_PER_SECOND)
        for mapping, found in speeds.items()
    ]


def measure_memory(mapping: str, count: int) -> Memory:
    """Deliver `count` records; look at the memory on the way and at the end."""
    peaks: list[float] = []

    def look(delivered: int) -> None:
        if not peaks and delivered >= count // 10:
            peaks.append(peak_megabytes())

    run(mapping, count, look)
    peaks.append(peak_megabytes())
    return Memory(mapping, count, peaks[0], peaks[-1], peaks[-1] - peaks[0], GOAL_GROWTH_MB)


def peak_megabytes() -> float:
    """Return the largest resident size that the process has had."""
    unit = 1024 * 1024 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def run(mapping: str, count: int, look: Callable[[int], None] = lambda delivered: None) -> int:
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
        look(delivered)
        now = engine.wake_at(now) or now
    return delivered


def do_nothing(event: Mapping[str, Any]) -> None:
    """Be the empty handler."""


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


def print_tables(rows: list[Row], memory: list[Memory]) -> None:
    """Print the speed and the memory of each mapping."""
    print(f"{'mapping':20}{'deliveries':>12}{'per second':>14}{'slowest':>12}{'goal':>10}")
    for row in rows:
        print(
            f"{row.mapping:20}{row.deliveries:12,}{row.per_second:14,.0f}"
            f"{row.slowest_round:12,.0f}{row.goal:10,}"
        )
    print()
    print(f"{'mapping':20}{'records':>12}{'a tenth, MB':>14}{'all, MB':>12}{'growth':>10}")
    for entry in memory:
        print(
            f"{entry.mapping:20}{entry.records:12,}{entry.after_a_tenth_mb:14.1f}"
            f"{entry.at_the_end_mb:12.1f}{entry.growth_mb:10.1f}"
        )


if __name__ == "__main__":
    main()
