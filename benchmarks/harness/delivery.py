"""Calls a function as a mapping does: batch by batch, again from the earliest failure on."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from aws_lambda_powertools.utilities.batch.exceptions import BatchProcessingError

from benchmarks.harness.records import Record
from dynamodb_streams_cdc.esm import FunctionContext

Function: TypeAlias = Callable[[Any, Any], Any]
"""Lambda handler: called with an event and a context."""

PATIENCE_SECONDS = 60.0
_ARN = "arn:aws:lambda:us-east-1:000000000000:function:orders"


class ProcessKilled(BaseException):
    """The function's process is gone; the function cannot catch this."""


def context(seconds: float = PATIENCE_SECONDS) -> FunctionContext:
    ends = time.monotonic() + seconds
    return FunctionContext("5f6b-request", _ARN, remaining=lambda: ends - time.monotonic())


def deliver(
    function: Function, events: Iterable[dict[str, Any]], seconds: float = PATIENCE_SECONDS
) -> None:
    """Deliver batches one after the other, each until all of it is done.

    Raises:
        TimeoutError: a batch is not done after a minute.
    """
    for event in events:
        records, deadline = event["Records"], time.monotonic() + PATIENCE_SECONDS
        while records:
            try:
                answer = function({"Records": records}, context(seconds))
            except (ProcessKilled, BatchProcessingError):
                failures = [number(records[0])]
            else:
                failures = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
            numbers = [number(each) for each in records]
            records = records[min(map(numbers.index, failures)) :] if failures else []
            if records and time.monotonic() > deadline:
                message = f"{len(records)} records are not done after {PATIENCE_SECONDS:.0f} s"
                raise TimeoutError(message)


@dataclass(frozen=True)
class Speed:
    """Speed of a function over some changes."""

    events_per_second: float
    cpu_us: float


def speed(function: Function, events: Sequence[dict[str, Any]]) -> Speed:
    """Deliver batches; return the changes per second, and the processor time of each."""
    changes = sum(len(event["Records"]) for event in events)
    began, cpu = time.perf_counter(), time.process_time()
    deliver(function, events)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return Speed(changes / seconds, cpu / changes * 1e6)


def number(record: Record) -> str:
    """Return the sequence number, by which a record is reported."""
    return str(record["dynamodb"]["SequenceNumber"])
