"""Permissions of an operator: to look, to redrive, and to repair."""

from collections.abc import Sequence

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from constructs import Construct

from dynamodb_streams_cdc.names import ARCHIVE, DEAD_LETTERS
from stacks.constructs.change_table import ChangeTable
from stacks.constructs.dead_letters import DeadLetters
from stacks.constructs.keys import use_of_key
from stacks.constructs.large_images import LargeImages
from stacks.constructs.source_table import SourceTable, use_of_table_key
from stacks.constructs.stream_processor import StreamProcessor


class OperatorPolicy(iam.ManagedPolicy):
    """The permissions of the command `cdc`: attach the policy to the role of your operators.

    It reaches no sink: the functions write there, with their own permissions.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        processors: Sequence[StreamProcessor],
        dead_letters: DeadLetters,
        source: SourceTable,
        change_log: ChangeTable | None,
        large_images: LargeImages | None,
    ) -> None:
        super().__init__(scope, id, description="Looks at dead letters and redrives them")
        bucket, on_failure = dead_letters.bucket, dead_letters.on_failure
        own, archive = (bucket.arn_for_objects(f"{prefix}*") for prefix in (DEAD_LETTERS, ARCHIVE))
        given_up = on_failure.arn_for_objects("*")
        stack = Stack.of(self)
        this_stack = stack.format_arn(
            service="cloudformation", resource="stack", resource_name=f"{stack.stack_name}/*"
        )
        queues = [processor.dead_letters.queue.queue_arn for processor in processors]
        functions = [processor.function.function_arn for processor in processors]

        self._allow(["cloudformation:DescribeStacks"], this_stack)
        self._allow(
            ["s3:ListBucket"],
            bucket.bucket_arn,
            on_failure.bucket_arn,
            *([large_images.bucket.bucket_arn] if large_images else []),
        )
        images = [large_images.bucket.arn_for_objects("*")] if large_images else []
        self._allow(["s3:GetObject"], own, given_up, archive, *images)
        self._allow(["s3:PutObject"], own, archive)
        self._allow(["s3:DeleteObject"], own, given_up)
        self._allow(["lambda:InvokeFunction"], *functions)
        if change_log is not None:
            assert change_log.stream_arn is not None
            self._allow(
                ["dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:Query"],
                change_log.table.table_arn,
            )
            self._allow(
                ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"],
                change_log.stream_arn,
            )
        self._allow(["dynamodb:DescribeTable", "dynamodb:Scan"], source.table.table_arn)
        self.add_statements(*use_of_table_key(source))
        self._allow(
            [
                "sqs:ChangeMessageVisibility",
                "sqs:DeleteMessage",
                "sqs:GetQueueAttributes",
                "sqs:ReceiveMessage",
            ],
            *queues,
        )
        self._allow(
            ["lambda:GetEventSourceMapping"],
            *(processor.mapping.event_source_mapping_arn for processor in processors),
        )
        self._allow(
            ["lambda:GetFunctionConfiguration"],
            *((processor.alias or processor.function).function_arn for processor in processors),
        )
        if statements := use_of_key(self):
            self.add_statements(*statements)

    def _allow(self, actions: Sequence[str], *resources: str) -> None:
        self.add_statements(iam.PolicyStatement(actions=list(actions), resources=list(resources)))


class MetricsPolicy(iam.ManagedPolicy):
    """The permission to read metrics, which `cdc status` shows.

    CloudWatch takes no resource
    (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/permissions-reference-cw.html):
    the wildcard stays in a policy of its own.
    """

    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(scope, id, description="Reads the metrics that cdc status shows")
        self.add_statements(
            iam.PolicyStatement(actions=["cloudwatch:GetMetricData"], resources=["*"])
        )
