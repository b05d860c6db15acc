"""A DynamoDB stream in memory: shards that split and rotate, and records that are trimmed.

It delivers as Lambda does: records in the event's form, each once, in order within a shard,
parents before the children that continue them.
"""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dynamodb_streams_cdc.esm import AT_SEQUENCE_NUMBER, LATEST, TRIM_HORIZON

RETENTION_SECONDS = 24 * 3600
"""How long a stream keeps a record
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html)."""

LARGEST_READ_BYTES = 1024 * 1024
"""Bytes of one `GetRecords` at most
(https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_GetRecords.html)."""

FIRST_SEQUENCE_NUMBER = 800_000_000_003_126_276_362
"""21 digits, as small as they get."""

STEP = 9_973
"""Between two sequence numbers: they grow, and not by one."""


@dataclass
class Shard:
    """One shard: its records, oldest first, and whether it still takes new ones.

    Attributes:
        shard_id: such as `shardId-00000001573689847184-864758bb`.
        parent: the shard that it continues.
        ends: the last sequence number that it can hold; None while it is open.
        gone: the records that are gone from its beginning.
    """

    shard_id: str
    parent: str | None
    starts: int
    ends: int | None = None
    records: list[Mapping[str, Any]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    gone: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def trimmed(self) -> int:
        """How many records are gone."""
        return len(self.gone)

    def position(self, place: str) -> int:
        """Return where a read from `place` begins, counted from the shard's first record."""
        if place == TRIM_HORIZON:
            return self.trimmed
        if place == LATEST:
            return self.trimmed + len(self.records)
        kind, _, number = place.rpartition(":")
        find = bisect_left if kind == AT_SEQUENCE_NUMBER else bisect_right
        return self.trimmed + find(self.numbers, int(number))

    def read(self, position: int, limit: int) -> tuple[list[Mapping[str, Any]], bool]:
        """Return the records that one `GetRecords` returns, and whether that was the end.

        At most `limit` records, at most 1 MB: the first comes however large it is.
        """
        first = position - self.trimmed
        records: list[Mapping[str, Any]] = []
        size = 0
        for record in self.records[first : first + limit]:
            size += record["dynamodb"].get("SizeBytes", 0)
            if records and size > LARGEST_READ_BYTES:
                break
            records.append(record)
        at_end = first + len(records) == len(self.records)
        return records, at_end and self.ends is not None

    def description(self) -> dict[str, Any]:
        """Return the shard as `DescribeStream` lists it."""
        numbers = {"StartingSequenceNumber": str(self.starts)}
        if self.ends is not None:
            numbers["EndingSequenceNumber"] = str(self.ends)
        described: dict[str, Any] = {"ShardId": self.shard_id, "SequenceNumberRange": numbers}
        return described if self.parent is None else {**described, "ParentShardId": self.parent}


class SimulatedStream:
    """A table's stream.

    Attributes:
        arn: ends in the stream's label, the time at which it was enabled.
        shards: by id, parents before children.
        enabled_at: when it was turned on, in seconds since 1970.
        enabled: False once the stream was turned off; it can be read for 24 hours more.
        closed: shards that are no longer listed: all their records are gone.
        readers: called whenever there is something new to read.
        latest: the sequence number of the last record.
    """

    def __init__(
        self,
        table: str,
        *,
        now: float,
        view_type: str = "NEW_AND_OLD_IMAGES",
        partitions: int = 1,
        first_sequence_number: int = FIRST_SEQUENCE_NUMBER,
    ) -> None:
        self.enabled_at = now
        moment = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
        self.label = moment.replace("+00:00", "")
        self.arn = f"arn:aws:dynamodb:us-east-1:000000000000:table/{table}/stream/{self.label}"
        self.view_type = str(view_type)
        self.enabled = True
        self.shards: dict[str, Shard] = {}
        self.closed: dict[str, Shard] = {}
        self.readers: list[Callable[[], None]] = []
        self.latest: str | None = None
        self._trims_at = float("inf")
        self._next = first_sequence_number
        self._opened = int(now * 1000)
        self._open: list[str] = [self._new_shard(None) for _ in range(partitions)]

    def append(self, key: str, record: Mapping[str, Any]) -> Mapping[str, Any]:
        """Add the record of a change of the item `key`; return it as Lambda delivers it."""
        shard = self.shards[self._open[_hash(key) % len(self._open)]]
        number = self._advance()
        self.latest = str(number)
        body = {**record["dynamodb"], "SequenceNumber": self.latest}
        whole = {**record, "dynamodb": body, "eventSourceARN": self.arn}
        shard.records.append(whole)
        shard.numbers.append(number)
        self._trims_at = min(self._trims_at, _time(whole) + RETENTION_SECONDS)
        self._announce()
        return whole

    def rotate(self) -> None:
        """Close every open shard and continue each in a child, as DynamoDB does every few hours."""
        self._open = [self._new_shard(self._close(shard_id)) for shard_id in self._open]
        self._announce()

    def split(self) -> None:
        """Close every open shard and continue each in two children, as a growing table does."""
        parents = [self._close(shard_id) for shard_id in self._open]
        self._open = [self._new_shard(parent) for _ in range(2) for parent in parents]
        self._announce()

    def disable(self) -> None:
        """Turn the stream off: its shards close."""
        for shard_id in self._open:
            self._close(shard_id)
        self._open = []
        self.enabled = False
        self._announce()

    def trim(self, now: float) -> None:
        """Forget the records that are older than the retention, and closed shards without any."""
        if now <= self._trims_at:
            return
        for shard_id, shard in list(self.shards.items()):
            keep = bisect_left(shard.records, now - RETENTION_SECONDS, key=_time)
            shard.gone += shard.records[:keep]
            del shard.records[:keep], shard.numbers[:keep]
            if shard.ends is not None and shard.trimmed and not shard.records:
                self.closed[shard_id] = self.shards.pop(shard_id)
        oldest = [_time(shard.records[0]) for shard in self.shards.values() if shard.records]
        self._trims_at = min(oldest, default=float("inf")) + RETENTION_SECONDS

    def _close(self, shard_id: str) -> str:
        shard = self.shards[shard_id]
        shard.ends = self._advance()
        return shard_id

    def _new_shard(self, parent: str | None) -> str:
        self._opened += 1
        name = hashlib.sha256(f"{self.arn}{self._opened}".encode()).hexdigest()[:8]
        shard_id = f"shardId-{self._opened:020}-{name}"
        self.shards[shard_id] = Shard(shard_id, parent, self._advance())
        return shard_id

    def _announce(self) -> None:
        for reader in self.readers:
            reader()

    def _advance(self) -> int:
        self._next += STEP
        return self._next


def _time(record: Mapping[str, Any]) -> float:
    return float(record["dynamodb"]["ApproximateCreationDateTime"])


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
