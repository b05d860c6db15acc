"""The dead letters and their bells, read with boto3 alone: what `cdc` says is held against this."""

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

BUCKETS = {"dead_letters": "dead-letters/", "on_failure": ""}
"""Where dead letters are: roles of the buckets, and the prefix in each bucket."""
_COUNTS: list[QueueAttributeFilterType] = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter: where it lies, and what it says."""

    key: str
    processor: str
    item: str
    reason: str
    error: str
    payload: tuple[dict[str, Any], ...]

    @property
    def complete(self) -> bool:
        """Whether it says why, and carries the images of the change."""
        images = [record.get("dynamodb", {}).get("NewImage") for record in self.payload]
        return bool(self.reason and self.error and images and all(images))


def read_dead_letters(pipeline: Pipeline) -> list[DeadLetter]:
    """Every dead letter that is not archived."""
    client: S3Client
    with closing(session(pipeline.aws.url).client("s3")) as client:
        places = [(pipeline.manifest.bucket(role), prefix) for role, prefix in BUCKETS.items()]
        return [
            dead_letter_of(key, client.get_object(Bucket=bucket, Key=key)["Body"].read())
            for bucket, prefix in places
            for key in _keys(client, bucket, prefix)
        ]


def _keys(client: S3Client, bucket: str, prefix: str) -> Iterator[str]:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for found in page.get("Contents", []):
            yield found["Key"]


def dead_letter_of(key: str, stored: bytes) -> DeadLetter:
    """A dead letter of a processor, or one of Lambda's, which names neither processor nor item."""
    envelope = json.loads(stored)
    about = envelope.get("dead_letter", {})
    return DeadLetter(
        key,
        processor=about.get("processor") or "",
        item=about.get("item") or "",
        reason=about.get("reason") or "",
        error=about.get("error") or "",
        payload=tuple(json.loads(envelope["payload"])["Records"]),
    )


def remaining_notifications(pipeline: Pipeline) -> dict[str, int]:
    """How many pointers lie on each processor's queue, those that somebody is reading included."""
    client: SQSClient
    with closing(session(pipeline.aws.url).client("sqs")) as client:
        found = {}
        for each in pipeline.manifest.processors:
            url = each.dead_letter_queue
            answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=_COUNTS)
            counts = [int(count) for count in answer["Attributes"].values()]
            found[each.name] = sum(counts)
        return found
