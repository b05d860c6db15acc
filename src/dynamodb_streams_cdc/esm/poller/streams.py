"""Read a stream through its API, and give its records the form in which Lambda delivers them.

A read can fail in a few ways, each with its own fix, so a read returns one of them instead of
raising.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import BotoCoreError, ClientError

from dynamodb_streams_cdc.deserializer import base64_text
from dynamodb_streams_cdc.esm import ReadShard

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient

logger = logging.getLogger(__name__)

IMAGES = ("Keys", "NewImage", "OldImage")


class Trouble(StrEnum):
    """Why a read brought nothing."""

    EXPIRED = "expired"
    """The iterator is older than 15 minutes, or is not of this stream."""

    TRIMMED = "trimmed"
    """The stream has forgotten the records at this place."""

    NOT_FOUND = "not found"
    """The shard or the whole stream is gone."""

    FAILED = "failed"
    """Throttled, not allowed, or the service does not answer."""


_TROUBLES = {
    "ExpiredIteratorException": Trouble.EXPIRED,
    "TrimmedDataAccessException": Trouble.TRIMMED,
    "ResourceNotFoundException": Trouble.NOT_FOUND,
}


@dataclass(frozen=True, slots=True)
class Page:
    """Records in Lambda's form, and the iterator for the next read; None ends the shard."""

    records: list[dict[str, Any]]
    cursor: str | None


@dataclass(frozen=True)
class StreamReader:
    """One stream, read through a client of DynamoDB Streams; may be used by several threads."""

    client: "DynamoDBStreamsClient"
    stream_arn: str

    def shards(self) -> list[Mapping[str, Any]] | None:
        """Return all shards as `DescribeStream` lists them; None, with a log line, if it fails."""
        found: list[Mapping[str, Any]] = []
        start: Any = {}
        try:
            while True:
                answer = self.client.describe_stream(StreamArn=self.stream_arn, **start)
                description = answer["StreamDescription"]
                found += cast("list[Mapping[str, Any]]", description.get("Shards", []))
                last = description.get("LastEvaluatedShardId")
                if not last:
                    return found
                start = {"ExclusiveStartShardId": last}
        except (ClientError, BotoCoreError) as error:
            logger.warning("the shards of %s cannot be listed: %s", self.stream_arn, error)
            return None

    def read(self, command: ReadShard) -> Page | Trouble:
        """Return the records that the engine asked for; trouble has been logged."""
        try:
            iterator = command.cursor or self._iterator(command)
            answer = self.client.get_records(ShardIterator=str(iterator), Limit=command.limit)
        except (ClientError, BotoCoreError) as error:
            trouble = _trouble(error)
            expected = trouble is Trouble.EXPIRED
            logger.log(
                logging.INFO if expected else logging.WARNING,
                "shard %s cannot be read from %s: %s",
                command.shard_id,
                command.place,
                error,
            )
            return trouble
        records = [lambda_record(record, self.stream_arn) for record in answer["Records"]]
        return Page(records, answer.get("NextShardIterator"))

    def _iterator(self, command: ReadShard) -> str:
        arguments: Any = command.iterator
        return self.client.get_shard_iterator(
            StreamArn=self.stream_arn, ShardId=command.shard_id, **arguments
        )["ShardIterator"]


def _trouble(error: ClientError | BotoCoreError) -> Trouble:
    if not isinstance(error, ClientError):
        return Trouble.FAILED
    code = error.response["Error"].get("Code", "")
    if code == "ValidationException" and error.operation_name == "GetRecords":
        return Trouble.EXPIRED  # an iterator of an endpoint that was replaced
    return _TROUBLES.get(code, Trouble.FAILED)


def lambda_record(record: Mapping[str, Any], stream_arn: str) -> dict[str, Any]:
    """Return a record of `GetRecords`, as boto3 gives it, in the form in which Lambda delivers it.

    The names and their order are those observed in events: binary is base64 text, the time is a
    number of seconds, an absent field has no key, and the event names its stream.
    """
    found = {
        "eventID": record["eventID"],
        "eventName": record["eventName"],
        "eventVersion": record.get("eventVersion", "1.1"),
        "eventSource": record.get("eventSource", "aws:dynamodb"),
        "awsRegion": record.get("awsRegion", ""),
        "dynamodb": _body(record["dynamodb"]),
        "eventSourceARN": stream_arn,
    }
    identity = record.get("userIdentity")
    if identity:
        found["userIdentity"] = {
            "type": identity.get("Type"),
            "principalId": identity.get("PrincipalId"),
        }
    return found


def _body(change: Mapping[str, Any]) -> dict[str, Any]:
    time = change["ApproximateCreationDateTime"]
    seconds = time.timestamp() if isinstance(time, datetime) else float(time)
    body: dict[str, Any] = {"ApproximateCreationDateTime": seconds}
    for name in IMAGES:
        if change.get(name) is not None:
            body[name] = json.loads(json.dumps(change[name], default=base64_text))
    for name in ("SequenceNumber", "SizeBytes", "StreamViewType"):
        if change.get(name) is not None:
            body[name] = change[name]
    return body
