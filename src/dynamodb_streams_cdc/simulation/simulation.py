"""Run a schedule: writes, faults, mappings and functions in virtual time, until all is quiet.

    result = Simulation(generate(7)).run()
    assert not result.problems, result

Once nothing happens any more, the letters that the mappings wrote are redriven, in any order, and
every copy is compared with the table.
"""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

from dynamodb_streams_cdc.change import Image
from dynamodb_streams_cdc.simulation.pipeline import Consumer, Copies, identity
from dynamodb_streams_cdc.simulation.poller import Handler, Poller
from dynamodb_streams_cdc.simulation.ports import Killed, Weather
from dynamodb_streams_cdc.simulation.schedule import (
    LASTING,
    START,
    Fault,
    FaultKind,
    Operation,
    Schedule,
    Write,
)
from dynamodb_streams_cdc.simulation.stream import SimulatedStream
from dynamodb_streams_cdc.simulation.table import SimulatedTable
from dynamodb_streams_cdc.simulation.timeline import Timeline
from dynamodb_streams_cdc.simulation.world import World

RECORD_AGE_SECONDS = 20 * 3600


@dataclass(frozen=True)
class Result:
    """What became of a schedule.

    Attributes:
        problems: what is wrong with the copies, in words.
        struck: how often each fault did strike.
        writes: how many writes changed something.
        deliveries: how many records were delivered, redeliveries included.
        letters: how many letters the mappings wrote.
    """

    schedule: Schedule
    problems: tuple[str, ...]
    struck: dict[FaultKind, int]
    writes: int
    deliveries: int
    letters: int
    timeline: Timeline

    def __str__(self) -> str:
        made = self.schedule if self.schedule.seed is None else f"seed {self.schedule.seed}"
        return "\n".join((f"{made}", *self.problems, "", str(self.timeline)))


@dataclass
class Actor:
    """A consumer at work: its function, its weather, and a poller for each stream that it had."""

    consumer: Consumer
    handler: Handler
    weather: Weather
    note: Callable[[str], None]
    pollers: list[Poller] = field(default_factory=list)


class Simulation:
    """One run of a schedule.

    `consumers` is a function from the world to the consumers; by default the three sinks.
    """

    def __init__(
        self,
        schedule: Schedule,
        consumers: Callable[[World], Sequence[Consumer]] | None = None,
        *,
        timeline: bool = False,
    ) -> None:
        self.schedule = schedule
        self.world = World()
        self.timeline = Timeline(keep=timeline)
        self.table = SimulatedTable("items-1A2B", ("id",))
        self.struck: dict[FaultKind, int] = {}
        self.copies = Copies(self.world)
        self._log_stream = SimulatedStream(
            "change-log-3C4D", now=START, view_type="NEW_IMAGE", partitions=schedule.partitions
        )
        self.copies.log.stream = self._log_stream
        self.copies.log.written = self._poke
        found = self.copies.consumers() if consumers is None else consumers(self.world)
        self.actors = {consumer.name: self._employ(consumer) for consumer in found}

    def run(self) -> Result:
        """Run the schedule to its end, redrive the letters, and compare."""
        self._enable_stream(first_sequence_number=self.schedule.first_sequence_number)
        for actor in self.actors.values():
            if actor.consumer.feed == "log":
                self._follow(actor, self._log_stream)
        for operation in self.schedule.operations:
            self.world.at(START + operation.at, partial(self._write, operation))
        for fault in self.schedule.faults:
            if fault.processor in self.actors:
                self.world.at(START + fault.at, partial(self._strike, fault))
        self.world.run()
        self._redrive()
        return self._result()

    def _employ(self, consumer: Consumer) -> Actor:
        def note(event: str) -> None:
            self.timeline.note(self.world.now(), consumer.name, event)

        weather = Weather(self.world, note, struck=self.struck)
        return Actor(consumer, consumer.build(self.world, weather), weather, note)

    def _enable_stream(self, **options: Any) -> None:
        stream = self.table.enable_stream(
            self.world.now(), partitions=self.schedule.partitions, **options
        )
        self.timeline.note(self.world.now(), "table", f"has the stream {stream.label}")
        for actor in self.actors.values():
            if actor.consumer.feed == "table":
                self._follow(actor, stream)

    def _follow(self, actor: Actor, stream: SimulatedStream) -> None:
        schedule = self.schedule
        settings = {
            "UUID": f"{actor.consumer.name}-{len(actor.pollers)}",
            "EventSourceArn": stream.arn,
            "FunctionArn": f"arn:aws:lambda:us-east-1:000000000000:function:{actor.consumer.name}",
            "StartingPosition": "TRIM_HORIZON",
            "BatchSize": schedule.batch_size,
            "MaximumBatchingWindowInSeconds": schedule.window,
            "ParallelizationFactor": schedule.lanes,
            "BisectBatchOnFunctionError": schedule.bisect,
            "MaximumRetryAttempts": -1,
            "MaximumRecordAgeInSeconds": RECORD_AGE_SECONDS,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:s3:::letters"}},
        }
        poller = Poller(self.world, stream, actor.handler, actor.weather, settings, actor.note)
        actor.pollers.append(poller)

    def _write(self, operation: Operation) -> None:
        now = self.world.now()
        item = {
            "id": f"item-{operation.item}",
            "group": Decimal(operation.group),
            "amount": Decimal(operation.amount),
        }
        match operation.write:
            case Write.PUT:
                changed = self.table.put(item, now)
            case Write.SAME:
                held = self.table.items.get(self.table.key_of(item))
                changed = held is not None and self.table.put(dict(held), now)
            case Write.DELETE | Write.EXPIRE:
                expired = operation.write is Write.EXPIRE
                changed = self.table.delete(item, now, expired=expired)
        if changed:
            text = f"{operation.write} {item['id']}: {item['group']}, {item['amount']}"
            self.timeline.note(now, "table", text)
            self._poke()

    def _poke(self) -> None:
        """Let everybody who waits for records look again."""
        for actor in self.actors.values():
            for poller in actor.pollers:
                self.world.at(self.world.now(), poller.pump)

    def _strike(self, fault: Fault) -> None:
        actor = self.actors[fault.processor]
        now = self.world.now()
        self.timeline.note(now, fault.processor, f"FAULT: {fault.kind}")
        match fault.kind:
            case FaultKind.NEW_STREAM:
                self._enable_stream()
            case FaultKind.SPLIT | FaultKind.ROTATE:
                assert self.table.stream is not None
                change = self.table.stream.split if fault.kind is FaultKind.SPLIT else None
                (change or self.table.stream.rotate)()
            case FaultKind.DISABLED:
                for poller in actor.pollers:
                    poller.disable()
                    self.world.at(now + fault.seconds, poller.enable)
            case FaultKind.LOST_CHECKPOINT:
                if not any([poller.rewind() for poller in actor.pollers]):
                    return
            case FaultKind.STALE:
                if not self._deliver_again(actor):
                    return
            case FaultKind.REPAIR:
                if not self._repair(actor):
                    return
            case kind if kind in LASTING:
                actor.weather.lasting[kind] = now + fault.seconds
                return
            case kind:
                actor.weather.armed.append(kind)
                return
        self.struck[fault.kind] = self.struck.get(fault.kind, 0) + 1
        self._poke()

    def _deliver_again(self, actor: Actor) -> bool:
        """Invoke the function with an old batch, as a poller does that was believed dead."""
        for poller in actor.pollers:
            if poller.invocations:
                self.world.at(
                    self.world.now(), partial(self._zombie, poller, poller.invocations[0])
                )
                return True
        return False

    def _repair(self, actor: Actor) -> bool:
        """Repair every item, each while everything else goes on."""
        if actor.consumer.repair is None:
            return False
        for states in list(self.table.history.values()):
            item = next(filter(None, states))
            name, read = identity(self.table, item), partial(self._item, item)
            try:
                actor.consumer.repair(name, read, actor.weather)
            except (Exception, Killed) as error:
                actor.note(f"the repair failed, {error!r}")
        return bool(self.table.history)

    def _item(self, item: Image) -> Image | None:
        return self.table.items.get(self.table.key_of(item))

    def _zombie(self, poller: Poller, event: Any) -> None:
        try:
            poller.run(event)
        except (Exception, Killed) as error:
            poller.note(f"the old batch failed, {error!r}; nobody tries it again")

    def _redrive(self) -> None:
        """Deliver the letters, in any order, once the weather is fair."""
        rng = random.Random(self.schedule.seed)
        for actor in self.actors.values():
            actor.weather.armed.clear()
            actor.weather.lasting.clear()
        for actor in self.actors.values():
            letters = [letter for poller in actor.pollers for letter in poller.letters]
            for letter in rng.sample(letters, len(letters)):
                actor.note("a letter is redriven")
                answer = actor.pollers[-1].run(json.loads(letter["payload"]))
                assert not answer["batchItemFailures"], answer
                self.world.run()

    def _result(self) -> Result:
        problems = [
            f"{actor.consumer.name}: {problem}"
            for actor in self.actors.values()
            for problem in actor.consumer.problems(self.table)
        ]
        pollers = [poller for actor in self.actors.values() for poller in actor.pollers]
        return Result(
            schedule=self.schedule,
            problems=tuple(problems),
            struck=self.struck,
            writes=sum(map(len, self.table.history.values())),
            deliveries=sum(len(e["Records"]) for poller in pollers for e in poller.invocations),
            letters=sum(len(poller.letters) for poller in pollers),
            timeline=self.timeline,
        )
