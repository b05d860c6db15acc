"""Notifications: a topic, and the processor that sends messages to it."""

from typing import TYPE_CHECKING

from aws_cdk import CfnOutput
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns

from dynamodb_streams_cdc.names import ONCE
from stacks.constructs.keys import key_of
from stacks.constructs.stream_processor import StreamProcessor

if TYPE_CHECKING:
    from stacks.pipeline import PipelineStack

NAME = "notifications"


def add_notifications(pipeline: "PipelineStack") -> StreamProcessor:
    """Add the topic and the processor; it may read and write its own markers alone.

    Subscribe to the topic in the output `NotificationsTopicArn`.
    """
    # Roles of this account that may publish may use the key of AWS, and the role of a processor has
    # the customer's: https://docs.aws.amazon.com/sns/latest/dg/sns-server-side-encryption.html
    key: kms.IKey | None = key_of(pipeline)
    if key is None:
        key = kms.Alias.from_alias_name(pipeline, "NotificationsKey", "alias/aws/sns")
    topic = sns.Topic(pipeline, "NotificationsTopic", enforce_ssl=True, master_key=key)
    processor = pipeline.add_processor(
        NAME,
        {
            "IDEMPOTENCY_TABLE": pipeline.idempotency.name,
            "TOPIC_ARN": topic.topic_arn,
        },
    )
    processor.role.add_to_policy(
        iam.PolicyStatement(
            actions=["dynamodb:GetItem", "dynamodb:PutItem"],
            resources=[pipeline.idempotency.table.table_arn],
            conditions={
                "ForAllValues:StringLike": {"dynamodb:LeadingKeys": [f"{ONCE}{NAME}/*"]},
                # ForAllValues is true of a request that has no such key at all.
                "Null": {"dynamodb:LeadingKeys": "false"},
            },
        )
    )
    iam.Grant.add_to_principal(
        grantee=processor.role, actions=["sns:Publish"], resource_arns=[topic.topic_arn]
    )
    CfnOutput(pipeline, "NotificationsTopicArn", value=topic.topic_arn)
    return processor
