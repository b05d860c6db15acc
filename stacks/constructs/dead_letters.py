"""Where changes go that no processor could apply, with their payload.

The bucket is the truth and the queues are bells. Lambda writes the batches that it gives up under
`aws/lambda/<mapping UUID>/`, the processors write single changes under `letters/<processor>/`, and
each new object puts a pointer on the queue of its processor. A pointer lives 14 days at most, so
redrive works from the bucket. What has been redriven moves to `archive/`, which rings nothing.
"""

import jsii
from aws_cdk import Duration, Fn
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from stacks.acknowledgments import acknowledge, acknowledge_wildcard
from stacks.constructs.buckets import private_bucket, refuse_overwriting

GIVEN_UP_BY_LAMBDA = "aws/lambda/"
OWN = "letters/"
ARCHIVE = "archive/"
KEPT_FOR = Duration.days(90)
BELL_RINGS_FOR = Duration.days(14)


class DeadLetters(Construct):
    """The bucket of all processors' letters."""

    def __init__(self, scope: Construct, id: str, *, keep: bool) -> None:
        super().__init__(scope, id)
        self.bucket = private_bucket(self, "Bucket", keep=keep, expires_after=KEPT_FOR)
        self._ring_through_event_bridge()
        refuse_overwriting(self.bucket, sid="LettersAreWrittenOnce", below=OWN)

    def _ring_through_event_bridge(self) -> None:
        # The bucket's own `event_bridge_enabled` adds a custom resource for this one property.
        resource = self.bucket.node.default_child
        assert isinstance(resource, s3.CfnBucket)
        resource.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
            event_bridge_configuration=s3.CfnBucket.EventBridgeConfigurationProperty(
                event_bridge_enabled=True
            )
        )


class Letters(Construct):
    """One processor's letters: its prefix in the bucket, and the queue that rings for them."""

    def __init__(
        self, scope: Construct, id: str, *, dead_letters: DeadLetters, processor: str
    ) -> None:
        super().__init__(scope, id)
        self.bucket = dead_letters.bucket
        self.prefix = f"{OWN}{processor}/"
        self.queue = sqs.Queue(
            self,
            "Queue",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=BELL_RINGS_FOR,
        )
        acknowledge(self.queue, "SQS3", "This queue is the end of the line: it points at letters.")

    def grant_write(self, role: iam.Role) -> None:
        """Let a processor add letters of its own; it can read none."""
        own = self.bucket.arn_for_objects(f"{self.prefix}*")
        iam.Grant.add_to_principal(grantee=role, actions=["s3:PutObject"], resource_arns=[own])
        acknowledge_wildcard(role, own, "Adds letters below the processor's own prefix.")

    def places(self, mapping: lambda_.EventSourceMapping) -> list[tuple[s3.IBucket, str]]:
        """Return the buckets and prefixes below which the processor's dead letters wait."""
        given_up = Fn.join("", [GIVEN_UP_BY_LAMBDA, mapping.event_source_mapping_id, "/"])
        return [(self.bucket, self.prefix), (self.bucket, given_up)]

    def ring_for(self, mapping: lambda_.EventSourceMapping) -> events.Rule:
        """Put a pointer on the queue for each letter of the processor and of its mapping."""
        given_up = Fn.join("", [GIVEN_UP_BY_LAMBDA, mapping.event_source_mapping_id, "/"])
        return events.Rule(
            self,
            "Bell",
            event_pattern=events.EventPattern(
                source=["aws.s3"],
                detail_type=["Object Created"],
                detail={
                    "bucket": {"name": [self.bucket.bucket_name]},
                    "object": {"key": [{"prefix": self.prefix}, {"prefix": given_up}]},
                },
            ),
            targets=[targets.SqsQueue(self.queue)],
        )


@jsii.implements(lambda_.IEventSourceDlq)
class GivenUpBatches:
    """The bucket as a mapping's on-failure destination.

    The CDK's own `S3OnFailureDestination` lets the function read and delete every letter; Lambda
    needs to write below its own prefix and to list the bucket, with the function's role.
    """

    def __init__(self, bucket: s3.IBucket) -> None:
        self._bucket = bucket

    def bind(
        self, target: lambda_.IEventSourceMapping, target_handler: lambda_.IFunction
    ) -> lambda_.DlqDestinationConfig:
        below = self._bucket.arn_for_objects(f"{GIVEN_UP_BY_LAMBDA}*")
        iam.Grant.add_to_principal(
            grantee=target_handler, actions=["s3:PutObject"], resource_arns=[below]
        )
        assert isinstance(target_handler.role, iam.Role)
        acknowledge_wildcard(
            target_handler.role, below, "Lambda names the objects that it writes for a mapping."
        )
        iam.Grant.add_to_principal(
            grantee=target_handler,
            actions=["s3:ListBucket"],
            resource_arns=[self._bucket.bucket_arn],
        )
        return lambda_.DlqDestinationConfig(destination=self._bucket.bucket_arn)
