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

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dynamodb_streams_cdc.change import Image
from dynamodb_streams_cdc.testing.check import REMEMBERS, Check, Report
from dynamodb_streams_cdc.testing.hints import Story, hint
from dynamodb_streams_cdc.testing.lab import PASSED_OVER, SETTINGS, check_timeout
from dynamodb_streams_cdc.testing.simulation.replay import as_data, from_data
from dynamodb_streams_cdc.testing.simulation.scene import TIMEOUT_SECONDS, Scene, item_of
from dynamodb_streams_cdc.testing.simulation.schedule import (
    UNASKED,
    FaultKind,
    Schedule,
    generate,
    generate_dead_letters,
)
from dynamodb_streams_cdc.testing.trial import Items, Made, Trial

ITEMS = 6
"""The most items in one schedule."""

OTHERS = 40
"""Further schedules that may fail in fewer steps than the first that fails."""

FAULTS = tuple(kind for kind in UNASKED if kind is not FaultKind.REPAIR)
"""Every fault that a consumer can meet without an operator."""

_OF_THE_CHECK = frozenset({"FunctionArn", "StartingPosition", "UUID"})
"""Settings that are the check's: the mapping is there before the first write."""


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
            All invocations share the one handler, those at the same time too: what it keeps in
            memory survives crashes, and no ParallelizationFactor separates two environments.
        wanted: returns from the table's `Items` the value that the copy must equal. Default: the
            items by key.
        compare: returns the problems of a copy, in words, from copy and `Items`; in place of
            `wanted`.
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
            MaximumBatchingWindowInSeconds, ParallelizationFactor (1 with tumbling windows),
            BisectBatchOnFunctionError.
            The mapping reads the stream from its start. After 20 hours dead letters go to a bucket;
            they are redriven in the end.

    Raises:
        Diverged: a copy is wrong in the end; the message shows the shortest schedule.
        ValueError: the arguments cannot show anything.
        TypeError: a setting that does not exist, or a result of `compare` or faults that are not
            a list.
    """
    __tracebackhide__ = True
    if unknown := sorted(settings.keys() - SETTINGS - PASSED_OVER):
        message = f"no setting {', '.join(unknown)}; there are {', '.join(sorted(SETTINGS))}"
        raise TypeError(message)
    check_timeout(timeout)
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
    if isinstance(faults, str):
        message = f'faults must be a list of kinds such as ["{faults}"]'
        raise TypeError(message)
    if unknown := [kind for kind in faults if kind not in tuple(FaultKind)]:
        message = f"faults: no {', '.join(unknown)}; there are {', '.join(FAULTS)}"
        raise ValueError(message)
    kinds = {FaultKind(kind) for kind in faults}
    check = Check(make, wanted or Items.by_key, compare, scene, kinds)
    check.complain_unless_fresh()
    if replay is not None:
        story = check.run(from_data(replay), timeline=True)
        if story.problems:
            raise Diverged(story, number=1, of=1, seed=None)
        return check.report
    draw = generate if poison is None else generate_dead_letters
    windowed = bool(mapping.get("TumblingWindowInSeconds"))
    drawn = (_with(draw(each), kinds, windowed) for each in range(seed, seed + schedules))
    first = None
    for number, schedule in enumerate(drawn, 1):
        first = first or schedule
        if check.fails(schedule):
            check.complain_unless_fresh()
            if schedule is not first:
                check.complain_unless_it_passes(first)
            shortest = check.shortest([schedule, *itertools.islice(drawn, OTHERS)])
            story = check.run(shortest, timeline=True)
            if not story.problems:
                raise ValueError(REMEMBERS)
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


def _with(schedule: Schedule, kinds: Collection[FaultKind], windowed: bool) -> Schedule:
    """Return the schedule with faults of these kinds alone, of one function.

    A mapping with tumbling windows has one lane: the engine refuses more.
    """
    faults = (replace(each, processor=0) for each in schedule.faults if each.kind in kinds)
    lanes = 1 if windowed else schedule.lanes
    return replace(schedule, faults=tuple(faults), lanes=lanes)
