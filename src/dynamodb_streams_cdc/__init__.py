"""Change data capture from DynamoDB Streams whose copies converge.

Change an item, and every copy of it becomes right and stays right: under duplicates, reordering,
crashes and replays. Each change carries a version; each sink remembers the version that it holds
of an item, and what it stores is a function of the item's state, never of a difference between
events.

The core imports the standard library only. `dynamodb_streams_cdc.aws` has the adapters for
DynamoDB, S3 and OpenSearch; `dynamodb_streams_cdc.testing.memory` has the same ports in memory.
"""

from dynamodb_streams_cdc.change import Attributes, Change, ChangeKind, Image, Source, ViewType
from dynamodb_streams_cdc.dead_letters import DeadLetter, DeadLetterWriter
from dynamodb_streams_cdc.deadline import Clock, Deadline, SystemClock
from dynamodb_streams_cdc.deserializer import (
    deserialize,
    deserialize_item,
    serialize,
    serialize_item,
)
from dynamodb_streams_cdc.diff import MISSING, Difference, diff, patch
from dynamodb_streams_cdc.errors import (
    AccessDeniedError,
    BlockedByEarlierFailure,
    CdcError,
    ConflictError,
    DeadlineExceeded,
    MalformedRecord,
    MalformedValue,
    MissingImage,
    PermanentError,
    RetryableError,
)
from dynamodb_streams_cdc.handlers import ChangeHandlers
from dynamodb_streams_cdc.idempotency import IdempotencyStore, Once
from dynamodb_streams_cdc.lambda_types import BatchResponse, LambdaContext, StreamEvent
from dynamodb_streams_cdc.metrics import Counts, LogMetrics, Metrics
from dynamodb_streams_cdc.processor import Processor, RecordParser
from dynamodb_streams_cdc.sinks.aggregation import (
    Aggregation,
    Contribution,
    Expiry,
    LedgerRow,
    LedgerStore,
    RowUpdate,
    WriteConflict,
)
from dynamodb_streams_cdc.sinks.base import (
    TOMBSTONE_SECONDS,
    ItemVersion,
    Outcome,
    Repairable,
    Sink,
    SourceTable,
)
from dynamodb_streams_cdc.sinks.change_log import ChangeLog, Inserted, LogStore, replay
from dynamodb_streams_cdc.sinks.log_entries import (
    Entry,
    ImageStore,
    change_from_entry,
    change_from_log_record,
    entry_of,
)
from dynamodb_streams_cdc.sinks.search import Held, Search, SearchIndex, Stale, Upsert, Upserted

__all__ = [
    "MISSING",
    "TOMBSTONE_SECONDS",
    "AccessDeniedError",
    "Aggregation",
    "Attributes",
    "BatchResponse",
    "BlockedByEarlierFailure",
    "CdcError",
    "Change",
    "ChangeHandlers",
    "ChangeKind",
    "ChangeLog",
    "Clock",
    "ConflictError",
    "Contribution",
    "Counts",
    "DeadLetter",
    "DeadLetterWriter",
    "Deadline",
    "DeadlineExceeded",
    "Difference",
    "Entry",
    "Expiry",
    "Held",
    "IdempotencyStore",
    "Image",
    "ImageStore",
    "Inserted",
    "ItemVersion",
    "LambdaContext",
    "LedgerRow",
    "LedgerStore",
    "LogMetrics",
    "LogStore",
    "MalformedRecord",
    "MalformedValue",
    "Metrics",
    "MissingImage",
    "Once",
    "Outcome",
    "PermanentError",
    "Processor",
    "RecordParser",
    "Repairable",
    "RetryableError",
    "RowUpdate",
    "Search",
    "SearchIndex",
    "Sink",
    "Source",
    "SourceTable",
    "Stale",
    "StreamEvent",
    "SystemClock",
    "Upsert",
    "Upserted",
    "ViewType",
    "WriteConflict",
    "change_from_entry",
    "change_from_log_record",
    "deserialize",
    "deserialize_item",
    "diff",
    "entry_of",
    "patch",
    "replay",
    "serialize",
    "serialize_item",
]
