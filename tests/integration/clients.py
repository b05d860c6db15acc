"""Clients, tables and invocations for the tests of failures.

The clients do not retry, like those of the functions; each test chooses how long they wait.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from botocore.config import Config
from opensearchpy import OpenSearch, Urllib3HttpConnection

from dynamodb_streams_cdc import Processor, Sink
from dynamodb_streams_cdc.operations.jobs import Job
from dynamodb_streams_cdc.operations.verify import Verify
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters
from local.deployed.deployment import session
from tests.factories import SOURCE, FakeContext, ManualClock
from tests.lambdas.conftest import create_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

    from dynamodb_streams_cdc.control.functions import Functions
    from dynamodb_streams_cdc.deadline import Clock


def _config(seconds: float) -> Config:
    return Config(connect_timeout=1, read_timeout=seconds, retries={"total_max_attempts": 1})


def dynamodb(url: str, seconds: float = 10.0) -> DynamoDBClient:
    return session(url).client("dynamodb", config=_config(seconds))


def s3(url: str, seconds: float = 10.0) -> S3Client:
    return session(url).client("s3", config=_config(seconds))


def opensearch(url: str, seconds: float = 10.0) -> OpenSearch:
    return OpenSearch(url, connection_class=Urllib3HttpConnection, max_retries=0, timeout=seconds)


@dataclass
class Invoked:
    """The sequence numbers that an invocation reported, and the reasons of its dead letters."""

    reported: list[str]
    reasons: list[str]


def invoke(
    sink: Sink,
    records: list[dict[str, Any]],
    *,
    clock: Clock | None = None,
    seconds: float = 60.0,
) -> Invoked:
    """Process a batch; pauses take no time unless the clock is the machine's."""
    clock = clock or ManualClock()
    dead_letters = MemoryDeadLetters()
    processor = Processor("orders", SOURCE, sink, dead_letters, clock=clock)
    answer = processor({"Records": records}, FakeContext(clock, seconds))
    return Invoked(
        [failure["itemIdentifier"] for failure in answer["batchItemFailures"]],
        [dead_letter.reason for dead_letter in dead_letters.dead_letters.values()],
    )


def differences(functions: Functions, name: str, keys: Mapping[str, str]) -> list[dict[str, Any]]:
    """Verify the copies of aggregation, audit and search; return what differs, for a repair."""
    sinks = {sink: sink for sink in ("aggregation", "audit", "search")}
    with closing(Job(name, {})) as job:
        work = Verify(functions, keys, sinks, job, settle=0)
        report = work.run()
        assert (report.problems, report.moving) == ([], 0)
        found = [{**each, "sink": each["processor"]} for each in work.differences()]
        work.finish()
    return found


def sequence_number(record: dict[str, Any]) -> str:
    """Return the sequence number, by which a record is reported."""
    return str(record["dynamodb"]["SequenceNumber"])


def result_of(call: Callable[[], object]) -> object:
    """Return the result of a call, or its exception."""
    try:
        return call()
    except Exception as error:
        return error


def table(dynamodb: DynamoDBClient, *keys: tuple[str, str]) -> str:
    """Create a table with a name of its own; `keys` are names and types."""
    name = f"contract-{uuid4()}"
    create_table(dynamodb, name, list(keys))
    return name
