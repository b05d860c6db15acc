"""Dead letters and their notifications, read with boto3 only, to check the output of `cdc`."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.deployed.deployment import session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeFilterType

    from local.deployed.pipeline import Pipeline

_PREFIX = "dead-letters/"  # archived ones have another
_COUNTS: list[QueueAttributeFilterType] = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter: the logical name of its table, its key in the bucket, and its content."""

    table: str
    key: str
    processor: str
    item: str
    reason: str
    error: str
    payload: tuple[dict[str, Any], ...]

    @property
    def complete(self) -> bool:
        """Whether it names a reason and an error, and carries the images of the change."""
        images = [record.get("dynamodb", {}).get("NewImage") for record in self.payload]
        return bool(self.reason and self.error and images and all(images))


def read_dead_letters(pipeline: Pipeline) -> list[DeadLetter]:
    """Return every dead letter that is not archived."""
    client: S3Client
    with closing(session(pipeline.aws.url).client("s3")) as client:
        return [
            dead_letter_of(
                copies.table.name, key, client.get_object(Bucket=bucket, Key=key)["Body"].read()
            )
            for copies in pipeline.tables
            for bucket, prefix in (
                (copies.resources.dead_letters, _PREFIX),
                (copies.resources.on_failure, ""),
            )
            for key in _keys(client, bucket, prefix)
        ]


def _keys(client: S3Client, bucket: str, prefix: str) -> Iterator[str]:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for found in page.get("Contents", []):
            yield found["Key"]


def dead_letter_of(table: str, key: str, stored: bytes) -> DeadLetter:
    """Return a dead letter of a processor, or one of Lambda's, without processor and item."""
    envelope = json.loads(stored)
    about = envelope.get("dead_letter", {})
    return DeadLetter(
        table,
        key,
        processor=about.get("processor") or "",
        item=about.get("item") or "",
        reason=about.get("reason") or "",
        error=about.get("error") or "",
        payload=tuple(json.loads(envelope["payload"])["Records"]),
    )


def remaining_notifications(pipeline: Pipeline) -> dict[tuple[str, str], int]:
    """Return the number of notifications by table and processor, those in flight included."""
    client: SQSClient
    with closing(session(pipeline.aws.url).client("sqs")) as client:
        found = {}
        for copies in pipeline.tables:
            for name, url in copies.resources.notification_queues.items():
                response = client.get_queue_attributes(QueueUrl=url, AttributeNames=_COUNTS)
                count = sum(int(count) for count in response["Attributes"].values())
                found[copies.table.name, name] = count
        return found
