"""The engine: one event source mapping over one DynamoDB stream, without I/O and without a clock.

A runner executes the commands of `commands(now)`, and reports each result to the engine.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from dynamodb_streams_cdc.esm.batch import Record
from dynamodb_streams_cdc.esm.commands import (
    LATEST,
    SHARD_END,
    TRIM_HORIZON,
    Command,
    DescribeStream,
    SaveCheckpoint,
)
from dynamodb_streams_cdc.esm.configuration import MappingConfiguration, StartingPosition
from dynamodb_streams_cdc.esm.context import Context, Loss
from dynamodb_streams_cdc.esm.lane import Lane
from dynamodb_streams_cdc.esm.metrics import Metrics
from dynamodb_streams_cdc.esm.policies import Policies
from dynamodb_streams_cdc.esm.responses import UNHANDLED, Verdict, classify, function_error
from dynamodb_streams_cdc.esm.shard import Shard


def _random_id() -> str:
    return str(uuid.uuid4())


class Engine:
    """The state of a mapping.

    `configuration` is a `MappingConfiguration`, or the dictionary that
    `lambda:ListEventSourceMappings` returns. `checkpoints` are the places that `SaveCheckpoint`
    commands of an earlier engine named, by shard: records not done before them are delivered again.
    `new_id` makes request ids and the random part of S3 keys; a simulation passes its own.

    Every time is in seconds since 1970, on the clock that wrote the records: records older than a
    day are gone from the stream, and are not delivered. An engine is not thread-safe: a runner that
    works in threads calls it from one of them, or under a lock.

    Raises:
        ConfigurationError: a setting that AWS refuses.
    """

    def __init__(
        self,
        configuration: MappingConfiguration | Mapping[str, Any],
        *,
        checkpoints: Mapping[str, str] | None = None,
        policies: Policies | None = None,
        new_id: Callable[[], str] = _random_id,
    ) -> None:
        policies = policies or Policies()
        if not isinstance(configuration, MappingConfiguration):
            configuration = MappingConfiguration.from_description(
                configuration, filter_operators=policies.filter_operators
            )
        self.configuration = configuration
        self._context = Context[Lane](configuration, policies, new_id)
        self._checkpoints = dict(checkpoints or {})
        self._begun = bool(self._checkpoints)
        self._shards: dict[str, Shard] = {}
        self._finished: set[str] = set()
        self._describing = False
        self._describe_at = float("-inf")
        self._state: Literal["Enabled", "Disabling", "Disabled"] = "Enabled"

    def commands(self, now: float) -> list[Command]:
        """Return the commands that are due, each once.

        Call it again after every answer, and at `wake_at`.
        """
        enabled = self._state == "Enabled"
        found: list[Command] = []
        if enabled and not self._describing and now >= self._describe_at:
            self._describing = True
            found.append(DescribeStream())
        for shard in self._shards.values():
            found.extend(shard.advance(now, enabled=enabled, may_read=self._may_read(shard)))
            if shard.finished and shard.shard_id not in self._finished:
                self._finished.add(shard.shard_id)
                self._describe_at = now
        for command in found:
            if isinstance(command, SaveCheckpoint):
                self._checkpoints[command.shard_id] = command.place
        self._stop_when_idle()
        return found

    def wake_at(self, now: float) -> float | None:
        """Return when `commands` is due without any answer; `now` if at once, None if never."""
        if self._state != "Enabled":
            waiting = self._state == "Disabled" or self._context.outstanding
            return None if waiting else now
        times = [shard.due_at(may_read=self._may_read(shard)) for shard in self._shards.values()]
        if not self._describing:
            times.append(self._describe_at)
        earliest = min(times, default=float("inf"))
        return None if earliest == float("inf") else max(now, earliest)

    @property
    def checkpoints(self) -> dict[str, str]:
        """The places that were saved, by shard, without shards that the stream no longer lists."""
        return dict(self._checkpoints)

    @property
    def unfinished(self) -> int:
        """How many records were read and are neither done nor given up."""
        return sum(shard.count_unfinished() for shard in self._shards.values())

    @property
    def metrics(self) -> Metrics:
        """Counts of the mapping since the engine began."""
        return self._context.metrics

    @property
    def state(self) -> str:
        """`State`, as `ListEventSourceMappings` returns it."""
        return self._state

    @property
    def last_processing_result(self) -> str:
        """`LastProcessingResult`, as `ListEventSourceMappings` returns it."""
        return self._context.last_result

    def shards(self, shards: Iterable[Mapping[str, Any]], now: float) -> None:
        """Take the list of all shards, in the form of `DescribeStream`, in any order."""
        listed = {shard["ShardId"]: shard for shard in shards}
        for shard_id, shard in listed.items():
            if shard_id not in self._shards:
                self._shards[shard_id] = self._begin(shard_id, shard)
        for shard_id in self._finished - listed.keys():
            self._finished.discard(shard_id)
            del self._shards[shard_id]
        for shard_id in self._checkpoints.keys() - self._shards.keys():
            del self._checkpoints[shard_id]
        self._begun = True
        self._describing = False
        self._describe_at = now + self._context.policies.describe_seconds

    def describe_failed(self, now: float) -> None:
        """Take note that the shards could not be listed; asks again."""
        self._describing = False
        self._describe_at = now + self._context.policies.poll_seconds

    def records(self, shard_id: str, records: Iterable[Record], cursor: object, now: float) -> None:
        """Take the records of a `ReadShard`, in the form in which Lambda delivers them.

        `cursor` is handed back with the next `ReadShard`, such as the next iterator; None says that
        the shard is closed and was read to its end.

        Raises:
            MalformedRecord: a record of another form.
        """
        self._shards[shard_id].records(records, cursor, now)

    def read_failed(self, shard_id: str) -> None:
        """Take note that a `ReadShard` was throttled or failed; it comes again at the next poll."""
        self._shards[shard_id].read_failed()

    def iterator_expired(self, shard_id: str) -> None:
        """Take note that the cursor is too old: the next `ReadShard` comes without one."""
        self._shards[shard_id].lost_cursor()

    def trimmed(self, shard_id: str) -> None:
        """Take note that the stream forgot the records at the place: the oldest left come next."""
        self._shards[shard_id].trimmed()

    def answered(
        self,
        token: int,
        response: object,
        now: float,
        *,
        request_id: str | None = None,
        executed_version: str = "$LATEST",
    ) -> Verdict | None:
        """Take the function's response; return its verdict, or None if it no longer matters.

        Raises:
            ValueError: no invocation with this token waits for an answer.
        """
        lane = self._context.take(token)
        if lane is None:
            return None
        batch = lane.stack[-1]
        verdict = classify(
            response,
            [entry.sequence_number for entry in batch.entries],
            report_batch_item_failures=self.configuration.report_batch_item_failures,
            tumbling_window=self.configuration.tumbling_window > 0,
            policies=self._context.policies,
        )
        return _settle(lane, verdict, now, request_id, executed_version)

    def failed(
        self,
        token: int,
        now: float,
        *,
        reason: str = "",
        error: str = UNHANDLED,
        request_id: str | None = None,
        executed_version: str = "$LATEST",
    ) -> Verdict | None:
        """Take note that the function raised, timed out, ran out of memory or did not start.

        `error` is the `FunctionError` of Lambda's answer, `reason` is a text for logs.

        Raises:
            ValueError: no invocation with this token waits for an answer.
        """
        lane = self._context.take(token)
        if lane is None:
            return None
        return _settle(lane, function_error(reason, error), now, request_id, executed_version)

    def losses(self) -> list[Loss]:
        """Return the records lost since the last call: neither done nor reported to a destination.

        They are too old for the stream, or given up where there is no destination or where
        it does not take the document. AWS does not report the first
        (https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html).
        """
        losses, self._context.losses = self._context.losses, []
        return losses

    def not_invoked(self, token: int, now: float) -> None:
        """Take note that the function was not invoked: throttled, or an error of the service.

        Raises:
            ValueError: no invocation with this token waits for an answer.
        """
        lane = self._context.take(token)
        if lane is not None:
            lane.not_invoked(now)

    def delivered(self, token: int, *, ok: bool) -> None:
        """Take note that the destination took a document, or that it did not.

        Raises:
            ValueError: no delivery with this token waits for an answer.
        """
        lane = self._context.take(token)
        if lane is not None:
            lane.delivered(ok=ok)

    def redeliver(self, token: int) -> None:
        """Lose the answer to an invocation: the batch is delivered again, even if it was done.

        At-least-once delivery allows it at any time
        (https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html).

        Raises:
            ValueError: no invocation with this token waits for an answer.
        """
        lane = self._context.take(token)
        if lane is not None:
            lane.redeliver()

    def rewind(self, shard_id: str, place: str | None = None) -> None:
        """Lose the checkpoint of a shard: everything after an earlier place is delivered again.

        `place` is any place of the shard; by default the checkpoint saved before the latest.
        Commands under way go on, but their answers no longer matter, as with a replaced poller.
        """
        self._shards[shard_id].rewind(place)
        self._finished.discard(shard_id)

    def disable(self) -> None:
        """Send nothing new, and wait for the answers under way. Then `state` is "Disabled"."""
        self._state = "Disabling"

    def enable(self) -> None:
        """Go on from the checkpoints; or, if not all was settled, from where it was."""
        self._state = "Enabled"

    def _begin(self, shard_id: str, shard: Mapping[str, Any]) -> Shard:
        saved = self._checkpoints.get(shard_id)
        place = saved
        if place is None:
            latest = self.configuration.starting_position is StartingPosition.LATEST
            place = LATEST if latest and not self._begun else TRIM_HORIZON
            closed = "EndingSequenceNumber" in shard.get("SequenceNumberRange", {})
            if place == LATEST and closed:
                place = SHARD_END
        return Shard(
            self._context, shard_id, shard.get("ParentShardId"), place, saved or TRIM_HORIZON
        )

    def _may_read(self, shard: Shard) -> bool:
        parent = self._shards.get(shard.parent_id or "")
        return parent is None or parent.finished

    def _idle(self) -> bool:
        return all(shard.idle() for shard in self._shards.values())

    def _stop_when_idle(self) -> None:
        if self._state == "Disabling" and self._idle():
            self._state = "Disabled"
            for shard in self._shards.values():
                shard.stop()


def _settle(
    lane: Lane, verdict: Verdict, now: float, request_id: str | None, executed_version: str
) -> Verdict:
    batch = lane.stack[-1]
    batch.request_id = request_id
    batch.executed_version = executed_version
    lane.answered(verdict, now)
    return verdict
