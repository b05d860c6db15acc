"""The source table: made by this app, or one that exists, by its ARN."""

import os

from aws_cdk import Arn, ArnFormat, Stack, Token
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from constructs import Construct

from dynamodb_streams_cdc.entities import Table
from stacks.constructs.change_table import ChangeTable
from stacks.environments import Environment
from stacks.errors import SynthError
from stacks.settings.tables import ExistingTable

# Those that the CDK grants readers and writers of a table that it encrypts with a customer's key,
# without its wildcards.
READ_WITH_KEY = ("kms:Decrypt", "kms:DescribeKey")
WRITE_WITH_KEY = (
    *READ_WITH_KEY,
    *("kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext"),
    *("kms:ReEncryptFrom", "kms:ReEncryptTo"),
)

WALK = ("dynamodb:BatchGetItem", "dynamodb:Scan")
"""What verification and backfill do with the table."""
READ = ("dynamodb:GetItem", *WALK)
"""What they and repair do with the table."""


class ExistingSourceTable(Construct):
    """A table that another program owns: this app makes no resource of it.

    It has the attributes of `ChangeTable`, and the ARN of its key if that is a customer's.

    Raises:
        SynthError: it is in another account or Region, or cannot have the canary.
    """

    def __init__(self, scope: Construct, id: str, *, table: Table, existing: ExistingTable) -> None:
        super().__init__(scope, id)
        self.keys: dict[str, str] = dict(table.keys)
        self.stream_arn: str | None = existing.stream_arn
        self.has_canary = existing.canary
        self.key_arn = existing.key_arn
        self._check_place(table.name, existing)
        if existing.canary and not can_have_canary(table):
            message = (
                f"Setting 'source_tables' asks for the canary in table {table.name!r}, whose "
                "partition key is not text (S): leave canary out."
            )
            raise SynthError(message)
        self.table = dynamodb.TableV2.from_table_attributes(
            self, "Table", table_arn=existing.arn, table_stream_arn=existing.stream_arn
        )

    @property
    def name(self) -> str:
        return self.table.table_name

    def _check_place(self, name: str, existing: ExistingTable) -> None:
        """Compare with the place of the stack, or of the credentials of a stack without one."""
        given = Arn.split(existing.arn, ArnFormat.SLASH_RESOURCE_NAME)
        stack = Stack.of(self)
        for what, wanted, own, variable in (
            ("account", given.account, stack.account, "CDK_DEFAULT_ACCOUNT"),
            ("Region", given.region, stack.region, "CDK_DEFAULT_REGION"),
        ):
            here = os.environ.get(variable) if Token.is_unresolved(own) else own
            if here and here != wanted:
                message = (
                    f"Table {name!r} is in {what} {wanted}, and this deployment is for {what} "
                    f"{here}: deploy it where the table is; this app reads tables of its own "
                    "account and Region."
                )
                raise SynthError(message)


SourceTable = ChangeTable | ExistingSourceTable


def can_have_canary(table: Table) -> bool:
    """Return whether the watcher can write the canary into a table.

    Its role is confined to one partition key, which is a text; a number might be an item's.
    """
    return next(iter(table.keys.values())) == "S"


def use_of_table_key(source: SourceTable, *, write: bool = False) -> list[iam.PolicyStatement]:
    """Return the statement that lets a role use the customer's key of an existing table.

    DynamoDB uses the key on behalf of the caller, also for the stream
    (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html).
    Empty if the table has no such key.
    """
    if not isinstance(source, ExistingSourceTable) or source.key_arn is None:
        return []
    actions = WRITE_WITH_KEY if write else READ_WITH_KEY
    return [iam.PolicyStatement(actions=list(actions), resources=[source.key_arn])]


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
        has_canary=can_have_canary(table),
    )
