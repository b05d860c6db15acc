"""The source table: made by this app, or one that exists, by its ARN."""

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from constructs import Construct

from dynamodb_streams_cdc.entities import Table
from stacks.constructs.change_table import ChangeTable
from stacks.environments import Environment
from stacks.settings.tables import ExistingTable


class ExistingSourceTable(Construct):
    """A table that another program owns: this app reads it and its stream, and changes neither.

    It has the attributes of `ChangeTable`.
    """

    def __init__(self, scope: Construct, id: str, *, table: Table, existing: ExistingTable) -> None:
        super().__init__(scope, id)
        self.keys: dict[str, str] = dict(table.keys)
        self.stream_arn: str | None = existing.stream_arn
        key = None
        if existing.key_arn is not None:
            key = kms.Key.from_key_arn(self, "Key", existing.key_arn)
        self.table = dynamodb.TableV2.from_table_attributes(
            self,
            "Table",
            table_arn=existing.arn,
            table_stream_arn=existing.stream_arn,
            encryption_key=key,
        )

    @property
    def name(self) -> str:
        return self.table.table_name


SourceTable = ChangeTable | ExistingSourceTable


def source_table(
    scope: Construct, id: str, *, table: Table, environment: Environment
) -> SourceTable:
    """Return the source table: the one that the environment names, or a new one."""
    existing = environment.source_tables.get(table.name)
    if existing is not None:
        return ExistingSourceTable(scope, id, table=table, existing=existing)
    return ChangeTable(
        scope,
        id,
        keys=table.keys,
        stream=dynamodb.StreamViewType.NEW_AND_OLD_IMAGES,
        expires_by=table.expires_by,
        recoverable=True,
        keep=environment.keeps_data,
        protect=environment.protection,
    )
