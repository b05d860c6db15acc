"""Differences between a copy and the wanted value, in words."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

MOST = 5
"""How many entries are shown before the rest is counted."""

LONGEST = 400
"""Characters of a value that are shown."""

_NOTHING = object()


def differences(copy: Any, wanted: Any) -> Iterator[str]:
    """Yield the differences between a copy and the wanted value, by key if both have keys."""
    if copy == wanted:
        return
    if not (isinstance(copy, Mapping) and isinstance(wanted, Mapping)):
        yield f"the table implies {in_words(wanted)}, the copy is {in_words(copy)}"
        return
    wrong = [
        key
        for key in [*wanted, *(key for key in copy if key not in wanted)]
        if copy.get(key, _NOTHING) != wanted.get(key, _NOTHING)
    ]
    for key in wrong[:MOST]:
        want, have = wanted.get(key, _NOTHING), copy.get(key, _NOTHING)
        yield f"{in_words(key)}: the table implies {in_words(want)}, the copy has {in_words(have)}"
    if wrong[MOST:]:
        yield f"and {len(wrong) - MOST} more"


def in_words(value: Any) -> str:
    """Return a value as text, whole numbers without their type."""
    if value is _NOTHING:
        return "nothing"
    text = str(value) if isinstance(value, str) else repr(_plain(value))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}.."


def _plain(value: Any) -> Any:
    match value:
        case Decimal():
            # A fraction keeps its type, by which it differs from a float.
            return int(value) if value == value.to_integral_value() else value
        case Mapping():
            return {_plain(name): _plain(inner) for name, inner in value.items()}
        case list():
            return [_plain(inner) for inner in value]
        case tuple():
            return tuple(map(_plain, value))
        case _:
            return value
