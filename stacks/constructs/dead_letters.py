"""Buckets, queues and rules of the dead letters.

The buckets hold the dead letters; the queues hold notifications. There are two buckets:

- The dead-letter bucket. Processors write single changes under `dead-letters/<processor>/`,
  each object once. A redrive moves dead letters to `archive/`, without a notification.
- The on-failure bucket. Lambda writes the batches that it gives up under
  `aws/lambda/<mapping UUID>/`. It has nothing else in it, because Lambda makes no mapping whose
  function may not put *any* object into the destination: see decision 16.

Each new dead letter puts a pointer on the queue of its processor. A pointer lives 14 days at most,
so redrive works from the buckets.
"""

import jsii
from aws_cdk import Duration, Fn, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from dynamodb_streams_cdc.names import ARCHIVE, DEAD_LETTERS, GIVEN_UP_BY_LAMBDA
from stacks.constructs.buckets import private_bucket, refuse_overwriting
from stacks.constructs.keys import key_of

ARCHIVED_FOR = Duration.days(90)
NOTIFIED_FOR = Duration.days(14)


class DeadLetters(Construct):
    """The two buckets of all processors' dead letters.

    Attributes:
        bucket: what processors write, and the archive.
        on_failure: the destination of every mapping.

    Where data is kept (`keep`), a dead letter stays until it is redriven; only the archive expires.
    Elsewhere both buckets forget after 90 days.
    """

    def __init__(self, scope: Construct, id: str, *, keep: bool) -> None:
        super().__init__(scope, id)
        self.bucket = private_bucket(
            self,
            "Bucket",
            keep=keep,
            expires_after=ARCHIVED_FOR,
            expires_below=ARCHIVE if keep else None,
        )
        refuse_overwriting(self.bucket, sid="DeadLettersAreWrittenOnce", below=DEAD_LETTERS)
        self.on_failure = private_bucket(
            self, "OnFailure", keep=keep, expires_after=None if keep else ARCHIVED_FOR
        )
        for bucket in (self.bucket, self.on_failure):
            _notify_event_bridge(bucket)


def _notify_event_bridge(bucket: s3.Bucket) -> None:
    # The bucket's own `event_bridge_enabled` adds a custom resource for this one property.
    resource = bucket.node.default_child
    assert isinstance(resource, s3.CfnBucket)
    resource.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
        event_bridge_configuration=s3.CfnBucket.EventBridgeConfigurationProperty(
            event_bridge_enabled=True
        )
    )


class ProcessorDeadLetters(Construct):
    """One processor's dead letters: its prefix, the destination of its mapping, and its queue."""

    def __init__(
        self, scope: Construct, id: str, *, dead_letters: DeadLetters, processor: str
    ) -> None:
        super().__init__(scope, id)
        self.bucket = dead_letters.bucket
        self.on_failure = dead_letters.on_failure
        self.prefix = f"{DEAD_LETTERS}{processor}/"
        self.queue = sqs.Queue(
            self,
            "Queue",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=NOTIFIED_FOR,
        )
        self._encrypt()

    def _encrypt(self) -> None:
        """Let the stack's key encrypt the queue.

        Where the construct knows of a key, its rule's target lets every rule of every account send.
        """
        key = key_of(self)
        if key is not None:
            resource = self.queue.node.default_child
            assert isinstance(resource, sqs.CfnQueue)
            resource.sqs_managed_sse_enabled = None
            resource.kms_master_key_id = key.key_arn

    def grant_write(self, role: iam.Role) -> None:
        """Let a processor add dead letters of its own; it can read none."""
        own = self.bucket.arn_for_objects(f"{self.prefix}*")
        iam.Grant.add_to_principal(grantee=role, actions=["s3:PutObject"], resource_arns=[own])

    def places(self, mapping: lambda_.EventSourceMapping) -> list[tuple[s3.IBucket, str]]:
        """Return the buckets and prefixes below which the processor's dead letters wait."""
        given_up = Fn.join("", [GIVEN_UP_BY_LAMBDA, mapping.event_source_mapping_id, "/"])
        return [(self.bucket, self.prefix), (self.on_failure, given_up)]

    def notify_of(self, mapping: lambda_.EventSourceMapping) -> events.Rule:
        """Put a pointer on the queue for each dead letter of the processor and of its mapping."""
        given_up = Fn.join("", [GIVEN_UP_BY_LAMBDA, mapping.event_source_mapping_id, "/"])
        return events.Rule(
            self,
            "Notifications",
            event_pattern=events.EventPattern(
                source=["aws.s3"],
                detail_type=["Object Created"],
                detail={
                    "bucket": {"name": [self.bucket.bucket_name, self.on_failure.bucket_name]},
                    "object": {"key": [{"prefix": self.prefix}, {"prefix": given_up}]},
                },
            ),
            targets=[targets.SqsQueue(self.queue)],
        )


@jsii.implements(lambda_.IEventSourceDlq)
class GivenUpBatches:
    """The on-failure bucket as a mapping's destination.

    Lambda asks at CreateEventSourceMapping whether the function's role may put any object into the
    bucket, and list it: a grant below `aws/lambda/` is refused ("The function execution role does
    not have permissions to call PutObject on S3"). The grants are those of AWS's example,
    S3BucketResourceAccountWrite of
    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html, for this
    bucket alone. The CDK's own `S3OnFailureDestination` would also let the function read and delete
    every dead letter.
    """

    def __init__(self, bucket: s3.IBucket) -> None:
        self._bucket = bucket

    def bind(
        self, target: lambda_.IEventSourceMapping, target_handler: lambda_.IFunction
    ) -> lambda_.DlqDestinationConfig:
        role = target_handler.role
        assert isinstance(role, iam.Role)
        any_object = self._bucket.arn_for_objects("*")
        for action, resource in (
            ("s3:PutObject", any_object),
            ("s3:ListBucket", self._bucket.bucket_arn),
        ):
            grant = iam.Grant.add_to_principal(
                grantee=role,
                actions=[action],
                resource_arns=[resource],
                # A bucket that was deleted can be made again by anybody, under the same name.
                conditions={"StringEquals": {"s3:ResourceAccount": Stack.of(role).account}},
            )
            # Lambda checks the grant when the mapping is made.
            grant.apply_before(target)
        return lambda_.DlqDestinationConfig(destination=self._bucket.bucket_arn)
