"""The letters in an S3 bucket, as whoever redrives them reads and archives them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from dynamodb_streams_cdc.aws.access import code_of, permitted
from dynamodb_streams_cdc.aws.overflow import put_once
from dynamodb_streams_cdc.letter_box import ARCHIVE, GIVEN_UP_BY_LAMBDA, OWN, Stored

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})


@dataclass(frozen=True)
class S3LetterBox:
    """`LetterBox`; several threads may use it.

    Attributes:
        client: of S3.
        bucket: name of the bucket.
    """

    client: "S3Client"
    bucket: str

    def letters(self) -> Iterator[Stored]:
        """Return the letters that are not archived, in the order of their keys.

        Raises:
            AccessDenied: for this and the other methods.
        """
        for prefix in (GIVEN_UP_BY_LAMBDA, OWN):
            with permitted("s3:ListBucket", f"s3://{self.bucket}"):
                paginator = self.client.get_paginator("list_objects_v2")
                for page in paginator.paginate(Bucket=self.bucket, Prefix=prefix):
                    for found in page.get("Contents", ()):
                        modified = found["LastModified"].timestamp()
                        yield Stored(found["Key"], found["Size"], modified)

    def read(self, key: str) -> bytes | None:
        """Return a letter as it is stored; None if it is gone."""
        try:
            with permitted("s3:GetObject", self._url(key)):
                return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except ClientError as error:
            if code_of(error) not in _MISSING:
                raise
        return None

    def holds(self, key: str) -> bool:
        """Return whether a letter is there."""
        try:
            with permitted("s3:GetObject", self._url(key)):
                self.client.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if code_of(error) not in _MISSING:
                raise
            return False
        return True

    def keep(self, key: str, document: Mapping[str, Any]) -> bool:
        """Write a letter; return False, leaving what is there, if the key is taken."""
        with permitted("s3:PutObject", self._url(key)):
            return put_once(self.client, self.bucket, key, json.dumps(document))

    def archive(self, key: str) -> bool:
        """Move a letter to the archive; return False if it is gone."""
        copy = ARCHIVE + key
        try:
            with permitted("s3:PutObject", self._url(copy)):
                self.client.copy_object(
                    Bucket=self.bucket,
                    Key=copy,
                    CopySource={"Bucket": self.bucket, "Key": key},
                )
        except ClientError as error:
            if code_of(error) not in _MISSING:
                raise
            return False
        with permitted("s3:DeleteObject", self._url(key)):
            self.client.delete_object(Bucket=self.bucket, Key=key)
        return True

    def _url(self, key: str) -> str:
        return f"s3://{self.bucket}/{key}"
