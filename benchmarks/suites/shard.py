"""Changes per second that one shard sustains, by sink and lanes.

The writer is out of the way: the records are in the stream before the clock starts. The engine
reads the shard, with as many lanes as ParallelizationFactor says, and each lane's batches are
invoked in a process of its own, as by Lambda. Functions are as deployed, on DynamoDB Local and a
warm OpenSearch. All processes share the processors of one machine with these engines: on Lambda
each lane has its own, so the rows of several lanes say what the engines bear, not what Lambda does.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import partial
from multiprocessing import get_context
from typing import Any
from uuid import uuid4

from benchmarks.harness.delivery import context
from benchmarks.harness.operated import Operated
from benchmarks.harness.records import BATCH, Record, changes
from benchmarks.harness.rows import Options, Row, turns
from dynamodb_streams_cdc.esm import (
    SHARD_END,
    DescribeStream,
    Engine,
    Invoke,
    ReadShard,
    SaveCheckpoint,
)
from local.services import service

CHANGES = 2_000
REPEATS = 3
SINKS = ("aggregation", "audit", "search")
LANES = (1, 2, 4)
SHARD = "shardId-00000001573689847184-864758bb"

_function: Any = None
_barrier: Any = None


def run(options: Options) -> list[Row]:
    """Measure each sink with each number of lanes, in turns."""
    records = changes(options.records, options.changes or CHANGES)
    with service.dynamodb_local() as dynamodb, service.opensearch() as node:
        urls = (dynamodb.url, node.url)
        variants = {
            (sink, lanes): partial(sustained, sink, lanes, records, urls)
            for sink in SINKS
            for lanes in LANES
        }
        turns(variants, 1)  # the engines are slower at first
        speeds = turns(variants, options.repeats or REPEATS)
    return [
        Row("shard", f"{sink}: {lanes} {'lane' if lanes == 1 else 'lanes'}", "changes/s", found)
        for (sink, lanes), found in speeds.items()
    ]


def sustained(sink: str, lanes: int, records: Sequence[Record], urls: tuple[str, str]) -> float:
    """Return the changes per second of a shard, from the first read to its last checkpoint."""
    name = f"shard-{uuid4()}"
    prepare(Operated(name, *urls), sink)
    spawn = get_context("spawn")
    lane = (sink, name, urls, spawn.Barrier(lanes))
    with ProcessPoolExecutor(lanes, spawn, _start, lane) as pool:
        list(pool.map(_meet, range(lanes)))
        begun = time.perf_counter()
        drain(lanes, records, pool)
        return len(records) / (time.perf_counter() - begun)


def prepare(stores: Operated, sink: str) -> None:
    """Make the stores of a sink, empty."""
    stores.empty("ledger")
    stores.empty("log")
    if sink == "search":  # makes the index
        stores.invoke(sink, {"operation": "verify", "of": "copies", "limit": 1, "Records": []})


def drain(lanes: int, records: Sequence[Record], pool: ProcessPoolExecutor) -> None:
    """Deliver all records of a shard that has ended."""
    engine = Engine(
        {
            "StartingPosition": "TRIM_HORIZON",
            "BatchSize": BATCH,
            "ParallelizationFactor": lanes,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
        }
    )
    source, running = iter(records), dict[Future[Any], int]()
    while engine.checkpoints.get(SHARD) != SHARD_END:
        for command in engine.commands(time.time()):
            match command:
                case DescribeStream():
                    engine.shards([{"ShardId": SHARD}], time.time())
                case ReadShard(shard_id=shard, limit=limit):
                    found = [record for _, record in zip(range(limit), source, strict=False)]
                    following = "next" if len(found) == limit else None
                    engine.records(shard, found, following, time.time())
                case Invoke(token=token, event=event):
                    running[pool.submit(_invoke, event)] = token
                case _:
                    assert isinstance(command, SaveCheckpoint), command  # no batch fails
        done, _ = wait(running, timeout=0.01, return_when=FIRST_COMPLETED)
        for future in done:
            answer = future.result()
            assert answer == {"batchItemFailures": []}, answer
            engine.answered(running.pop(future), answer, time.time())


# In the processes of the lanes


def _start(sink: str, name: str, urls: tuple[str, str], barrier: Any) -> None:
    global _function, _barrier
    _function, _barrier = Operated(name, *urls).functions[sink], barrier


def _meet(_: int) -> None:
    """Wait until every process has its function."""
    _barrier.wait()


def _invoke(event: Mapping[str, Any]) -> Any:
    return _function(event, context())
