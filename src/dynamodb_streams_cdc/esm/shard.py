"""One shard of the stream: the records read, those that are done, and its checkpoint."""

from collections import deque
from collections.abc import Iterable, Iterator

from dynamodb_streams_cdc.esm.batch import LARGEST_PAYLOAD, Entry, Record, sequence_of
from dynamodb_streams_cdc.esm.commands import (
    AT_SEQUENCE_NUMBER,
    LATEST,
    SHARD_END,
    TRIM_HORIZON,
    Command,
    ReadShard,
    SaveCheckpoint,
)
from dynamodb_streams_cdc.esm.context import Context
from dynamodb_streams_cdc.esm.lane import Lane

LARGEST_READ = 1_000
"""Records per `GetRecords`
(https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_GetRecords.html)."""


class Shard:
    """The lanes of a shard and their one checkpoint.

    Attributes:
        place: where the next read begins without a cursor.
        unfinished: records that were read and may not be done, in the order of the shard. The
            checkpoint is the place before the first of them, however far other lanes have come.
    """

    def __init__(
        self, context: Context[Lane], shard_id: str, parent_id: str | None, place: str, saved: str
    ) -> None:
        self.context = context
        self.shard_id = shard_id
        self.parent_id = parent_id
        self._saved = saved
        self._saved_last = place  # a shard that begins at LATEST never goes back to TRIM_HORIZON
        self._saved_before = place
        self._reading = False
        self._ignores_read = False
        self._asked_at = float("-inf")
        self._read_at = float("-inf")
        self._begin(place)

    def _begin(self, place: str) -> None:
        count = self.context.mapping.parallelization_factor
        self.lanes = [Lane(self.context, self.shard_id, index) for index in range(count)]
        self.unfinished: deque[Entry] = deque()
        self._unfinished_bytes = 0
        self._cursor: object = None
        self.place = place
        self._number = _last_before(place)
        self._drained = place == SHARD_END

    @property
    def finished(self) -> bool:
        """Whether the shard is closed and everything in it is done; its children may begin."""
        return self.checkpoint == SHARD_END

    @property
    def checkpoint(self) -> str:
        """Where a restart begins: nothing before it is needed, everything after is read again."""
        window = self.lanes[0].window
        if window is not None:
            return window.origin
        if self.unfinished:
            return self.unfinished[0].after
        return SHARD_END if self._drained else self.place

    def advance(self, now: float, *, enabled: bool, may_read: bool) -> Iterator[Command]:
        """Yield the commands that are due for this shard."""
        if enabled and may_read and self._wants_records() and now >= self._read_at:
            self._reading = True
            self._asked_at = now
            self._read_at = now + self.context.policies.poll_seconds
            yield ReadShard(self.shard_id, self.place, self._cursor, LARGEST_READ)
        for lane in self.lanes:
            command = lane.advance(now, enabled=enabled)
            if command is not None:
                yield command
        self._settle()
        checkpoint = self.checkpoint
        if checkpoint != self._saved:
            self._saved_before, self._saved_last = self._saved_last, checkpoint
            self._saved = checkpoint
            yield SaveCheckpoint(self.shard_id, checkpoint)

    def due_at(self, *, may_read: bool) -> float:
        """Return when `advance` may have something to do."""
        if self.checkpoint != self._saved or (self.unfinished and self.unfinished[0].done):
            return float("-inf")
        read_at = self._read_at if may_read and self._wants_records() else float("inf")
        return min(read_at, *(lane.due_at() for lane in self.lanes))

    def records(self, records: Iterable[Record], cursor: object, now: float) -> None:
        """Take the records of a read; without a cursor the shard is read to its end."""
        if not self._answered():
            return
        metrics, filters = self.context.metrics, self.context.mapping.filters
        for record in records:
            sequence_number, number = sequence_of(record)
            if number <= self._number:
                continue
            if not filters or filters.matches(record):
                fresh = self.place == LATEST
                after = f"{AT_SEQUENCE_NUMBER}:{sequence_number}" if fresh else self.place
                entry = Entry.of(record, after)
                self._lane_of(record).add(entry, now)
                self.unfinished.append(entry)
                self._unfinished_bytes += entry.size
            else:
                metrics.filtered_out += 1
            metrics.polled += 1
            self.place, self._number = sequence_number, number
        self._cursor = cursor
        self._drained = cursor is None
        for lane in self.lanes:
            lane.read_through = self._asked_at
            lane.drained = self._drained

    def read_failed(self) -> None:
        """Read again at the next poll, from where the read was to begin."""
        self._answered()

    def lost_cursor(self) -> None:
        """Read again at the next poll, from the last record that was read."""
        if self._answered():
            self._cursor = None

    def trimmed(self) -> None:
        """Go on with the oldest record that is left; those before it are lost."""
        if self._answered():
            self._cursor = None
            self.place = TRIM_HORIZON

    def rewind(self, place: str | None = None) -> None:
        """Forget everything since an earlier checkpoint; by default, the last but one saved."""
        for lane in self.lanes:
            lane.abandon()
        self._ignores_read = self._reading
        self._begin(self._saved_before if place is None else place)

    def stop(self) -> None:
        """Drop the records that are not done: they are read again from the checkpoint."""
        if self.checkpoint != LATEST:
            self._ignores_read = self._reading
            self._begin(self.checkpoint)

    def count_unfinished(self) -> int:
        """Return how many records were read and are neither done nor given up."""
        return sum(not entry.done for entry in self.unfinished)

    def idle(self) -> bool:
        """Whether no lane waits for an answer."""
        return all(lane.idle() for lane in self.lanes)

    def _wants_records(self) -> bool:
        mapping = self.context.mapping
        lanes = mapping.parallelization_factor
        at_most = max(self.context.policies.read_ahead, mapping.batch_size) * lanes
        return (
            not (self._reading or self._drained)
            and len(self.unfinished) < at_most
            and self._unfinished_bytes < LARGEST_PAYLOAD * lanes
        )

    def _answered(self) -> bool:
        """Note that the read was answered; whether the answer still matters."""
        if not self._reading:
            message = f"no read of shard {self.shard_id} waits for an answer"
            raise ValueError(message)
        self._reading = False
        matters, self._ignores_read = not self._ignores_read, False
        return matters

    def _lane_of(self, record: Record) -> Lane:
        if len(self.lanes) == 1:
            return self.lanes[0]
        keys = record["dynamodb"]["Keys"]
        return self.lanes[self.context.policies.lane_of(keys, len(self.lanes))]

    def _settle(self) -> None:
        while self.unfinished and self.unfinished[0].done:
            self._unfinished_bytes -= self.unfinished.popleft().size


def _last_before(place: str) -> int:
    """Return the number of the last record that a read from `place` does not bring."""
    kind, _, number = place.rpartition(":")
    if kind == AT_SEQUENCE_NUMBER:
        return int(number) - 1
    return int(place) if place.isdigit() else -1
