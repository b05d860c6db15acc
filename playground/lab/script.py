"""A schedule as a script: a write or a fault a line, which a person reads and edits.

    shards 2
    0.000 put 0 group 1 amount 5
    1.000 delete 0
    2.000 fault slow sink for 20
    later redrive

`read` and `written` are each other's inverse.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from dynamodb_streams_cdc.testing.simulation import FaultKind, Schedule
from dynamodb_streams_cdc.testing.simulation.replay import LEAST
from dynamodb_streams_cdc.testing.simulation.schedule import (
    LASTING,
    Fault,
    Later,
    Operation,
    Step,
    Write,
)
from dynamodb_streams_cdc.testing.simulation.stream import FIRST_SEQUENCE_NUMBER
from playground.lab.errors import Mistaken

WRITES = {
    "put": Write.PUT,
    "same": Write.SAME,
    "delete": Write.DELETE,
    "expire": Write.EXPIRE,
    "poison": Write.POISON,
}
"""The words of writes."""

EFFECTS_OF_WRITES = {
    "put": "writes the item: an INSERT, or a MODIFY if it is there",
    "same": "writes the item as it is, which makes no record",
    "delete": "deletes the item: a REMOVE",
    "expire": "lets Time to Live delete the item: a REMOVE by the service",
    "poison": "writes the item in a form that the function cannot take",
}
"""What each write does."""

STEPS = {"wait": Step.WAIT, "redrive": Step.REDRIVE, "purge": Step.PURGE}
WITH_VALUES = (Write.PUT, Write.POISON)

MOST_LINES = 200
"""Lines of a script: more cannot be read in a picture."""

LATEST = 48 * 3600.0
"""Seconds: twice the memory of a stream."""

LONGEST_WAIT = 90 * 86_400.0
"""Seconds: the longest wait of a schedule that the simulation makes is 40 days."""

MOST = {
    "item": 99,
    "group": 99,
    "amount": 9_999,
    "shards": 8,
    "existing": 20,
    "longest backoff": 14_400,
}
SHORTEST_BACKOFF = 300
"""Seconds: with fewer, an outage of two days has more invocations than the page waits for."""

_NUMBER = r"(\d+(?:\.\d+)?)"
_WRITE = re.compile(r"(\w+)\s+(\d+)(?:\s+group\s+(\d+))?(?:\s+amount\s+(\d+))?")
_FAULT = re.compile(rf"fault\s+(.+?)(?:\s+for\s+{_NUMBER})?")
_TIMED = re.compile(rf"{_NUMBER}\s+(.+)")
_HEADS = {
    "shards": "partitions",
    "first sequence number": "first_sequence_number",
    "seed": "seed",
    "existing": "existing",
    "longest backoff": "longest_backoff",
}
_HEAD = re.compile(rf"({'|'.join(_HEADS)})\s+(\d+)")


@dataclass(frozen=True)
class Line:
    """One line that says something.

    Attributes:
        number: of the line, from 1.
        meaning: of the line.
    """

    number: int
    meaning: Operation | Fault | Later


@dataclass(frozen=True)
class Script:
    """A script that was read: its schedule, and its lines in their own order."""

    schedule: Schedule
    lines: tuple[Line, ...]


def read(text: str) -> Script:
    """Return the schedule of a script.

    Raises:
        Mistaken: a line says nothing that there is.
    """
    rows = [(number, row.partition("#")[0].strip()) for number, row in enumerate(_rows(text), 1)]
    heads: dict[str, Any] = {}
    lines: list[Line] = []
    for number, row in rows:
        if not row:
            continue
        if head := _HEAD.fullmatch(row):
            heads[_HEADS[head[1]]] = _limited(head[1], head[2], number)
        else:
            lines.append(Line(number, _meaning(row, number)))
    schedule = Schedule(
        operations=_in_order(lines, Operation),
        faults=_in_order(lines, Fault),
        later=tuple(each.meaning for each in lines if isinstance(each.meaning, Later)),
        **heads,
    )
    if schedule.partitions < 1:
        _refuse("shards must be 1 or more", None)
    if schedule.longest_backoff < SHORTEST_BACKOFF:
        _refuse(f"longest backoff must be {SHORTEST_BACKOFF} or more", None)
    return Script(schedule, tuple(lines))


def _rows(text: str) -> list[str]:
    rows = text.splitlines()
    if len(rows) > MOST_LINES:
        _refuse(f"{len(rows)} lines are too many to look at: write at most {MOST_LINES}", None)
    return rows


def _in_order(lines: list[Line], kind: type) -> tuple[Any, ...]:
    found = [line.meaning for line in lines if isinstance(line.meaning, kind)]
    return tuple(sorted(found, key=lambda each: each.at))


def _meaning(row: str, number: int) -> Operation | Fault | Later:
    if row.startswith("later "):
        return _later(row.removeprefix("later ").strip(), number)
    timed = _TIMED.fullmatch(row)
    if timed is None:
        message = (
            f'"{row:.60}" does not begin with a time in seconds: write such as '
            '"0.5 put 0 group 1 amount 5", "2 fault throttle" or "later redrive"'
        )
        _refuse(message, number)
    at = float(timed[1])
    if at > LATEST:
        _refuse(f"{at:g} s is after the end: write at most {LATEST:g}", number)
    if fault := _FAULT.fullmatch(timed[2]):
        return _fault(at, fault[1], fault[2], number)
    return _write(at, timed[2], number)


def _fault(at: float, name: str, seconds: str | None, number: int) -> Fault:
    try:
        kind = FaultKind(name)
    except ValueError:
        kinds = ", ".join(FaultKind)
        _refuse(f'there is no fault "{name:.60}": choose one of {kinds}', number)
    if seconds is None:
        return Fault(at, kind, seconds=LASTING[kind][1] if kind in LASTING else 0.0)
    if kind not in LASTING:
        _refuse(f'the fault "{kind}" happens once: leave out "for {seconds}"', number)
    return Fault(at, kind, seconds=min(float(seconds), LATEST))


def _write(at: float, row: str, number: int) -> Operation:
    found = _WRITE.fullmatch(row)
    if found is None or found[1] not in WRITES:
        words = ", ".join(WRITES)
        message = (
            f'"{row:.60}" is not a write: write one of {words}, then the number of the item, as in '
            '"0.5 put 0 group 1 amount 5"'
        )
        _refuse(message, number)
    write = WRITES[found[1]]
    item, group, amount = (
        _limited(name, value or "0", number)
        for name, value in zip(("item", "group", "amount"), found.groups()[1:], strict=True)
    )
    if write not in (Write.PUT, Write.POISON):
        amount = amount or LEAST
    return Operation(at, write, item, group, amount)


def _later(row: str, number: int) -> Later:
    word, _, rest = row.partition(" ")
    if word in STEPS:
        seconds = re.fullmatch(_NUMBER, rest.strip())
        if word == "wait" and seconds is None:
            _refuse('write how many seconds pass, as in "later wait 60"', number)
        waited = float(seconds[1]) if seconds else 0.0
        if waited > LONGEST_WAIT:
            _refuse(f"{waited:g} s are too long a wait: write at most {LONGEST_WAIT:.0f}", number)
        return Later(STEPS[word], seconds=waited)
    return Later(Step.WRITE, operation=_write(0.0, row, number))


def _limited(name: str, value: str, number: int) -> int:
    most = MOST.get(name, 10**40)
    if len(value) > 41 or int(value) > most:
        _refuse(f"{name} is {value:.45}: write at most {most}", number)
    return int(value)


def _refuse(message: str, line: int | None) -> NoReturn:
    raise Mistaken(message, "schedule", line)


def written(schedule: Schedule) -> str:
    """Return the script of a schedule, by time."""
    return "".join(f"{line}\n" for line in _lines(schedule))


def _lines(schedule: Schedule) -> Iterator[str]:
    plain: dict[str, Callable[[], object]] = {
        "shards": lambda: schedule.partitions if schedule.partitions != 1 else None,
        "first sequence number": lambda: (
            schedule.first_sequence_number
            if schedule.first_sequence_number != FIRST_SEQUENCE_NUMBER
            else None
        ),
        "seed": lambda: schedule.seed,
        "existing": lambda: schedule.existing or None,
        "longest backoff": lambda: (
            round(schedule.longest_backoff)
            if schedule.longest_backoff != Schedule.longest_backoff
            else None
        ),
    }
    for name, value in plain.items():
        if value() is not None:
            yield f"{name} {value()}"
    timed: list[Operation | Fault] = [*schedule.operations, *schedule.faults]
    yield from (f"{each.at:.3f} {_said(each)}" for each in sorted(timed, key=lambda each: each.at))
    for later in schedule.later:
        words = {step: word for word, step in STEPS.items()}
        match later.step:
            case Step.WRITE:
                assert later.operation is not None
                yield f"later {_said(later.operation)}"
            case Step.WAIT:
                yield f"later wait {_decimal(later.seconds)}"
            case step:
                yield f"later {words[step]}"


def _said(each: Operation | Fault) -> str:
    if isinstance(each, Fault):
        return (
            f"fault {each.kind}{f' for {_decimal(each.seconds)}' if each.kind in LASTING else ''}"
        )
    word = next(word for word, write in WRITES.items() if write is each.write)
    values = f" group {each.group} amount {each.amount}" if each.write in WITH_VALUES else ""
    return f"{word} {each.item}{values}"


def _decimal(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


def with_mapping(schedule: Schedule, settings: dict[str, Any]) -> Schedule:
    """Return the schedule with the settings that are its own."""
    return replace(
        schedule,
        batch_size=settings["BatchSize"],
        window=settings["MaximumBatchingWindowInSeconds"],
        lanes=settings["ParallelizationFactor"],
        bisect=settings["BisectBatchOnFunctionError"],
    )
