"""Change data capture for DynamoDB, with derived copies that always converge to the table.

Each change carries a version. Each sink remembers the version that it holds of an item, and its
state is a function of the item's state, never of a difference between events. So the copies are
right after duplicates, reordering, crashes and replays.

This package exports the names that most programs need; all others are imported from their modules.
The core imports the standard library only. `dynamodb_streams_cdc.aws` has the adapters for
DynamoDB, S3 and OpenSearch; `dynamodb_streams_cdc.testing.memory` has the same ports in memory.
"""

from dynamodb_streams_cdc.change import Change, ChangeKind, Image, Source, ViewType
from dynamodb_streams_cdc.dead_letters import DeadLetterWriter
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.deserializer import (
    deserialize,
    deserialize_item,
    serialize,
    serialize_item,
)
from dynamodb_streams_cdc.diff import diff
from dynamodb_streams_cdc.errors import (
    CdcError,
    MalformedRecord,
    MissingImage,
    PermanentError,
    RetryableError,
)
from dynamodb_streams_cdc.handlers import ChangeHandlers
from dynamodb_streams_cdc.idempotency import IdempotencyStore, Once
from dynamodb_streams_cdc.lambda_types import BatchResponse, LambdaContext, StreamEvent
from dynamodb_streams_cdc.processor import Processor
from dynamodb_streams_cdc.sinks.aggregation import Aggregation, Expiry
from dynamodb_streams_cdc.sinks.base import Outcome, Sink, SourceTable
from dynamodb_streams_cdc.sinks.change_log import ChangeLog
from dynamodb_streams_cdc.sinks.contributions import Contribution
from dynamodb_streams_cdc.sinks.search import Search

__all__ = [
    "Aggregation",
    "BatchResponse",
    "CdcError",
    "Change",
    "ChangeHandlers",
    "ChangeKind",
    "ChangeLog",
    "Contribution",
    "DeadLetterWriter",
    "Deadline",
    "Expiry",
    "IdempotencyStore",
    "Image",
    "LambdaContext",
    "MalformedRecord",
    "MissingImage",
    "Once",
    "Outcome",
    "PermanentError",
    "Processor",
    "RetryableError",
    "Search",
    "Sink",
    "Source",
    "SourceTable",
    "StreamEvent",
    "ViewType",
    "deserialize",
    "deserialize_item",
    "diff",
    "serialize",
    "serialize_item",
]
