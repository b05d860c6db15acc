"""S3: the dead letters that processors write, and the large images of the change log."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from dynamodb_streams_cdc.aws.errors import translated
from dynamodb_streams_cdc.dead_letters import DeadLetter
from dynamodb_streams_cdc.errors import PermanentError, RetryableError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class S3ImageStore:
    """`ImageStore` in a bucket of its own, which refuses to overwrite.

    Attributes:
        client: returns the client of S3; called for each large image, and most logs have none.
        bucket: name of the bucket.
    """

    client: Callable[[], "S3Client"]
    bucket: str

    def keep(self, name: str, text: str) -> None:
        """Write an object; success too if it is there already."""
        put_once(self.client(), self.bucket, name, text)

    def read(self, name: str) -> str:
        """Return the text of an object.

        Raises:
            PermanentError: the object is gone.
        """
        try:
            with translated():
                answer = self.client().get_object(Bucket=self.bucket, Key=name)
                return answer["Body"].read().decode()
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise
            message = f"the log's images in s3://{self.bucket}/{name} are gone"
            raise PermanentError(message, "LargeImageGone") from error


def put_once(client: "S3Client", bucket: str, key: str, text: str) -> bool:
    """Write a JSON object if it is not there; return False if it is.

    Raises:
        RetryableError: the bucket does not take it at the moment.
    """
    try:
        with translated():
            answer = client.put_object(
                Bucket=bucket,
                Key=key,
                Body=text.encode(),
                ContentType="application/json",
                IfNoneMatch="*",
            )
    except ClientError as error:
        if error.response["Error"]["Code"] == "PreconditionFailed":
            return False
        raise
    check_written(answer)
    return True


def check_written(answer: Mapping[str, object]) -> None:
    """Find that an answer to `put_object` is of S3: to botocore a page of a proxy is one.

    Raises:
        RetryableError: it has no ETag, which S3 always gives.
    """
    if not answer.get("ETag"):
        message = "the answer has no ETag: something in front of S3 gave it"
        raise RetryableError(message)


@dataclass(frozen=True)
class S3DeadLetters:
    """`DeadLetterWriter` under a prefix of a bucket.

    Attributes:
        client: returns the client of S3; called for each dead letter, and most write none.
        bucket: name of the bucket.
        prefix: of the dead letters' keys, with a slash at its end. The processor's name follows,
            unless it ends in that: what two processors gave up is under two keys.
    """

    client: Callable[[], "S3Client"]
    bucket: str
    prefix: str

    def write(self, dead_letter: DeadLetter) -> bool:
        """Keep the dead letter; return False if it was there already."""
        own = f"{dead_letter.processor}/"
        prefix = self.prefix if f"/{self.prefix}".endswith(f"/{own}") else self.prefix + own
        text = json.dumps(dead_letter.envelope())
        return put_once(self.client(), self.bucket, prefix + dead_letter.name, text)
