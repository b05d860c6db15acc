"""Named choices for behaviour of event source mappings that AWS does not document.

The defaults follow the documentation where there is any, and otherwise observations on AWS; each
field says which. Change one to ask whether a function depends on undocumented behaviour.
"""

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from dynamodb_streams_cdc.esm.operators import Dialect

Backoff: TypeAlias = Callable[[int], float]
Records: TypeAlias = Sequence[Mapping[str, Any]]


def exponential_backoff(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row: 0.25, 0.5, 1, ... up to 60.

    AWS documents no curve. With a record age of 60 seconds and unlimited retries, eight invocations
    were observed before the record was given up: this curve makes eight.
    """
    return min(60.0, 0.25 * 2.0 ** min(failures - 1, 16))


def larger_half_first(size: int) -> int:
    """Return how many records of a batch go into its first half."""
    return (size + 1) // 2


def lane_by_item(keys: Mapping[str, Any], lanes: int) -> int:
    """Return the lane of an item: a stable hash of its primary key.

    Lambda promises order per item, by partition and sort key
    (https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html), and not how it spreads items.
    """
    text = json.dumps(keys, sort_keys=True, separators=(",", ":"))
    return zlib.crc32(text.encode()) % lanes


def no_records(_last_batch: Records) -> Records:
    """Send no records with the final invocation of a tumbling window."""
    return ()


def since_the_epoch(timestamp: float, seconds: int) -> int:
    """Return when the window of a record began: the last multiple of its length since 1970."""
    return int(timestamp // seconds) * seconds


@dataclass(frozen=True, kw_only=True)
class Policies:
    """The choices; `Policies()` has the documented ones.

    Attributes:
        backoff: seconds before retry number n of a batch, from 1. Not documented.
        throttle_backoff: the same where the function was not invoked. Not documented.
        split_point: how many records the first half of a bisected batch gets. Not documented.
        attempts_after_split: whether the halves begin with a retry budget of their own ("reset") or
            with what the batch had left ("keep"). Documented is that splitting does not consume it.
        bisect_rejected: bisect also when the response, not the function, failed the whole batch.
            Documented is bisecting "if your invocation fails".
        unknown_identifier: an `itemIdentifier` that is a string, but no record of the batch, fails
            the batch ("failure") or counts for nothing ("ignore"). Not documented.
        bad_entry: one unusable entry among usable ones fails the whole batch ("failure") or is
            passed over ("ignore"). Not documented.
        unreadable_response: a response that is not an object, or whose `batchItemFailures` is not a
            list, is a "failure" or a "success". Not documented for streams.
        top_up: fill the remainder of a partly failed batch with new records. Not documented;
            published walk-throughs show the remainder alone.
        lane_of: the lane of an item, of as many as `ParallelizationFactor`. Not documented.
        read_ahead: at most about as many unfinished records per shard and lane are held before
            reading pauses; at least a full read and a full batch. Not documented.
        retention: records that the stream has forgotten are dropped without a word ("silent") or
            reported like those that exceed the record age ("destination"). Documented is that
            `DroppedEventCount` does not count them.
        consolidation: documents of records that were given up one after the other are "separate" or
            merged when "adjacent". Documented is that `batchSize` may be greater than expected.
        s3_payload: `payload` in S3 is a JSON "string", as documented, or an "object".
        filter_operators: patterns may use the operators that "lambda" lists, or all those of
            "eventbridge": wildcard, cidr, exactly, and the nested forms of anything-but, prefix and
            suffix. That Lambda takes those is documented nowhere.
        final_window_records: records of a window's last batch that its final invocation carries.
            Not documented.
        window_start: when the tumbling window of a record began. Not documented.
        poll_seconds: between two reads of a shard; documented are four per second.
        describe_seconds: between two looks for new shards. Not documented.
    """

    backoff: Backoff = exponential_backoff
    throttle_backoff: Backoff = exponential_backoff
    split_point: Callable[[int], int] = larger_half_first
    attempts_after_split: Literal["reset", "keep"] = "reset"
    bisect_rejected: bool = False
    unknown_identifier: Literal["failure", "ignore"] = "failure"
    bad_entry: Literal["failure", "ignore"] = "failure"
    unreadable_response: Literal["failure", "success"] = "failure"
    top_up: bool = False
    lane_of: Callable[[Mapping[str, Any], int], int] = lane_by_item
    read_ahead: int = 1_000
    retention: Literal["silent", "destination"] = "silent"
    consolidation: Literal["separate", "adjacent"] = "separate"
    s3_payload: Literal["string", "object"] = "string"
    filter_operators: Dialect = "lambda"
    final_window_records: Callable[[Records], Records] = no_records
    window_start: Callable[[float, int], int] = since_the_epoch
    poll_seconds: float = 0.25
    describe_seconds: float = 10.0
