"""A rebuild of the sums in virtual time: the operator's code, among live changes and faults.

A seed makes a schedule and an operator's story: begin some time during the writes, die now and then
and begin again, switch, and perhaps go back, go on, finish, rebuild once more. In some stories
expiries are kept; in others the domain's function is another one than the stored contributions were
made with, and ledger rows are lost; in others there is poison, with redrives and purges.
"""

import json
import random
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

from dynamodb_streams_cdc import (
    Aggregation,
    Change,
    Contribution,
    Deadline,
    Expiry,
    Image,
    PermanentError,
    Processor,
)
from dynamodb_streams_cdc.control.functions import InvocationFailed
from dynamodb_streams_cdc.operations import walk
from dynamodb_streams_cdc.operations.errors import OperationError
from dynamodb_streams_cdc.operations.jobs import Job
from dynamodb_streams_cdc.operations.rebuild_aggregation import RebuildAggregation, RebuildReport
from dynamodb_streams_cdc.sinks.base import TOMBSTONE_SECONDS
from dynamodb_streams_cdc.sinks.contributions import add
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetterStore, MemoryLedger
from dynamodb_streams_cdc.testing.simulation import (
    Consumer,
    FaultKind,
    Schedule,
    Simulation,
    VirtualClock,
    generate,
    generate_dead_letters,
)
from dynamodb_streams_cdc.testing.simulation.faults import FaultInjector
from dynamodb_streams_cdc.testing.simulation.faulty import faulty
from dynamodb_streams_cdc.testing.simulation.pipeline import SOURCE, identity
from dynamodb_streams_cdc.testing.simulation.poller import Handler
from dynamodb_streams_cdc.testing.simulation.process import ProcessKilled
from dynamodb_streams_cdc.testing.simulation.scene import POISON, Scene
from dynamodb_streams_cdc.testing.simulation.schedule import HOUR, Write
from dynamodb_streams_cdc.testing.simulation.table import SimulatedTable
from dynamodb_streams_cdc.testing.simulation.virtual_clock import START

SPAN = 400.0
"""Seconds over which the writes of a schedule are spread."""

UNSAFE_WITH_LOST_ROWS = {FaultKind.STALE, FaultKind.REDRIVE}
"""An old batch alone, after a row was lost, is newer than anything that the ledger knows."""

DIES = 0.03
"""Part of the operator's requests before or after which its process dies."""


class InlineExecutor(ThreadPoolExecutor):
    """Does what is submitted at once: in virtual time one thing happens at a time."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **options))
        except BaseException as error:
            future.set_exception(error)
        return future


class OperatorDied(BaseException):
    """The operator's process was killed."""


@dataclass
class Story:
    """One run.

    Attributes:
        told: what happened, for the test to count.
        factor: of what an item adds; the domain's function of some stories changes.
    """

    seed: int
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    rebuild: type[RebuildAggregation] = RebuildAggregation
    told: list[str] = field(default_factory=list)
    factor: int = 1

    def __post_init__(self) -> None:
        self.rng = random.Random(f"rebuild {self.seed}")
        self.expiry = Expiry.KEEP if self.seed % 4 == 1 else Expiry.DROP
        self.repairs_damage = self.seed % 4 == 2
        self.schedule = self._schedule()
        self.dead_letters = MemoryDeadLetterStore()
        self.simulation = Simulation(self.schedule, self._consumers, scene=Scene(timeout=60.0))
        self.begins = self.rng.uniform(0.0, 0.9 * SPAN)

    def run(self) -> list[str]:
        """Run the story; return what is wrong in the end."""
        clock = self.simulation.virtual_clock
        if self.repairs_damage:
            clock.at(START + self.rng.uniform(self.begins / 2, self.begins), self._damage)
        clock.at(START + self.begins, self._operate)
        with patch.object(walk, "ThreadPoolExecutor", InlineExecutor):
            self.simulation.run()
        return list(self._problems())

    def _schedule(self) -> Schedule:
        draw = generate_dead_letters if self.seed % 4 == 3 else generate
        schedule = draw(self.seed)
        stretch = SPAN / max(1.0, schedule.operations[-1].at)
        unsafe = UNSAFE_WITH_LOST_ROWS if self.repairs_damage else set()
        return replace(
            schedule,
            operations=tuple(replace(o, at=o.at * stretch) for o in schedule.operations),
            faults=tuple(
                replace(f, at=f.at * stretch) for f in schedule.faults if f.kind not in unsafe
            ),
        )

    # The pipeline

    def _consumers(self, virtual_clock: VirtualClock) -> list[Consumer]:
        def repair(
            item_id: str, read_item: Callable[[], Image | None], faults: FaultInjector
        ) -> object:
            deadline = Deadline(virtual_clock, virtual_clock.now() + 10)
            return self._sink(faults).repair(item_id, read_item, deadline)

        def purge(faults: FaultInjector) -> int:
            return self._sink(faults).purge(TOMBSTONE_SECONDS, Deadline(virtual_clock))

        return [
            Consumer(
                "aggregation",
                self._build,
                lambda table: (),
                repair=repair,
                dead_letters=self.dead_letters,
                purge=purge,
            )
        ]

    def _sink(self, faults: FaultInjector) -> Aggregation:
        return Aggregation(faulty(self.ledger, faults), self.contributions, self.expiry)

    def _build(self, virtual_clock: VirtualClock, faults: FaultInjector) -> Handler:
        return Processor(
            "aggregation",
            SOURCE,
            self._sink(faults),
            self.dead_letters,
            read=Change.from_record,
            clock=virtual_clock,
            source_table=faults.source_table,
        )

    def contributions(self, image: Image) -> Contribution:
        if POISON in image:
            self.told.append("poison")
            message = "poison"
            raise PermanentError(message)
        amount = image["amount"] * self.factor
        return {f"group#{image['group']}": {"count": 1, "amount": amount}}

    def _damage(self) -> None:
        """Deploy another function of the domain, and lose the ledger rows of some items."""
        self.factor = 3
        there = [identity(self.table, item) for item in self.table.items.values()]
        for name in there:
            row = self.ledger.rows.get(name)
            if row is not None and not row.deleted and self.rng.random() < 0.4:
                del self.ledger.rows[name]
                self.told.append("row lost")

    @property
    def table(self) -> SimulatedTable:
        return self.simulation.table

    # The operator

    def invoke(self, processor: str, event: Mapping[str, Any]) -> Any:
        """Invoke the function, as the Lambda API does."""
        if self.rng.random() < DIES:
            raise OperatorDied
        poller = self.simulation.actors[0].pollers[-1]
        try:
            answer = json.loads(json.dumps(poller.run(json.loads(json.dumps(event)))))
        except (Exception, ProcessKilled) as error:
            raise InvocationFailed(repr(error)) from error
        if self.rng.random() < DIES:
            raise OperatorDied
        return answer

    def _operate(self) -> None:
        self._until_done("built", lambda work: work.run(self._job))
        for choice in self.rng.choices(
            ["back", "again", "finish", "wait"], k=self.rng.randint(0, 3)
        ):
            if self.repairs_damage and choice == "back":
                continue
            self.simulation.virtual_clock.sleep(self.rng.uniform(0.0, 120.0))
            match choice:
                case "back":
                    self._until_done(choice, lambda work: work.roll_back())
                case "again":
                    self._until_done(choice, lambda work: work.run(self._job))
                case "finish":
                    self._until_done(
                        choice, lambda work: work.finish(work.state()["live"], self._job)
                    )

    def _until_done(self, name: str, do: Callable[[RebuildAggregation], RebuildReport]) -> None:
        for attempt in range(60):
            clock = self.simulation.virtual_clock
            assert self.table.stream is not None
            arn = f"arn:aws:dynamodb:us-east-1:0:table/items-1A2B/stream/{self.table.stream.label}"
            work = self.rebuild(
                self, "aggregation", arn, {"id": "S"}, segments=2, workers=1, clock=clock
            )
            try:
                report = do(work)
            except OperatorDied:
                self.told.append("operator died")
            except OperationError as error:
                if "did not do the step" not in str(error):
                    self.told.append("refused")
                    return
            else:
                assert not report.off, (self.seed, report)
                if report.complete:
                    self.told.append(name)
                    return
            clock.sleep(self.rng.uniform(0.0, min(2 * HOUR, 20.0 * 1.5**attempt)))
        message = f"seed {self.seed}: the operator gave up"
        raise AssertionError(message)

    def _job(self, generation: int) -> Job:
        return Job(f"story-{self.seed}-{generation}", {"generation": generation})

    # The end

    def _problems(self) -> Iterator[str]:
        wanted = add(map(self.contributions, [*self.table.items.values(), *self._expired()]))
        held = self.ledger.state
        there = {held.base, held.base if held.built is None else held.built}
        for generation in sorted({held.live} if self.repairs_damage else there):
            found = self.ledger.sums_of(generation)
            if found != wanted:
                yield f"generation {generation}: {found}, not {wanted}; {held}"
        if held.dropped is None:
            for number in set(range(held.last + 1)) - there:
                if self.ledger.sums_of(number):
                    yield f"generation {number} is still there; {held}"

    def _expired(self) -> Iterator[Image]:
        """Yield the last states of the items that expired, and are kept."""
        if self.expiry is Expiry.DROP:
            return
        there: dict[int, Image] = {}
        kept: dict[int, Image] = {}
        for operation in self.schedule.operations:
            number = operation.item
            match operation.write:
                case Write.PUT:
                    kept.pop(number, None)
                    there[number] = self.simulation.scene.item(
                        number, operation.group, operation.amount
                    )
                case Write.DELETE:
                    there.pop(number, None)
                case Write.EXPIRE if number in there:
                    kept[number] = there.pop(number)
        yield from kept.values()
