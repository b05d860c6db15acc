"""One lane of a shard: batches, one at a time, each until it is done or given up.

A mapping has as many lanes per shard as its parallelization factor. An item always goes to the same
lane, and a lane sends its next batch only when the one before is settled: that is the order which
Lambda promises (https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html).
"""

import json
from collections import deque
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

from dynamodb_streams_cdc.esm.batch import ENVELOPE, LARGEST_PAYLOAD, Batch, Entry
from dynamodb_streams_cdc.esm.commands import Deliver, Invoke
from dynamodb_streams_cdc.esm.configuration import DestinationKind
from dynamodb_streams_cdc.esm.context import Context, Loss, LossReason
from dynamodb_streams_cdc.esm.destinations import (
    Condition,
    Discard,
    document_of,
    event_of,
    object_key,
)
from dynamodb_streams_cdc.esm.responses import Result, Verdict
from dynamodb_streams_cdc.esm.windows import TumblingWindow

RETENTION_SECONDS = 24 * 60 * 60
"""How long a stream keeps a record
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html)."""


class Lane:
    """The records of some items of a shard, from the buffer to the checkpoint.

    Attributes:
        buffer: read, and in no batch yet.
        stack: the batch under way on top, below it the batches that it was split from.
        token: of the command whose answer is awaited.
        window: the tumbling window that is open.
        read_through: when the last read that was answered had been asked for.
        drained: whether the shard is closed and read to its end.
    """

    def __init__(self, context: "Context[Lane]", shard_id: str, index: int) -> None:
        self.context = context
        self.shard_id = shard_id
        self.index = index
        self.buffer: deque[Entry] = deque()
        self.buffered_bytes = 0
        self.stack: list[Batch] = []
        self.token: int | None = None
        self.window: TumblingWindow | None = None
        self.read_through = float("-inf")
        self.drained = False
        self._gathering_since = float("-inf")
        self._discards: deque[Discard] = deque()
        self._sealed = True

    def add(self, entry: Entry, now: float) -> None:
        """Take a record that was read."""
        if not self.buffer and now >= self._gathered_at():
            self._gathering_since = now
        self.buffer.append(entry)
        self.buffered_bytes += entry.size

    def advance(self, now: float, *, enabled: bool = True) -> Invoke | Deliver | None:
        """Return the next command; None while an answer or a time is awaited."""
        while self.token is None:
            if self._discards and not (enabled and self._gathers_discards()):
                return self._deliver(now)
            if not enabled or not (self.stack or self._form(now)):
                return None
            if self.stack[-1].ready_at > now:
                return None
            self._make_room()
            batch = self.stack[-1]
            if batch.final or not self._expire(batch, now):
                return self._invoke(batch, now)
        return None

    def due_at(self) -> float:
        """Return when `advance` may have something to do; infinity if only an answer can tell."""
        if self.token is not None:
            return float("inf")
        if self._discards and not self._gathers_discards():
            return float("-inf")
        if self.stack:
            return self.stack[-1].ready_at
        if self.window is not None and self._window_is_over():
            return float("-inf")
        if not self.buffer:
            return float("inf")
        return float("-inf") if self._is_full() else self._gathered_at()

    def idle(self) -> bool:
        """Whether nothing is under way, so that the lane can be stopped."""
        return self.token is None and not self._discards

    def abandon(self) -> None:
        """Let the answer that is awaited count for nothing."""
        if self.token is not None:
            self.context.abandon(self.token)
            self.token = None

    def answered(self, verdict: Verdict, now: float) -> None:
        """Act on the answer to the batch under way."""
        self.token = None
        batch = self.stack[-1]
        batch.attempts += 1
        batch.refusals = 0
        batch.function_error = verdict.function_error
        success = verdict.result is Result.SUCCESS
        self.context.last_result = "OK" if success else "PROBLEM: Function call failed"
        if not success or verdict.failures_reported:
            self.context.metrics.failed_invoke += len(batch.entries)
        if success:
            self._succeed(batch, verdict)
        elif verdict.result is Result.PARTIAL and verdict.first_failed > 0:
            self._progress(batch, verdict)
        elif self._splits(batch, verdict):
            self._split(batch)
        elif self._exhausted(batch):
            self._give_up(batch, len(batch.entries), Condition.RETRY_ATTEMPTS_EXHAUSTED)
        else:
            batch.ready_at = now + self.context.policies.backoff(batch.attempts)
        if not self.stack:
            self._gathering_since = now

    def not_invoked(self, now: float) -> None:
        """Wait, and send the batch again: it was throttled, or the service failed."""
        self.token = None
        batch = self.stack[-1]
        batch.refusals += 1
        batch.ready_at = now + self.context.policies.throttle_backoff(batch.refusals)
        self.context.metrics.failed_invoke += len(batch.entries)

    def redeliver(self) -> None:
        """Send the batch under way again, although it was done."""
        self.token = None

    def delivered(self, *, ok: bool) -> None:
        """Note that the destination took the document, or did not: the records are done with."""
        self.token = None
        discard = self._discards.popleft()
        metrics = self.context.metrics
        if ok:
            metrics.on_failure_delivered += len(discard.entries)
        else:
            metrics.delivery_failures += 1
            metrics.dropped += len(discard.entries)
            self._lose(LossReason.DESTINATION_FAILED, discard.entries)
        _finish(discard.entries)

    def _gathers_discards(self) -> bool:
        """Whether the next record that is given up may still join the same document."""
        return not self._sealed and bool(self.stack)

    def _gathered_at(self) -> float:
        return self._gathering_since + self.context.mapping.maximum_batching_window

    def _is_full(self) -> bool:
        return (
            len(self.buffer) >= self.context.mapping.batch_size
            or self.buffered_bytes >= LARGEST_PAYLOAD
            or (
                self.context.mapping.tumbling_window > 0
                and self._window_of(self.buffer[-1]) > self._window_of(self.buffer[0])
            )
        )

    def _form(self, now: float) -> bool:
        """Put the next batch on the stack, if there is one to send now."""
        if self.window is not None and self._window_is_over():
            self.stack.append(Batch([], final=True))
            return True
        if not self.buffer or not (self._is_full() or now >= self._gathered_at()):
            return False
        if self.context.mapping.tumbling_window and self.window is None:
            first = self.buffer[0]
            length = self.context.mapping.tumbling_window
            self.window = TumblingWindow(self._window_of(first), length, first.after)
        batch = Batch([])
        self._fill(batch)
        self.stack.append(batch)
        return True

    def _fill(self, batch: Batch) -> None:
        room = LARGEST_PAYLOAD - self._envelope() - sum(entry.size for entry in batch.entries)
        while self.buffer and len(batch.entries) < self.context.mapping.batch_size:
            entry = self.buffer[0]
            if batch.entries and entry.size > room:
                break
            if self.window is not None and self._window_of(entry) > self.window.start:
                break
            room -= entry.size
            self.buffered_bytes -= entry.size
            batch.entries.append(self.buffer.popleft())

    def _make_room(self) -> None:
        """Part the next batch if the state of its window has grown into the room of its records."""
        if self.window is None:
            return
        entries, attempts = self.stack[-1].entries, self.stack[-1].attempts
        room = LARGEST_PAYLOAD - self._envelope()
        fitting = max(1, sum(size <= room for size in accumulate(entry.size for entry in entries)))
        if fitting < len(entries):
            first, second = entries[:fitting], entries[fitting:]
            self.stack[-1:] = [Batch(second, attempts=attempts), Batch(first, attempts=attempts)]

    def _envelope(self) -> int:
        """Return the bytes of an event without its records; with a window, a few more at most."""
        if self.window is None:
            return ENVELOPE
        return len(json.dumps(event_of([]) | self._window_fields(self.window, final=False)))

    def _window_fields(self, window: TumblingWindow, *, final: bool) -> dict[str, Any]:
        arn = self.context.mapping.stream_arn or ""
        return window.fields(final=final, shard_id=self.shard_id, stream_arn=arn)

    def _window_of(self, entry: Entry) -> int:
        return self.context.policies.window_start(entry.time, self.context.mapping.tumbling_window)

    def _window_is_over(self) -> bool:
        assert self.window is not None
        if self.window.early:
            return True
        if self.buffer:
            return self._window_of(self.buffer[0]) > self.window.start
        return self.drained or self.read_through >= self.window.end

    def _expire(self, batch: Batch, now: float) -> bool:
        """Give up the records at the front of a batch that are too old; whether there were any."""
        age = self.context.mapping.maximum_record_age
        too_old = _older(batch.entries, now - age) if age >= 0 else 0
        if too_old:
            self._give_up(batch, too_old, Condition.RECORD_AGE_EXCEEDED)
            return True
        forgotten = _older(batch.entries, now - RETENTION_SECONDS)
        if forgotten and self.context.policies.retention == "destination":
            self._give_up(batch, forgotten, Condition.RECORD_AGE_EXCEEDED)
        elif forgotten:
            self.context.metrics.trimmed += forgotten
            lost = self._cut(batch, forgotten)
            self._lose(LossReason.FORGOTTEN, lost)
            _finish(lost)
        return forgotten > 0

    def _invoke(self, batch: Batch, now: float) -> Invoke:
        records = [entry.record for entry in batch.entries]
        window = self.window
        if window is not None and batch.final:
            records = list(self.context.policies.final_window_records(window.last_records))
        event = event_of(records)
        if window is not None:
            event |= self._window_fields(window, final=batch.final)
        metrics = self.context.metrics
        metrics.invoked += len(batch.entries)
        if batch.entries:
            metrics.iterator_age = max(0.0, now - batch.entries[-1].time) * 1000
        self.token = self.context.await_answer(self)
        return Invoke(self.token, event, self.shard_id, self.index, batch.attempts + 1)

    def _deliver(self, now: float) -> Deliver:
        mapping, policies = self.context.mapping, self.context.policies
        assert mapping.destination is not None
        discard = self._discards[0]
        document = document_of(
            discard, mapping, shard_id=self.shard_id, now=now, payload=policies.s3_payload
        )
        key = None
        if mapping.destination.kind is DestinationKind.S3:
            key = object_key(mapping.uuid, self.shard_id, now, self.context.new_id())
        self.token = self.context.await_answer(self)
        records = tuple(entry.record for entry in discard.entries)
        return Deliver(self.token, mapping.destination, document, key, records)

    def _succeed(self, batch: Batch, verdict: Verdict) -> None:
        self.stack.pop()
        if batch.final:
            self.window = None
        elif self.window is not None:
            self.window.keep(verdict.state, [entry.record for entry in batch.entries])
        self._sealed = True
        _finish(batch.entries)

    def _progress(self, batch: Batch, verdict: Verdict) -> None:
        """Keep the records that are done; the others get a retry budget of their own."""
        done = self._cut(batch, verdict.first_failed)
        if self.window is not None:
            self.window.keep(verdict.state, [entry.record for entry in done])
        self._sealed = True
        _finish(done)
        remainder = Batch(batch.entries)
        self.stack[-1] = remainder
        if self.context.policies.top_up and len(self.stack) == 1:
            self._fill(remainder)

    def _exhausted(self, batch: Batch) -> bool:
        return not batch.final and 0 <= self.context.mapping.maximum_retry_attempts < batch.attempts

    def _splits(self, batch: Batch, verdict: Verdict) -> bool:
        mapping, policies = self.context.mapping, self.context.policies
        if not mapping.bisect_batch_on_function_error or len(batch.entries) < 2:
            return False
        if verdict.result is not Result.ERROR and not (
            verdict.result is Result.REJECTED and policies.bisect_rejected
        ):
            return False
        return policies.attempts_after_split == "reset" or not self._exhausted(batch)

    def _split(self, batch: Batch) -> None:
        policies = self.context.policies
        point = min(max(1, policies.split_point(len(batch.entries))), len(batch.entries) - 1)
        attempts = batch.attempts if policies.attempts_after_split == "keep" else 0
        first = Batch(batch.entries[:point], attempts=attempts)
        second = Batch(batch.entries[point:], attempts=attempts)
        self.stack[-1:] = [second, first]

    def _give_up(self, batch: Batch, count: int, condition: Condition) -> None:
        discard = Discard(
            entries=tuple(self._cut(batch, count)),
            condition=condition,
            invocations=batch.attempts,
            function_error=batch.function_error,
            request_id=batch.request_id or self.context.new_id(),
            executed_version=batch.executed_version,
        )
        if self.context.mapping.destination is None:
            self.context.metrics.dropped += count
            self._lose(LossReason.NO_DESTINATION, discard.entries)
            _finish(discard.entries)
            return
        if self._discards and not self._sealed and self._discards[-1].condition is condition:
            discard = _merged(self._discards.pop(), discard)
        self._discards.append(discard)
        self._sealed = self.context.policies.consolidation == "separate"

    def _lose(self, reason: LossReason, entries: Iterable[Entry]) -> None:
        self.context.losses.append(Loss(reason, tuple(entry.record for entry in entries)))

    def _cut(self, batch: Batch, count: int) -> list[Entry]:
        """Take the first records off a batch; a batch without records is over."""
        taken, batch.entries = batch.entries[:count], batch.entries[count:]
        if not batch.entries:
            self.stack.pop()
        return taken


def _older(entries: list[Entry], limit: float) -> int:
    count = 0
    while count < len(entries) and entries[count].time < limit:
        count += 1
    return count


def _finish(entries: Iterable[Entry]) -> None:
    for entry in entries:
        entry.done = True


def _merged(first: Discard, second: Discard) -> Discard:
    return Discard(
        entries=first.entries + second.entries,
        condition=first.condition,
        invocations=max(first.invocations, second.invocations),
        function_error=second.function_error,
        request_id=second.request_id,
        executed_version=second.executed_version,
    )
