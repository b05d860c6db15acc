"""The exceptions of the library, and the class of each failure.

    CdcError
    ├── MalformedRecord      no DynamoDB stream delivers such an event or record         permanent
    │   ├── MalformedValue   an attribute value is not DynamoDB JSON                     permanent
    │   └── MalformedSource  a field that the stream fills, not the item        see `source_fault`
    ├── MissingImage         the stream's view type does not carry the image                source
    ├── PermanentError       the change can never succeed                                permanent
    ├── RetryableError       the sink refuses everything for now                            outage
    │   ├── ConflictError    the sink refuses this write: another one is under way          outage
    │   └── MisconfiguredError  a person has to act                                wrong setup
    │       └── AccessDeniedError  the function lacks a permission                 wrong setup
    ├── DeadlineExceeded     the invocation ended before the change's turn                 no time
    └── BlockedByEarlierFailure  an earlier change of the same item failed                  outage

Every other exception is *unexpected*. `dynamodb_streams_cdc.processor` describes the action on each
class.
"""

import re
import unicodedata
from collections.abc import Mapping
from concurrent.futures import Future
from datetime import date
from decimal import Decimal
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TypeVar

Result = TypeVar("Result")


class CdcError(Exception):
    """Base of every exception that this library raises on purpose."""


class MalformedRecord(CdcError, ValueError):
    """An event, record or log entry that no DynamoDB stream delivers; says which field and why."""


class MalformedValue(MalformedRecord):
    """An attribute value that is not DynamoDB JSON.

    `path` is where it stands, such as `NewImage.lines[2].price`; empty for the value itself.
    """

    def __init__(self, problem: str, path: str = "") -> None:
        super().__init__(f"{path}: {problem}" if path else problem)
        self.problem = problem
        self.path = path


class MalformedSource(MalformedRecord):
    """A field that the stream or its mapping fills is malformed.

    `field` is its name, such as `eventSourceARN`. Where all records of an event share the fault,
    no record is to blame: `source_fault` says what then happens.
    """

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


class MissingImage(CdcError):
    """An image was asked for that the stream's view type does not carry.

    The stream is at fault, not the record: the shard waits, at any age of the record, rather than
    every record of it becoming a dead letter.
    """


class PermanentError(CdcError):
    """A change that can never be applied; the processor sends it to the dead letters at once.

    Raise it from a handler to say so. `reason` is the name by which dead letters are grouped, such
    as `mapper_parsing_exception`; it defaults to the name of the exception's class.
    """

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason or type(self).__name__


class RetryableError(CdcError):
    """The sink cannot take anything at the moment: a throttle, a time-out, a refused connection."""


class ConflictError(RetryableError):
    """The sink refused this write because another one was under way; smaller packs help."""


class MisconfiguredError(RetryableError):
    """The sink takes nothing until a person acts, such as an index with a mapping that is refused.

    Waiting does not help, and no record is at fault: the processor reports the batch at once.
    """


class AccessDeniedError(MisconfiguredError):
    """The sink, or the store of dead letters, knows who asks and does not permit it.

    The processor counts `access_denied`. The message says who lacks what.
    """


class DeadlineExceeded(CdcError):
    """The invocation's deadline passed before the change was tried; it is delivered again."""


class BlockedByEarlierFailure(CdcError):
    """The change waits because an earlier change of the same item has failed."""


_FORMS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "true or false"),
    (int, "an integer"),
    (float, "a float"),
    (Decimal, "a decimal number"),
    (str, "text"),
    ((bytes, bytearray), "bytes"),
    (list, "a list"),
    (tuple, "a tuple"),
    ((set, frozenset), "a set"),
    (date, "a date"),
    (Mapping, "an object"),
)


def form_of(value: object) -> str:
    """Return the form of a value, such as `text` or `an object`, for a message.

    Messages go into logs and tickets: they name a field and its rule, never its value.
    """
    if value is None:
        return "nothing"
    found = next((form for kind, form in _FORMS if isinstance(value, kind)), None)
    return found or f"a value of type {type(value).__name__}"


def text_of(error: Exception) -> str:
    """Return the text of an error, which may be of a class whose text fails itself."""
    try:
        return str(error)
    except Exception as fault:
        return f"a {type(error).__name__} without a text: {type(fault).__name__}"


def returned(result: Result) -> Result:
    """Return the result of a function of the user's, which ran when it was called.

    Raises:
        TypeError: the function is `async` or yields, or returned a `map`, and the call did nothing;
            or the work is left to another thread, which Lambda stops once the invocation ends.
    """
    is_left = isinstance(result, GeneratorType | AsyncGeneratorType | map | Future)
    if is_left or hasattr(type(result), "__await__"):
        if isinstance(result, CoroutineType):
            result.close()  # so that Python does not warn
        message = (
            f"the function returned a {type(result).__name__}, whose work is not done: write it "
            "without async, yield and map, and wait for what other threads do"
        )
        raise TypeError(message)
    return result


_CANDIDATES = re.compile(r"[^\t\n\x20-\x7e]+")


def visible(text: str) -> str:
    r"""Return a text with every character that cannot be seen escaped as JSON does it: `\u202e`.

    It escapes what Python calls not printable (control, format, lone surrogates, private use,
    unassigned, line and paragraph separators), except tabs, line feeds and spaces. JSON stays JSON
    of the same value, and every stream can encode the result.
    """
    return _CANDIDATES.sub(lambda match: "".join(map(_shown, match[0])), text)


def _shown(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
