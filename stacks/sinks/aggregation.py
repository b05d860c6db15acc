"""The aggregation: its aggregates table and its processor."""

from typing import TYPE_CHECKING

from aws_cdk import aws_iam as iam

from dynamodb_streams_cdc.entities import AGGREGATION
from dynamodb_streams_cdc.names import AGGREGATES_KEYS, LEDGER
from stacks.constructs.source_table import READ
from stacks.constructs.stream_processor import StreamProcessor

if TYPE_CHECKING:
    from stacks.pipeline import PipelineStack


def add_aggregation(pipeline: "PipelineStack") -> StreamProcessor:
    """Add the processor; it writes its ledger and the sums in one transaction.

    It scans the source table, its ledger and the sums when an operator verifies, fills or rebuilds.
    Of the table of the ledger it deletes ledger rows alone, when an operator purges tombstones.

    With `Expiry.KEEP` sums and ledger are the only copy of expired items, and neither is of use
    without the other: both are recoverable where data is kept.
    """
    aggregates = pipeline.add_table(
        "Aggregates",
        role="aggregates",
        keys={AGGREGATES_KEYS[0]: "S", AGGREGATES_KEYS[1]: "N"},
        recoverable=pipeline.settings.keeps_data,
    )
    processor = pipeline.add_processor(
        AGGREGATION,
        {
            "SOURCE_TABLE_NAME": pipeline.source.name,
            "IDEMPOTENCY_TABLE": pipeline.idempotency.name,
            "AGGREGATES_TABLE": aggregates.name,
            "AGGREGATE_SHARDS": str(pipeline.settings.aggregate_shards),
        },
    )
    ledger = pipeline.idempotency.table
    ledger.grant(processor.role, *READ, "dynamodb:PutItem")
    processor.role.add_to_policy(
        iam.PolicyStatement(
            actions=["dynamodb:DeleteItem"],
            resources=[ledger.table_arn],
            conditions={
                "ForAllValues:StringLike": {"dynamodb:LeadingKeys": [f"{LEDGER}*"]},
                # ForAllValues is true of a request that has no such key at all.
                "Null": {"dynamodb:LeadingKeys": "false"},
            },
        )
    )
    aggregates.table.grant(processor.role, "dynamodb:UpdateItem", "dynamodb:Scan")
    pipeline.source.table.grant(processor.role, *READ)
    return processor
