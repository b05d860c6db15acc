"""The function that erases a person's item, and the only role that may delete from every store."""

from collections.abc import Mapping, Sequence

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from dynamodb_streams_cdc.names import (
    ARCHIVE,
    ERASED,
    FORGETTING,
    GENERATIONS,
    GIVEN_UP_BY_LAMBDA,
    LEDGER,
    NOTES,
    ONCE,
)
from stacks.constructs.change_table import ChangeTable
from stacks.constructs.dead_letters import DeadLetters
from stacks.constructs.function import add_function
from stacks.constructs.large_images import LargeImages
from stacks.constructs.source_table import SourceTable, use_of_table_key
from stacks.environments import Environment
from stacks.search import SearchTarget

MEMORY_MIB = 1024
"""Eight batches of 6 MB at the same time, each as text and as Python's objects."""


class Erasure(Construct):
    """Function, role, log group, and the policy for those who may invoke it.

    It reads and deletes in every place that holds something of an item, and reads the source table.
    It writes the records of erasures, batches without the records of an erased item, and what the
    sums lose of an item that expired.

    Attributes:
        policy: attach it to the role of those who erase. The operators' policy does not have it.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        code: lambda_.Code,
        table: str,
        source: SourceTable,
        tables: Mapping[str, ChangeTable],
        dead_letters: DeadLetters,
        large_images: LargeImages | None,
        search: SearchTarget | None,
        indexes: Sequence[str],
        own_sinks: Mapping[str, str],
        environment: Environment,
    ) -> None:
        super().__init__(scope, id)
        aggregates, change_log = tables.get("aggregates"), tables.get("change_log")
        stack = Stack.of(self)
        parts = add_function(
            self,
            description="Erases what is held of items that were deleted",
            handler="lambdas.erasure.handler.handler",
            code=code,
            memory_mib=MEMORY_MIB,
            environment=environment,
            variables={
                "PIPELINE": stack.stack_name,
                "SOURCE_TABLE": table,
                "SOURCE_TABLE_NAME": source.name,
                "IDEMPOTENCY_TABLE": tables["idempotency"].name,
                "AGGREGATES_TABLE": aggregates.name if aggregates else "",
                "CHANGE_LOG_TABLE": change_log.name if change_log else "",
                "LARGE_IMAGES_BUCKET": large_images.bucket.bucket_name if large_images else "",
                "DEAD_LETTER_BUCKET": dead_letters.bucket.bucket_name,
                "ON_FAILURE_BUCKET": dead_letters.on_failure.bucket_name,
                "OWN_SINKS": stack.to_json_string(dict(own_sinks)),
                "SEARCH_ENDPOINT": search.url if search else "",
                "SEARCH_INDEXES": stack.to_json_string(list(indexes)),
                "SEARCH_AUTH": search.auth if search else "none",
                "SEARCH_REGION": search.region if search else "",
            },
        )
        self.function, self.role, self.log_group = parts.function, parts.role, parts.log_group
        source.table.grant(self.role, "dynamodb:BatchGetItem")
        for statement in use_of_table_key(source):
            self.role.add_to_policy(statement)
        if change_log is not None:
            change_log.table.grant(self.role, "dynamodb:DeleteItem", "dynamodb:Query")
        self._let_forget(tables["idempotency"], aggregates, has_markers=bool(own_sinks))
        self._let_erase(dead_letters, large_images)
        for index in indexes if search else ():
            assert search is not None
            search.grant_erase(self.role, index)
        self.policy = self._policy()

    def _let_forget(
        self, idempotency: ChangeTable, aggregates: ChangeTable | None, *, has_markers: bool
    ) -> None:
        """Let it delete rows, markers and records by their prefix, and nothing else."""
        # One transaction replaces a record by its receipt. AWS does not say whether the keys of a
        # condition are those of an action or of all actions of a transaction: allow both.
        completed = [f"{FORGETTING}*", f"{ERASED}*", *([f"{LEDGER}*"] if aggregates else [])]
        deleted = [*completed]
        read = ["dynamodb:BatchGetItem"]
        if has_markers:
            deleted.append(f"{ONCE}*")
            read.append("dynamodb:Scan")
        idempotency.table.grant(self.role, *read)
        self._allow(idempotency, "dynamodb:DeleteItem", deleted)
        self._allow(idempotency, "dynamodb:UpdateItem", [f"{FORGETTING}*"])
        self._allow(idempotency, "dynamodb:PutItem", completed)
        read_alone = [NOTES, *([GENERATIONS] if aggregates else [])]
        self._allow(idempotency, "dynamodb:GetItem", read_alone)
        if aggregates is not None:
            aggregates.table.grant(self.role, "dynamodb:UpdateItem")

    def _allow(self, table: ChangeTable, action: str, keys: Sequence[str]) -> None:
        self.role.add_to_policy(
            iam.PolicyStatement(
                actions=[action],
                resources=[table.table.table_arn],
                conditions={
                    "ForAllValues:StringLike": {"dynamodb:LeadingKeys": list(keys)},
                    # ForAllValues is true of a request that has no such key at all.
                    "Null": {"dynamodb:LeadingKeys": "false"},
                },
            )
        )

    def _let_erase(self, dead_letters: DeadLetters, large_images: LargeImages | None) -> None:
        """Let it list and delete objects with all their versions, and rewrite batches."""
        own, on_failure = dead_letters.bucket, dead_letters.on_failure
        buckets = [own, on_failure]
        self._grant(
            ["s3:GetObject", "s3:GetObjectVersion"],
            *(bucket.arn_for_objects("*") for bucket in buckets),
        )
        # What a processor wrote is of one item, and never rewritten.
        self._grant(
            ["s3:PutObject"],
            on_failure.arn_for_objects("*"),
            *(own.arn_for_objects(f"{prefix}*") for prefix in (ARCHIVE, GIVEN_UP_BY_LAMBDA)),
        )
        # Without it S3 denies access to an object that is gone by now, as in an outage.
        self._grant(["s3:ListBucket"], own.bucket_arn, on_failure.bucket_arn)
        if large_images is not None:
            buckets.append(large_images.bucket)
        self._grant(["s3:ListBucketVersions"], *(bucket.bucket_arn for bucket in buckets))
        self._grant(
            ["s3:DeleteObject", "s3:DeleteObjectVersion"],
            *(bucket.arn_for_objects("*") for bucket in buckets),
        )

    def _grant(self, actions: Sequence[str], *resources: str) -> None:
        iam.Grant.add_to_principal(
            grantee=self.role, actions=list(actions), resource_arns=list(resources)
        )

    def _policy(self) -> iam.ManagedPolicy:
        stack = Stack.of(self)
        this_stack = stack.format_arn(
            service="cloudformation", resource="stack", resource_name=f"{stack.stack_name}/*"
        )
        return iam.ManagedPolicy(
            self,
            "Policy",
            description="Erases items that were deleted, with cdc forget",
            statements=[
                iam.PolicyStatement(
                    actions=["cloudformation:DescribeStacks"], resources=[this_stack]
                ),
                iam.PolicyStatement(
                    actions=["lambda:InvokeFunction"], resources=[self.function.function_arn]
                ),
            ],
        )
