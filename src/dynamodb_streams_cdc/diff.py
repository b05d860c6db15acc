"""Differences between two images of an item, attribute by attribute.

Law: `patch(before, diff(before, after)) == after`, for all images.
"""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias


class _Missing(Enum):
    MISSING = "missing"

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing.MISSING
"""The value of an absent attribute in a `Difference`; an attribute that is NULL is `None`."""

Path: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where two images differ: `before` or `after` is `MISSING` where it was not there.

    `path` names attributes by text and list elements by number: `("lines", 2, "price")`.
    """

    path: Path
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{render(self.path)}: {self.before!r} -> {self.after!r}"


def render(path: Path) -> str:
    """Return a path as people write it: `lines[2].price`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """Return the differences between two images, in the order of the attribute names.

    Maps are compared by attribute and lists by position; sets and scalars as a whole. A value of
    another DynamoDB type is another value: the number 1 and the boolean true differ.
    """
    found: list[Difference] = []
    _compare((), before, after, found)
    return found


def _compare(path: Path, before: Any, after: Any, found: list[Difference]) -> None:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in sorted(before.keys() | after.keys()):
            _compare((*path, name), before.get(name, MISSING), after.get(name, MISSING), found)
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            _compare(
                (*path, index),
                before[index] if index < len(before) else MISSING,
                after[index] if index < len(after) else MISSING,
                found,
            )
    elif type(before) is not type(after) or before != after:
        found.append(Difference(path, before, after))


def patch(before: Mapping[str, Any], differences: Iterable[Difference]) -> dict[str, Any]:
    """Return `before` with the differences applied; `before` itself stays as it is.

    Raises:
        LookupError: a path leads through something that `before` does not have.
    """
    image = deepcopy(dict(before))
    dropped: list[tuple[list[Any], int]] = []
    for difference in differences:
        *steps, last = difference.path
        holder: Any = image
        for step in steps:
            holder = holder[step]
        if difference.after is not MISSING:
            if isinstance(holder, list) and last == len(holder):
                holder.append(difference.after)
            else:
                holder[last] = difference.after
        elif isinstance(holder, list) and isinstance(last, int):
            dropped.append((holder, last))
        else:
            del holder[last]
    for elements, index in reversed(dropped):
        del elements[index]
    return image
