"""Buckets that are private, encrypted, and reached over TLS only."""

from aws_cdk import Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from stacks.constructs.keys import key_of
from stacks.constructs.retention import removal

DELETED_FOR = Duration.days(30)


def private_bucket(
    scope: Construct,
    id: str,
    *,
    keep: bool,
    expires_after: Duration | None = None,
    expires_below: str | None = None,
    versioned: bool = False,
) -> s3.Bucket:
    """Return a bucket that outlives its stack if `keep`; its objects expire only if said so.

    With `expires_below`, only objects under that prefix expire. If `versioned`, what was deleted
    can be brought back for 30 days.
    """
    rules = [
        s3.LifecycleRule(
            expiration=None if expires_below else expires_after,
            noncurrent_version_expiration=DELETED_FOR if versioned else None,
            abort_incomplete_multipart_upload_after=Duration.days(1),
        )
    ]
    if expires_below:
        rules.append(s3.LifecycleRule(expiration=expires_after, prefix=expires_below))
    key = key_of(scope)
    return s3.Bucket(
        scope,
        id,
        encryption=s3.BucketEncryption.KMS if key else s3.BucketEncryption.S3_MANAGED,
        encryption_key=key,
        # One request to KMS for many objects: a processor would pay for one each.
        bucket_key_enabled=True if key else None,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        enforce_ssl=True,
        minimum_tls_version=1.2,
        versioned=versioned,
        lifecycle_rules=rules,
        removal_policy=removal(keep=keep),
    )


def refuse_overwriting(bucket: s3.Bucket, *, sid: str, below: str = "") -> None:
    """Deny PutObject below a prefix without If-None-Match, so that no object is overwritten.

    The parts of a multipart upload cannot say it; the request that completes the upload must.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html
    """
    bucket.add_to_resource_policy(
        iam.PolicyStatement(
            sid=sid,
            effect=iam.Effect.DENY,
            principals=[iam.AnyPrincipal()],
            actions=["s3:PutObject"],
            resources=[bucket.arn_for_objects(f"{below}*")],
            conditions={
                "Null": {"s3:if-none-match": "true"},
                "Bool": {"s3:ObjectCreationOperation": "true"},
            },
        )
    )
