"""Why a filter pattern does not match a record: the first of its conditions that fails."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dynamodb_streams_cdc.esm.filters import ABSENT, compile_pattern, parse_pattern
from dynamodb_streams_cdc.esm.operators import Dialect

LONGEST = 60
"""Characters of a value that are shown."""


@dataclass(frozen=True)
class Explanation:
    """Whether a record matches a pattern, and why not.

    Attributes:
        path: of the condition that failed, such as `dynamodb.NewImage.status.S`; empty if the
            record matches.
        reason: a sentence; empty if the record matches.
        met: the paths of the conditions before it, which are met.
    """

    matches: bool
    path: str = ""
    reason: str = ""
    met: tuple[str, ...] = ()


def explain(
    pattern: str, record: Mapping[str, Any], operators: Dialect = "eventbridge"
) -> Explanation:
    """Return whether a record matches a pattern, and the first condition that fails.

    Raises:
        InvalidFilterPattern: AWS refuses the pattern.
    """
    matches = compile_pattern(pattern, operators)
    met: list[str] = []
    conditions = list(_conditions(parse_pattern(pattern), ()))
    if matches(record):
        return Explanation(True, met=tuple(".".join(steps) for steps, _ in conditions))
    for steps, condition in conditions:
        path = ".".join(steps)
        if not compile_pattern(_alone(steps, condition), operators)(record):
            return Explanation(False, path, _reason(steps, condition, record), tuple(met))
        met.append(path)
    reason = "each condition is met, but not all of them by one element of a list"
    return Explanation(False, met[-1], reason, tuple(met))


def _conditions(
    pattern: Mapping[str, Any], steps: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the path and the list of each leaf; a `$or` is one leaf."""
    for key, value in pattern.items():
        if isinstance(value, Mapping):
            yield from _conditions(value, (*steps, key))
        else:
            yield (*steps, key), value


def _alone(steps: tuple[str, ...], condition: Any) -> str:
    """Return the pattern with one condition."""
    for step in reversed(steps):
        condition = {step: condition}
    return json.dumps(condition, separators=(",", ":"))


def _reason(steps: tuple[str, ...], condition: Any, record: Mapping[str, Any]) -> str:
    if steps[-1] == "$or":
        place = ".".join(steps[:-1]) or "the record"
        return f"none of the {len(condition)} alternatives at {place} is met"
    nodes: list[Any] = [record]
    for number, step in enumerate(steps):
        below = [node[step] for node in _elements(nodes) if step in node]
        if not below:
            return _missing(steps[:number], step, nodes, condition)
        nodes = below
    values = [value for value in _flat(nodes) if not isinstance(value, Mapping)]
    if not values:
        return f"an object is there, not a value: add one of {_names(nodes)}"
    shown = ", ".join(_shown(value) for value in values[:3])
    return f"the value is {shown}, and the pattern asks for {_asked(condition)}"


def _missing(above: tuple[str, ...], step: str, nodes: list[Any], condition: Any) -> str:
    place = ".".join(above) or "the record"
    if not list(_elements(nodes)):
        return f"{place} is a value, with nothing below it"
    return (
        f"{place} has no {step}, there is {_names(nodes)}; the pattern asks for {_asked(condition)}"
    )


def _flat(nodes: list[Any]) -> Iterator[Any]:
    for node in nodes:
        if isinstance(node, list):
            yield from _flat(node)
        elif node is not ABSENT:
            yield node


def _elements(nodes: list[Any]) -> Iterator[Mapping[str, Any]]:
    return (node for node in _flat(nodes) if isinstance(node, Mapping))


def _names(nodes: list[Any]) -> str:
    return ", ".join(sorted({name for node in _elements(nodes) for name in node})) or "nothing"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}.."


def _asked(condition: list[Any]) -> str:
    return " or ".join(_shown(each) for each in condition)
