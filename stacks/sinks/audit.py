"""Audit: the processor that adds to the change log."""

from typing import TYPE_CHECKING

from dynamodb_streams_cdc.entities import AUDIT
from stacks.constructs.stream_processor import StreamProcessor

if TYPE_CHECKING:
    from stacks.pipeline import PipelineStack


def add_audit(pipeline: "PipelineStack") -> StreamProcessor:
    """Add the processor; it can only add to the log, and neither read nor replace an entry."""
    assert pipeline.change_log is not None
    assert pipeline.large_images is not None
    processor = pipeline.add_processor(
        AUDIT,
        {
            "CHANGE_LOG_TABLE": pipeline.change_log.name,
            "LARGE_IMAGES_BUCKET": pipeline.large_images.bucket.bucket_name,
        },
    )
    pipeline.change_log.table.grant(processor.role, "dynamodb:PartiQLInsert")
    pipeline.large_images.grant_write(processor.role)
    return processor
