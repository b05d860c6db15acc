"""List, read and archive dead letters in their two S3 buckets."""

import heapq
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from botocore.exceptions import ClientError

from dynamodb_streams_cdc.aws.s3 import put_once
from dynamodb_streams_cdc.names import ARCHIVE, DEAD_LETTERS
from dynamodb_streams_cdc.operations.aws.access import code_of, permitted
from dynamodb_streams_cdc.operations.dead_letter_store import StoredDeadLetter

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})


class _Place(TypedDict):
    Bucket: str
    Key: str


@dataclass(frozen=True)
class S3DeadLetterStore:
    """`DeadLetterStore` on S3; thread-safe.

    Attributes:
        client: boto3 S3 client.
        bucket: dead-letter bucket, with the processors' dead letters and the archive.
        on_failure_bucket: bucket that Lambda writes to. Every object in it counts as a dead letter.
    """

    client: "S3Client"
    bucket: str
    on_failure_bucket: str

    def dead_letters(self) -> Iterator[StoredDeadLetter]:
        """Return the dead letters that are not archived, in the order of their keys.

        Raises:
            AccessDenied: for this and the other methods.
        """
        given_up = (
            stored
            for stored in self._list(self.on_failure_bucket)
            if self.keeps(self.on_failure_bucket, stored.key)
        )
        # S3 lists keys in the order of their UTF-8 bytes, which is that of Python's strings.
        yield from heapq.merge(
            given_up, self._list(self.bucket, DEAD_LETTERS), key=lambda each: each.key
        )

    def keeps(self, bucket: str, key: str) -> bool:
        """Return whether this bucket is the one for dead letters of this key."""
        return bucket == self._bucket_of(key)

    def read(self, key: str) -> bytes | None:
        """Return the content of a dead letter; None if it is gone."""
        try:
            with permitted("s3:GetObject", self._url(key)):
                return self.client.get_object(**self._place(key))["Body"].read()
        except ClientError as error:
            if code_of(error) not in _MISSING:
                raise
        return None

    def holds(self, key: str) -> bool:
        """Return whether a dead letter exists."""
        try:
            with permitted("s3:GetObject", self._url(key)):
                self.client.head_object(**self._place(key))
        except ClientError as error:
            if code_of(error) not in _MISSING:
                raise
            return False
        return True

    def keep(self, key: str, document: Mapping[str, Any]) -> bool:
        """Write a dead letter; return False and change nothing if the key is taken."""
        with permitted("s3:PutObject", self._url(key)):
            return put_once(self.client, self._bucket_of(key), key, json.dumps(document))

    def archive(self, key: str) -> bool:
        """Move a dead letter to the archive; return False if it is gone."""
        copy = ARCHIVE + key
        try:
            with permitted("s3:PutObject", self._url(copy)):
                self.client.copy_object(
                    Bucket=self.bucket,
                    Key=copy,
                    CopySource={"Bucket": self._bucket_of(key), "Key": key},
                )
        except ClientError as error:
            if code_of(error) not in _MISSING:
                raise
            return False
        with permitted("s3:DeleteObject", self._url(key)):
            self.client.delete_object(**self._place(key))
        return True

    def _list(self, bucket: str, prefix: str = "") -> Iterator[StoredDeadLetter]:
        with permitted("s3:ListBucket", f"s3://{bucket}"):
            paginator = self.client.get_paginator("list_objects_v2")
            for page in paginator.paginate(Bucket=bucket, Prefix=prefix):
                for found in page.get("Contents", ()):
                    yield StoredDeadLetter(
                        found["Key"], found["Size"], found["LastModified"].timestamp()
                    )

    def _bucket_of(self, key: str) -> str:
        return self.bucket if key.startswith((DEAD_LETTERS, ARCHIVE)) else self.on_failure_bucket

    def _place(self, key: str) -> "_Place":
        return {"Bucket": self._bucket_of(key), "Key": key}

    def _url(self, key: str) -> str:
        return f"s3://{self._bucket_of(key)}/{key}"
