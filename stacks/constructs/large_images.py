"""Where the change log keeps the images that are too large for an entry.

An item may have 400 KB, and so may an entry of the log, which carries two images of one. The entry
then holds the key of an object here in their place.
"""

from aws_cdk import aws_iam as iam
from constructs import Construct

from stacks.constructs.buckets import private_bucket, refuse_overwriting


class LargeImages(Construct):
    """The bucket of the log's large images: they live as long as the log, so none expires.

    Where data is kept, an image that was deleted can be brought back for 30 days, as the log can.

    What was written cannot be written again, as in the log. Object Lock would refuse deletion as
    well, and with it the erasure of a person's data.
    """

    def __init__(self, scope: Construct, id: str, *, keep: bool) -> None:
        super().__init__(scope, id)
        self.bucket = private_bucket(self, "Bucket", keep=keep, versioned=keep)
        refuse_overwriting(self.bucket, sid="ImagesAreWrittenOnce")

    def grant_write(self, role: iam.Role) -> None:
        """Let a processor add images; it can read and delete none."""
        self._grant(role, "s3:PutObject")

    def grant_read(self, role: iam.Role) -> None:
        """Let a processor read the images that entries point at, and tell that one is gone."""
        self._grant(role, "s3:GetObject")
        # Without it S3 denies access to an object that is not there, as in an outage.
        iam.Grant.add_to_principal(
            grantee=role, actions=["s3:ListBucket"], resource_arns=[self.bucket.bucket_arn]
        )

    def _grant(self, role: iam.Role, action: str) -> None:
        images = self.bucket.arn_for_objects("*")
        iam.Grant.add_to_principal(grantee=role, actions=[action], resource_arns=[images])
