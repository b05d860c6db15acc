"""What happens in a simulation, as plain data: writes to a table, and what goes wrong meanwhile.

`generate(seed)` makes the same schedule for the same seed, on every machine. A schedule that fails
is printed by its seed, or, if it was drawn by hypothesis, as itself.
"""

import random
from dataclasses import dataclass, replace
from enum import StrEnum

from dynamodb_streams_cdc.testing.simulation.stream import FIRST_SEQUENCE_NUMBER

HOUR = 3600.0

OUTAGE_SECONDS = 30 * HOUR
"""Longer than a stream remembers."""


class Write(StrEnum):
    """A write to the table."""

    PUT = "put"
    SAME = "put the same again"
    DELETE = "delete"
    EXPIRE = "expire"
    POISON = "put poison"


class FaultKind(StrEnum):
    """What goes wrong: on a processor at its next chance, or for some time from then on."""

    DUPLICATE = "duplicate delivery"
    CRASH_BEFORE = "crash before the effect"
    CRASH_AFTER = "crash after the effect"
    LOST_CHECKPOINT = "crash before the checkpoint"
    LOST_ANSWER = "answer of the sink lost"
    THROTTLE = "throttle"
    TIMEOUT = "timeout"
    SLOW = "slow sink"
    FAILING = "failing sink"
    STALE = "old batch delivered again"
    DISABLED = "mapping disabled"
    NEW_STREAM = "stream created again"
    SPLIT = "shards split"
    ROTATE = "shards rotate"
    REPAIR = "repair during live changes"
    OUTAGE = "outage of 30 hours"
    REDRIVE = "redrive during live changes"
    BACKFILL = "backfill during live changes"
    FORGET = "erasure during live changes"


EFFECTS = {
    FaultKind.DUPLICATE: "a batch that succeeded is delivered again",
    FaultKind.CRASH_BEFORE: "the function dies in a call, before it takes effect",
    FaultKind.CRASH_AFTER: "the function dies in a call, after it took effect",
    FaultKind.LOST_CHECKPOINT: "the batches since an earlier checkpoint are delivered again",
    FaultKind.LOST_ANSWER: "a call takes effect, and raises an error",
    FaultKind.THROTTLE: "Lambda refuses the invocation and tries it later, which uses no retry",
    FaultKind.TIMEOUT: "a call takes effect and never returns: the function ends at its timeout",
    FaultKind.SLOW: "every call takes longer, so that others overtake it",
    FaultKind.FAILING: "every call raises an error for some time",
    FaultKind.STALE: "the first batch comes again, after newer ones",
    FaultKind.DISABLED: "the mapping does not invoke the function for some time",
    FaultKind.NEW_STREAM: "the table gets another stream, while the old one drains",
    FaultKind.SPLIT: "each open shard ends and continues in two others",
    FaultKind.ROTATE: "each open shard ends and continues in another one",
    FaultKind.REPAIR: "an operator compares each item with the copy and writes it again",
    FaultKind.OUTAGE: "every call raises an error, for longer than the stream keeps a record",
    FaultKind.REDRIVE: "an operator invokes the function again with its dead letters",
    FaultKind.BACKFILL: "an operator invokes the function with the items of the table",
    FaultKind.FORGET: "an operator erases the deleted items from all copies",
}
"""What each fault does."""


class Step(StrEnum):
    """Something that happens once all has become quiet."""

    WAIT = "time passes"
    WRITE = "a write"
    REDRIVE = "redrive of all dead letters, in any order"
    PURGE = "tombstones purged"
    FORGET = "erasure of deleted items"


@dataclass(frozen=True)
class Operation:
    """A write of item number `item`, `at` seconds after the start."""

    at: float
    write: Write
    item: int
    group: int = 0
    amount: int = 0


@dataclass(frozen=True)
class Fault:
    """A fault, armed `at` seconds after the start.

    A repair, a redrive and a backfill are no faults, but they come unasked as well.

    Attributes:
        processor: which one it is for, counted round those that there are; nothing to faults of the
            table, to repairs and to redrives.
        seconds: how long those last that do.
    """

    at: float
    kind: FaultKind
    processor: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Later:
    """One step after all has become quiet; then all becomes quiet again.

    Attributes:
        seconds: how long time passes.
        operation: what is written; its `at` says nothing, but for an erasure: seconds after it
            began.
    """

    step: Step
    seconds: float = 0.0
    operation: Operation | None = None


@dataclass(frozen=True)
class Schedule:
    """All that a simulation is told.

    Attributes:
        operations: writes, by time.
        faults: by time.
        partitions: of the table, each with its own shard.
        lanes: `ParallelizationFactor` of every mapping.
        batch_size, window, bisect: settings of every mapping.
        first_sequence_number: of the table's stream; some schedules cross from one number of digits
            to the next.
        seed: that made it, if one did.
        existing: number of items that were in the table before its stream was on.
        longest_backoff: most seconds between two retries of a batch. Lambda's is not documented.
        later: what happens once all is quiet, before the poisoned items are fixed, the dead
            letters redriven until none is left, and the copies compared.
    """

    operations: tuple[Operation, ...]
    faults: tuple[Fault, ...] = ()
    partitions: int = 1
    lanes: int = 1
    batch_size: int = 10
    window: int = 0
    bisect: bool = True
    first_sequence_number: int = FIRST_SEQUENCE_NUMBER
    seed: int | None = None
    longest_backoff: float = 900.0
    later: tuple[Later, ...] = ()
    existing: int = 0


LASTING = {
    FaultKind.SLOW: (1.0, 20.0),
    FaultKind.FAILING: (1.0, 90.0),
    FaultKind.DISABLED: (1.0, 60.0),
    FaultKind.OUTAGE: (OUTAGE_SECONDS, OUTAGE_SECONDS),
}
"""How long the faults last that do: at least, at most."""

SOUND = (Write.PUT, Write.SAME, Write.DELETE, Write.EXPIRE)
"""Writes that every sink can take."""

FIRST_SEQUENCE_NUMBERS = (FIRST_SEQUENCE_NUMBER, 10**21 - 100_000, 10**39 - 90_000)
"""Two of them get one digit more within a few changes."""

RATES = dict.fromkeys(FaultKind, 0.3) | {FaultKind.OUTAGE: 0.1}
"""In what part of the schedules a fault is armed; an outage of 30 hours takes long to simulate."""


BY_OPERATORS = (FaultKind.REDRIVE, FaultKind.BACKFILL, FaultKind.FORGET)
UNASKED = tuple(kind for kind in FaultKind if kind not in BY_OPERATORS)

DEAD_LETTER_MAKERS = (FaultKind.OUTAGE, FaultKind.REDRIVE, FaultKind.REDRIVE, FaultKind.REPAIR)
"""What schedules of dead letters have more of."""

LONGEST_BACKOFFS = (900.0, 3600.0, 7200.0, 7200.0)
"""At 900 seconds most invocations were retries within an outage of 30 hours."""

WAITS = (60.0, 3 * HOUR, 8 * 24 * HOUR, 40 * 24 * HOUR)
"""Some outlive every record of a stream, some every tombstone that a purge meets."""


def generate_dead_letters(seed: int) -> Schedule:
    """Return the schedule of a seed with poison in it, and with everything that can happen later.

    It is `generate(seed)`, with a third of its puts poisoned, redrives during live changes, and
    then days of waits, further writes, redrives and purges.
    """
    schedule = generate(seed)
    rng = random.Random(f"dead letters {seed}")
    ends = schedule.operations[-1].at
    operations = tuple(
        replace(operation, write=Write.POISON)
        if operation.write is Write.PUT and rng.random() < 1 / 3
        else operation
        for operation in schedule.operations
    )
    more = [
        Fault(round(rng.uniform(0, ends * 1.2), 3), kind, rng.randrange(3), OUTAGE_SECONDS)
        for kind in rng.choices(DEAD_LETTER_MAKERS, k=rng.randint(0, 3))
    ]
    return replace(
        schedule,
        operations=operations,
        faults=tuple(sorted([*schedule.faults, *more], key=lambda fault: fault.at)),
        later=tuple(_later(rng) for _ in range(rng.randint(5, 12))),
        longest_backoff=rng.choice(LONGEST_BACKOFFS),
    )


OPERATIONS = (FaultKind.BACKFILL, FaultKind.BACKFILL, FaultKind.REPAIR, FaultKind.REDRIVE)
"""What an operator does in schedules of operations; most of it is backfill."""


def generate_operations(seed: int) -> Schedule:
    """Return the schedule of a seed with items from before the stream, and an operator at work.

    It is `generate(seed)` or `generate_dead_letters(seed)`, with backfills, repairs and redrives at
    any time.
    """
    rng = random.Random(f"operations {seed}")
    schedule = rng.choice((generate, generate_dead_letters))(seed)
    ends = schedule.operations[-1].at
    more = [
        Fault(round(rng.uniform(0, ends * 1.2), 3), kind)
        for kind in rng.choices(OPERATIONS, k=rng.randint(1, 4))
    ]
    faults = sorted([*schedule.faults, *more], key=lambda fault: fault.at)
    return replace(
        schedule,
        faults=tuple(faults),
        existing=rng.randint(0, 6),
        longest_backoff=rng.choice(LONGEST_BACKOFFS),
    )


ERASURE_MAKERS = (FaultKind.FORGET, FaultKind.FORGET, FaultKind.STALE, FaultKind.REDRIVE)
"""What schedules of erasures have more of."""


def generate_erasures(seed: int) -> Schedule:
    """Return the schedule of a seed with erasures at any time, and more deletes.

    It is `generate_operations(seed)`, with a third of its puts deletes, and old batches that are
    delivered again.
    """
    schedule = generate_operations(seed)
    rng = random.Random(f"erasures {seed}")
    ends = schedule.operations[-1].at
    operations = tuple(
        replace(operation, write=Write.DELETE)
        if operation.write is Write.PUT and rng.random() < 1 / 3
        else operation
        for operation in schedule.operations
    )
    more = [
        Fault(round(rng.uniform(0, ends * 1.5), 3), kind, rng.randrange(3))
        for kind in (FaultKind.FORGET, *rng.choices(ERASURE_MAKERS, k=rng.randint(1, 4)))
    ]
    later = [*schedule.later]
    for _ in range(rng.randint(2, 5)):
        # An item that comes back while its last traces are erased, which takes some seconds.
        again = Operation(round(rng.uniform(0, 4.0), 3), Write.PUT, rng.randrange(4), amount=7)
        forget = Later(Step.FORGET, operation=rng.choice((None, again, again)))
        place = rng.randint(0, len(later))
        later[place:place] = [Later(Step.WAIT, seconds=WAITS[2]), forget]
    return replace(
        schedule,
        operations=operations,
        faults=tuple(sorted([*schedule.faults, *more], key=lambda fault: fault.at)),
        later=tuple(later),
    )


def _later(rng: random.Random) -> Later:
    step = rng.choices((Step.WAIT, Step.WRITE, Step.REDRIVE, Step.PURGE), weights=[2, 3, 1, 1])[0]
    match step:
        case Step.WAIT:
            return Later(step, seconds=rng.choice(WAITS))
        case Step.WRITE:
            write = rng.choices(list(Write), weights=[6, 1, 8, 2, 2])[0]
            item, group, amount = rng.randrange(6), rng.randrange(3), rng.randrange(1, 100)
            return Later(step, operation=Operation(0.0, write, item, group, amount))
    return Later(step)


def generate(seed: int) -> Schedule:
    """Return the schedule of a seed: 5 to 25 writes of few items, and several faults."""
    rng = random.Random(seed)
    span = rng.choice([1.0, 5.0, 60.0])
    operations = [
        Operation(
            at=round(rng.uniform(0, span), 3),
            write=rng.choices(SOUND, weights=[10, 1, 3, 1])[0],
            item=rng.randrange(items),
            group=rng.randrange(3),
            amount=rng.randrange(1, 100),
        )
        for items in [rng.randint(1, 6)]
        for _ in range(rng.randint(5, 25))
    ]
    faults = [
        Fault(
            at=round(rng.uniform(0, span * 1.2), 3),
            kind=kind,
            processor=rng.randrange(3),
            seconds=round(rng.uniform(*LASTING.get(kind, (0.0, 0.0))), 3),
        )
        for kind in UNASKED
        if rng.random() < RATES[kind]
    ]
    return Schedule(
        operations=tuple(sorted(operations, key=lambda operation: operation.at)),
        faults=tuple(sorted(faults, key=lambda fault: fault.at)),
        partitions=rng.choice([1, 1, 2, 3]),
        lanes=rng.choice([1, 1, 2, 4]),
        batch_size=rng.choice([1, 3, 10, 100]),
        window=rng.choice([0, 0, 1]),
        bisect=rng.random() < 0.7,
        first_sequence_number=rng.choice(FIRST_SEQUENCE_NUMBERS),
        seed=seed,
    )
