"""Commands of an engine to its runner, and the places in a shard that they name.

A place, which is also the content of a checkpoint, is a string: the sequence number of the last
record that is done, or one of

    TRIM_HORIZON             the oldest record that the shard still has
    LATEST                   the first record after the first read; nothing was read yet
    AT_SEQUENCE_NUMBER:n     the record n is the first that is not done (a mapping that began at
                             LATEST knows of none before it)
    SHARD_END                everything is done, and the shard is closed
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from dynamodb_streams_cdc.esm.configuration import Destination

TRIM_HORIZON = "TRIM_HORIZON"
"""The oldest record that the shard still has."""
LATEST = "LATEST"
"""The end of the shard at the time of the first read."""
SHARD_END = "SHARD_END"
"""All records of the shard are done."""
AT_SEQUENCE_NUMBER = "AT_SEQUENCE_NUMBER"
"""The first record that is not done, by its sequence number."""


@dataclass(frozen=True, slots=True)
class DescribeStream:
    """List all shards of the stream; answer with `Engine.shards` or `Engine.describe_failed`."""


@dataclass(frozen=True, slots=True)
class ReadShard:
    """Read records; answer with `Engine.records`, `read_failed`, `iterator_expired` or `trimmed`.

    Attributes:
        place: where to begin, if `cursor` is None.
        cursor: the one that the last `Engine.records` of the shard got, such as the iterator that
            `GetRecords` returned.
        limit: the most records to read.
    """

    shard_id: str
    place: str
    cursor: object
    limit: int

    @property
    def iterator(self) -> dict[str, str]:
        """The arguments of `GetShardIterator` for `place`."""
        if self.place in (TRIM_HORIZON, LATEST):
            return {"ShardIteratorType": self.place}
        kind, _, number = self.place.rpartition(":")
        return {"ShardIteratorType": kind or "AFTER_SEQUENCE_NUMBER", "SequenceNumber": number}


@dataclass(frozen=True, slots=True)
class Invoke:
    """Invoke the function; answer with one of `answered`, `failed`, `not_invoked`, `redeliver`.

    Several may be under way at once, one per shard and lane.

    Attributes:
        event: for the function. Its records are the engine's own: a runner that calls a handler in
            process passes a copy.
        lane: from 0 to `ParallelizationFactor` - 1.
        attempt: 1 for the first invocation of these records, and again after progress.
    """

    token: int
    event: Mapping[str, Any]
    shard_id: str
    lane: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Deliver:
    """Report records that were given up to the destination; answer with `Engine.delivered`.

    Attributes:
        document: the message, or the content of the object.
        key: of the object; None for a queue or a topic.
        records: the records that were given up, oldest first.
    """

    token: int
    destination: Destination
    document: Mapping[str, Any]
    key: str | None
    records: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class SaveCheckpoint:
    """Keep the place of a shard, for `Engine(..., checkpoints=...)` after a restart; no answer."""

    shard_id: str
    place: str


Command: TypeAlias = DescribeStream | ReadShard | Invoke | Deliver | SaveCheckpoint
"""Every command of an engine."""
