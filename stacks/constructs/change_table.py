"""A DynamoDB table, optionally with a stream."""

from collections.abc import Mapping

from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct

from stacks.constructs.keys import key_of
from stacks.constructs.retention import removal

TYPES = {
    "S": dynamodb.AttributeType.STRING,
    "N": dynamodb.AttributeType.NUMBER,
    "B": dynamodb.AttributeType.BINARY,
}


class ChangeTable(Construct):
    """An on-demand table, encrypted at rest; with `stream`, one whose changes can be followed.

    `keys` has the names of its key attributes with their types, the partition key first.

    `recoverable` gives it point-in-time recovery. `keep` keeps it when its stack is deleted;
    `protect` is deletion protection, which also stops CloudFormation. `has_canary` says whether the
    watcher writes the canary into it.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        keys: Mapping[str, str],
        stream: dynamodb.StreamViewType | None = None,
        expires_by: str | None = None,
        recoverable: bool,
        keep: bool,
        protect: bool = False,
        has_canary: bool = False,
    ) -> None:
        super().__init__(scope, id)
        self.has_canary = has_canary
        self.has_stream = stream is not None
        self.keys: dict[str, str] = dict(keys)
        partition_key, *sort_keys = (
            dynamodb.Attribute(name=name, type=TYPES[kind]) for name, kind in keys.items()
        )
        self.table: dynamodb.ITableV2 = dynamodb.TableV2(
            self,
            "Table",
            partition_key=partition_key,
            sort_key=sort_keys[0] if sort_keys else None,
            billing=dynamodb.Billing.on_demand(),
            dynamo_stream=stream,
            time_to_live_attribute=expires_by,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=recoverable
            ),
            deletion_protection=protect,
            removal_policy=removal(keep=keep),
        )

        self._encrypt()

    def _encrypt(self) -> None:
        """Let the stack's key encrypt the table.

        The construct's own `encryption` needs the Region at synth, which this app never knows.
        """
        key = key_of(self)
        if key is not None:
            resource = self.table.node.default_child
            assert isinstance(resource, dynamodb.CfnGlobalTable)
            resource.sse_specification = dynamodb.CfnGlobalTable.SSESpecificationProperty(
                sse_enabled=True, sse_type="KMS"
            )
            resource.add_property_override(
                "Replicas.0.SSESpecification", {"KMSMasterKeyId": key.key_arn}
            )

    @property
    def stream_arn(self) -> str | None:
        # The CDK's table has an ARN here even where it has no stream.
        return self.table.table_stream_arn if self.has_stream else None

    @property
    def name(self) -> str:
        return self.table.table_name
