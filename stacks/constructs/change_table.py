"""A table, and what reads its changes."""

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct

STRING = dynamodb.AttributeType.STRING
NUMBER = dynamodb.AttributeType.NUMBER


class ChangeTable(Construct):
    """An on-demand table, encrypted at rest; with `stream`, one whose changes can be followed.

    `holds_truth` says that nothing else could rebuild it: such a table has point-in-time recovery.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        partition_key: str,
        sort_key: str | None = None,
        sort_key_type: dynamodb.AttributeType = STRING,
        stream: dynamodb.StreamViewType | None = None,
        expires_by: str | None = None,
        holds_truth: bool,
        keep: bool,
    ) -> None:
        super().__init__(scope, id)
        self.has_stream = stream is not None
        self.table = dynamodb.TableV2(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name=partition_key, type=STRING),
            sort_key=dynamodb.Attribute(name=sort_key, type=sort_key_type) if sort_key else None,
            billing=dynamodb.Billing.on_demand(),
            dynamo_stream=stream,
            time_to_live_attribute=expires_by,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=holds_truth
            ),
            deletion_protection=keep,
            removal_policy=RemovalPolicy.RETAIN if keep else RemovalPolicy.DESTROY,
        )

    @property
    def stream_arn(self) -> str | None:
        # The CDK's table has an ARN here even where it has no stream.
        return self.table.table_stream_arn if self.has_stream else None

    @property
    def name(self) -> str:
        return self.table.table_name
