"""S3: the objects of a bucket with all of their versions, which an erasure reads and deletes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from dynamodb_streams_cdc.aws.errors import meaning, translated
from dynamodb_streams_cdc.aws.s3 import check_written
from dynamodb_streams_cdc.control.erasure import Start
from dynamodb_streams_cdc.control.erasure_objects import StoredVersion
from dynamodb_streams_cdc.deadline import Deadline

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

UNVERSIONED = "null"
"""Version of an object that was written while its bucket kept no versions
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html)."""

_GONE = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NotFound", "PreconditionFailed"})


@dataclass(frozen=True)
class S3ObjectVersions:
    """`ObjectVersions`.

    Attributes:
        client: returns the client of S3.
        bucket: name of the bucket.
    """

    client: Callable[[], "S3Client"]
    bucket: str

    def page(
        self, prefix: str, start: Start, most: int, deadline: Deadline
    ) -> tuple[Sequence[StoredVersion], Start]:
        """Return the next versions in the order of their keys: one request."""
        deadline.check()
        options: dict[str, Any] = {}
        if start is not None:
            options = {"KeyMarker": start[0], "VersionIdMarker": start[1]}
        with translated():
            answer = self.client().list_object_versions(
                Bucket=self.bucket, Prefix=prefix, MaxKeys=most, **options
            )
        found = [_stored(each, is_marker=False) for each in answer.get("Versions", ())]
        found += [_stored(each, is_marker=True) for each in answer.get("DeleteMarkers", ())]
        # Of one key, the newest comes first, as S3 lists them.
        found.sort(key=lambda stored: (stored.key, -stored.written_at, not stored.is_latest))
        # The emulator begins with the marker where the bucket keeps no versions, and S3 after it.
        found = [each for each in found if [each.key, each.version] != start]
        if not answer.get("IsTruncated"):
            return found, None
        return found, [answer["NextKeyMarker"], answer["NextVersionIdMarker"]]

    def after(self, stored: StoredVersion) -> Start:
        """Return where a walk goes on after a version."""
        return [stored.key, stored.version]

    def read(self, stored: StoredVersion, deadline: Deadline) -> tuple[bytes, str] | None:
        """Return the content of a version, and its ETag; None if it is gone."""
        deadline.check()
        try:
            with translated():
                answer = self.client().get_object(
                    Bucket=self.bucket, Key=stored.key, VersionId=stored.version
                )
                return answer["Body"].read(), answer["ETag"]
        except ClientError as error:
            if error.response["Error"]["Code"] in _GONE:
                return None
            raise

    def replace(self, stored: StoredVersion, token: str, body: bytes, deadline: Deadline) -> bool:
        """Replace the content with that ETag, and delete its version if the bucket keeps it."""
        deadline.check()
        try:
            with translated():
                answer = self.client().put_object(
                    Bucket=self.bucket,
                    Key=stored.key,
                    Body=body,
                    ContentType="application/json",
                    IfMatch=token,
                )
        except ClientError as error:
            if error.response["Error"]["Code"] in _GONE:
                return False
            raise
        check_written(answer)
        if stored.version != UNVERSIONED:
            self.delete([stored], deadline)
        return True

    def delete(self, versions: Sequence[StoredVersion], deadline: Deadline) -> None:
        """Delete versions for good: one request, of 1,000 versions at most."""
        deadline.check()
        objects: list[Any] = [{"Key": each.key, "VersionId": each.version} for each in versions]
        with translated():
            answer = self.client().delete_objects(
                Bucket=self.bucket, Delete={"Objects": objects, "Quiet": True}
            )
        for error in answer.get("Errors", ()):
            if error.get("Code") not in _GONE:
                raise meaning(str(error.get("Code")), str(error.get("Message")))


def _stored(found: Any, *, is_marker: bool) -> StoredVersion:
    return StoredVersion(
        key=found["Key"],
        version=found.get("VersionId") or UNVERSIONED,
        written_at=found["LastModified"].timestamp(),
        is_latest=bool(found["IsLatest"]),
        is_marker=is_marker,
    )
