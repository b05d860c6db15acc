"""The tables, the streams that tie them together, and the processors that read the streams.

A stream and its readers share a stack: a stream's ARN that another stack imports can neither change
nor be followed when the stream is replaced. Each source table has a stack of its own.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from dynamodb_streams_cdc.entities import AUDIT, BUILT_IN, Table
from dynamodb_streams_cdc.names import (
    ATTEMPT,
    CHANGE_LOG_KEYS,
    EXPIRES_AT,
    IDEMPOTENCY_KEY,
    MANIFEST,
    NOTES,
)
from stacks.constructs.change_feed import ChangeFeed
from stacks.constructs.change_table import ChangeTable
from stacks.constructs.dead_letters import DeadLetters
from stacks.constructs.erasure import Erasure
from stacks.constructs.keys import add_key
from stacks.constructs.large_images import LargeImages
from stacks.constructs.operator_policy import MetricsPolicy, OperatorPolicy
from stacks.constructs.source_table import source_table, use_of_table_key
from stacks.constructs.stream_processor import StreamProcessor
from stacks.constructs.watcher import Watcher
from stacks.environments import Environment
from stacks.errors import SynthError
from stacks.feeds import patterns, plan
from stacks.maintenance import Maintenance
from stacks.manifest import add_manifest
from stacks.observability import Observability
from stacks.search import SearchTarget, existing_cluster
from stacks.sinks import SINKS

LAMBDAS = Path(__file__).parents[1] / "lambdas"

TAKEN = frozenset(
    {
        *("Aggregates", "BootstrapVersion", "Boundary", "CDKMetadata", "ChangeLog"),
        *("CheckBootstrapVersion", "DeadLetterBucketName", "DeadLetters", "DynamoDbGateway"),
        *("Erasure", "ErasurePolicyArn", "FormerKeys"),
        *("Idempotency", "Key", "LargeImages", "Maintenance", MANIFEST),
        *("Metrics", "MetricsPolicyArn"),
        *("Observability", "OnFailureBucketName", "Operator", "OperatorPolicyArn", "S3Gateway"),
        *("MaintenancePolicyArn", "Watcher"),
    }
)
"""Ids that constructs of a stack may have, in addition to those that begin with a sink's name."""


class PipelineStack(Stack):
    """A source table, and the copies of its items that converge.

    Attributes:
        declaration: what the table's items are, and which copies they have.
        source: the source table.
        idempotency: table of the records of idempotency, by prefix of the key: `ledger/` of the
            aggregation, `attempt/` of records that may kill a function, `once/` of effects,
            `forgetting/` and `erased/` of erasures.
        change_log, large_images: of the audited entities; None if there are none.
        search: cluster of the indexes; None if no entity has a document.
        tables: those that this stack makes in addition to the source table, by role.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        table: Table,
        environment: Environment,
        code: lambda_.Code,
        search: SearchTarget | None,
        pipelines: Sequence[str],
    ) -> None:
        super().__init__(scope, id, termination_protection=environment.protection)
        self.declaration = table
        self.settings = environment
        add_key(self, environment)
        self.search = None
        if table.indexes:
            self.search = search or existing_cluster(self, environment)
        self._code = code
        self._pipelines = pipelines
        self.tables: dict[str, ChangeTable] = {}
        sinks = _sinks_of(table)

        self.source = source_table(
            self, source_id(table.name), table=table, environment=environment
        )
        self.change_log: ChangeTable | None = None
        self.large_images: LargeImages | None = None
        if AUDIT in sinks:
            self.change_log = self.add_table(
                "ChangeLog",
                role="change_log",
                keys=dict.fromkeys(CHANGE_LOG_KEYS, "S"),
                stream=dynamodb.StreamViewType.NEW_IMAGE,
                recoverable=True,
            )
            self.large_images = LargeImages(self, "LargeImages", keep=environment.keeps_data)
        self.idempotency = self.add_table(
            "Idempotency",
            role="idempotency",
            keys={IDEMPOTENCY_KEY: "S"},
            expires_by=EXPIRES_AT,
            recoverable=environment.keeps_data,
        )
        self.dead_letters = DeadLetters(self, "DeadLetters", keep=environment.keeps_data)

        readers = environment.readers(table)
        self._feeds = {"table": ChangeFeed(self.source, kind="table", readers=readers)}
        if self.change_log is not None:
            self._feeds["change-log"] = ChangeFeed(self.change_log, kind="change-log")
        self._plan = plan(table, sinks, readers)
        self.processors = tuple(SINKS[sink](self) for sink in sinks)

        self.operator = OperatorPolicy(
            self,
            "Operator",
            processors=self.processors,
            dead_letters=self.dead_letters,
            source=self.source,
            change_log=self.change_log,
            large_images=self.large_images,
        )
        self.metrics = MetricsPolicy(self, "Metrics")
        self.erasure = self._add_erasure()
        watcher = Watcher(
            self,
            "Watcher",
            code=code,
            source=self.source,
            processors=self.processors,
            dead_letters=self.dead_letters,
            environment=environment,
        )
        self.maintenance: Maintenance | None = None
        if environment.maintenance:
            self.maintenance = Maintenance(
                self,
                "Maintenance",
                code=code,
                source=self.source,
                processors=self.processors,
                environment=environment,
            )
        Observability(
            self,
            "Observability",
            environment=environment,
            processors=self.processors,
            tables=(self.source, *self.tables.values()),
            watcher=watcher,
            maintenance=self.maintenance,
            search=self.search,
            cluster=environment.cluster_for([table]),
        )
        self._add_outputs()

    def add_table(
        self,
        id: str,
        *,
        role: str,
        keys: Mapping[str, str],
        stream: dynamodb.StreamViewType | None = None,
        expires_by: str | None = None,
        recoverable: bool,
    ) -> ChangeTable:
        """Add a table, which the manifest names under its role."""
        self.tables[role] = ChangeTable(
            self,
            id,
            keys=keys,
            stream=stream,
            expires_by=expires_by,
            recoverable=recoverable,
            keep=self.settings.keeps_data,
            protect=self.settings.protection,
        )
        return self.tables[role]

    def add_processor(self, sink: str, settings: Mapping[str, str]) -> StreamProcessor:
        """Add the processor of a sink, with the function in lambdas/SINK.

        `settings` are the function's environment variables in addition to those of every processor.
        A processor that reads the change log also reads the large images.
        """
        if pascal(sink) in TAKEN:
            message = (
                f"Sink {sink!r}: every stack has {pascal(sink)!r} already: name the sink otherwise."
            )
            raise SynthError(message)
        if sink not in self._plan:
            message = (
                f"add_processor has the name {sink!r}: give it the sink's name in SINKS of "
                f"stacks/sinks/__init__.py, one of {', '.join(self._plan)}."
            )
            raise SynthError(message)
        folder = sink.replace("-", "_")
        if not (LAMBDAS / folder / "handler.py").is_file():
            message = (
                f"Sink {sink!r}: there is no lambdas/{folder}/handler.py, its function: add it."
            )
            raise SynthError(message)
        kind = self._plan[sink]
        images = self.large_images if kind == "change-log" else None
        processor = StreamProcessor(
            self,
            pascal(sink),
            name=sink,
            sink=sink,
            handler=f"lambdas.{folder}.handler.handler",
            code=self._code,
            feed=self._feeds[kind],
            filters=patterns(self.declaration, sink, kind),
            source_table=self.declaration.name,
            dead_letters=self.dead_letters,
            settings={
                "LARGE_IMAGES_BUCKET": images.bucket.bucket_name if images else "",
                "ATTEMPTS_TABLE": self.idempotency.name,
                **settings,
            },
            environment=self.settings,
        )
        processor.role.add_to_policy(
            iam.PolicyStatement(
                actions=["dynamodb:UpdateItem"],
                resources=[self.idempotency.table.table_arn],
                conditions={
                    "ForAllValues:StringLike": {"dynamodb:LeadingKeys": [f"{ATTEMPT}{sink}/*"]},
                    # ForAllValues is true of a request that has no such key at all.
                    "Null": {"dynamodb:LeadingKeys": "false"},
                },
            )
        )
        processor.role.add_to_policy(
            iam.PolicyStatement(
                actions=["dynamodb:GetItem", "dynamodb:UpdateItem"],
                resources=[self.idempotency.table.table_arn],
                conditions={
                    "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [NOTES]},
                    "Null": {"dynamodb:LeadingKeys": "false"},
                },
            )
        )
        for statement in use_of_table_key(self.source):
            processor.role.add_to_policy(statement)
        if images is not None:
            images.grant_read(processor.role)
        return processor

    def _add_erasure(self) -> Erasure:
        return Erasure(
            self,
            "Erasure",
            code=self._code,
            table=self.declaration.name,
            source=self.source,
            tables=self.tables,
            dead_letters=self.dead_letters,
            large_images=self.large_images,
            search=self.search,
            indexes=self._indexes,
            own_sinks={
                each.name: each.function.function_name
                for each in self.processors
                if each.sink not in BUILT_IN
            },
            environment=self.settings,
        )

    @property
    def _indexes(self) -> list[str]:
        prefix = self.settings.index_prefix
        return [f"{prefix}{index.name}" for index in self.declaration.indexes]

    def _add_outputs(self) -> None:
        search = None
        if self.search is not None:
            search = {"endpoint": self.search.url, "indexes": self._indexes}
        add_manifest(
            self,
            pipelines=self._pipelines,
            declaration=self.declaration,
            source=self.source,
            tables=self.tables,
            processors=self.processors,
            dead_letters=self.dead_letters,
            large_images=self.large_images,
            search=search,
            erasure=self.erasure.function.function_name,
            maintenance=self.maintenance,
        )
        # For people, who type them: the manifest has them too.
        outputs = {
            f"{source_id(self.declaration.name)}TableName": self.source.name,
            "DeadLetterBucketName": self.dead_letters.bucket.bucket_name,
            "OnFailureBucketName": self.dead_letters.on_failure.bucket_name,
            "OperatorPolicyArn": self.operator.managed_policy_arn,
            "MetricsPolicyArn": self.metrics.managed_policy_arn,
            "ErasurePolicyArn": self.erasure.policy.managed_policy_arn,
        }
        if self.search is not None:
            outputs["SearchEndpoint"] = self.search.url
        for processor in self.processors:
            outputs[f"{processor.node.id}FunctionName"] = processor.function.function_name
        for name, value in outputs.items():
            CfnOutput(self, name, value=value)


def pascal(name: str) -> str:
    """Return a name such as `order-items` as a construct's id: `OrderItems`."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", name))


def source_id(name: str) -> str:
    """Return the id of a source table, which no other construct of its stack has."""
    id = pascal(name)
    is_free = id and id not in TAKEN and not id.startswith(tuple(map(pascal, SINKS)))
    return id if is_free else f"Source{id}"


def _sinks_of(table: Table) -> list[str]:
    """Return the sinks that the table's entities use, in the order of `SINKS`.

    Raises:
        SynthError: an entity uses a sink that there is not.
    """
    for name in table.further_sinks:
        if name not in SINKS:
            message = (
                f"Table {table.name!r}: an entity uses the sink {name!r}, which stacks/sinks does "
                f"not have: add it there, or use one of {', '.join(SINKS)}."
            )
            raise SynthError(message)
    return [name for name in SINKS if table.using(name)]
