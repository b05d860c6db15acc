"""Lambda in virtual time: one event source mapping, its stream, and the function that it invokes.

A read that finds nothing is answered when there is something: so a simulation costs what happens in
it, and not the hours that pass.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dynamodb_streams_cdc.esm import (
    LATEST,
    Deliver,
    DescribeStream,
    Engine,
    FunctionContext,
    Invoke,
    LossReason,
    MappingConfiguration,
    Policies,
    ReadShard,
    Result,
    SaveCheckpoint,
    Verdict,
)
from dynamodb_streams_cdc.lambda_types import LambdaContext
from dynamodb_streams_cdc.testing.simulation.delivery import Delivery, DiscardedBatch, Record
from dynamodb_streams_cdc.testing.simulation.emulation import run
from dynamodb_streams_cdc.testing.simulation.events import (
    Answered,
    AnswerIgnored,
    Failed,
    GivenUp,
    Invoked,
    Lost,
    Repeated,
    Throttled,
    shown,
)
from dynamodb_streams_cdc.testing.simulation.faults import FaultInjector
from dynamodb_streams_cdc.testing.simulation.process import Invocation, ProcessKilled
from dynamodb_streams_cdc.testing.simulation.scene import TIMEOUT_SECONDS
from dynamodb_streams_cdc.testing.simulation.schedule import FaultKind
from dynamodb_streams_cdc.testing.simulation.stream import SimulatedStream
from dynamodb_streams_cdc.testing.simulation.timeline import Note
from dynamodb_streams_cdc.testing.simulation.virtual_clock import START, VirtualClock

Event = Mapping[str, Any]
Handler = Callable[[Event, LambdaContext], Any]

ITERATOR_SECONDS = 15 * 60
"""How long an iterator is good for
(https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_GetShardIterator.html)."""


@dataclass(frozen=True)
class _Cursor:
    """An iterator: the place in a shard that it points to, and when it was made."""

    position: int
    made_at: float


@dataclass
class Poller:
    """One mapping at work.

    Attributes:
        settings: as `ListEventSourceMappings` returns them, or what was made of them.
        policies: what AWS leaves open.
        timeout: of the function, in seconds.
        destination_works: whether dead letters arrive.
        deliveries: every invocation, the latest last.
        dead_letters: what was given up.
        lost: records that are neither done nor among the dead letters.
        checkpoints: time, shard and place of each that was saved.
        virtual_time: whether `time` tells the world's time to the function.
    """

    virtual_clock: VirtualClock
    stream: SimulatedStream
    handler: Handler
    faults: FaultInjector
    settings: MappingConfiguration | Mapping[str, Any]
    note: Note
    policies: Policies = field(default_factory=Policies)
    timeout: float = TIMEOUT_SECONDS
    destination_works: bool = True
    deliveries: list[Delivery] = field(default_factory=list)
    dead_letters: list[DiscardedBatch] = field(default_factory=list)
    lost: list[Record] = field(default_factory=list)
    checkpoints: list[tuple[float, str, str]] = field(default_factory=list)
    virtual_time: bool = True

    def __post_init__(self) -> None:
        self._ids = 0
        self.engine = Engine(self.settings, policies=self.policies, new_id=self._new_id)
        self._wakes_at = float("inf")
        self._planned = False
        self._listed: list[str] | None = None
        self._describing = False
        self._reads: dict[str, tuple[ReadShard, int]] = {}
        self._seen: dict[str, int] = {}
        self._latest: dict[str, int] = {}  # where LATEST was when a shard was first read
        self._window_ends: set[str] = set()
        self._answers_empty: set[str] = set()
        self.stream.readers.append(self.nudge)
        self.nudge()

    def nudge(self) -> None:
        """Go on once the caller is done."""
        if not self._planned:
            self._planned = True
            self.virtual_clock.soon(self._pump)

    def disable(self) -> None:
        """Disable the mapping."""
        self.engine.disable()
        self._abort_reads()
        self.nudge()

    def enable(self) -> None:
        """Enable the mapping again; it goes on from its checkpoints."""
        self.engine.enable()
        self.nudge()

    def rewind(self) -> bool:
        """Replace the poller by one that begins at earlier checkpoints; return whether it did."""
        for shard_id in self.engine.checkpoints:
            self.engine.rewind(shard_id)
        self._abort_reads()
        self.nudge()
        return bool(self.engine.checkpoints)

    def run(self, event: Event) -> Any:
        """Invoke the function; return its answer.

        Raises:
            ProcessKilled: the function died, exited, or ran into its timeout.
        """
        deadline = self.virtual_clock.now() + self.timeout
        invocation = Invocation(self.virtual_clock, deadline, self.virtual_time)
        context = FunctionContext(
            aws_request_id=self._new_id(),
            invoked_function_arn=self.engine.configuration.function_arn,
            remaining=lambda: invocation.deadline - invocation.read_time(),
            started=START,
        )
        return run(invocation, lambda: self.handler(event, context))

    def _pump(self) -> None:
        """Do what the engine asks for; each answer to it leads here again."""
        self._planned = False
        now = self.virtual_clock.now()
        self.stream.trim(now)
        for command in self.engine.commands(now):
            self._do(command, now)
        self._answer_what_waited(now)
        for loss in self.engine.losses():
            self._lose(loss.reason, loss.records)
        wake = self.engine.wake_at(now)
        if wake is not None and wake < self._wakes_at and not self._planned:
            self._wakes_at = wake
            self.virtual_clock.at(wake, self._woken)

    def _woken(self) -> None:
        self._wakes_at = float("inf")
        self.nudge()

    def _do(self, command: object, now: float) -> None:
        match command:
            case DescribeStream():
                self._describing = True
            case ReadShard():
                self._begin_read(command, now)
            case Invoke():
                self.virtual_clock.soon(lambda: self._invoke(command))
            case Deliver(token=token, document=document, key=key, records=records):
                if self.destination_works:
                    self.dead_letters.append(DiscardedBatch(document, key, records))
                    self.note(GivenUp(records))
                self.engine.delivered(token, ok=self.destination_works)
                self.nudge()
            case SaveCheckpoint(shard_id=shard_id, place=place):
                self.checkpoints.append((now, shard_id, place))

    # Reading

    def _begin_read(self, command: ReadShard, now: float) -> None:
        shard = self.stream.shards.get(command.shard_id)
        if isinstance(command.cursor, _Cursor):
            if now - command.cursor.made_at > ITERATOR_SECONDS:
                self.engine.iterator_expired(command.shard_id)
                self.nudge()
                return
            position = command.cursor.position
        else:
            position = 0 if shard is None else shard.position(command.place)
            if command.place == LATEST:
                position = self._latest.setdefault(command.shard_id, position)
                self._seen.setdefault(command.shard_id, position)
        self._reads[command.shard_id] = (command, position)

    def _abort_reads(self) -> None:
        """End the reads that wait for news: what they wait for is no longer what comes next."""
        for shard_id in self._reads:
            self.engine.read_failed(shard_id)
        self._reads.clear()

    def _answer_what_waited(self, now: float) -> None:
        if self._describing and (listing := list(self.stream.shards)) != self._listed:
            self._describing = False
            self._listed = listing
            shards = [shard.description() for shard in self.stream.shards.values()]
            self.engine.shards(shards, now)
            self.nudge()
        for shard_id, (command, position) in list(self._reads.items()):
            if self._read(command, position, now):
                del self._reads[shard_id]
                self.nudge()

    def _read(self, command: ReadShard, position: int, now: float) -> bool:
        """Answer a read if there is something to say."""
        shard = self.stream.shards.get(command.shard_id)
        self._tell_unread(command.shard_id, position)
        if shard is None:
            self.engine.records(command.shard_id, [], None, now)
        elif position < shard.trimmed:
            self.engine.trimmed(command.shard_id)
        else:
            records, closed = shard.read(position, command.limit)
            if not (records or closed or command.shard_id in self._answers_empty):
                return False
            self._answers_empty.discard(command.shard_id)
            self._seen[command.shard_id] = position + len(records)
            cursor = None if closed else _Cursor(position + len(records), now)
            self.engine.records(command.shard_id, records, cursor, now)
        return True

    def _tell_unread(self, shard_id: str, position: int) -> None:
        """Tell which records of a shard are gone before a read came to them."""
        shard = self.stream.shards.get(shard_id) or self.stream.closed.get(shard_id)
        begins = min(position, self._seen.get(shard_id, 0))
        if shard is not None and begins < shard.trimmed:
            self._seen[shard_id] = shard.trimmed
            lost = shard.gone[begins:]
            self._lose(LossReason.UNREAD, lost)

    def _lose(self, reason: LossReason, records: Sequence[Record]) -> None:
        self.lost += records
        self.note(Lost(reason, records))

    def _await_window_end(self, event: Event) -> None:
        """See to it that a read finds nothing once a tumbling window is over: that ends it."""
        end = event.get("window", {}).get("end")
        if end is not None and end not in self._window_ends:
            self._window_ends.add(end)
            self.virtual_clock.at(datetime.fromisoformat(end).timestamp(), self._read_in_vain)

    def _read_in_vain(self) -> None:
        """Answer the reads that wait, and each shard's next one, with what there is: nothing."""
        for shard_id, (command, position) in list(self._reads.items()):
            self._answers_empty.add(shard_id)
            if self._read(command, position, self.virtual_clock.now()):
                del self._reads[shard_id]
        self._answers_empty |= self.stream.shards.keys()
        self.nudge()

    # Invoking

    def _invoke(self, command: Invoke) -> None:
        records = command.event["Records"]
        if self.faults.should_fail(FaultKind.THROTTLE):
            self.note(Throttled(records))
            self.engine.not_invoked(command.token, self.virtual_clock.now())
            self.nudge()
            return
        self.note(Invoked(records, command.attempt))
        delivery = Delivery(
            self.virtual_clock.now(), command.event, command.shard_id, command.lane, command.attempt
        )
        self.deliveries.append(delivery)
        self._await_window_end(command.event)
        try:
            delivery.answer = self.run(command.event)
        except (Exception, ProcessKilled) as error:
            delivery.error = error
            self.note(Failed(error))
            verdict = self.engine.failed(command.token, self.virtual_clock.now())
            delivery.result = verdict.result if verdict else None
        else:
            self._answered(command, delivery)
        self.nudge()

    def _answered(self, command: Invoke, delivery: Delivery) -> None:
        if self.faults.should_fail(FaultKind.DUPLICATE):
            self.note(Repeated())
            self.engine.redeliver(command.token)
            return
        verdict = self.engine.answered(command.token, delivery.answer, self.virtual_clock.now())
        if verdict is None:
            self.note(AnswerIgnored())
            return
        delivery.result = verdict.result
        self.note(_answered(verdict, delivery))

    def _new_id(self) -> str:
        self._ids += 1
        return f"{self._ids:08x}-0000-4000-8000-000000000000"


def _answered(verdict: Verdict, delivery: Delivery) -> Answered:
    if verdict.result is Result.PARTIAL:
        return Answered(verdict.result, first_failed=delivery.records[verdict.first_failed])
    returned = "" if delivery.answer is None or verdict.reason else shown(delivery.answer)
    return Answered(verdict.result, verdict.reason, returned)
