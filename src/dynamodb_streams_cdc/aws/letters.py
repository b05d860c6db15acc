"""Dead letters in an S3 bucket, each written once."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamodb_streams_cdc.aws.overflow import put_once
from dynamodb_streams_cdc.dead_letters import Letter

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class S3Letters:
    """`DeadLetters` under a prefix of a bucket.

    Attributes:
        client: returns the client of S3; called for the first letter, and most write none.
        bucket: name of the bucket.
        prefix: of the letters' keys, with a slash at its end.
    """

    client: Callable[[], "S3Client"]
    bucket: str
    prefix: str

    def write(self, letter: Letter) -> bool:
        """Keep the letter; return False if it was there already."""
        text = json.dumps(letter.envelope())
        return put_once(self.client(), self.bucket, self.prefix + letter.name, text)
