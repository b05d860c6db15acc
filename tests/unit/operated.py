"""A table, its three copies and their functions in memory, for what an operator does."""

import json
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dynamodb_streams_cdc.change import Image
from dynamodb_streams_cdc.control.functions import InvocationFailed
from dynamodb_streams_cdc.operations.backfill import Backfill
from dynamodb_streams_cdc.operations.jobs import Job
from dynamodb_streams_cdc.operations.repair_differences import (
    DifferencesReport,
    RepairDifferences,
)
from dynamodb_streams_cdc.operations.verify import Verify
from dynamodb_streams_cdc.processor import Processor
from dynamodb_streams_cdc.testing.simulation import FaultInjector, VirtualClock
from dynamodb_streams_cdc.testing.simulation.operator import SimulatedSourceTable
from dynamodb_streams_cdc.testing.simulation.pipeline import PipelineUnderTest, identity
from dynamodb_streams_cdc.testing.simulation.scene import Scene
from tests.factories import FakeContext

if TYPE_CHECKING:
    from dynamodb_streams_cdc.testing.simulation.poller import Handler

SINKS = {name: name for name in ("aggregation", "audit", "search")}


@dataclass
class Operated:
    """The pipeline of the simulation, with a table that is written before any function runs.

    Attributes:
        fails: processors whose functions do not answer.
        before: called with processor and event before each invocation, in which it may raise.
        after: called with processor, event and answer; returns the answer.
        invocations: what the functions were asked, with the processor.
        seconds: time that each invocation has.
    """

    items: int
    clock: VirtualClock = field(default_factory=VirtualClock)
    fails: set[str] = field(default_factory=set)
    before: Callable[[str, Mapping[str, Any]], object] = lambda processor, event: None
    after: Callable[[str, Mapping[str, Any], Any], Any] = lambda processor, event, answer: answer
    invocations: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    seconds: float = 1e6

    def __post_init__(self) -> None:
        scene = Scene()
        self.table = scene.table()
        for number in range(self.items):
            self.table.put(scene.item(number, number % 7, number % 50 + 1), self.clock.now())
        self.table.enable_stream(self.clock.now(), view_type="NEW_AND_OLD_IMAGES")
        self.copies = PipelineUnderTest(self.clock)
        source = SimulatedSourceTable(self.clock, self.table, random.Random(1))
        faults = FaultInjector(self.clock, lambda event: None, source_table=source)
        self.handlers: dict[str, Handler] = {
            each.name: each.build(self.clock, faults) for each in self.copies.consumers()
        }

    def invoke(self, processor: str, event: Mapping[str, Any]) -> Any:
        """Invoke a function, with JSON in between as there is."""
        self.before(processor, event)
        self.invocations.append((processor, event))
        if processor in self.fails:
            message = f"{processor} is out"
            raise InvocationFailed(message, outage=True)
        handler = self.handlers[processor]
        assert isinstance(handler, Processor)
        answer = handler(json.loads(json.dumps(event)), FakeContext(self.clock, self.seconds))
        return self.after(processor, event, json.loads(json.dumps(answer)))

    @property
    def arn(self) -> str:
        assert self.table.stream is not None
        return self.table.stream.arn

    def item(self, number: int) -> Image:
        return self.table.items[self.table.key_of({"id": f"item-{number}"})]

    def id(self, number: int) -> str:
        return identity(self.table, {"id": f"item-{number}"})

    def backfill(self, name: str = "fill", **options: Any) -> Backfill:
        """Return a backfill of aggregation, audit and search."""
        job = Job(name, {"command": "backfill"})
        work = Backfill(self, self.arn, {"id": "S"}, [*SINKS], job, clock=self.clock, **options)
        work.workers = 1  # virtual time is one thread's
        return work

    def verify(self, name: str = "verify", **options: Any) -> Verify:
        """Return a verification of everything."""
        job = Job(name, {"command": "verify"})
        work = Verify(self, {"id": "S"}, SINKS, job, clock=self.clock, **options)
        work.workers = 1
        return work

    def repair(self, differences: Iterable[Mapping[str, Any]]) -> DifferencesReport:
        sinks = ({**each, "sink": each["processor"]} for each in differences)
        return RepairDifferences(self, self.arn, {"id": "S"}, SINKS).run(sinks)

    def wrong(self) -> list[str]:
        """Return what is wrong with the copies, by a judge of its own."""
        return [
            *self.copies.wrong_sums(self.table),
            *self.copies.wrong_documents(self.table),
            *self.copies.wrong_histories(self.table),
        ]
