"""The tables, the streams that tie them together, and the processors that read the streams.

A stream and its readers share a stack: a stream's ARN that another stack imports can neither change
nor be followed when the stream is replaced.
"""

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from dynamodb_streams_cdc.names import (
    AGGREGATES_KEYS,
    ATTEMPT,
    CHANGE_LOG_KEYS,
    EXPIRES_AT,
    IDEMPOTENCY_KEY,
)
from stacks.constructs.change_feed import ChangeFeed, inserts_only
from stacks.constructs.change_table import NUMBER, ChangeTable
from stacks.constructs.dead_letters import DeadLetters
from stacks.constructs.gateways import add_gateways
from stacks.constructs.keys import add_key
from stacks.constructs.large_images import LargeImages
from stacks.constructs.operator_policy import OperatorPolicy
from stacks.constructs.stream_processor import StreamProcessor
from stacks.constructs.watcher import Watcher
from stacks.environments import Environment
from stacks.manifest import add_manifest
from stacks.observability import Observability
from stacks.search import SearchTarget, existing_cluster

SOURCE_TABLE = "orders"


class PipelineStack(Stack):
    """Orders, and three copies of them that converge."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        environment: Environment,
        code: lambda_.Code,
        search: SearchTarget | None,
    ) -> None:
        super().__init__(scope, id, termination_protection=environment.protection)
        add_key(self, environment)
        add_gateways(self, environment)
        self.search = search or existing_cluster(self, environment)
        self._environment = environment
        self._code = code

        self._add_tables(keep=environment.keeps_data, protect=environment.protection)
        self.large_images = LargeImages(self, "LargeImages", keep=environment.keeps_data)
        self.dead_letters = DeadLetters(self, "DeadLetters", keep=environment.keeps_data)
        orders = ChangeFeed(self.orders, kind="table")
        change_log = ChangeFeed(self.change_log, kind="change-log", filters=[inserts_only()])

        self.aggregation = self._add_processor(
            "Aggregation",
            sink="aggregation",
            handler="lambdas.aggregation.handler.handler",
            feed=orders,
            settings={
                "SOURCE_TABLE_NAME": self.orders.name,
                "IDEMPOTENCY_TABLE": self.idempotency.name,
                "AGGREGATES_TABLE": self.aggregates.name,
                "AGGREGATE_SHARDS": str(environment.aggregate_shards),
            },
        )
        self.audit = self._add_processor(
            "Audit",
            sink="audit",
            handler="lambdas.audit.handler.handler",
            feed=orders,
            settings={
                "CHANGE_LOG_TABLE": self.change_log.name,
                "LARGE_IMAGES_BUCKET": self.large_images.bucket.bucket_name,
            },
        )
        self.search_processor = self._add_processor(
            "Search",
            sink="search",
            handler="lambdas.search.handler.handler",
            feed=change_log,
            settings={
                "SOURCE_TABLE_NAME": self.orders.name,
                "LARGE_IMAGES_BUCKET": self.large_images.bucket.bucket_name,
                "SEARCH_ENDPOINT": self.search.url,
                "SEARCH_INDEX": environment.search_index,
                "SEARCH_AUTH": self.search.auth,
                "SEARCH_REGION": self.search.region,
            },
        )
        self.processors = (self.aggregation, self.audit, self.search_processor)
        environment.check_processors(each.name for each in self.processors)
        self._grant()
        self.operator = OperatorPolicy(
            self,
            "Operator",
            processors=self.processors,
            dead_letters=self.dead_letters,
            source=self.orders,
            change_log=self.change_log,
            large_images=self.large_images,
        )
        watcher = Watcher(
            self,
            "Watcher",
            code=code,
            source=self.orders,
            processors=self.processors,
            dead_letters=self.dead_letters,
            environment=environment,
        )
        Observability(
            self,
            "Observability",
            environment=environment,
            processors=self.processors,
            tables=(self.orders, self.change_log, self.aggregates, self.idempotency),
            watcher=watcher,
            search=self.search,
        )
        self._add_outputs()

    def _add_tables(self, *, keep: bool, protect: bool) -> None:
        """Add the tables; the aggregates and idempotency tables are recoverable where data is kept.

        The idempotency table holds three kinds of records by prefix of their key: `ledger/`, the
        aggregation's idempotency records; `attempt/`, attempts at a record that may kill its
        function; and `once/`, markers of functions with effects, of which this pipeline has none.
        With `Expiry.KEEP` sums and ledger are the only copy of expired items, and neither is of use
        without the other.
        """
        self.orders = ChangeTable(
            self,
            "Orders",
            partition_key="customer_id",
            sort_key="order_id",
            stream=dynamodb.StreamViewType.NEW_AND_OLD_IMAGES,
            expires_by="expires_at",
            recoverable=True,
            keep=keep,
            protect=protect,
        )
        self.change_log = ChangeTable(
            self,
            "ChangeLog",
            partition_key=CHANGE_LOG_KEYS[0],
            sort_key=CHANGE_LOG_KEYS[1],
            stream=dynamodb.StreamViewType.NEW_IMAGE,
            recoverable=True,
            keep=keep,
            protect=protect,
        )
        self.aggregates = ChangeTable(
            self,
            "Aggregates",
            partition_key=AGGREGATES_KEYS[0],
            sort_key=AGGREGATES_KEYS[1],
            sort_key_type=NUMBER,
            recoverable=keep,
            keep=keep,
            protect=protect,
        )
        self.idempotency = ChangeTable(
            self,
            "Idempotency",
            partition_key=IDEMPOTENCY_KEY,
            expires_by=EXPIRES_AT,
            recoverable=keep,
            keep=keep,
            protect=protect,
        )

    def _add_processor(
        self,
        id: str,
        *,
        sink: str,
        handler: str,
        feed: ChangeFeed,
        settings: dict[str, str],
    ) -> StreamProcessor:
        return StreamProcessor(
            self,
            id,
            name=id.lower(),
            sink=sink,
            handler=handler,
            code=self._code,
            feed=feed,
            source_table=SOURCE_TABLE,
            dead_letters=self.dead_letters,
            settings={**settings, "ATTEMPTS_TABLE": self.idempotency.name},
            environment=self._environment,
        )

    def _grant(self) -> None:
        """Grant each processor its permissions; they make the change log append-only.

        A repair reads an item of the source table. The log has none: it can only be added to. Each
        counts the attempts at a record that may kill it, under keys of their own.
        """
        ledger, aggregates = self.idempotency.table, self.aggregates.table
        ledger.grant(self.aggregation.role, "dynamodb:BatchGetItem", "dynamodb:PutItem")
        for processor in self.processors:
            processor.role.add_to_policy(
                iam.PolicyStatement(
                    actions=["dynamodb:UpdateItem"],
                    resources=[ledger.table_arn],
                    conditions={
                        "ForAllValues:StringLike": {
                            "dynamodb:LeadingKeys": [f"{ATTEMPT}{processor.name}/*"]
                        },
                        # ForAllValues is true of a request that has no such key at all.
                        "Null": {"dynamodb:LeadingKeys": "false"},
                    },
                )
            )
        aggregates.grant(self.aggregation.role, "dynamodb:UpdateItem")
        self.orders.table.grant(self.aggregation.role, "dynamodb:GetItem")
        self.change_log.table.grant(self.audit.role, "dynamodb:PartiQLInsert")
        self.large_images.grant_write(self.audit.role)
        self.search.grant_write(self.search_processor.role, self._environment.search_index)
        self.orders.table.grant(self.search_processor.role, "dynamodb:GetItem")
        self.large_images.grant_read(self.search_processor.role)

    def _add_outputs(self) -> None:
        add_manifest(
            self,
            source_tables={SOURCE_TABLE: self.orders},
            tables={
                "change_log": self.change_log,
                "aggregates": self.aggregates,
                "idempotency": self.idempotency,
            },
            processors=self.processors,
            dead_letters=self.dead_letters,
            large_images=self.large_images,
            search={"endpoint": self.search.url, "index": self._environment.search_index},
        )
        # For people, who type them: the manifest has them too.
        outputs = {
            "OrdersTableName": self.orders.name,
            "DeadLetterBucketName": self.dead_letters.bucket.bucket_name,
            "OnFailureBucketName": self.dead_letters.on_failure.bucket_name,
            "OperatorPolicyArn": self.operator.managed_policy_arn,
            "SearchEndpoint": self.search.url,
        }
        for processor in self.processors:
            outputs[f"{processor.node.id}FunctionName"] = processor.function.function_name
        for name, value in outputs.items():
            CfnOutput(self, name, value=value)
