"""The shortest story that still fails: a schedule without what its failure does not need."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import partial

from dynamodb_streams_cdc.testing.simulation.schedule import (
    Fault,
    FaultKind,
    Operation,
    Schedule,
    Write,
)
from dynamodb_streams_cdc.testing.simulation.stream import FIRST_SEQUENCE_NUMBER, STEP

_PLAINER = {Write.EXPIRE: Write.DELETE, Write.POISON: Write.PUT}


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
    if schedule.first_sequence_number != FIRST_SEQUENCE_NUMBER:
        for index in range(len(writes)):  # the others keep their sequence numbers
            yield replace(
                schedule,
                operations=writes[:index] + writes[index + 1 :],
                first_sequence_number=schedule.first_sequence_number + STEP,
            )
    for index in range(len(faults)):
        yield replace(schedule, faults=faults[:index] + faults[index + 1 :])
    for index in range(len(schedule.later)):
        yield replace(schedule, later=schedule.later[:index] + schedule.later[index + 1 :])
    usual = Schedule.longest_backoff
    plain = replace(schedule, partitions=1, lanes=1, window=0, bisect=False, longest_backoff=usual)
    if plain != schedule:
        yield plain
    for name in ("partitions", "lanes", "window", "bisect", "longest_backoff"):
        value = getattr(plain, name)
        if value != getattr(schedule, name):
            yield replace(schedule, **{name: value})


def plainer(
    schedule: Schedule, fails: Callable[[Schedule], bool], kinds: Collection[FaultKind]
) -> Schedule:
    """Return the writes with a single well-known fault of these kinds, if that fails as well.

    The fault is a batch that comes twice in a row, or the first batch that comes again in the end.
    """
    if len(schedule.faults) < 2:
        return schedule
    for kind, candidate in (
        (FaultKind.DUPLICATE, batch_again(schedule)),
        (FaultKind.STALE, first_change_again(schedule)),
    ):
        if kind in kinds and fails(candidate):
            return candidate
    return schedule


def batch_again(schedule: Schedule) -> Schedule:
    """Return the writes, and every batch delivered twice in a row."""
    twice = tuple(Fault(0.0, FaultKind.DUPLICATE) for _ in schedule.operations)
    return replace(schedule, faults=twice)


def first_change_again(schedule: Schedule) -> Schedule:
    """Return the writes one by one, and then the first delivery again."""
    writes = [replace(each, at=2.0 * number) for number, each in enumerate(schedule.operations)]
    late = Fault(2.0 * len(writes), FaultKind.STALE)
    return replace(schedule, operations=tuple(writes), faults=(late,), window=0)


def tidy(schedule: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    """Return a schedule of the same length that is easier to read, and still fails.

    It has AWS's batch size, small numbers, and an event a second, where the failure allows.
    """
    for change in (_plain_numbers, _large_batches, *_plain_writes(schedule), _few, _evenly):
        simpler = change(schedule)
        if simpler != schedule and fails(simpler):
            schedule = simpler
    return schedule


def _plain_numbers(schedule: Schedule) -> Schedule:
    return replace(schedule, first_sequence_number=FIRST_SEQUENCE_NUMBER)


def _large_batches(schedule: Schedule) -> Schedule:
    return replace(schedule, batch_size=100)


def _plain_writes(schedule: Schedule) -> Iterator[Callable[[Schedule], Schedule]]:
    for index, operation in enumerate(schedule.operations):
        if operation.write in _PLAINER:
            yield partial(_plain_write, index=index)


def _plain_write(schedule: Schedule, index: int) -> Schedule:
    writes = list(schedule.operations)
    writes[index] = replace(writes[index], write=_PLAINER[writes[index].write])
    return replace(schedule, operations=tuple(writes))


def _few(schedule: Schedule) -> Schedule:
    """Number items and amounts from the first on."""
    names: dict[int, int] = {}
    writes: list[Operation] = []
    for number, operation in enumerate(schedule.operations, 1):
        item = names.setdefault(operation.item, len(names))
        writes.append(replace(operation, item=item, group=0, amount=number))
    return replace(schedule, operations=tuple(writes))


def _evenly(schedule: Schedule) -> Schedule:
    """Let a second pass between one event and the next."""
    moments = sorted(
        {each.at for each in schedule.operations} | {each.at for each in schedule.faults}
    )
    place = {moment: float(number) for number, moment in enumerate(moments)}
    return replace(
        schedule,
        operations=tuple(replace(each, at=place[each.at]) for each in schedule.operations),
        faults=tuple(replace(each, at=place[each.at]) for each in schedule.faults),
    )
