"""A schedule as lists and texts, to be pasted from a message into a test.

    {"writes": [[0.0, "put", 0, 1, 5], [1.0, "delete", 0]], "faults": [[2.0, "throttle"]]}

A write is its time, its kind, the number of the item, and the group and the amount of a put; that
amount is 1 for other writes, of whose item only the keys count. A fault is its time, its kind, and
how long it lasts. What is left out has its default.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from dynamodb_streams_cdc.testing.simulation.schedule import (
    Fault,
    FaultKind,
    Later,
    Operation,
    Schedule,
    Step,
    Write,
)

LEAST = 1
"""The least amount of an item, which is that of a write without one."""

_LISTS = ("operations", "faults", "later")
_PLAIN = tuple(each for each in fields(Schedule) if each.name not in _LISTS)


def as_data(schedule: Schedule) -> dict[str, Any]:
    """Return a schedule of one function as lists, numbers and texts."""
    data: dict[str, Any] = {"writes": [_written(each) for each in schedule.operations]}
    if schedule.faults:
        data["faults"] = [
            [each.at, str(each.kind), *([each.seconds] if each.seconds else [])]
            for each in schedule.faults
        ]
    if schedule.later:
        data["later"] = [_later(each) for each in schedule.later]
    for each in _PLAIN:
        if (value := getattr(schedule, each.name)) != each.default:
            data[each.name] = value
    return data


def _written(operation: Operation) -> list[Any]:
    values = (
        [operation.group, operation.amount] if operation.write in (Write.PUT, Write.POISON) else []
    )
    return [operation.at, str(operation.write), operation.item, *values]


def _later(later: Later) -> list[Any]:
    match later.step:
        case Step.WAIT:
            return [str(later.step), later.seconds]
        case Step.WRITE if later.operation is not None:
            return [str(later.step), _written(later.operation)]
    return [str(later.step)]


def from_data(data: Mapping[str, Any]) -> Schedule:
    """Return the schedule that `as_data` made this of.

    Raises:
        ValueError: the data is not that of a schedule.
    """
    try:
        plain = {each.name: data[each.name] for each in _PLAIN if each.name in data}
        return Schedule(
            operations=tuple(map(_operation, data["writes"])),
            faults=tuple(map(_fault, data.get("faults", ()))),
            later=tuple(map(_step, data.get("later", ()))),
            **plain,
        )
    except (KeyError, TypeError, ValueError) as error:
        message = f"replay takes the data that a failed check printed; got {data!r:.200} ({error})"
        raise ValueError(message) from error


def _operation(row: Sequence[Any]) -> Operation:
    at, kind, item, *values = row
    return Operation(at, Write(kind), item, *(values or (0, LEAST)))


def _fault(row: Sequence[Any]) -> Fault:
    at, kind, *seconds = row
    return Fault(at, FaultKind(kind), seconds=seconds[0] if seconds else 0.0)


def _step(row: Sequence[Any]) -> Later:
    step = Step(row[0])
    match step:
        case Step.WAIT:
            return Later(step, seconds=row[1])
        case Step.WRITE:
            return Later(step, operation=_operation(row[1]))
    return Later(step)
