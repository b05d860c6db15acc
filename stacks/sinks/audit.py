"""Audit: the processor that adds to the change log."""

from typing import TYPE_CHECKING

from dynamodb_streams_cdc.entities import AUDIT
from stacks.constructs.source_table import WALK
from stacks.constructs.stream_processor import StreamProcessor

if TYPE_CHECKING:
    from stacks.pipeline import PipelineStack


def add_audit(pipeline: "PipelineStack") -> StreamProcessor:
    """Add the processor; of all that writes, it can only add to the log."""
    assert pipeline.change_log is not None
    assert pipeline.large_images is not None
    processor = pipeline.add_processor(
        AUDIT,
        {
            "SOURCE_TABLE_NAME": pipeline.source.name,
            "CHANGE_LOG_TABLE": pipeline.change_log.name,
            "LARGE_IMAGES_BUCKET": pipeline.large_images.bucket.bucket_name,
        },
    )
    pipeline.change_log.table.grant(
        processor.role, "dynamodb:PartiQLInsert", "dynamodb:Query", "dynamodb:Scan"
    )
    pipeline.large_images.grant_write(processor.role)
    pipeline.large_images.grant_read(processor.role)
    pipeline.source.table.grant(processor.role, *WALK)
    return processor
