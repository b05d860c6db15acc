"""Filter criteria of a mapping: EventBridge patterns over DynamoDB JSON, with their traps.

A pattern is matched against the record as the function would receive it, so an attribute is found
under its type: `{"dynamodb": {"NewImage": {"status": {"S": ["placed"]}}}}`
(https://docs.aws.amazon.com/lambda/latest/dg/with-ddb-filtering.html). Three things follow that
surprise, all observed on AWS: numbers are strings under `N`, so `numeric` never matches them;
`exists` sees only leaves, so `{"status": [{"exists": false}]}` matches every record; and a pattern
without the type matches none. `lint` finds them before a mapping is silent for a day.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Self, TypeAlias

from dynamodb_streams_cdc.errors import CdcError

FILTER_QUOTA = 5
LARGEST_FILTER_QUOTA = 10
LONGEST_PATTERN = 4096
DEEPEST_PATTERN = 68
"""An item nests 32 levels, each a name and a type, below `dynamodb.NewImage`: no record is deeper
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html)."""

OPERATORS = ("anything-but", "equals-ignore-case", "exists", "numeric", "prefix", "suffix")
"""https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html#filtering-syntax"""

Pattern: TypeAlias = dict[str, Any]
Test: TypeAlias = Callable[[Any], bool]

ABSENT = object()
"""Stands for a key that the record does not have."""

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "=": lambda value, bound: value == bound,
    "<": lambda value, bound: value < bound,
    "<=": lambda value, bound: value <= bound,
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
}


class InvalidFilterPattern(CdcError, ValueError):
    """A pattern that `CreateEventSourceMapping` refuses; says what is wrong, and where."""

    def __init__(self, problem: str, where: str = "") -> None:
        place = f" at {where}" if where else ""
        super().__init__(f"Invalid filter pattern definition.{place and f'{place}:'} {problem}")
        self.problem = problem
        self.where = where


@dataclass(frozen=True)
class FilterCriteria:
    """The filters of a mapping: a record passes if any of them matches, or if there are none."""

    patterns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        tests = tuple(compile_pattern(text) for text in self.patterns)
        object.__setattr__(self, "_tests", tests)

    @classmethod
    def from_description(cls, criteria: Mapping[str, Any], *, quota: int = FILTER_QUOTA) -> Self:
        """Return what `{"Filters": [{"Pattern": "..."}]}` describes.

        Raises:
            InvalidFilterPattern: more filters than the quota, or a pattern that AWS refuses.
        """
        filters = criteria.get("Filters") or []
        if not isinstance(filters, list):
            _refuse("Filters must be a list", "FilterCriteria.Filters")
        if len(filters) > min(quota, LARGEST_FILTER_QUOTA):
            problem = (
                f"{len(filters)} filters, the quota is {min(quota, LARGEST_FILTER_QUOTA)} "
                f"(AWS raises it to {LARGEST_FILTER_QUOTA} at most)"
            )
            _refuse(problem, "FilterCriteria.Filters")
        texts = []
        for position, item in enumerate(filters):
            text = item.get("Pattern", "{}") if isinstance(item, Mapping) else None
            if not isinstance(text, str):
                _refuse("Pattern must be a string", f"FilterCriteria.Filters[{position}]")
            texts.append(text)
        return cls(tuple(texts))

    def matches(self, record: Mapping[str, Any]) -> bool:
        """Whether the mapping sends `record` to the function."""
        tests: tuple[Test, ...] = self.__dict__["_tests"]
        return not tests or any(test(record) for test in tests)

    def __bool__(self) -> bool:
        """Whether there are any filters."""
        return bool(self.patterns)


def compile_pattern(text: str) -> Test:
    """Return a function that says whether a record matches the pattern.

    Raises:
        InvalidFilterPattern: AWS refuses the pattern.
    """
    return _object(parse_pattern(text), "", 1)


def parse_pattern(text: str, hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Pattern:
    """Return the pattern as a dictionary; of keys that appear twice the last one counts.

    Raises:
        InvalidFilterPattern: it is too long, not JSON, or not an object.
    """
    if len(text) > LONGEST_PATTERN:
        _refuse(f"{len(text)} characters, at most {LONGEST_PATTERN} are allowed")
    try:
        pattern = json.loads(text, object_pairs_hook=hook)
    except RecursionError:
        _refuse(f"nested deeper than {DEEPEST_PATTERN} levels")
    except ValueError as error:
        _refuse(f"not JSON: {error}")
    if not isinstance(pattern, dict):
        _refuse(f"a JSON object is expected, not {type(pattern).__name__}")
    return pattern


def _refuse(problem: str, where: str = "") -> NoReturn:
    raise InvalidFilterPattern(problem, where)


def _object(pattern: Pattern, path: str, depth: int) -> Test:
    if depth > DEEPEST_PATTERN:
        _refuse(f"nested deeper than {DEEPEST_PATTERN} levels", path[:40] + "...")
    tests: list[tuple[str, Test]] = []
    choices: list[Test] = []
    for key, value in pattern.items():
        where = f"{path}.{key}" if path else key
        if key == "$or":
            choices.append(_choice(value, where, depth))
        elif isinstance(value, dict):
            tests.append((key, _object(value, where, depth + 1)))
        elif isinstance(value, list):
            tests.append((key, _leaf(value, where)))
        else:
            _refuse("a condition must be an object or a list", where)

    def fits(value: Any) -> bool:
        if isinstance(value, list) and value:
            return any(fits(element) for element in value)
        node = value if isinstance(value, Mapping) else {}
        return all(test(node.get(key, ABSENT)) for key, test in tests) and all(
            choice(node) for choice in choices
        )

    return fits


def _choice(value: Any, where: str, depth: int) -> Test:
    if not isinstance(value, list) or not value or not all(isinstance(v, dict) for v in value):
        _refuse("$or takes a list of objects", where)
    tests = [_object(v, f"{where}[{i}]", depth + 1) for i, v in enumerate(value)]
    return lambda node: any(test(node) for test in tests)


def _leaves(value: Any) -> list[Any]:
    """Return the leaf values at a place of the record; none if an object stands there."""
    if isinstance(value, list):
        return [element for element in value if not isinstance(element, dict | list)]
    return [] if isinstance(value, dict) or value is ABSENT else [value]


def _leaf(conditions: list[Any], where: str) -> Test:
    if not conditions:
        _refuse("an empty list matches nothing", where)
    tests = [_condition(c, f"{where}[{i}]") for i, c in enumerate(conditions)]

    def fits(value: Any) -> bool:
        found: Sequence[Any] = _leaves(value) or (ABSENT,)
        return any(test(leaf) for test in tests for leaf in found)

    return fits


def _condition(condition: Any, where: str) -> Test:
    if condition is None or isinstance(condition, str | int | float):
        return _equals(condition)
    if not isinstance(condition, dict) or len(condition) != 1:
        _refuse(f"a value, or an object with one of {', '.join(OPERATORS)}, is expected", where)
    ((operator, operand),) = condition.items()
    if operator not in OPERATORS:
        _refuse(f"unknown operator; known are {', '.join(OPERATORS)}", f"{where}.{operator}")
    return _OPERATORS[operator](operand, f"{where}.{operator}")


def _same(value: Any, wanted: Any) -> bool:
    """Compare as JSON does: true is not 1, and 1 is 1.0."""
    return isinstance(value, bool) == isinstance(wanted, bool) and bool(value == wanted)


def _equals(wanted: Any) -> Test:
    return lambda value: value is not ABSENT and _same(value, wanted)


def _text(operand: Any, where: str) -> str:
    if not isinstance(operand, str):
        _refuse("a string is expected", where)
    return operand


def _equals_ignore_case(operand: Any, where: str) -> Test:
    wanted = _text(operand, where).lower()
    return lambda value: isinstance(value, str) and value.lower() == wanted


def _prefix(operand: Any, where: str) -> Test:
    if isinstance(operand, dict) and operand.keys() == {"equals-ignore-case"}:
        start = _text(operand["equals-ignore-case"], where).lower()
        return lambda value: isinstance(value, str) and value.lower().startswith(start)
    wanted = _text(operand, where)
    return lambda value: isinstance(value, str) and value.startswith(wanted)


def _suffix(operand: Any, where: str) -> Test:
    if isinstance(operand, dict) and operand.keys() == {"equals-ignore-case"}:
        end = _text(operand["equals-ignore-case"], where).lower()
        return lambda value: isinstance(value, str) and value.lower().endswith(end)
    wanted = _text(operand, where)
    return lambda value: isinstance(value, str) and value.endswith(wanted)


def _exists(operand: Any, where: str) -> Test:
    if not isinstance(operand, bool):
        _refuse("true or false is expected", where)
    return lambda value: (value is not ABSENT) == operand


def _anything_but(operand: Any, where: str) -> Test:
    if isinstance(operand, dict):
        if len(operand) != 1 or not operand.keys() <= {"prefix", "suffix", "equals-ignore-case"}:
            _refuse("prefix, suffix or equals-ignore-case is expected", where)
        excluded = _condition(operand, where)
        return lambda value: value is not ABSENT and not excluded(value)
    unwanted = operand if isinstance(operand, list) else [operand]
    if not unwanted or not all(isinstance(u, str | int | float) for u in unwanted):
        _refuse("a string, a number or a list of them is expected", where)
    return lambda value: value is not ABSENT and not any(_same(value, u) for u in unwanted)


def _numeric(operand: Any, where: str) -> Test:
    if not isinstance(operand, list) or len(operand) not in (2, 4):
        _refuse("one or two pairs of a comparison and a number are expected", where)
    pairs = list(zip(operand[::2], operand[1::2], strict=True))
    for sign, bound in pairs:
        if (
            sign not in _COMPARISONS
            or isinstance(bound, bool)
            or not isinstance(bound, int | float)
        ):
            _refuse(f"a comparison ({' '.join(_COMPARISONS)}) and a number are expected", where)
    return lambda value: (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and all(_COMPARISONS[sign](value, bound) for sign, bound in pairs)
    )


_OPERATORS: dict[str, Callable[[Any, str], Test]] = {
    "anything-but": _anything_but,
    "equals-ignore-case": _equals_ignore_case,
    "exists": _exists,
    "numeric": _numeric,
    "prefix": _prefix,
    "suffix": _suffix,
}
