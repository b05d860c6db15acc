"""Lambda in virtual time: one event source mapping, its stream, and the function that it invokes.

A read that finds nothing is answered when there is something: so a simulation costs what happens in
it, and not the hours that pass.
"""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dynamodb_streams_cdc.budget import LambdaContext
from dynamodb_streams_cdc.esm import (
    TRIM_HORIZON,
    Deliver,
    DescribeStream,
    Engine,
    Invoke,
    Policies,
    ReadShard,
    SaveCheckpoint,
)
from dynamodb_streams_cdc.simulation.ports import Invocation, Killed, Weather
from dynamodb_streams_cdc.simulation.schedule import FaultKind
from dynamodb_streams_cdc.simulation.stream import SimulatedStream
from dynamodb_streams_cdc.simulation.world import World

Event = Mapping[str, Any]
Handler = Callable[[Event, LambdaContext], Any]

TIMEOUT_SECONDS = 10.0
"""The function's timeout."""

LONGEST_BACKOFF_SECONDS = 900.0
"""Between two retries of a batch: so that an outage of a day costs some hundred invocations."""


@dataclass(frozen=True)
class SimulatedContext:
    """The context of an invocation in virtual time."""

    world: World
    deadline: float
    aws_request_id: str = "00000000-0000-0000-0000-000000000000"
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:000000000000:function:simulated"

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the invocation is ended."""
        return int((self.deadline - self.world.now()) * 1000)


@dataclass
class Poller:
    """One mapping at work.

    Attributes:
        settings: as `ListEventSourceMappings` returns them.
        letters: documents for the failure destination.
        invocations: events that the function was invoked with, the latest last.
        redeliveries: invocations whose records, or some of them, it had got before.
    """

    world: World
    stream: SimulatedStream
    handler: Handler
    weather: Weather
    settings: Mapping[str, Any]
    note: Callable[[str], None]
    letters: list[Mapping[str, Any]] = field(default_factory=list)
    invocations: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        policies = Policies(
            backoff=_backoff, throttle_backoff=_backoff, poll_seconds=0.05, describe_seconds=0.05
        )
        ids = iter(range(10**9))
        self.engine = Engine(self.settings, policies=policies, new_id=lambda: f"id-{next(ids)}")
        self._wakes_at = float("inf")
        self._listed: list[str] | None = None
        self._describing = False
        self._reads: dict[str, ReadShard] = {}
        self.pump()

    def pump(self) -> None:
        """Do what the engine asks for, until it waits."""
        now = self.world.now()
        while commands := self.engine.commands(now):
            for command in commands:
                self._do(command)
        self._answer_what_waited()
        wake = self.engine.wake_at(now)
        if wake is not None and wake < self._wakes_at:
            self._wakes_at = wake
            self.world.at(wake, self._woken)

    def disable(self) -> None:
        """Disable the mapping."""
        self.engine.disable()
        self._abort_reads()

    def enable(self) -> None:
        """Enable the mapping again; it goes on from its checkpoints."""
        self.engine.enable(self.world.now())
        self.pump()

    def rewind(self) -> bool:
        """Replace the poller by one that begins at earlier checkpoints; return whether it did."""
        for shard_id in self.engine.checkpoints:
            self.engine.rewind(shard_id)
        self._abort_reads()
        self.pump()
        return bool(self.engine.checkpoints)

    def _abort_reads(self) -> None:
        """End the reads that wait for news: what they wait for is no longer what comes next."""
        for shard_id in self._reads:
            self.engine.read_failed(shard_id)
        self._reads.clear()

    def run(self, event: Event) -> Any:
        """Invoke the function; return its answer.

        Raises:
            Killed: the function died, or ran into its timeout.
        """
        deadline = self.world.now() + TIMEOUT_SECONDS
        self.weather.running.append(Invocation(deadline))
        try:
            answer = self.handler(event, SimulatedContext(self.world, deadline))
        finally:
            self.weather.running.pop()
        if self.world.now() >= deadline:
            raise Killed
        return answer

    def _woken(self) -> None:
        self._wakes_at = float("inf")
        self.pump()

    def _do(self, command: object) -> None:
        match command:
            case DescribeStream():
                self._describing = True
            case ReadShard(shard_id=shard_id):
                self._reads[shard_id] = command
            case Invoke():
                self.world.at(self.world.now(), lambda: self._invoke(command))
            case Deliver(token=token, document=document):
                self.letters.append(document)
                self.note(f"{document['DDBStreamBatchInfo']['batchSize']} records become a letter")
                self.engine.delivered(token, ok=True)
            case SaveCheckpoint():
                pass

    def _answer_what_waited(self) -> None:
        now = self.world.now()
        self.stream.trim(now)
        listed = list(self.stream.shards)
        if self._describing and listed != self._listed:
            self._describing = False
            self._listed = listed
            shards = [shard.description() for shard in self.stream.shards.values()]
            self.engine.shards(shards, now)
            self.world.at(now, self.pump)
        for command in list(self._reads.values()):
            if self._read(command, now):
                del self._reads[command.shard_id]
                self.world.at(now, self.pump)

    def _read(self, command: ReadShard, now: float) -> bool:
        """Answer a read if there is something to say."""
        shard = self.stream.shards.get(command.shard_id)
        if shard is None:
            self.engine.records(command.shard_id, [], None, now)
            return True
        start = command.cursor if isinstance(command.cursor, int) else None
        if start is None:
            start = shard.trimmed + _position(command.place, shard.numbers)
        if start < shard.trimmed:
            self.engine.trimmed(command.shard_id)
            return True
        records = shard.records[start - shard.trimmed :][: command.limit]
        end = start + len(records)
        closed = shard.ends is not None and end == shard.trimmed + len(shard.records)
        if not records and not closed:
            return False
        self.engine.records(command.shard_id, records, None if closed else end, now)
        return True

    def _invoke(self, command: Invoke) -> None:
        numbers = [r["dynamodb"]["SequenceNumber"][-8:] for r in command.event["Records"]]
        records = f"{len(numbers)} records ..{numbers[0]} to ..{numbers[-1]}"
        place = f"{command.shard_id[-8:]}/{command.lane}"
        if self.weather.strikes(FaultKind.THROTTLE):
            self.note(f"{place}: throttled, {records}")
            self.engine.not_invoked(command.token, self.world.now())
            self.pump()
            return
        self.note(f"{place}: invoked with {records}, attempt {command.attempt}")
        self.invocations.append(command.event)
        try:
            answer = self.run(command.event)
        except (Exception, Killed) as error:
            self.note(f"{place}: failed, {error!r}")
            self.engine.failed(command.token, self.world.now())
        else:
            if self.weather.strikes(FaultKind.DUPLICATE):
                self.note(f"{place}: done, and delivered again all the same")
                self.engine.redeliver(command.token)
            else:
                self.note(f"{place}: answered {json.dumps(answer, default=str)}")
                self.engine.answered(command.token, answer, self.world.now())
        self.pump()


def _position(place: str, numbers: list[int]) -> int:
    if place == TRIM_HORIZON:
        return 0
    kind, _, number = place.rpartition(":")
    find = bisect_left if kind else bisect_right
    return find(numbers, int(number))


def _backoff(failures: int) -> float:
    return float(min(LONGEST_BACKOFF_SECONDS, 0.25 * 2.0 ** min(failures - 1, 16)))
