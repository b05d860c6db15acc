"""The shortest story that still fails: a schedule without what its failure does not need."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from dynamodb_streams_cdc.testing.simulation.schedule import Schedule


def shrink(schedule: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    """Return a schedule of which nothing can be left out without `fails` becoming false.

    `fails(schedule)` must be true to begin with, and say the same of the same schedule each time.
    """
    found = True
    while found:
        found = False
        for simpler in _simpler(schedule):
            if fails(simpler):
                schedule, found = simpler, True
                break
    return schedule


def _simpler(schedule: Schedule) -> Iterator[Schedule]:
    """Yield schedules with less in them, the boldest cuts first."""
    writes, faults = schedule.operations, schedule.faults
    for size in (len(writes) // 2, len(writes) // 4, 1):
        for start in range(0, len(writes), size or 1):
            if size:
                yield replace(schedule, operations=writes[:start] + writes[start + size :])
    for index in range(len(faults)):
        yield replace(schedule, faults=faults[:index] + faults[index + 1 :])
    for index in range(len(schedule.later)):
        yield replace(schedule, later=schedule.later[:index] + schedule.later[index + 1 :])
    plain = replace(schedule, partitions=1, lanes=1, window=0, bisect=False)
    if plain != schedule:
        yield plain
    for name in ("partitions", "lanes", "window", "bisect"):
        value = getattr(plain, name)
        if value != getattr(schedule, name):
            yield replace(schedule, **{name: value})
