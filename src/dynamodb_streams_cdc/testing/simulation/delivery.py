"""The outcome of one invocation, and the records of a dead letter: for tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dynamodb_streams_cdc.esm import Condition, Result
from dynamodb_streams_cdc.testing.simulation.events import change_of

Record = Mapping[str, Any]


@dataclass
class Delivery:
    """One invocation of the function.

    Attributes:
        at: when, in seconds since 1970.
        event: as the function got it.
        shard_id, lane: where the records came from.
        attempt: 1 for the first invocation of these records, and again after progress.
        answer: what the function returned; None if it did not.
        error: what it raised; `ProcessKilled` if its process died.
        result: verdict of the mapping; None for an answer that got lost.
    """

    at: float
    event: Mapping[str, Any]
    shard_id: str
    lane: int
    attempt: int
    answer: Any = None
    error: BaseException | None = field(default=None, repr=False)
    result: Result | None = None

    @property
    def records(self) -> Sequence[Record]:
        """The records that were delivered."""
        records: Sequence[Record] = self.event["Records"]
        return records

    @property
    def changes(self) -> list[str]:
        """Kind and key of each record, such as `["INSERT 1", "REMOVE 1"]`."""
        return [change_of(record) for record in self.records]


@dataclass(frozen=True)
class DiscardedBatch:
    """Report of a mapping on records that it gave up.

    Attributes:
        document: as Lambda writes it; its `payload`, with the records, goes to S3 only.
        key: of the object; None for a queue or a topic.
        records: the records that were given up, oldest first.
    """

    document: Mapping[str, Any]
    key: str | None
    records: Sequence[Record]

    @property
    def condition(self) -> Condition:
        """Why: the retries were exhausted, or the record age was exceeded."""
        return Condition(self.document["requestContext"]["condition"])

    @property
    def attempts(self) -> int:
        """How often the function was invoked with the batch, as the document says."""
        return int(self.document["requestContext"]["approximateInvokeCount"])

    @property
    def changes(self) -> list[str]:
        """Kind and key of each record, such as `["INSERT 1", "REMOVE 1"]`."""
        return [change_of(record) for record in self.records]
