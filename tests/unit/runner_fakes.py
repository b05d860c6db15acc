"""A stream in memory behind the calls of its API, and the other fakes of a runner."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from dynamodb_streams_cdc.esm import Policies
from dynamodb_streams_cdc.esm.poller.runner import (
    CheckpointFile,
    FunctionReturned,
    MappingRunner,
    StreamReader,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient

    from dynamodb_streams_cdc.esm import Deliver, Invoke
    from dynamodb_streams_cdc.esm.poller.runner import InvocationOutcome

STREAM = "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/2026-01-01T00:00:00.000"
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:f"
BUCKET = "arn:aws:s3:::dead-letters"
UUID = "14e0db71-5d35-4eb5-b481-8945cf9d10c2"
SHARD = "shard-1"
AT_ONCE = Policies(
    poll_seconds=0.002, backoff=lambda failures: 0.002, throttle_backoff=lambda refusals: 0.002
)


def refusal(code: str, status: int = 400, operation: str = "GetRecords") -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        operation,
    )


def number(position: int) -> str:
    return f"{position:021}"


class Streams:
    """One stream of one shard; `refuse` lets the next call of an operation fail."""

    def __init__(self, count: int = 0) -> None:
        self.records = [self.record(position) for position in range(1, count + 1)]
        self.trimmed = 0
        self.shards: list[dict[str, Any]] = [{"ShardId": SHARD}]
        self.closed = False
        self.iterators: list[dict[str, Any]] = []
        self._refusals: list[ClientError] = []

    def record(self, position: int, *, item: str | None = None) -> dict[str, Any]:
        return {
            "eventID": f"{position:032x}",
            "eventName": "INSERT",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "us-east-1",
            "dynamodb": {
                "ApproximateCreationDateTime": datetime.now(UTC).replace(microsecond=0),
                "Keys": {"id": {"S": item or f"item-{position}"}},
                "SequenceNumber": number(position),
            },
        }

    def refuse(self, code: str, operation: str = "GetRecords") -> None:
        self._refusals.append(refusal(code, operation=operation))

    def reader(self) -> StreamReader:
        return StreamReader(cast("DynamoDBStreamsClient", self), STREAM)

    def _check(self, operation: str) -> None:
        for error in self._refusals:
            if error.operation_name == operation:
                self._refusals.remove(error)
                raise error

    def describe_stream(self, **arguments: Any) -> Any:
        self._check("DescribeStream")
        return {"StreamDescription": {"Shards": self.shards}}

    def get_shard_iterator(self, **arguments: Any) -> Any:
        self.iterators.append(arguments)
        self._check("GetShardIterator")
        kind = arguments["ShardIteratorType"]
        place = {"TRIM_HORIZON": self.trimmed, "LATEST": len(self.records)}.get(kind)
        if place is None:
            place = int(arguments["SequenceNumber"]) - (kind == "AT_SEQUENCE_NUMBER")
        return {"ShardIterator": str(place)}

    def get_records(self, *, ShardIterator: str, Limit: int) -> Any:
        self._check("GetRecords")
        place = int(ShardIterator)
        if place < self.trimmed:
            error = refusal("TrimmedDataAccessException")
            raise error
        page = self.records[place : place + Limit]
        end = place + len(page)
        answer: dict[str, Any] = {"Records": page}
        if not (self.closed and end == len(self.records)):
            answer["NextShardIterator"] = str(end)
        return answer


class Function:
    """Records the batches that it gets; `answer` returns the result of one."""

    def __init__(
        self, answer: Callable[[Invoke], InvocationOutcome] = lambda command: FunctionReturned(None)
    ) -> None:
        self.answer = answer
        self.batches: list[list[int]] = []
        self._lock = threading.Lock()

    def __call__(self, command: Invoke) -> InvocationOutcome:
        with self._lock:
            self.batches.append(numbers(command))
        return self.answer(command)

    @property
    def delivered(self) -> list[int]:
        with self._lock:
            return [each for batch in self.batches for each in batch]


def in_turn(*outcomes: InvocationOutcome) -> Callable[[Invoke], InvocationOutcome]:
    """Return the answers of a function: these, and then that all went well."""
    left = list(outcomes)
    return lambda command: left.pop(0) if left else FunctionReturned(None)


def numbers(command: Invoke) -> list[int]:
    return [int(record["dynamodb"]["SequenceNumber"]) for record in command.event["Records"]]


def runner(
    streams: Streams,
    function: Function,
    folder: Path,
    *,
    deliver: Callable[[Deliver], bool] | None = None,
    policies: Policies = AT_ONCE,
    **settings: Any,
) -> MappingRunner:
    mapping = {
        "UUID": UUID,
        "StartingPosition": "TRIM_HORIZON",
        "EventSourceArn": STREAM,
        "FunctionArn": FUNCTION,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        **settings,
    }
    options: dict[str, Any] = {} if deliver is None else {"deliver": deliver}
    return MappingRunner(
        mapping,
        reader=streams.reader(),
        function=function,
        checkpoints=CheckpointFile(folder / "checkpoints.json"),
        policies=policies,
        **options,
    )


def eventually(happened: Callable[[], object], within: float = 5.0) -> None:
    deadline = time.monotonic() + within
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)
