"""Clients and the processor, made from a function's settings."""

import os
import random
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, cast

from botocore.config import Config
from botocore.session import Session, get_session
from pydantic import ValidationError

from dynamodb_streams_cdc import Change, Processor, Sink, SourceTable
from dynamodb_streams_cdc.aws.dynamodb.attempts import DynamoDbAttempts
from dynamodb_streams_cdc.aws.dynamodb.encoding import encode_once
from dynamodb_streams_cdc.aws.dynamodb.notes import DynamoDbNotes
from dynamodb_streams_cdc.aws.dynamodb.source_table import DynamoDbSourceTable
from dynamodb_streams_cdc.aws.errors import require_request_id
from dynamodb_streams_cdc.aws.s3 import S3DeadLetters, S3ImageStore
from dynamodb_streams_cdc.entities import Table
from dynamodb_streams_cdc.guards.breaker import Breaker
from dynamodb_streams_cdc.metrics import LogMetrics
from dynamodb_streams_cdc.sinks.by_entity import ByEntity
from dynamodb_streams_cdc.sinks.log_entries import change_from_log_record
from lambdas.domain import TABLES
from lambdas.settings import Settings, SettingsError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

    from dynamodb_streams_cdc.processor import RecordParser

CLIENT = Config(
    connect_timeout=1,
    read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 1},
    tcp_keepalive=True,
    parameter_validation=False,
)
"""Short waits and no retries: the processor retries, with the invocation's time in view. A request
that hangs ends within the deadline's `RESERVE_SECONDS`. The library has checked the parameters:
botocore's check would take four tenths of a client's processor time."""

SNAPSHOT = "snap-start"
"""How Lambda says that it loads a function for a snapshot
(https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html)."""


@cache
def session() -> Session:
    """Return the function's session: of botocore, as boto3 would be imported for nothing else.

    The package has botocore and its description of the services in `KEPT` of stacks/packaging.py: a
    client of another one takes its name there. To each client an answer that is not of AWS is an
    outage.
    """
    made = get_session()
    made.get_component("event_emitter").register("before-parse", require_request_id)
    return made


@cache
def dynamodb() -> "DynamoDBClient":
    """Return the function's client of DynamoDB."""
    return encode_once(cast("DynamoDBClient", session().create_client("dynamodb", config=CLIENT)))


@cache
def s3() -> "S3Client":
    """Return the function's client of S3."""
    return cast("S3Client", session().create_client("s3", config=CLIENT))


def prepare(processor: Callable[[], object]) -> None:
    """Make a function's processor while Lambda loads the function, before there is an event.

    AWS advises to make clients outside of the handler
    (https://docs.aws.amazon.com/lambda/latest/dg/best-practices.html). An invocation at 512 MB has
    29 % of a processor; loading has a burst
    (https://awslabs.github.io/aws-lambda-web-adapter/configuration/async-init.html).
    A snapshot of SnapStart is to hold no client, so there the first invocation makes it.
    """
    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE", SNAPSHOT) != SNAPSHOT:
        processor()


def source_table(table: str) -> DynamoDbSourceTable:
    """Return the source table, for repair, verification and backfill."""
    return DynamoDbSourceTable(dynamodb, table)


def large_images(bucket: str) -> S3ImageStore:
    """Return the store of the change log's large images."""
    return S3ImageStore(s3, bucket)


def declared(settings: Settings) -> Table:
    """Return the declaration of the source table that the settings name.

    Raises:
        SettingsError: there is none in lambdas/domain.
    """
    for table in TABLES:
        if table.name == settings.source_table:
            return table
    known = ", ".join(table.name for table in TABLES)
    message = f"SOURCE_TABLE is {settings.source_table!r}; lambdas/domain declares {known}"
    raise SettingsError(message)


def build(
    settings: Settings,
    table: Table,
    sinks: Mapping[str, Sink],
    source_table: SourceTable | None = None,
) -> Processor:
    """Return the processor of a function: see `prepare` for when.

    With SnapStart, all environments of a version go on from one snapshot, and would draw the same
    random numbers: the same pauses, which are to spread retries, and the same shards of sums
    (https://docs.aws.amazon.com/lambda/latest/dg/snapstart-uniqueness.html).

    Args:
        settings: of the function.
        table: declaration of the source table.
        sinks: one for each entity that has a copy there, by the entity's name.
        source_table: the table itself, from which copies are repaired.
    """
    random.seed()
    bucket = settings.large_images_bucket
    image_store = large_images(bucket) if bucket else None
    readers: dict[str, RecordParser] = {
        "table": Change.from_record,
        "change-log": partial(change_from_log_record, image_store=image_store),
    }
    return Processor(
        name=settings.processor,
        source=table.source(settings.epoch),
        sink=ByEntity(table, sinks),
        dead_letters=S3DeadLetters(s3, settings.dead_letter_bucket, settings.dead_letter_prefix),
        read=readers[settings.feed],
        permanent=(ValidationError,),
        metrics=LogMetrics(settings.pipeline, settings.processor),
        source_table=source_table,
        attempts=DynamoDbAttempts(dynamodb, settings.attempts_table),
        notes=DynamoDbNotes(dynamodb, settings.attempts_table),
        breaker=Breaker(settings.breaker_share, settings.breaker_items),
    )
