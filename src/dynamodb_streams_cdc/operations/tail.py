"""Follow the change log through its stream: its entries as they arrive.

A follower is one more reader of every shard. DynamoDB serves two readers of a shard and throttles
further ones (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html), and
processors that read the change log are such readers. So a follower reads a shard once a second,
and rests for ten seconds when it is throttled. A `GetRecords` is one read request unit; the first
2,500,000 of a month are free
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CostOptimization_StreamsUsage.html).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from dynamodb_streams_cdc.aws.s3 import S3ImageStore
from dynamodb_streams_cdc.change import Change
from dynamodb_streams_cdc.deadline import Clock, SystemClock
from dynamodb_streams_cdc.errors import MalformedRecord
from dynamodb_streams_cdc.operations.aws.access import code_of, permitted
from dynamodb_streams_cdc.operations.errors import OperationError
from dynamodb_streams_cdc.operations.selection import is_of
from dynamodb_streams_cdc.operations.stack import Deployment
from dynamodb_streams_cdc.sinks.log_entries import ImageStore, change_from_entry

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient

POLL_SECONDS = 1.0
"""Between two reads of a shard by `cdc tail`."""
CATCH_UP_SECONDS = 0.25
"""Between two reads while `cdc tail` is behind; Lambda reads as often
(https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html)."""
BEHIND_SECONDS = 10.0
"""Age of an entry from which on `cdc tail` is behind."""
THROTTLED_SECONDS = 10.0
"""Between two reads of a shard that throttled `cdc tail`."""
LIST_SECONDS = 60.0
"""Between two lists of the shards by `cdc tail`."""
LIST_AGAIN_SECONDS = 5.0
"""Between two lists of the shards, if a shard has ended and its successor is not listed yet."""

THROTTLED = frozenset(
    {
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
    }
)
_EXPIRED, _TRIMMED = "ExpiredIteratorException", "TrimmedDataAccessException"
_GONE = "ResourceNotFoundException"


class Start(StrEnum):
    """Where a follower begins: with the next entry, or with the oldest of the stream's 24 hours."""

    NOW = "now"
    TRIM_HORIZON = "TRIM_HORIZON"


@dataclass(frozen=True)
class Followed:
    """Filters of followed entries; a filter without a value matches all.

    Attributes:
        items: identities, or their beginnings up to a slash.
        entities: names.
        kinds: of changes.
    """

    items: Sequence[str] = ()
    entities: Sequence[str] = ()
    kinds: Sequence[str] = ()

    def matches(self, change: Change, entity: str | None) -> bool:
        """Return whether an entry, of an item of that entity, is to be shown."""
        return (
            (not self.items or is_of(change.item_id, self.items))
            and (not self.entities or entity in self.entities)
            and (not self.kinds or change.kind in self.kinds)
        )


@dataclass
class _Shard:
    shard_id: str
    parent_id: str | None
    first: Mapping[str, Any]
    """Where to begin, as arguments of `GetShardIterator`."""
    iterator: str | None = None
    last: str | None = None
    """Sequence number of the last record that was read."""
    ended: bool = False
    rests_until: float = float("-inf")


@dataclass
class LogFollower:
    """A reader of the change log's stream.

    Attributes:
        stream_arn: of the change log's stream.
        notice: is told, by a sentence, of entries that were missed or cannot be read.
        seconds: to wait before the next `read`.
    """

    client: "DynamoDBStreamsClient"
    stream_arn: str
    start: Start
    notice: Callable[[str], object]
    image_store: ImageStore | None = None
    clock: Clock = field(default_factory=SystemClock)
    seconds: float = 0.0
    _shards: dict[str, _Shard] = field(default_factory=dict)
    _list_at: float = float("-inf")

    @classmethod
    def of(
        cls, deployment: Deployment, start: Start, notice: Callable[[str], object]
    ) -> "LogFollower":
        """Return a follower of a pipeline's change log.

        Raises:
            OperationError: it has no change log, or the change log has no stream.
        """
        table = deployment.manifest.table("change_log")
        with permitted("dynamodb:DescribeTable", f"table {table}"):
            found = deployment.client("dynamodb").describe_table(TableName=table)["Table"]
        if not found.get("StreamSpecification", {}).get("StreamEnabled", False):
            message = f"Table {table} has no stream to follow: deploy the pipeline again."
            raise OperationError(message)
        s3, bucket = deployment.client("s3"), deployment.manifest.bucket("large_images")
        images = S3ImageStore(lambda: s3, bucket)
        client = deployment.client("dynamodbstreams")
        return cls(client, found["LatestStreamArn"], start, notice, images)

    def read(self) -> list[Change]:
        """Read every open shard once and return the entries, the oldest change first.

        The log takes entries of an item in any order: those of one read are sorted, and one that
        was late, such as by a redrive, comes when it comes. `seconds` says when to read again.

        Raises:
            AccessDenied: the credentials may not read the stream.
            OperationError: the stream is gone.
        """
        if self.clock.now() >= self._list_at:
            self._list()
        self.seconds = POLL_SECONDS
        records = [record for shard in self._readable() for record in self._read(shard)]
        changes = [change for change in map(self._change, records) if change is not None]
        return sorted(changes, key=lambda change: (change.timestamp, change.version))

    def _readable(self) -> list[_Shard]:
        """Return the shards that are not read to their end, and whose parents are."""
        now = self.clock.now()
        unread = {shard.shard_id for shard in self._shards.values() if not shard.ended}
        return [
            self._shards[shard_id]
            for shard_id in sorted(unread)
            if self._shards[shard_id].parent_id not in unread
            and self._shards[shard_id].rests_until <= now
        ]

    def _list(self) -> None:
        first: dict[str, Any] = {"ShardIteratorType": "TRIM_HORIZON"}
        from_now = self.start is Start.NOW and not self._shards
        for listed in self._listed():
            shard_id = listed["ShardId"]
            if shard_id in self._shards:
                continue
            shard = _Shard(shard_id, listed.get("ParentShardId"), first)
            if from_now:
                shard.ended = "EndingSequenceNumber" in listed.get("SequenceNumberRange", {})
                shard.first = {"ShardIteratorType": "LATEST"}
            self._shards[shard_id] = shard
        parents = {shard.parent_id for shard in self._shards.values()}
        waits = any(each.ended and each.shard_id not in parents for each in self._shards.values())
        self._list_at = self.clock.now() + (LIST_AGAIN_SECONDS if waits else LIST_SECONDS)

    def _listed(self) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        page: Any = {}
        while True:
            try:
                with permitted("dynamodb:DescribeStream", f"stream {self.stream_arn}"):
                    answer = self.client.describe_stream(StreamArn=self.stream_arn, **page)
            except ClientError as error:
                if code_of(error) != _GONE:
                    raise
                message = f"Stream {self.stream_arn} is gone: start again to follow the new one."
                raise OperationError(message) from error
            description = answer["StreamDescription"]
            found += cast("list[Mapping[str, Any]]", description.get("Shards", []))
            if not (last := description.get("LastEvaluatedShardId")):
                return found
            page = {"ExclusiveStartShardId": last}

    def _read(self, shard: _Shard) -> list[Mapping[str, Any]]:
        try:
            if shard.iterator is None:
                shard.iterator = self._iterator(shard)
            with permitted("dynamodb:GetRecords", f"stream {self.stream_arn}"):
                answer = self.client.get_records(ShardIterator=shard.iterator)
        except ClientError as error:
            self._recover(shard, error)
            return []
        records = cast("list[Mapping[str, Any]]", answer["Records"])
        following: str | None = answer.get("NextShardIterator")
        shard.iterator = following
        if records:
            shard.last = records[-1]["dynamodb"]["SequenceNumber"]
            if self.clock.now() - _recorded_at(records[-1]) > BEHIND_SECONDS:
                self.seconds = CATCH_UP_SECONDS
        if following is None:
            shard.ended = True
            self._list_at = self.clock.now()
            self.seconds = CATCH_UP_SECONDS
        return records

    def _iterator(self, shard: _Shard) -> str:
        place = shard.first
        if shard.last is not None:
            place = {
                "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                "SequenceNumber": shard.last,
            }
        arguments: Any = {"StreamArn": self.stream_arn, "ShardId": shard.shard_id, **place}
        with permitted("dynamodb:GetShardIterator", f"stream {self.stream_arn}"):
            return self.client.get_shard_iterator(**arguments)["ShardIterator"]

    def _recover(self, shard: _Shard, error: ClientError) -> None:
        """Let the next read begin where this one can go on.

        Raises:
            ClientError: nothing is known that helps.
        """
        code = code_of(error)
        if code in THROTTLED:
            shard.rests_until = self.clock.now() + THROTTLED_SECONDS
            self.notice(
                "The stream throttles its readers: a shard serves two. This one rests for "
                f"{THROTTLED_SECONDS:.0f} seconds; end other followers of this change log."
            )
            return
        if code not in (_EXPIRED, _TRIMMED, _GONE):
            raise error
        shard.iterator = None
        if code == _EXPIRED:
            if shard.last is None and self.start is Start.NOW:
                self.notice("Entries may be missing here: a shard was not read for 15 minutes.")
            return
        self.notice("Entries may be missing here: the stream keeps them for 24 hours.")
        if code == _GONE:
            shard.ended = True
            self._list_at = self.clock.now()
        else:
            shard.last, shard.first = None, {"ShardIteratorType": "TRIM_HORIZON"}

    def _change(self, record: Mapping[str, Any]) -> Change | None:
        """Return the entry of a record; None for an entry that was removed, or is unreadable."""
        if record["eventName"] != "INSERT":
            return None
        body = record["dynamodb"]
        try:
            return change_from_entry(body.get("NewImage", {}), self.image_store)
        except MalformedRecord as error:
            item, version = (body["Keys"][name]["S"] for name in ("item", "version"))
            self.notice(f"Entry {version} of {item} cannot be read: {error}.")
            return None


def _recorded_at(record: Mapping[str, Any]) -> float:
    recorded: datetime = record["dynamodb"]["ApproximateCreationDateTime"]
    return recorded.timestamp()
