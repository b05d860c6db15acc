"""Events of a simulation, and the text of each: the line of a timeline that a person reads."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any, TypeAlias

from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.esm import LossReason, Result
from dynamodb_streams_cdc.esm.batch import Record

LABELS = 3
"""How many records a line names before it counts the rest."""

LONGEST_LABEL = 24
LONGEST_ARGUMENT = 60


@dataclass(frozen=True)
class Remark:
    """Anything that only a person reads, such as a fault that is armed."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Written:
    """The table was written to."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Invoked:
    """The mapping invoked the function; without records, to end a tumbling window."""

    records: Sequence[Record]
    attempt: int = 1

    def __str__(self) -> str:
        attempt = "" if self.attempt == 1 else f", attempt {self.attempt}"
        return f"invoked{attempt}: {listed(self.records) or 'no records, the window is over'}"


@dataclass(frozen=True)
class InvokedLate:
    """A poller that was replaced invoked the function with an old batch."""

    records: Sequence[Record]

    def __str__(self) -> str:
        return f"invoked by a poller believed dead: {listed(self.records)}"


@dataclass(frozen=True)
class Throttled:
    """The function was not invoked."""

    records: Sequence[Record]

    def __str__(self) -> str:
        return f"throttled: {listed(self.records)}"


@dataclass(frozen=True)
class Failed:
    """The function raised `error`, or its process died of it."""

    error: BaseException
    retried: bool = True

    def __str__(self) -> str:
        return f"failed, {self.error!r}{'' if self.retried else '; not retried'}"


@dataclass(frozen=True)
class Answered:
    """The function answered.

    Attributes:
        result: the meaning of the answer to the mapping.
        reason: why the answer has this meaning; empty if it is plain.
        returned: the answer as text; empty for None, or where `reason` says more.
        first_failed: the record from which on a partial failure is not done.
    """

    result: Result
    reason: str = ""
    returned: str = ""
    first_failed: Record | None = None

    def __str__(self) -> str:
        because = self.reason or (self.returned and f"returned {self.returned}")
        if self.first_failed is not None:
            because = f"not done from {in_words(self.first_failed)} on"
        return f"answered: {self.result}{because and f', {because}'}"


@dataclass(frozen=True)
class AnswerIgnored:
    """The function answered an invocation that no longer counts."""

    returned: str = ""

    def __str__(self) -> str:
        return f"answered, which counts no longer{self.returned and f': {self.returned}'}"


@dataclass(frozen=True)
class Repeated:
    """The function succeeded, and the mapping delivers the batch again."""

    def __str__(self) -> str:
        return "done, and delivered again all the same"


@dataclass(frozen=True)
class GivenUp:
    """The mapping wrote a dead letter of the records."""

    records: Sequence[Record]

    def __str__(self) -> str:
        return f"given up, a dead letter: {listed(self.records)}"


@dataclass(frozen=True)
class Lost:
    """Records are gone that are neither done nor in a dead letter."""

    reason: LossReason
    records: Sequence[Record]

    def __str__(self) -> str:
        return f"{self.reason}: {listed(self.records)}"


@dataclass(frozen=True)
class Called:
    """The function made a request.

    Attributes:
        arguments: as text.
        error: as text; empty if the request succeeded.
        dead_letter: whether the request writes a dead letter.
    """

    method: str
    arguments: str
    error: str = ""
    dead_letter: bool = False

    @property
    def call(self) -> str:
        """The request as text, such as `put_item(TableName=copies, Item={...})`."""
        return f"{self.method}({self.arguments})"

    def __str__(self) -> str:
        return f"    {self.call}{self.error and f' raises {self.error}'}"


@dataclass(frozen=True)
class Unanswered:
    """A request failed before it took effect."""

    method: str

    def __str__(self) -> str:
        return f"    {self.method} is not answered: the sink is out"


@dataclass(frozen=True)
class AnswerLost:
    """A request took effect, and its answer did not arrive."""

    def __str__(self) -> str:
        return "    the answer is lost, after it took effect"


Event: TypeAlias = (
    Remark
    | Written
    | Invoked
    | InvokedLate
    | Throttled
    | Failed
    | Answered
    | AnswerIgnored
    | Repeated
    | GivenUp
    | Lost
    | Called
    | Unanswered
    | AnswerLost
)


def change_of(record: Record) -> str:
    """Return the change that a record describes, such as `MODIFY item-3`."""
    return f"{record['eventName']} {key_text(record['dynamodb']['Keys'])}"


def changes_of(records: Iterable[Record]) -> str:
    """Return the changes of the first records, and how many more there are."""
    return _first([_short(record) for record in records])


def key_text(keys: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the values of an item's keys, as the record holds them, with slashes between."""
    return "/".join(str(text) for value in keys.values() for text in value.values())


def in_words(record: Record) -> str:
    """Return the change of a record and the end of its sequence number."""
    return f"{_short(record)} (..{record['dynamodb']['SequenceNumber'][-6:]})"


def listed(records: Iterable[Record]) -> str:
    """Return a text with the first records and the number of the others."""
    return _first([in_words(record) for record in records])


def _short(record: Record) -> str:
    change = change_of(record)
    return change if len(change) <= LONGEST_LABEL else f"{change[:LONGEST_LABEL]}.."


def _first(words: Sequence[str]) -> str:
    rest = len(words) - LABELS
    return ", ".join(words[:LABELS]) + (f" and {rest} more" if rest > 0 else "")


def arguments_of(args: Sequence[Any], options: Mapping[str, Any]) -> str:
    """Return the arguments of a call as text, such as `TableName=copies, Item={...}`."""
    named = (f"{name}={shown(value)}" for name, value in options.items())
    return ", ".join([*map(shown, args), *named])


def shown(value: object) -> str:
    """Return an argument as text: the end of a long string, the beginning of anything else."""
    match value:
        case str():
            return value if len(value) <= LONGEST_LABEL else f"..{value[-LONGEST_LABEL:]}"
        case Mapping():
            text = ", ".join(f"{name}: {member}" for name, member in value.items())
            return f"{{{_begun(text)}}}"
        case FunctionType():
            return value.__name__
        case Deadline():
            return "deadline"
        case _:
            return _begun(str(value))


def _begun(text: str) -> str:
    return text if len(text) <= LONGEST_ARGUMENT else f"{text[:LONGEST_ARGUMENT]}.."
