"""The conditions of a filter pattern: the entries of the list at a pattern's leaf.

The meaning of a condition, and the refusals, follow the compiler of EventBridge's patterns, from
which Lambda has its language: https://github.com/aws/event-ruler, `JsonRuleCompiler`.
"""

import ipaddress
import math
import operator
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal, NoReturn, TypeAlias

from dynamodb_streams_cdc.errors import CdcError

Dialect: TypeAlias = Literal["lambda", "eventbridge"]
"""Which operators a pattern may use.

`lambda`: those in the table of Lambda's guide
(https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html#filtering-syntax).
`eventbridge`: all that EventBridge's compiler takes. Whether Lambda takes more than its table lists
is documented nowhere."""

Test: TypeAlias = Callable[[Any], bool]

LISTED = ("anything-but", "equals-ignore-case", "exists", "numeric", "prefix", "suffix")
UNLISTED = ("cidr", "exactly", "wildcard")
"""EventBridge has them, Lambda's table does not."""

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

RESERVED = frozenset(
    {
        *LISTED,
        *UNLISTED,
        *_COMPARISONS,
        "date-after",
        "date-before",
        "date-on-or-after",
        "date-on-or-before",
        "in-date-range",
        "ip-address-in-range",
        "ip-address-not-in-range",
        "not-equals-ignore-case",
        "not-wildcard",
        "regex",
    }
)
"""Names that no field inside `$or` may have."""


class InvalidFilterPattern(CdcError, ValueError):
    """Raised for a pattern that `CreateEventSourceMapping` refuses; names fault and place."""

    def __init__(self, problem: str, where: str = "") -> None:
        place = f" at {where}" if where else ""
        super().__init__(f"Invalid filter pattern definition.{place and f'{place}:'} {problem}")
        self.problem = problem
        self.where = where


def refuse(problem: str, where: str = "") -> NoReturn:
    """Refuse a pattern.

    Raises:
        InvalidFilterPattern: always.
    """
    raise InvalidFilterPattern(problem, where)


def unlisted(condition: Any) -> str | None:
    """Return the operator of a condition that Lambda's table does not list; None if it does."""
    if not isinstance(condition, dict) or len(condition) != 1:
        return None
    ((name, operand),) = condition.items()
    if name in UNLISTED:
        return str(name)
    if name in ("anything-but", "prefix", "suffix") and isinstance(operand, dict) and operand:
        return f"{name} with {next(iter(operand))}"
    return None


def compile_condition(condition: Any, where: str, dialect: Dialect) -> Test:
    """Return a function that says whether a leaf value meets a condition.

    `{"exists": false}` meets no value: whether a path is absent is for the whole record to say.

    Raises:
        InvalidFilterPattern: AWS refuses the condition.
    """
    if condition is None or isinstance(condition, str | int | float):
        return lambda value: _same(value, condition)
    if not isinstance(condition, dict) or len(condition) != 1:
        refuse(f"a value, or an object with one of {', '.join(LISTED)}, is expected", where)
    ((name, operand),) = condition.items()
    place = f"{where}.{name}"
    if name not in _OPERATORS:
        refuse(f"unknown operator; known are {', '.join(LISTED)}", place)
    test = _OPERATORS[name](operand, place)
    if dialect == "lambda" and (extra := unlisted(condition)):
        problem = (
            f"EventBridge takes {extra}, Lambda's table of operators does not list it: choose "
            'Policies(filter_operators="eventbridge") if your mapping was accepted'
        )
        refuse(problem, place)
    return test


def _same(value: Any, wanted: Any) -> bool:
    """Compare as JSON does: true is not 1, and 1 is 1.0."""
    return isinstance(value, bool) == isinstance(wanted, bool) and bool(value == wanted)


def _text(operand: Any, where: str) -> str:
    if not isinstance(operand, str):
        refuse("a string is expected", where)
    return operand


def _number(operand: Any, where: str, expected: str) -> float:
    """Return a number that compares as a double: no more digits than one holds."""
    if isinstance(operand, bool) or not isinstance(operand, int | float):
        refuse(expected, where)
    try:
        double = float(operand)
    except OverflowError:
        double = math.inf
    if not math.isfinite(double) or Decimal(repr(double)) != Decimal(str(operand)):
        refuse(f"{operand} cannot be compared: a double does not hold it", where)
    return double


def _exactly(operand: Any, where: str) -> Test:
    wanted = _text(operand, where)
    return lambda value: isinstance(value, str) and value == wanted


def _equals_ignore_case(operand: Any, where: str) -> Test:
    wanted = _text(operand, where).lower()
    return lambda value: isinstance(value, str) and value.lower() == wanted


def _affix(is_at: Callable[[str, str], bool]) -> Callable[[Any, str], Test]:
    """Return the compiler of `prefix` or `suffix`; both may ignore the case."""

    def compiled(operand: Any, where: str) -> Test:
        if isinstance(operand, dict) and operand.keys() == {"equals-ignore-case"}:
            lower = _text(operand["equals-ignore-case"], where).lower()
            return lambda value: isinstance(value, str) and is_at(value.lower(), lower)
        wanted = _text(operand, where)
        return lambda value: isinstance(value, str) and is_at(value, wanted)

    return compiled


def _exists(operand: Any, where: str) -> Test:
    if not isinstance(operand, bool):
        refuse("true or false is expected", where)
    return lambda value: operand


def _anything_but(operand: Any, where: str) -> Test:
    if isinstance(operand, dict):
        return _anything_but_those(operand, where)
    unwanted = operand if isinstance(operand, list) else [operand]
    expected = "a string, a number or a list of them is expected, neither true, false nor null"
    if not unwanted:
        refuse(expected, where)
    texts = [isinstance(value, str) for value in unwanted]
    if any(texts) and not all(texts):
        refuse("a list must hold only strings or only numbers, it is mixed", where)
    if not any(texts):
        unwanted = [_number(value, where, expected) for value in unwanted]
    return lambda value: not any(_same(value, u) for u in unwanted)


def _anything_but_those(operand: dict[str, Any], where: str) -> Test:
    kinds = ("equals-ignore-case", "prefix", "suffix", "wildcard")
    if len(operand) != 1 or not operand.keys() <= set(kinds):
        refuse(f"one of {', '.join(kinds)} is expected", where)
    ((kind, given),) = operand.items()
    place = f"{where}.{kind}"
    texts = [_text(value, place) for value in (given if isinstance(given, list) else [given])]
    if not texts:
        refuse("an empty list excludes nothing", place)
    if kind in ("prefix", "suffix") and "" in texts:
        refuse(f"an empty {kind} is not allowed", place)
    excluded = [_OPERATORS[kind](text, place) for text in texts]
    return lambda value: not any(test(value) for test in excluded)


def _numeric(operand: Any, where: str) -> Test:
    if not isinstance(operand, list) or len(operand) not in (2, 4):
        refuse("one or two pairs of a comparison and a number are expected", where)
    expected = f"a comparison ({' '.join(_COMPARISONS)}) and a number are expected"
    signs = operand[::2]
    if not all(isinstance(sign, str) and sign in _COMPARISONS for sign in signs):
        refuse(expected, where)
    bounds = [_number(bound, where, expected) for bound in operand[1::2]]
    if len(signs) == 2:
        if signs[0] not in (">", ">=") or signs[1] not in ("<", "<="):
            refuse("a range is written from below: > or >= first, then < or <=", where)
        if bounds[0] >= bounds[1]:
            refuse(f"a range must begin below its end: {bounds[0]:g} is not", where)
    pairs = list(zip(signs, bounds, strict=True))
    return lambda value: (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and all(_COMPARISONS[sign](value, bound) for sign, bound in pairs)
    )


def _wildcard(operand: Any, where: str) -> Test:
    text = _text(operand, where)
    if "**" in re.sub(r"\\[*\\]", "", text):
        refuse("two * in a row are not allowed", where)
    if "\\" in re.sub(r"\\[*\\]", "", text):
        refuse(r"\ may only stand before * or \ ", where)
    parts = re.split(r"(\\[*\\]|\*)", text)
    expression = "".join(".*" if part == "*" else re.escape(_unescaped(part)) for part in parts)
    matches = re.compile(expression, re.DOTALL).fullmatch
    return lambda value: isinstance(value, str) and matches(value) is not None


def _unescaped(part: str) -> str:
    return part[1:] if part in (r"\*", r"\\") else part


def _cidr(operand: Any, where: str) -> Test:
    address, slash, bits = _text(operand, where).partition("/")
    try:
        network = ipaddress.ip_network(f"{address}/{bits}", strict=False)
        mask = int(bits)
    except ValueError as error:
        refuse(f"not a block of addresses such as 10.0.0.0/24: {error}", where)
    if not slash or mask >= network.max_prefixlen:
        refuse(f"a mask below {network.max_prefixlen} bits is expected", where)

    def within(value: Any) -> bool:
        try:
            return isinstance(value, str) and ipaddress.ip_address(value) in network
        except ValueError:
            return False

    return within


_OPERATORS: dict[str, Callable[[Any, str], Test]] = {
    "anything-but": _anything_but,
    "cidr": _cidr,
    "equals-ignore-case": _equals_ignore_case,
    "exactly": _exactly,
    "exists": _exists,
    "numeric": _numeric,
    "prefix": _affix(str.startswith),
    "suffix": _affix(str.endswith),
    "wildcard": _wildcard,
}
