"""The runs of a check: each of one schedule, with the function made afresh."""

import contextlib
import io
import json
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dynamodb_streams_cdc.esm import Result
from dynamodb_streams_cdc.lambda_types import LambdaContext
from dynamodb_streams_cdc.processor import Processor
from dynamodb_streams_cdc.testing.differences import differences
from dynamodb_streams_cdc.testing.hints import Invocation, Story
from dynamodb_streams_cdc.testing.simulation.delivery import Delivery
from dynamodb_streams_cdc.testing.simulation.faults import FaultInjector
from dynamodb_streams_cdc.testing.simulation.pipeline import Consumer
from dynamodb_streams_cdc.testing.simulation.poller import Event, Handler
from dynamodb_streams_cdc.testing.simulation.scene import Scene
from dynamodb_streams_cdc.testing.simulation.schedule import (
    FaultKind,
    Schedule,
)
from dynamodb_streams_cdc.testing.simulation.shrink import plainer, shrink, tidy
from dynamodb_streams_cdc.testing.simulation.simulation import Simulation
from dynamodb_streams_cdc.testing.simulation.table import SimulatedTable
from dynamodb_streams_cdc.testing.simulation.virtual_clock import EndlessRun, VirtualClock
from dynamodb_streams_cdc.testing.trial import Items, Made, Trial

MOST_RUNS = 300
"""Runs that are spent at most on making a failing schedule shorter."""

SHORT = 4
"""Length of a schedule that needs no shorter one: two writes and a fault."""

IN_PORTS = frozenset(
    {
        FaultKind.CRASH_AFTER,
        FaultKind.CRASH_BEFORE,
        FaultKind.FAILING,
        FaultKind.LOST_ANSWER,
        FaultKind.OUTAGE,
        FaultKind.SLOW,
        FaultKind.TIMEOUT,
    }
)
"""Faults that strike in calls of a port."""

NAME = "function"
"""Name of the function, and of a processor in it whose dead letters are to be redriven."""


REMEMBERS = (
    "a schedule fails in one run and passes in another: the function remembers something between "
    "runs, in a global of its module, say. Let make(trial) make function, store and that state "
    "afresh"
)
"""Message on state that is left from earlier runs."""


@dataclass(frozen=True)
class Report:
    """Result of a check that found nothing.

    Attributes:
        schedules: how many were run.
        writes, deliveries, dead_letters: how many there were in all.
        struck: in how many schedules each fault occurred.
    """

    schedules: int = 0
    writes: int = 0
    deliveries: int = 0
    dead_letters: int = 0
    struck: Counter[FaultKind] = field(default_factory=Counter)


@dataclass
class Check:
    """Runs schedules of one consumer."""

    make: Callable[[Trial], Made]
    wanted: Callable[[Items], Any]
    compare: Callable[[Any, Items], Iterable[str]] | None
    scene: Scene
    kinds: Collection[FaultKind]
    report: Report = field(default_factory=Report)
    implied: set[str] = field(default_factory=set)
    succeeded: bool = False
    error: Exception | None = None
    ports: set[bool] = field(default_factory=set)

    def run(
        self,
        schedule: Schedule,
        scene: Scene | None = None,
        *,
        timeline: bool = False,
        watch: Callable[[Simulation], None] = lambda _simulation: None,
    ) -> Story:
        """Run a schedule; return its events and its problems. `watch` gets the simulation first."""
        scene = scene or self.scene
        run = _Run(self)
        simulation = Simulation(schedule, run.consumers, scene=scene, timeline=timeline)
        run.join(simulation)
        watch(simulation)
        try:
            result = simulation.run()
        except EndlessRun as error:
            problems: tuple[str, ...] = (str(error),)
            lost = 0
        else:
            lost, left = result.lost, result.problems[len(run.problems) :]
            problems = (*run.problems, *left)
            self._count(result.writes, result.deliveries, result.dead_letters, result.struck)
            for delivery in _deliveries(simulation):
                self.succeeded = self.succeeded or delivery.result is Result.SUCCESS
                self.error = delivery.error if isinstance(delivery.error, Exception) else self.error
            self.ports |= run.ports()
        finally:
            run.close()
        return Story(
            schedule=schedule,
            scene=scene,
            problems=problems,
            timeline=simulation.timeline,
            invocations=run.invocations,
            lost=lost,
            pointed_to=_pointed_to(simulation),
            wanted=run.wanted,
            copy=run.copy,
            run=self.tell,
        )

    def tell(self, schedule: Schedule, scene: Scene | None = None, /) -> Story:
        """Run a schedule with its timeline, and nothing printed."""
        with quiet():
            return self.run(schedule, scene, timeline=True)

    def fails(self, schedule: Schedule) -> bool:
        """Whether the copy is wrong after a schedule."""
        with quiet():
            return bool(self.run(schedule).problems)

    def shortest(self, schedules: Sequence[Schedule]) -> Schedule:
        """Return a schedule that fails and has nothing in it that its failure does not need.

        The first schedule fails; if much is left of it, others that fail may tell more with less.
        """
        left = MOST_RUNS

        def fails(schedule: Schedule) -> bool:
            nonlocal left
            left -= 1
            return left >= 0 and self.fails(schedule)

        found: list[Schedule] = []
        for number, schedule in enumerate(schedules):
            if number == 0 or fails(schedule):
                shrunk = plainer(shrink(schedule, fails), fails, self.kinds)
                found.append(tidy(shrink(shrunk, fails), fails))
                if _length(found[-1]) <= SHORT:
                    break
        return min(found, key=_length)

    def complain_unless_fresh(self) -> None:
        """Raise if the copy is wrong before anything is written.

        Raises:
            ValueError: the copy does not begin as the table does, which is empty.
        """
        if problems := replace(self, report=Report()).run(Schedule(operations=())).problems:
            message = (
                f"the copy is wrong before the first write: {problems[0]}. Let make(trial) make "
                "function and store afresh"
            )
            raise ValueError(message)

    def complain_unless_it_passes(self, schedule: Schedule) -> None:
        """Raise if a schedule fails that passed before.

        Raises:
            ValueError: the result depends on earlier runs.
        """
        if self.fails(schedule):
            raise ValueError(REMEMBERS)

    def complain_if_idle(self) -> None:
        """Raise if no schedule could have failed.

        Raises:
            ValueError: the function was never invoked, never succeeded or never called its port,
                or its copy is to be the same in all cases.
        """
        if not self.report.deliveries:
            message = "no schedule invoked the function: the filters of the mapping let nothing by"
            raise ValueError(message)
        if not self.succeeded:
            cause = "returns" if self.error is None else f"raises: {self.error!r:.200}"
            message = (
                "no invocation succeeded, although the copy is right: AWS retries every record "
                f"until it gives it up. Correct what the function {cause}"
            )
            raise ValueError(message)
        if self.compare is None and len(self.implied) == 1 and self.report.schedules > 1:
            [value] = self.implied
            message = f"wanted(items) is {value:.200} after every schedule: the check shows nothing"
            raise ValueError(message)
        if self.ports == {False} and not IN_PORTS.isdisjoint(self.kinds):
            message = (
                "the function never called what trial.faulty returned, so no call could fail: give "
                "the function that port in place of the object itself"
            )
            raise ValueError(message)

    def _count(
        self, writes: int, deliveries: int, dead_letters: int, struck: Mapping[FaultKind, int]
    ) -> None:
        self.report = replace(
            self.report,
            schedules=self.report.schedules + 1,
            writes=self.report.writes + writes,
            deliveries=self.report.deliveries + deliveries,
            dead_letters=self.report.dead_letters + dead_letters,
            struck=self.report.struck + Counter(struck.keys()),
        )


def _length(schedule: Schedule) -> int:
    """Return how much there is to read: a write, or two for a fault."""
    return len(schedule.operations) + len(schedule.later) + 2 * len(schedule.faults)


def _pointed_to(simulation: Simulation) -> int:
    """Return how many records were given up to a destination that does not hold them."""
    pollers = [poller for actor in simulation.actors for poller in actor.pollers]
    dead_letters = [each for poller in pollers for each in poller.dead_letters]
    return sum(len(each.records) for each in dead_letters if each.key is None)


def _deliveries(simulation: Simulation) -> Iterator[Delivery]:
    """Yield the invocations by the mapping."""
    for actor in simulation.actors:
        for poller in actor.pollers:
            yield from poller.deliveries


def _functions(made: Any) -> Made:
    """Return the result of `make`, if that is two functions.

    Raises:
        TypeError: it is something else.
    """
    match made:
        case (handler, read) if callable(handler) and callable(read):
            return handler, read
    message = f"make(trial) returns two functions, handler and read; got {made!r:.80}"
    raise TypeError(message)


def _in_words(problems: Any) -> tuple[str, ...]:
    """Return the problems that `compare` found.

    Raises:
        TypeError: it returned something else.
    """
    if isinstance(problems, str) or not isinstance(problems, Iterable):
        message = (
            f"compare(copy, items) returned {problems!r:.80}: return a list of problems, each a "
            "sentence, and an empty list if the copy is right"
        )
        raise TypeError(message)
    return tuple(problems)


class _Run:
    """The consumer of one run."""

    def __init__(self, check: Check) -> None:
        self.check = check
        self.problems: tuple[str, ...] = ()
        self.wanted: Any = None
        self.copy: Any = None
        self.invocations: list[Invocation] = []
        self._trial: Trial | None = None
        self._read: Callable[[], Any] | None = None
        self._handler: Handler | None = None
        self._invoked: Handler | None = None

    def consumers(self, virtual_clock: VirtualClock) -> Sequence[Consumer]:
        return [Consumer(NAME, self._build, self._problems)]

    def join(self, simulation: Simulation) -> None:
        """Let the simulation redrive the function's own dead letters, if it writes any."""
        assert self._trial is not None
        [actor] = simulation.actors
        name = self._handler.name if isinstance(self._handler, Processor) else NAME
        actor.consumer = replace(actor.consumer, name=name, dead_letters=self._trial.store)

    def ports(self) -> set[bool]:
        """Return whether the function called a port; nothing if it has none."""
        assert self._trial is not None
        return {bool(self._trial.faults.called)} if self._trial.has_port else set()

    def close(self) -> None:
        if self._trial is not None:
            self._trial.close()

    def _build(self, virtual_clock: VirtualClock, faults: FaultInjector) -> Handler:
        """Return the function, which stands for each of its execution environments."""
        if self._invoked is None:
            self._invoked = self._made(virtual_clock, faults)
        return self._invoked

    def _made(self, virtual_clock: VirtualClock, faults: FaultInjector) -> Handler:
        assert faults.source_table is not None
        self._trial = Trial(virtual_clock, faults.source_table, faults)
        made = self.check.make(self._trial)
        handler, self._read = _functions(made)
        self._handler = handler

        def handle(event: Event, context: LambdaContext) -> Any:
            seen = Invocation(virtual_clock.now(), event["Records"])
            self.invocations.append(seen)
            try:
                seen.answer = handler(json.loads(json.dumps(event)), context)
            except BaseException as error:
                seen.error = error
                raise
            return seen.answer

        return handle

    def _problems(self, table: SimulatedTable) -> Iterable[str]:
        assert self._read is not None
        items = Items(table)
        self.copy = self._read()
        if self.check.compare is not None:
            self.problems = _in_words(self.check.compare(self.copy, items))
        else:
            self.wanted = self.check.wanted(items)
            self.check.implied.add(repr(self.wanted))
            self.problems = tuple(differences(self.copy, self.wanted))
        return self.problems


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide prints and logs of the function, which runs hundreds of times."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    nowhere = io.StringIO()
    try:
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            yield
    finally:
        logging.disable(disabled)
