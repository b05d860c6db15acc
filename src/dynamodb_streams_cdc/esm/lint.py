"""Warnings of filter patterns that match nothing or everything.

AWS accepts every one of these patterns; the mapping then sends nothing, or everything, and says so
nowhere (https://docs.aws.amazon.com/lambda/latest/dg/with-ddb-filtering.html).
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from dynamodb_streams_cdc.esm.filters import compile_pattern, parse_pattern
from dynamodb_streams_cdc.esm.operators import unlisted

_IMAGES = ("Keys", "NewImage", "OldImage")
_BODY = (*_IMAGES, "ApproximateCreationDateTime", "SequenceNumber", "SizeBytes", "StreamViewType")
_TEXT_TYPES = ("S", "N", "B", "SS", "NS", "BS")
_LEAF_TYPES = (*_TEXT_TYPES, "BOOL", "NULL")
_TYPES = (*_LEAF_TYPES, "M", "L")
_TOP_LEVEL = ("dynamodb", "eventName", "userIdentity")
_EVENT_NAMES = ("INSERT", "MODIFY", "REMOVE")
_CANONICAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?")


def lint(pattern: str) -> list[str]:
    """Return a warning for each part of a pattern that can never match, or always does.

    Raises:
        InvalidFilterPattern: AWS refuses the pattern altogether.
    """
    compile_pattern(pattern, "eventbridge")
    warnings: list[str] = []

    def note_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        for key, times in Counter(key for key, _ in pairs).items():
            if times > 1:
                warnings.append(f'"{key}" stands {times} times in one object: only the last counts')
        return dict(pairs)

    parsed = parse_pattern(pattern, note_duplicates)
    return warnings + list(_unlisted(parsed, "")) + list(_record(parsed, ""))


def _unlisted(pattern: dict[str, Any], path: str) -> Iterator[str]:
    for _, value, where in _parts(pattern, path):
        if isinstance(value, dict):
            yield from _unlisted(value, where)
            continue
        for name in filter(None, map(unlisted, value)):
            yield f"{where}: Lambda's table of operators does not list {name}; EventBridge's does"


def _parts(pattern: dict[str, Any], path: str) -> Iterator[tuple[str, Any, str]]:
    """Yield key, condition and path of a level, with those inside `$or`."""
    for key, value in pattern.items():
        where = f"{path}.{key}" if path else key
        if key == "$or":
            for position, choice in enumerate(value):
                yield from _parts(choice, f"{where}[{position}]")
        else:
            yield key, value, where


def _record(pattern: dict[str, Any], path: str) -> Iterator[str]:
    for key, value, where in _parts(pattern, path):
        if key not in _TOP_LEVEL:
            yield f"{where}: only {', '.join(_TOP_LEVEL)} are known to work for a DynamoDB stream"
        elif key == "eventName":
            yield from _event_name(value, where)
        elif isinstance(value, list):
            yield from _not_a_leaf(value, where, "an object stands there")
        elif key == "dynamodb":
            yield from _body(value, where)


def _event_name(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, dict):
        yield f"{where}: never matches, a string stands there"
        return
    for condition in value:
        if not isinstance(condition, dict) and condition not in _EVENT_NAMES:
            yield f"{where}: {condition!r} never matches; there is only {', '.join(_EVENT_NAMES)}"


def _body(pattern: dict[str, Any], path: str) -> Iterator[str]:
    for key, value, where in _parts(pattern, path):
        if key not in _BODY:
            yield f"{where}: records have no such field; there is {', '.join(_BODY)}"
        elif key in _IMAGES and isinstance(value, list):
            yield from _not_a_leaf(value, where, "an object stands there")
        elif key in _IMAGES:
            yield from _attributes(value, where)
        elif isinstance(value, dict):
            yield f"{where}: never matches, a value stands there"
        elif key in ("SequenceNumber", "StreamViewType"):
            yield from _strings(value, where)


def _attributes(pattern: dict[str, Any], path: str) -> Iterator[str]:
    for _, value, where in _parts(pattern, path):
        if isinstance(value, list):
            reason = 'the attribute\'s type is missing, as in {"S": [...]}'
            yield from _not_a_leaf(value, where, reason)
        else:
            yield from _typed(value, where)


def _typed(pattern: dict[str, Any], path: str) -> Iterator[str]:
    for key, value, where in _parts(pattern, path):
        if key not in _TYPES:
            yield f"{where}: never matches, the type of an attribute is one of {', '.join(_TYPES)}"
        elif key in _LEAF_TYPES and isinstance(value, dict):
            yield f"{where}: never matches, a value stands there"
        elif key not in _LEAF_TYPES and isinstance(value, list):
            yield from _not_a_leaf(value, where, "an object stands there")
        elif key == "M":
            yield from _attributes(value, where)
        elif key == "L":
            yield from _typed(value, where)
        elif key in _TEXT_TYPES:
            yield from _strings(value, where)
            if key in ("N", "NS"):
                yield from _numbers(value, where)
        else:
            yield from _booleans(value, where)


def _not_a_leaf(conditions: list[Any], where: str, reason: str) -> Iterator[str]:
    for condition in conditions:
        always = isinstance(condition, dict) and condition.get("exists") is False
        yield f"{where}: {'always' if always else 'never'} matches, {reason}"


def _strings(conditions: list[Any], where: str) -> Iterator[str]:
    for condition in conditions:
        if isinstance(condition, dict) and "numeric" in condition:
            yield f"{where}: numeric never matches, the value is a string"
        elif isinstance(condition, dict) and "anything-but" in condition:
            excluded = condition["anything-but"]
            texts = excluded if isinstance(excluded, list) else [excluded]
            for value in texts:
                if isinstance(value, int | float):
                    yield f"{where}: anything-but {value!r} excludes nothing, the value is a string"
        elif condition is None or isinstance(condition, int | float):
            yield f"{where}: {condition!r} never matches, the value is a string"


def _numbers(conditions: list[Any], where: str) -> Iterator[str]:
    for condition in conditions:
        if isinstance(condition, str) and not _CANONICAL.fullmatch(condition):
            yield (
                f"{where}: {condition!r} is not how DynamoDB writes a number (no leading or "
                "trailing zeros, no sign of plus)"
            )


def _booleans(conditions: list[Any], where: str) -> Iterator[str]:
    for condition in conditions:
        if not isinstance(condition, bool | dict):
            yield f"{where}: {condition!r} never matches, the value is true or false"
