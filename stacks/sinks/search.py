"""Search: the processor that writes documents into the indexes."""

from typing import TYPE_CHECKING

from dynamodb_streams_cdc.entities import SEARCH
from stacks.constructs.source_table import READ
from stacks.constructs.stream_processor import StreamProcessor

if TYPE_CHECKING:
    from stacks.pipeline import PipelineStack


def add_search(pipeline: "PipelineStack") -> StreamProcessor:
    """Add the processor, with access to the declared indexes."""
    target = pipeline.search
    assert target is not None
    processor = pipeline.add_processor(
        SEARCH,
        {
            "SOURCE_TABLE_NAME": pipeline.source.name,
            "SEARCH_ENDPOINT": target.url,
            "SEARCH_INDEX_PREFIX": pipeline.settings.index_prefix,
            "SEARCH_AUTH": target.auth,
            "SEARCH_REGION": target.region,
        },
    )
    for index in pipeline.declaration.indexes:
        target.grant_write(processor.role, f"{pipeline.settings.index_prefix}{index.name}")
    pipeline.source.table.grant(processor.role, *READ)
    return processor
