"""Lambda's event source mappings on DynamoDB Streams, as a state machine without I/O.

An `Engine` is one mapping. It reads nothing, invokes nothing and has no clock: it returns commands,
and its caller reports their results. So one implementation serves tests of handlers, simulations in
virtual time, and a runner that polls a real stream. The cycle, with a list for a stream:

    engine = Engine({"StartingPosition": "TRIM_HORIZON", "BatchSize": 10})
    now = 1_700_000_000.0
    while records or engine.checkpoints.get("shard-1") != last_sequence_number:
        for command in engine.commands(now):
            match command:
                case DescribeStream():
                    engine.shards([{"ShardId": "shard-1"}], now)
                case ReadShard(shard_id=shard, limit=limit):
                    engine.records(shard, records[:limit], "more", now)
                    del records[:limit]
                case Invoke(token=token, event=event):
                    engine.answered(token, handler(event), now)
                case Deliver(token=token, document=document):
                    dead_letters.append(document)
                    engine.delivered(token, ok=True)
        now = engine.wake_at(now) or now

docs/explanation/event-source-mapping.md documents a mapping rule by rule; `Policies` has the
choices that AWS leaves open.
"""

from dynamodb_streams_cdc.esm.commands import (
    AT_SEQUENCE_NUMBER,
    LATEST,
    SHARD_END,
    TRIM_HORIZON,
    Command,
    Deliver,
    DescribeStream,
    Invoke,
    ReadShard,
    SaveCheckpoint,
)
from dynamodb_streams_cdc.esm.configuration import (
    ConfigurationError,
    Destination,
    DestinationKind,
    MappingConfiguration,
    StartingPosition,
)
from dynamodb_streams_cdc.esm.context import Loss, LossReason
from dynamodb_streams_cdc.esm.destinations import Condition, object_key
from dynamodb_streams_cdc.esm.engine import Engine
from dynamodb_streams_cdc.esm.filters import FilterCriteria, InvalidFilterPattern
from dynamodb_streams_cdc.esm.function_context import FunctionContext
from dynamodb_streams_cdc.esm.lint import lint
from dynamodb_streams_cdc.esm.metrics import Metrics
from dynamodb_streams_cdc.esm.policies import Policies, exponential_backoff, lane_by_item
from dynamodb_streams_cdc.esm.responses import Result, Verdict, classify

__all__ = [
    "AT_SEQUENCE_NUMBER",
    "LATEST",
    "SHARD_END",
    "TRIM_HORIZON",
    "Command",
    "Condition",
    "ConfigurationError",
    "Deliver",
    "DescribeStream",
    "Destination",
    "DestinationKind",
    "Engine",
    "FilterCriteria",
    "FunctionContext",
    "InvalidFilterPattern",
    "Invoke",
    "Loss",
    "LossReason",
    "MappingConfiguration",
    "Metrics",
    "Policies",
    "ReadShard",
    "Result",
    "SaveCheckpoint",
    "StartingPosition",
    "Verdict",
    "classify",
    "exponential_backoff",
    "lane_by_item",
    "lint",
    "object_key",
]
