"""Change data capture from DynamoDB Streams whose copies converge.

Change an item, and every copy of it becomes right and stays right: under duplicates, reordering,
crashes and replays. Each change carries a version; each sink remembers the version that it holds
of an item, and what it stores is a function of the item's state, never of a difference between
events.

The core imports the standard library only. `dynamodb_streams_cdc.aws` has the adapters for
DynamoDB, S3 and OpenSearch; `dynamodb_streams_cdc.testing.memory` has the same ports in memory.
"""

from dynamodb_streams_cdc.change import Attributes, Change, ChangeKind, Image, Source, ViewType
from dynamodb_streams_cdc.dead_letters import DeadLetters, Letter
from dynamodb_streams_cdc.deadline import Budget, Clock, LambdaContext, SystemClock
from dynamodb_streams_cdc.deserializer import (
    deserialize,
    deserialize_item,
    serialize,
    serialize_item,
)
from dynamodb_streams_cdc.diff import MISSING, Difference, diff, patch
from dynamodb_streams_cdc.errors import (
    AccessDeniedError,
    CdcError,
    ContentionError,
    HeldBack,
    MalformedRecord,
    MalformedValue,
    MissingImage,
    OutageError,
    OutOfTime,
    PermanentError,
)
from dynamodb_streams_cdc.handlers import ChangeHandlers
from dynamodb_streams_cdc.idempotency import Markers, Once
from dynamodb_streams_cdc.lambda_types import BatchResponse
from dynamodb_streams_cdc.metrics import Counts, LogMetrics, Metrics
from dynamodb_streams_cdc.processor import Processor, Reader
from dynamodb_streams_cdc.sinks.aggregation import (
    Aggregation,
    Contribution,
    Expiry,
    Ledger,
    LedgerRow,
    Move,
    RowsMoved,
)
from dynamodb_streams_cdc.sinks.base import (
    TOMBSTONE_SECONDS,
    Items,
    Outcome,
    Repairable,
    Sink,
    Stamp,
)
from dynamodb_streams_cdc.sinks.change_log import ChangeLog, Inserted, Log, replay
from dynamodb_streams_cdc.sinks.log_entries import (
    Entry,
    Overflow,
    change_from_entry,
    change_from_log_record,
    entry_of,
)
from dynamodb_streams_cdc.sinks.search import Held, Index, SearchSync, Stale, Upsert, Upserted

__all__ = [
    "MISSING",
    "TOMBSTONE_SECONDS",
    "AccessDeniedError",
    "Aggregation",
    "Attributes",
    "BatchResponse",
    "Budget",
    "CdcError",
    "Change",
    "ChangeHandlers",
    "ChangeKind",
    "ChangeLog",
    "Clock",
    "ContentionError",
    "Contribution",
    "Counts",
    "DeadLetters",
    "Difference",
    "Entry",
    "Expiry",
    "Held",
    "HeldBack",
    "Image",
    "Index",
    "Inserted",
    "Items",
    "LambdaContext",
    "Ledger",
    "LedgerRow",
    "Letter",
    "Log",
    "LogMetrics",
    "MalformedRecord",
    "MalformedValue",
    "Markers",
    "Metrics",
    "MissingImage",
    "Move",
    "Once",
    "OutOfTime",
    "OutageError",
    "Outcome",
    "Overflow",
    "PermanentError",
    "Processor",
    "Reader",
    "Repairable",
    "RowsMoved",
    "SearchSync",
    "Sink",
    "Source",
    "Stale",
    "Stamp",
    "SystemClock",
    "Upsert",
    "Upserted",
    "ViewType",
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
