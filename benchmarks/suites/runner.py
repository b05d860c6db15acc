"""Cost of a batch runner per record, over a bare loop that calls the same function.

With a function that does nothing, and in all with one that reads the keys and both images. Ours
checks the form of every record, identifies the item and orders its changes before it calls the
function, and holds back later changes of an item after a failure. Powertools' BatchProcessor passes
its record class on and does none of this.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord

from benchmarks.harness.delivery import context
from benchmarks.harness.records import BATCH, SOURCE, batches, changes
from benchmarks.harness.rows import OURS, Options, Row, compare, turns
from dynamodb_streams_cdc import Change, ChangeHandlers, Processor
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters

CHANGES = 1_000
REPEATS = 40
FASTEST_OF = 3
BARE = "bare loop"
GOALS = {"Powertools": 1.0}

Events = list[dict[str, Any]]


def run(options: Options) -> list[Row]:
    """Measure the runners, in microseconds of processor time a record."""
    records = changes(options.records, options.changes or CHANGES)
    events = batches(records, BATCH)
    repeats = options.repeats or REPEATS
    empty = turns(_timed(empty_handlers(events), len(records)), repeats)
    bare = empty.pop(BARE)
    overhead = {
        name: [took - least for took, least in zip(of_one, bare, strict=True)]
        for name, of_one in empty.items()
    }
    reading = turns(_timed(reading_handlers(events), len(records)), repeats)
    rows = compare("runner", "overhead, nothing read", "us/record", overhead, goals=GOALS)
    rows += compare("runner", "in all, images read", "us/record", reading, goals=GOALS)
    return rows


def empty_handlers(events: Events) -> dict[str, Callable[[], None]]:
    """Return the runners with a function that does nothing."""

    def nothing(record: object) -> None:
        pass

    def bare_loop() -> None:
        for event in events:
            for record in event["Records"]:
                nothing(record)

    return {
        OURS: _ours(events, nothing),
        "Powertools": _powertools(events, nothing),
        BARE: bare_loop,
    }


def reading_handlers(events: Events) -> dict[str, Callable[[], None]]:
    """Return the runners with a function that reads the keys and both images."""

    def of_change(change: Change) -> None:
        _ = change.keys, change.new_image, change.old_image

    def of_data_class(record: DynamoDBRecord) -> None:
        body = record.dynamodb
        assert body is not None
        _ = body.keys, body.new_image, body.old_image

    return {
        OURS: _ours(events, of_change),
        "Powertools": _powertools(events, of_data_class),
    }


def _ours(events: Events, function: Callable[[Change], object]) -> Callable[[], None]:
    handlers = ChangeHandlers()
    for register in (handlers.on_insert, handlers.on_modify, handlers.on_remove):
        register(function)
    dead_letters = MemoryDeadLetters()
    processor = Processor("bench", SOURCE, handlers, dead_letters)
    invocation = context(3600.0)

    def ours() -> None:
        for event in events:
            assert processor(event, invocation) == {"batchItemFailures": []}
        assert not dead_letters.dead_letters

    return ours


def _powertools(events: Events, function: Callable[[Any], object]) -> Callable[[], None]:
    processor = BatchProcessor(event_type=EventType.DynamoDBStreams)
    invocation: Any = context(3600.0)

    def record_handler(record: Any) -> None:
        function(record)

    def powertools() -> None:
        for event in events:
            answer = process_partial_response(event, record_handler, processor, invocation)
            assert answer == {"batchItemFailures": []}

    return powertools


def _timed(runs: Mapping[str, Callable[[], None]], records: int) -> dict[str, Callable[[], float]]:
    return {name: partial(fastest, run, records) for name, run in runs.items()}


def fastest(run: Callable[[], None], records: int) -> float:
    """Return the fastest of a few calls, in microseconds of processor time a record."""
    times = []
    for _ in range(FASTEST_OF):
        start = time.thread_time()
        run()
        times.append(time.thread_time() - start)
    return min(times) / records * 1e6
