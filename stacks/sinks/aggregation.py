"""The aggregation: its aggregates table and its processor."""

from typing import TYPE_CHECKING

from dynamodb_streams_cdc.entities import AGGREGATION
from dynamodb_streams_cdc.names import AGGREGATES_KEYS
from stacks.constructs.source_table import READ
from stacks.constructs.stream_processor import StreamProcessor

if TYPE_CHECKING:
    from stacks.pipeline import PipelineStack


def add_aggregation(pipeline: "PipelineStack") -> StreamProcessor:
    """Add the processor; it writes its ledger and the sums in one transaction.

    It scans the source table, its ledger and the sums when an operator verifies, fills or rebuilds.

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
    aggregates.table.grant(processor.role, "dynamodb:UpdateItem", "dynamodb:Scan")
    pipeline.source.table.grant(processor.role, *READ)
    return processor
