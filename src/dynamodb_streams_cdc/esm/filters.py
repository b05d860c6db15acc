"""Filter criteria of a mapping: EventBridge patterns over DynamoDB JSON, with their traps.

A pattern is matched against the record as the function would receive it, so an attribute is found
under its type: `{"dynamodb": {"NewImage": {"status": {"S": ["placed"]}}}}`
(https://docs.aws.amazon.com/lambda/latest/dg/with-ddb-filtering.html). Three things follow that
surprise, all observed on AWS: numbers are strings under `N`, so `numeric` never matches them;
`exists` sees only leaves, so `{"status": [{"exists": false}]}` matches every record; and a pattern
without the type matches none. `lint` finds them before a mapping is silent for a day.

A pattern is refused where the compiler of EventBridge's patterns refuses it
(https://github.com/aws/event-ruler, `JsonRuleCompiler`).
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Self, TypeAlias

from dynamodb_streams_cdc.esm.operators import (
    RESERVED,
    Dialect,
    InvalidFilterPattern,
    compile_condition,
    refuse,
)

__all__ = ["FilterCriteria", "InvalidFilterPattern", "compile_pattern", "parse_pattern"]

FILTER_QUOTA = 5
"""Filters per mapping, by default
(https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html)."""

LARGEST_FILTER_QUOTA = 10
"""Filters per mapping, on request
(https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html)."""

LONGEST_PATTERN = 4096
"""Characters of a pattern (https://docs.aws.amazon.com/lambda/latest/api/API_Filter.html)."""

DEEPEST_PATTERN = 68
"""An item nests 32 levels, each a name and a type, below `dynamodb.NewImage`: no record is deeper
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html)."""

Pattern: TypeAlias = dict[str, Any]
Test: TypeAlias = Callable[[Any], bool]
Match: TypeAlias = Callable[[Any, Any], bool]
"""Whether a part of a record, of the record given second, fits a part of a pattern."""

ABSENT = object()
"""Value of a key that the record does not have."""


@dataclass(frozen=True)
class FilterCriteria:
    """The filters of a mapping: a record passes if any of them matches, or if there are none."""

    patterns: tuple[str, ...] = ()
    operators: Dialect = "lambda"

    def __post_init__(self) -> None:
        tests = tuple(compile_pattern(text, self.operators) for text in self.patterns)
        object.__setattr__(self, "_tests", tests)

    @classmethod
    def from_description(
        cls,
        criteria: Mapping[str, Any],
        *,
        quota: int = FILTER_QUOTA,
        operators: Dialect = "lambda",
    ) -> Self:
        """Return the filters of `{"Filters": [{"Pattern": "..."}]}`.

        Raises:
            InvalidFilterPattern: more filters than the quota, or a pattern that AWS refuses.
        """
        _check_names(criteria, "Filters", "FilterCriteria", 'such as {"Filters": [...]}')
        filters = criteria.get("Filters") or []
        if not isinstance(filters, list):
            refuse("Filters must be a list", "FilterCriteria.Filters")
        if len(filters) > min(quota, LARGEST_FILTER_QUOTA):
            problem = (
                f"{len(filters)} filters, the quota is {min(quota, LARGEST_FILTER_QUOTA)} "
                f"(AWS raises it to {LARGEST_FILTER_QUOTA} at most)"
            )
            refuse(problem, "FilterCriteria.Filters")
        texts = [
            _pattern_of(item, f"FilterCriteria.Filters[{position}]")
            for position, item in enumerate(filters)
        ]
        return cls(tuple(texts), operators)

    def matches(self, record: Mapping[str, Any]) -> bool:
        """Whether the mapping sends `record` to the function."""
        tests: tuple[Test, ...] = self.__dict__["_tests"]
        return not tests or any(test(record) for test in tests)

    def __bool__(self) -> bool:
        """Whether there are any filters."""
        return bool(self.patterns)


def _check_names(given: Mapping[str, Any], known: str, where: str, example: str) -> None:
    """Refuse a key of another name, as botocore does before AWS sees it."""
    if unknown := [name for name in given if name != known]:
        refuse(f"unknown parameter {unknown[0]!r}; there is only {known}, {example}", where)


def _pattern_of(item: Any, where: str) -> str:
    example = 'such as {"Pattern": "{\\"eventName\\": [\\"INSERT\\"]}"}'
    if isinstance(item, Mapping):
        _check_names(item, "Pattern", where, example)
    text = item.get("Pattern") if isinstance(item, Mapping) else None
    if not isinstance(text, str):
        refuse(f"Pattern must be a string, {example}", where)
    return text


def compile_pattern(text: str, operators: Dialect = "lambda") -> Test:
    """Return a function that says whether a record matches the pattern.

    Raises:
        InvalidFilterPattern: AWS refuses the pattern.
    """
    match = _Compiler(operators).compile(parse_pattern(text), (), 1)
    return lambda record: match(record, record)


def parse_pattern(text: str, hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Pattern:
    """Return the pattern as a dictionary; of keys that appear twice the last one counts.

    Raises:
        InvalidFilterPattern: it is too long, not JSON, or not an object.
    """
    if len(text) > LONGEST_PATTERN:
        refuse(f"{len(text)} characters, at most {LONGEST_PATTERN} are allowed")
    try:
        pattern = json.loads(text, object_pairs_hook=hook, parse_constant=_no_constant)
    except RecursionError:
        refuse(f"nested deeper than {DEEPEST_PATTERN} levels")
    except InvalidFilterPattern:
        raise
    except ValueError as error:
        refuse(f"not JSON: {error}")
    if not isinstance(pattern, dict):
        refuse(f"a JSON object is expected, not {type(pattern).__name__}")
    return pattern


def _no_constant(name: str) -> NoReturn:
    refuse(f"not JSON: {name}")


@dataclass(frozen=True)
class _Compiler:
    """Makes functions of patterns."""

    operators: Dialect

    def compile(
        self,
        pattern: Pattern,
        steps: tuple[str, ...],
        depth: int,
        where: str = "",
        *,
        chosen: bool = False,
    ) -> Match:
        """Return the test of an object at the path `steps`; `chosen` inside `$or`."""
        if depth > DEEPEST_PATTERN:
            refuse(f"nested deeper than {DEEPEST_PATTERN} levels", where[:40] + "...")
        if not pattern:
            problem = (
                "an empty object is not allowed: name a field in it, or leave it out to match "
                "every record"
            )
            refuse(problem, where)
        tests: list[tuple[str, Match]] = []
        choices: list[Match] = []
        for key, value in pattern.items():
            place = f"{where}.{key}" if where else key
            if key == "$or":
                choices.append(self._choice(value, steps, depth, place))
                continue
            if chosen and key in RESERVED:
                refuse("the name of an operator cannot name a field inside $or", place)
            below = (*steps, key)
            if isinstance(value, dict):
                tests.append((key, self.compile(value, below, depth + 1, place, chosen=chosen)))
            elif isinstance(value, list):
                tests.append((key, self._leaf(value, below, place)))
            else:
                refuse("a condition must be an object or a list", place)

        def fits(value: Any, record: Any) -> bool:
            if isinstance(value, list) and value:
                return any(fits(element, record) for element in value)
            node = value if isinstance(value, Mapping) else {}
            return all(test(node.get(key, ABSENT), record) for key, test in tests) and all(
                choice(node, record) for choice in choices
            )

        return fits

    def _choice(self, value: Any, steps: tuple[str, ...], depth: int, where: str) -> Match:
        if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
            refuse("$or takes a list of objects", where)
        if len(value) < 2:
            refuse("$or takes a list of at least two objects", where)
        tests = [
            self.compile(v, steps, depth + 1, f"{where}[{i}]", chosen=True)
            for i, v in enumerate(value)
        ]
        return lambda node, record: any(test(node, record) for test in tests)

    def _leaf(self, conditions: list[Any], steps: tuple[str, ...], where: str) -> Match:
        if not conditions:
            refuse("an empty list matches nothing", where)
        tests = [
            compile_condition(c, f"{where}[{i}]", self.operators) for i, c in enumerate(conditions)
        ]
        absence = {"exists": False} in conditions

        def fits(value: Any, record: Any) -> bool:
            if any(test(leaf) for leaf in _leaves(value) for test in tests):
                return True
            return absence and not _is_present(record, steps)

        return fits


def _leaves(value: Any) -> Iterator[Any]:
    """Yield the leaf values at a place of the record; none if it is an object."""
    if isinstance(value, list):
        for element in value:
            yield from _leaves(element)
    elif value is not ABSENT and not isinstance(value, Mapping):
        yield value


def _is_present(value: Any, steps: Sequence[str]) -> bool:
    """Whether a record has a leaf at a path, in any element of the lists on the way.

    `{"exists": false}` asks for the path in the whole event: an element of a list that lacks it is
    not enough, if another has it.
    """
    if isinstance(value, list):
        return any(_is_present(element, steps) for element in value)
    if not steps:
        return not isinstance(value, Mapping)
    return (
        isinstance(value, Mapping) and steps[0] in value and _is_present(value[steps[0]], steps[1:])
    )
