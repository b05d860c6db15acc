"""A check that a consumer's copy converges to the table, for any sink and any Lambda function.

    def make(trial):
        copy = {}
        app.table = trial.faulty(copy)
        return app.handler, lambda: copy

    check_convergence(make)

`check_convergence` draws writes and faults, runs the function behind an event source mapping in
virtual time, and compares the copy with the table. It shows the shortest schedule that fails.
docs/how-to/check-your-consumer.md shows it at work.
"""

import contextlib
import io
import itertools
import json
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dynamodb_streams_cdc.change import Image
from dynamodb_streams_cdc.lambda_types import LambdaContext
from dynamodb_streams_cdc.processor import Processor
from dynamodb_streams_cdc.testing.differences import differences
from dynamodb_streams_cdc.testing.hints import Invocation, Story, hint
from dynamodb_streams_cdc.testing.lab import PASSED_OVER, SETTINGS
from dynamodb_streams_cdc.testing.simulation.faults import FaultInjector
from dynamodb_streams_cdc.testing.simulation.pipeline import Consumer
from dynamodb_streams_cdc.testing.simulation.poller import Event, Handler
from dynamodb_streams_cdc.testing.simulation.replay import as_data, from_data
from dynamodb_streams_cdc.testing.simulation.scene import TIMEOUT_SECONDS, Scene, item_of
from dynamodb_streams_cdc.testing.simulation.schedule import (
    UNASKED,
    FaultKind,
    Schedule,
    generate,
    generate_dead_letters,
)
from dynamodb_streams_cdc.testing.simulation.shrink import plainer, shrink, tidy
from dynamodb_streams_cdc.testing.simulation.simulation import Simulation
from dynamodb_streams_cdc.testing.simulation.table import SimulatedTable
from dynamodb_streams_cdc.testing.simulation.virtual_clock import EndlessRun, VirtualClock
from dynamodb_streams_cdc.testing.trial import Items, Made, Trial

ITEMS = 6
"""The most items in one schedule."""

MOST_RUNS = 600
"""Runs that are spent at most on making a failing schedule shorter."""

OTHERS = 40
"""Further schedules that may fail in fewer steps than the first that fails."""

SHORT = 4
"""Length of a schedule that needs no shorter one: two writes and a fault."""

FAULTS = tuple(kind for kind in UNASKED if kind is not FaultKind.REPAIR)
"""Every fault that a consumer can meet without an operator."""

NAME = "function"
"""Name of the function, and of a processor in it whose dead letters are to be redriven."""

_OF_THE_CHECK = frozenset({"EventSourceArn", "FunctionArn", "UUID"})


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


class Diverged(AssertionError):
    """A copy is wrong in the end.

    Attributes:
        seed: seed of the schedule that failed first; None for one that was replayed.
        number: how many schedules were run until then.
        problems: the differences, in words.
        hint: the likely mistake, if the run shows one; else empty.
        replay: the shortest schedule that fails, for `check_convergence(..., replay=...)`.
        timeline: its events, as text.
    """

    def __init__(self, story: Story, *, number: int, of: int, seed: int | None) -> None:
        self.seed = seed
        self.number = number
        self.problems = story.problems
        self.hint = hint(story)
        self.replay = as_data(story.schedule)
        self.timeline = str(story.timeline)
        super().__init__("\n".join(self._lines(story, of)))

    def _lines(self, story: Story, of: int) -> Iterator[str]:
        schedule = story.schedule
        if self.seed is None:
            yield "The copy is wrong after the replayed schedule"
        else:
            yield f"The copy is wrong after schedule {self.number} of {of} (seed={self.seed})"
        yield ""
        writes = _counted(len(schedule.operations), "write")
        faults = _counted(len(schedule.faults), "fault")
        yield f"The shortest schedule that still fails: {writes}, {faults}, {story.mapping}"
        yield ""
        yield self.timeline
        yield ""
        yield "In the end:"
        yield from (f"  {problem}" for problem in self.problems)
        if self.hint:
            yield ""
            yield f"Hint: {self.hint}"
        yield ""
        yield f"To run it again: replay={self.replay}"


def _counted(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def check_convergence(
    make: Callable[[Trial], Made],
    *,
    wanted: Callable[[Items], Any] | None = None,
    compare: Callable[[Any, Items], Iterable[str]] | None = None,
    item: Callable[[int, int, int], Image] = item_of,
    keys: Sequence[str] | Mapping[str, str] = ("id",),
    poison: Callable[[Image], Image] | None = None,
    faults: Collection[FaultKind | str] = FAULTS,
    schedules: int = 200,
    seed: int = 0,
    replay: Mapping[str, Any] | None = None,
    view_type: str = "NEW_AND_OLD_IMAGES",
    timeout: float = TIMEOUT_SECONDS,
    **settings: Any,
) -> Report:
    """Run a consumer through schedules of writes and faults, and compare its copy with the table.

    Args:
        make: called for each schedule with a `Trial`. Returns the function, `handler(event,
            context)`, and a function without arguments that reads the copy. Both begin empty.
        wanted: returns from the table's `Items` what the copy must be equal to. Default: the items
            by key.
        compare: returns from copy and `Items` what is wrong, in words, in place of `wanted`.
        item: makes an item from its number (0 to 5), a group (0 to 2) and an amount (1 to 99). The
            number alone decides the keys.
        keys: names of the table's key attributes, or their types by name.
        poison: makes of an item one that the function cannot take. A third of the puts are then
            poisoned, and in the end each such item is written without poison.
        faults: kinds of faults that may occur; empty for none.
        schedules: how many schedules to run.
        seed: of the first schedule; the others count up from it.
        replay: runs this schedule alone, as a failed check printed it.
        view_type: of the stream.
        timeout: of the function, in seconds.
        **settings: of the mapping, under the names and with the defaults of
            `ListEventSourceMappings`. Those that you leave out vary: BatchSize,
            MaximumBatchingWindowInSeconds, ParallelizationFactor, BisectBatchOnFunctionError.
            Dead letters go to a bucket after 20 hours, and are redriven in the end.

    Raises:
        Diverged: a copy is wrong in the end; the message shows the shortest schedule.
        ValueError: the arguments cannot show anything.
        TypeError: a setting that does not exist.
    """
    __tracebackhide__ = True
    if unknown := sorted(settings.keys() - SETTINGS - PASSED_OVER):
        message = f"no setting {', '.join(unknown)}; there are {', '.join(sorted(SETTINGS))}"
        raise TypeError(message)
    if schedules < 1:
        message = f"schedules must be 1 or more, got {schedules}"
        raise ValueError(message)
    if wanted is not None and compare is not None:
        message = "give wanted or compare, not both: each says what the copy must be"
        raise ValueError(message)
    _check_items(item, tuple(keys))
    mapping = {
        name: value
        for name, value in settings.items()
        if name not in PASSED_OVER and name not in _OF_THE_CHECK
    }
    scene = Scene(
        item=item,
        keys=keys,
        view_type=view_type,
        settings={"FunctionResponseTypes": [], **mapping},
        timeout=timeout,
        **({} if poison is None else {"poisoned": poison}),
    )
    kinds = {FaultKind(kind) for kind in faults}
    check = _Check(make, wanted or Items.by_key, compare, scene, kinds)
    if replay is not None:
        story = check.run(from_data(replay), timeline=True)
        if story.problems:
            raise Diverged(story, number=1, of=1, seed=None)
        return check.report
    draw = generate if poison is None else generate_dead_letters
    drawn = (_with(draw(each), kinds) for each in range(seed, seed + schedules))
    for number, schedule in enumerate(drawn, 1):
        if check.fails(schedule):
            shortest = check.shortest([schedule, *itertools.islice(drawn, OTHERS)])
            story = check.run(shortest, timeline=True)
            raise Diverged(story, number=number, of=schedules, seed=schedule.seed)
    check.complain_if_idle()
    return check.report


def _check_items(item: Callable[[int, int, int], Image], keys: tuple[str, ...]) -> None:
    seen: dict[tuple[Any, ...], int] = {}
    for number in range(ITEMS):
        found = [item(number, group, amount) for group, amount in ((0, 1), (2, 99))]
        if missing := [name for name in keys if any(name not in each for each in found)]:
            message = f"item({number}, ...) has no key {', '.join(missing)}: name the keys in keys="
            raise ValueError(message)
        first, second = (tuple(each[name] for name in keys) for each in found)
        if first != second:
            message = f"item({number}, ...) has two keys, {first} and {second}: make one by number"
            raise ValueError(message)
        if first in seen:
            message = f"items {seen[first]} and {number} have the same key {first}: make it differ"
            raise ValueError(message)
        seen[first] = number


def _with(schedule: Schedule, kinds: Collection[FaultKind]) -> Schedule:
    """Return the schedule with faults of these kinds alone, of one function."""
    faults = (replace(each, processor=0) for each in schedule.faults if each.kind in kinds)
    return replace(schedule, faults=tuple(faults))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide what the function prints and logs: it runs hundreds of times."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    nowhere = io.StringIO()
    try:
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            yield
    finally:
        logging.disable(disabled)


@dataclass
class _Check:
    """Runs schedules of one consumer."""

    make: Callable[[Trial], Made]
    wanted: Callable[[Items], Any]
    compare: Callable[[Any, Items], Iterable[str]] | None
    scene: Scene
    kinds: Collection[FaultKind]
    report: Report = field(default_factory=Report)
    implied: set[str] = field(default_factory=set)

    def run(
        self, schedule: Schedule, scene: Scene | None = None, *, timeline: bool = False
    ) -> Story:
        """Run a schedule; return what happened and what is wrong."""
        scene = scene or self.scene
        run = _Run(self)
        simulation = Simulation(schedule, run.consumers, scene=scene, timeline=timeline)
        run.join(simulation)
        try:
            result = simulation.run()
        except EndlessRun as error:
            problems: tuple[str, ...] = (str(error),)
            lost = 0
        else:
            lost, left = result.lost, result.problems[len(run.problems) :]
            problems = (*run.problems, *left)
            self._count(result.writes, result.deliveries, result.dead_letters, result.struck)
        finally:
            run.close()
        return Story(
            schedule=schedule,
            scene=scene,
            problems=problems,
            timeline=simulation.timeline,
            invocations=run.invocations,
            lost=lost,
            wanted=run.wanted,
            copy=run.copy,
            run=self.tell,
        )

    def tell(self, schedule: Schedule, scene: Scene | None = None, /) -> Story:
        """Run a schedule with its timeline, and nothing printed."""
        with _quiet():
            return self.run(schedule, scene, timeline=True)

    def fails(self, schedule: Schedule) -> bool:
        """Whether the copy is wrong after a schedule."""
        with _quiet():
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

    def complain_if_idle(self) -> None:
        """Raise if no schedule could have failed.

        Raises:
            ValueError: the function was never invoked, or its copy is to be the same in all cases.
        """
        if not self.report.deliveries:
            message = "no schedule invoked the function: the filters of the mapping let nothing by"
            raise ValueError(message)
        if self.compare is None and len(self.implied) == 1 and self.report.schedules > 1:
            [value] = self.implied
            message = f"wanted(items) is {value} after every schedule: the check shows nothing"
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


def _functions(made: Any) -> Made:
    """Return what `make` returned, if that is two functions.

    Raises:
        TypeError: it is something else.
    """
    match made:
        case (handler, read) if callable(handler) and callable(read):
            return handler, read
    message = f"make(trial) returns two functions, handler and read; got {made!r:.80}"
    raise TypeError(message)


class _Run:
    """The consumer of one run."""

    def __init__(self, check: _Check) -> None:
        self.check = check
        self.problems: tuple[str, ...] = ()
        self.wanted: Any = None
        self.copy: Any = None
        self.invocations: list[Invocation] = []
        self._trial: Trial | None = None
        self._read: Callable[[], Any] | None = None
        self._handler: Handler | None = None

    def consumers(self, virtual_clock: VirtualClock) -> Sequence[Consumer]:
        return [Consumer(NAME, self._build, self._problems)]

    def join(self, simulation: Simulation) -> None:
        """Let the simulation redrive the function's own dead letters, if it writes any."""
        assert self._trial is not None
        [actor] = simulation.actors
        name = self._handler.name if isinstance(self._handler, Processor) else NAME
        actor.consumer = replace(actor.consumer, name=name, dead_letters=self._trial.store)

    def close(self) -> None:
        if self._trial is not None:
            self._trial.close()

    def _build(self, virtual_clock: VirtualClock, faults: FaultInjector) -> Handler:
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
            self.problems = tuple(self.check.compare(self.copy, items))
        else:
            self.wanted = self.check.wanted(items)
            self.check.implied.add(repr(self.wanted)[:200])
            self.problems = tuple(differences(self.copy, self.wanted))
        return self.problems
