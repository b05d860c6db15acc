"""Run a schedule: writes, faults, mappings and functions in virtual time, until all is quiet.

    result = Simulation(generate(7)).run()
    assert not result.problems, result

Once nothing happens any more, comes what the schedule has for later. In the end every
poisoned item is fixed, the dead letters are redriven in any order until none is left, and every
copy is compared with the table.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dynamodb_streams_cdc.change import Image
from dynamodb_streams_cdc.esm import MappingConfiguration, Policies
from dynamodb_streams_cdc.lambda_types import LambdaContext
from dynamodb_streams_cdc.names import Operation as Request
from dynamodb_streams_cdc.operations.redrive import Result as Redriven
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetterStore
from dynamodb_streams_cdc.testing.simulation.emulation import run
from dynamodb_streams_cdc.testing.simulation.erasing import Eraser
from dynamodb_streams_cdc.testing.simulation.events import Event, Failed, Remark
from dynamodb_streams_cdc.testing.simulation.faults import FaultInjector
from dynamodb_streams_cdc.testing.simulation.operator import Operator, SimulatedSourceTable
from dynamodb_streams_cdc.testing.simulation.pipeline import (
    SOURCE,
    Consumer,
    Consumers,
    identity,
    pipeline,
)
from dynamodb_streams_cdc.testing.simulation.poller import Handler, Poller
from dynamodb_streams_cdc.testing.simulation.process import Invocation, ProcessKilled
from dynamodb_streams_cdc.testing.simulation.scene import Scene
from dynamodb_streams_cdc.testing.simulation.schedule import (
    BY_OPERATORS,
    HOUR,
    LASTING,
    Fault,
    FaultKind,
    Later,
    Operation,
    Schedule,
    Step,
    Write,
)
from dynamodb_streams_cdc.testing.simulation.stream import FIRST_SEQUENCE_NUMBER, SimulatedStream
from dynamodb_streams_cdc.testing.simulation.timeline import Note, Timeline
from dynamodb_streams_cdc.testing.simulation.virtual_clock import START, VirtualClock, reproducible

RECORD_AGE_SECONDS = 20 * 3600

LONGEST_RUN_SECONDS = 10 * 24 * HOUR
"""Longer than the longest outage, and than all that a stream and a mapping remember after it."""

ATTEMPTS = 40
"""Requests of one backfill; a table has six items at most."""


@dataclass(frozen=True)
class Result:
    """Result of a schedule.

    Attributes:
        problems: what is wrong with the copies, in words.
        struck: how often each fault did strike.
        writes: how many writes changed something.
        deliveries: how many records were delivered, redeliveries included.
        dead_letters: how many dead letters the mappings wrote.
        lost: how many records are neither done nor in a dead letter.
        redriven: the result of each dead letter at each redrive, in order.
        purged: how many tombstones were forgotten.
    """

    schedule: Schedule
    problems: tuple[str, ...]
    struck: dict[FaultKind, int]
    writes: int
    deliveries: int
    dead_letters: int
    timeline: Timeline
    redriven: tuple[Redriven, ...] = ()
    purged: int = 0
    lost: int = 0

    def __str__(self) -> str:
        made = self.schedule if self.schedule.seed is None else f"seed {self.schedule.seed}"
        verdict = [f"WRONG: {problem}" for problem in self.problems]
        return "\n".join((f"{made}", str(self.timeline), *(verdict or ["Every copy is right."])))


@dataclass
class Environments:
    """The execution environments of a function.

    Each takes one invocation at a time, as in Lambda: what runs at the same time runs in others,
    and one whose process has died is gone with everything that it held.

    Attributes:
        build: makes one.
        idle: those that wait for the next invocation, the last used last.
    """

    build: Callable[[], Handler]
    idle: list[Handler] = field(default_factory=list)

    def __call__(self, event: Mapping[str, Any], context: LambdaContext) -> Any:
        """Invoke the function in one that is idle, or in a new one."""
        handler = self.idle.pop() if self.idle else self.build()
        try:
            answer = handler(event, context)
        except Exception:
            self.idle.append(handler)
            raise
        self.idle.append(handler)
        return answer


@dataclass
class Actor:
    """A consumer at work: its function, its faults, and a poller for each stream that it had.

    Attributes:
        operator: redrives its dead letters, if it has a box for them.
        eraser: erases in all copies; of one of the actors.
        delivered: how many dead letters of its pollers are in the box.
    """

    consumer: Consumer
    handler: Handler
    faults: FaultInjector
    note: Note
    pollers: list[Poller] = field(default_factory=list)
    operator: Operator | None = None
    eraser: Eraser | None = None
    delivered: int = 0

    def redrive(self, rng: random.Random) -> bool:
        """Redrive the dead letters that have come so far; return whether there were any."""
        operator = self.collect()
        there = bool(operator.dead_letters())
        operator.redrive(rng)
        return there

    def collect(self) -> Operator:
        """Put the dead letters that have come so far into the store; return its operator."""
        poller = self.pollers[-1]
        if self.operator is None:
            store = self.consumer.dead_letters
            self.operator = Operator(
                self.consumer.name, poller, MemoryDeadLetterStore() if store is None else store
            )
        self.operator.poller = poller
        self._collect(self.operator.box)
        return self.operator

    def _collect(self, box: MemoryDeadLetterStore) -> None:
        dead_letters = [
            dead_letter for poller in self.pollers for dead_letter in poller.dead_letters
        ]
        for dead_letter in dead_letters[self.delivered :]:
            if dead_letter.key is not None:  # a queue or a topic gets no records to redrive
                box.deliver(dead_letter.key, dead_letter.document)
        self.delivered = len(dead_letters)


class Simulation:
    """One run of a schedule; by default of the three sinks, as deployed.

    Attributes:
        quiet_from: how many events there were when all had become quiet; None until then.
    """

    def __init__(
        self,
        schedule: Schedule,
        consumers: Consumers = pipeline,
        *,
        scene: Scene | None = None,
        timeline: bool = False,
    ) -> None:
        self.schedule = schedule
        self.scene = scene or Scene()
        self.virtual_clock = VirtualClock()
        self.timeline = Timeline(keep=timeline)
        self.table = self.scene.table()
        self.sound: dict[str, Image] = {}
        self.struck: dict[FaultKind, int] = {}
        self.rng = random.Random(schedule.seed or 0)
        self.purged = 0
        self.quiet_from: int | None = None
        self.actors = [self._employ(consumer) for consumer in consumers(self.virtual_clock)]

    def run(self) -> Result:
        """Run the schedule to its end, redrive the dead letters, and compare."""
        with reproducible(self.schedule.seed or 0):
            for number in range(self.schedule.existing):
                self.table.put(self.scene.item(number, number % 3, 7), self.virtual_clock.now())
            self._enable_stream(first_sequence_number=self.schedule.first_sequence_number)
            for actor in self.actors:
                if actor.consumer.stream is not None:
                    self._follow(actor, actor.consumer.stream)
            for operation in self.schedule.operations:
                self.virtual_clock.at(START + operation.at, partial(self._write, operation))
            for fault in self.schedule.faults:
                self.virtual_clock.at(START + fault.at, partial(self._strike, fault))
            self.virtual_clock.run(LONGEST_RUN_SECONDS)
            self.quiet_from = len(self.timeline.entries)
            self._clear_up()
            for later in self.schedule.later:
                self._go_on(later)
                self.virtual_clock.run(LONGEST_RUN_SECONDS)
            self._fix_poisoned()
            self._redrive_all()
            if self.schedule.existing:
                for actor in self.actors:
                    self._backfill(actor)
                self.virtual_clock.run(LONGEST_RUN_SECONDS)
            held: list[str] = []
            for actor in self.actors:
                if actor.eraser is not None and self.table.forgotten:
                    held += actor.eraser.finish(self._settle)
            return self._result(held)

    def _employ(self, consumer: Consumer) -> Actor:
        def note(event: Event) -> None:
            self.timeline.note(self.virtual_clock.now(), consumer.name, event)

        faults = FaultInjector(
            self.virtual_clock,
            note,
            struck=self.struck,
            tells=self.timeline.keep,
            source_table=SimulatedSourceTable(self.virtual_clock, self.table, self.rng),
        )
        first = consumer.build(self.virtual_clock, faults)
        build = partial(consumer.build, self.virtual_clock, faults)
        actor = Actor(consumer, Environments(build, [first]), faults, note)
        if consumer.erasure is not None:
            actor.eraser = Eraser(
                SOURCE.table,
                self.virtual_clock,
                self.table,
                consumer.erasure(faults),
                self.scene.timeout,
                lambda text: note(Remark(text)),
            )
        return actor

    def _note(self, text: str) -> None:
        self.timeline.note(self.virtual_clock.now(), "table", Remark(text))

    def _enable_stream(self, **options: Any) -> None:
        now = self.virtual_clock.now()
        stream = self.table.enable_stream(
            now,
            partitions=self.schedule.partitions,
            view_type=self.scene.view_type,
            **options,
        )
        self._note(f"has the stream {stream.label}")
        for actor in self.actors:
            if actor.consumer.stream is None:
                self._follow(actor, stream)

    def _follow(self, actor: Actor, stream: SimulatedStream) -> None:
        poller = Poller(
            self.virtual_clock,
            stream,
            actor.handler,
            actor.faults,
            _mapping(self.schedule, actor.consumer.name, self.scene.settings),
            actor.note,
            _policies(self.schedule.longest_backoff),
            self.scene.timeout,
        )
        actor.pollers.append(poller)

    def _write(self, operation: Operation) -> None:
        now = self.virtual_clock.now()
        item = self.scene.item(operation.item, operation.group, operation.amount)
        key = self.table.key_of(item)
        match operation.write:
            case Write.PUT:
                changed = self.table.put(item, now)
            case Write.POISON:
                changed = self.table.put(self.scene.poisoned(item), now)
            case Write.SAME:
                held = self.table.items.get(key)
                changed = held is not None and self.table.put(dict(held), now)
            case Write.DELETE | Write.EXPIRE:
                expired = operation.write is Write.EXPIRE
                changed = self.table.delete(item, now, expired=expired)
        if operation.write is Write.POISON:
            self.sound[key] = item
        elif operation.write is not Write.SAME:
            self.sound.pop(key, None)
        if changed and self.timeline.keep:
            number = self.table.streams[-1].latest or ""
            has_values = operation.write in (Write.PUT, Write.POISON)
            values = f": {self._values(item)}" if has_values else ""
            self._note(f"{operation.write} {self._name(item)}{values} (..{number[-6:]})")

    def _name(self, item: Image) -> str:
        return "/".join(str(item[name]) for name in self.table.keys)

    def _values(self, item: Image) -> str:
        return ", ".join(f"{n} {value}" for n, value in item.items() if n not in self.table.keys)

    def _strike(self, fault: Fault) -> None:
        if fault.kind in TO_THE_TABLE:
            self._note(f"FAULT: {fault.kind}")
            self._change_stream(fault.kind)
            self.struck[fault.kind] = self.struck.get(fault.kind, 0) + 1
            return
        if fault.kind is FaultKind.FORGET:
            actors = [actor for actor in self.actors if actor.eraser is not None]
        elif fault.kind in BY_OPERATORS:
            actors = [actor for actor in self.actors if actor.consumer.dead_letters is not None]
        elif fault.kind is FaultKind.REPAIR:
            actors = [actor for actor in self.actors if actor.consumer.repair is not None]
        else:
            actors = [self.actors[fault.processor % len(self.actors)]] if self.actors else []
        for actor in actors:
            when = "" if fault.kind in AT_ONCE else ", at the next chance"
            actor.note(Remark(f"FAULT: {fault.kind}{when}"))
            if self._afflict(actor, fault):
                self.struck[fault.kind] = self.struck.get(fault.kind, 0) + 1

    def _change_stream(self, kind: FaultKind) -> None:
        assert self.table.stream is not None
        match kind:
            case FaultKind.SPLIT:
                self.table.stream.split()
            case FaultKind.ROTATE:
                self.table.stream.rotate()
            case _:
                first = FIRST_SEQUENCE_NUMBER + len(self.table.streams) * 7_654_321
                self._enable_stream(first_sequence_number=first)

    def _afflict(self, actor: Actor, fault: Fault) -> bool:
        """Let a fault strike a consumer; return whether it did already."""
        ends = self.virtual_clock.now() + fault.seconds
        match fault.kind:
            case FaultKind.DISABLED:
                for poller in actor.pollers:
                    poller.disable()
                    self.virtual_clock.at(ends, poller.enable)
                return True
            case FaultKind.LOST_CHECKPOINT:
                return any([poller.rewind() for poller in actor.pollers])
            case FaultKind.STALE:
                return self._deliver_again(actor)
            case FaultKind.REPAIR:
                return self._repair(actor)
            case FaultKind.REDRIVE:
                return actor.redrive(self.rng)
            case FaultKind.BACKFILL:
                return self._backfill(actor)
            case FaultKind.FORGET:
                return self._forget(actor)
            case kind if kind in LASTING:
                actor.faults.lasting[kind] = ends
            case kind:
                actor.faults.armed.append(kind)
        return False

    def _deliver_again(self, actor: Actor) -> bool:
        """Invoke the function with an old batch, as a poller does that was believed dead."""
        for poller in actor.pollers:
            if poller.deliveries:
                event = poller.deliveries[0].event
                self.virtual_clock.soon(partial(self._zombie, poller, event))
                return True
        return False

    def _zombie(self, poller: Poller, event: Mapping[str, Any]) -> None:
        poller.note(Remark("invoked with the first batch again, by a poller believed dead"))
        try:
            poller.run(event)
        except (Exception, ProcessKilled) as error:
            poller.note(Failed(error, retried=False))

    def _repair(self, actor: Actor) -> bool:
        """Repair every item, each while everything else goes on."""
        assert actor.consumer.repair is not None
        for states in list(self.table.history.values()):
            item = next(filter(None, states))
            name, read = identity(self.table, item), partial(self._item, item)
            invocation = Invocation(
                self.virtual_clock, self.virtual_clock.now() + self.scene.timeout
            )
            repair = partial(actor.consumer.repair, name, read, actor.faults)
            try:
                run(invocation, repair)
            except (Exception, ProcessKilled) as error:
                actor.note(Remark(f"the repair failed, {error!r}"))
        return bool(self.table.history)

    def _backfill(self, actor: Actor) -> bool:
        """Fill a copy from the table, part by part, while everything else goes on.

        What fails is asked for again; return whether anything was read.
        """
        assert self.table.stream is not None
        event = {
            "operation": Request.BACKFILL,
            "streamArn": self.table.stream.arn,
            "keys": self.table.key_types,
            "limit": 1 + self.rng.randrange(3),
            "Records": [],
        }
        read, place = 0, None
        for _ in range(ATTEMPTS):
            try:
                answer = actor.pollers[-1].run({**event, "place": place})
            except (Exception, ProcessKilled) as error:
                actor.note(Remark(f"a part of the backfill failed, {error!r}"))
                continue
            if not isinstance(answer, Mapping) or "read" not in answer:
                actor.note(Remark("the function knows no backfill"))
                break
            read, place = read + answer["read"], answer["place"]
            actor.note(Remark(f"backfill: {answer['read']} items read"))
            if answer["done"]:
                break
        return read > 0

    def _forget(self, actor: Actor) -> bool:
        """Erase some of the items that are deleted, while everything else goes on."""
        for each in self.actors:
            each.collect()
        return actor.eraser is not None and actor.eraser.forget(self.rng)

    def _settle(self) -> None:
        self.virtual_clock.run(LONGEST_RUN_SECONDS)
        self._redrive_all()

    def _item(self, item: Image) -> Image | None:
        return self.table.items.get(self.table.key_of(item))

    def _clear_up(self) -> None:
        """Remove all faults that are armed or still last."""
        for actor in self.actors:
            actor.faults.armed.clear()
            actor.faults.lasting.clear()

    def _go_on(self, later: Later) -> None:
        match later.step:
            case Step.WAIT:
                self._note(f"{later.seconds / HOUR:.1f} hours pass")
                self.virtual_clock.sleep(later.seconds)
            case Step.WRITE:
                assert later.operation is not None
                self._write(later.operation)
            case Step.REDRIVE:
                for actor in self.actors:
                    actor.redrive(self.rng)
            case Step.PURGE:
                for actor in self.actors:
                    if actor.consumer.purge is not None:
                        self.purged += actor.consumer.purge(actor.faults)
            case Step.FORGET:
                if later.operation is not None:
                    moment = self.virtual_clock.now() + later.operation.at
                    self.virtual_clock.at(moment, partial(self._write, later.operation))
                for actor in self.actors:
                    self._forget(actor)

    def _fix_poisoned(self) -> None:
        """Write every item that is poisoned as it should be."""
        for key in list(self.table.items):
            if key in self.sound:
                self.table.put(self.sound[key], self.virtual_clock.now())
                self._note(f"put without poison: {self._name(self.sound[key])}")
        self.virtual_clock.run(LONGEST_RUN_SECONDS)

    def _redrive_all(self) -> None:
        """Redrive until no dead letter is left; one of the audit may bring search others."""
        for _ in self.actors:
            for actor in self.actors:
                actor.redrive(self.rng)
                self.virtual_clock.run(LONGEST_RUN_SECONDS)

    def _result(self, held: Sequence[str]) -> Result:
        problems = [*held]
        problems += [
            f"{actor.consumer.name}: {problem}"
            for actor in self.actors
            for problem in [*actor.consumer.problems(self.table), *_left(actor)]
        ]
        pollers = [poller for actor in self.actors for poller in actor.pollers]
        return Result(
            schedule=self.schedule,
            problems=tuple(problems),
            struck=self.struck,
            writes=sum(map(len, self.table.history.values())),
            deliveries=sum(len(d.records) for poller in pollers for d in poller.deliveries),
            dead_letters=sum(len(poller.dead_letters) for poller in pollers),
            timeline=self.timeline,
            redriven=tuple(
                result for a in self.actors if a.operator for result in a.operator.results
            ),
            purged=self.purged,
            lost=sum(len(poller.lost) for poller in pollers),
        )


def _left(actor: Actor) -> list[str]:
    """Return the dead letters that could not be redriven, if the consumer has a store for them."""
    if actor.operator is None or actor.consumer.dead_letters is None:
        return []
    return [f"{key} is still a dead letter" for key in actor.operator.dead_letters()]


AT_ONCE = frozenset(
    {*LASTING, FaultKind.LOST_CHECKPOINT, FaultKind.STALE, FaultKind.REPAIR, *BY_OPERATORS}
)
"""Faults that do not wait for a chance to strike."""

TO_THE_TABLE = frozenset({FaultKind.NEW_STREAM, FaultKind.SPLIT, FaultKind.ROTATE})
"""Faults of the table's stream: they strike every reader."""


def _policies(longest: float) -> Policies:
    def backoff(failures: int) -> float:
        return float(min(longest, 0.25 * 2.0 ** min(failures - 1, 16)))

    return Policies(
        backoff=backoff, throttle_backoff=backoff, poll_seconds=0.05, describe_seconds=0.05
    )


def _mapping(schedule: Schedule, name: str, settings: Mapping[str, Any]) -> MappingConfiguration:
    return MappingConfiguration.from_description(
        {
            "UUID": name,
            "FunctionArn": f"arn:aws:lambda:us-east-1:000000000000:function:{name}",
            "StartingPosition": "TRIM_HORIZON",
            "BatchSize": schedule.batch_size,
            "MaximumBatchingWindowInSeconds": schedule.window,
            "ParallelizationFactor": schedule.lanes,
            "BisectBatchOnFunctionError": schedule.bisect,
            "MaximumRetryAttempts": -1,
            "MaximumRecordAgeInSeconds": RECORD_AGE_SECONDS,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:s3:::dead-letters"}},
            **settings,
        }
    )
