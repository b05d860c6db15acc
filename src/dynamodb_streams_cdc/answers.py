"""The deployed functions as an operator asks them, and what is made of their answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dynamodb_streams_cdc.errors import CdcError

RESPONSE_TOO_LARGE = "Function.ResponseSizeTooLarge"
"""The error type of an answer of more than 6 MB."""


class InvocationFailed(CdcError):
    """A function did not answer: it was not reached, was throttled, raised, or ran out of time.

    Nothing is known of the records: some may be applied.

    Attributes:
        reason: the name of what happened, such as `TooManyRequestsException`.
        outage: whether any other records would have fared the same: the function was not reached,
            was throttled, or does not know the operation.
    """

    def __init__(
        self, message: str, reason: str = "InvocationFailed", *, outage: bool = False
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.outage = outage


class Functions(Protocol):
    """The deployed functions."""

    def invoke(self, processor: str, event: Mapping[str, Any]) -> Any:
        """Invoke a processor's function and return its answer, as JSON says it.

        Raises:
            InvocationFailed: there was no answer.
        """


@dataclass(frozen=True)
class Failure:
    """A record that is not done.

    Attributes:
        position: its place in the letter.
        item, version: as the function has read them; None if it could not.
        reason: the name by which failures of one cause are grouped.
        retryable: whether the sink was at fault, and not the record.
    """

    position: int
    item: str | None
    version: str | None
    reason: str
    error: str
    retryable: bool


@dataclass(frozen=True)
class Answer:
    """What became of records, added up over replays; `problem` says why the rest waits.

    `replayed` counts each record once, however often it was replayed.
    """

    applied: int = 0
    stale: int = 0
    repaired: int = 0
    failures: tuple[Failure, ...] = ()
    problem: str = ""
    replayed: int = 0

    def __add__(self, other: "Answer") -> "Answer":
        return Answer(
            self.applied + other.applied,
            self.stale + other.stale,
            self.repaired + other.repaired,
            self.failures + other.failures,
            replayed=self.replayed + other.replayed,
        )


def answer_to_replay(processor: str, answer: Any, positions: Sequence[int]) -> Answer:
    """Return the answer to a replay of the records at `positions`.

    An answer of any other form counts as none: a letter is archived for nothing less than a clear
    statement that all of it is done.
    """
    try:
        failures = failures_of(answer, positions)
        reported = answer["batchItemFailures"]
        counts = [answer[name] for name in ("applied", "stale", "repaired")]
    except (LookupError, TypeError, ValueError):
        raise not_understood(processor, "replay", answer) from None
    if (
        not isinstance(reported, list)
        or bool(reported) != bool(failures)
        or not all(isinstance(count, int) and count >= 0 for count in counts)
        or counts[0] + counts[1] > len(positions)
    ):
        raise not_understood(processor, "replay", answer)
    applied, stale, repaired = counts
    return Answer(applied, stale, repaired, failures)


def failures_of(answer: Any, positions: Sequence[int]) -> tuple[Failure, ...]:
    """Return the failures of an answer to a question about what is at `positions`.

    Raises:
        LookupError, TypeError: it has none, not even an empty list, or one of another form.
    """
    failures = answer["failures"]
    if not isinstance(failures, list):
        raise TypeError
    return tuple(_failure(failure, positions) for failure in failures)


def _failure(failure: Mapping[str, Any], positions: Sequence[int]) -> Failure:
    place, item, version = failure["position"], failure["item"], failure.get("version")
    if not isinstance(place, int) or place < 0 or not isinstance(failure["retryable"], bool):
        raise TypeError
    return Failure(
        position=positions[place],
        item=None if item is None else str(item),
        version=None if version is None else str(version),
        reason=str(failure["reason"]),
        error=str(failure["error"]),
        retryable=failure["retryable"],
    )


def not_understood(processor: str, operation: str, answer: Any) -> InvocationFailed:
    """Return what is raised for an answer that is none to the question."""
    message = (
        f"the function of {processor} does not know the operation {operation}: it answered "
        f"{str(answer)[:80]!r}. Deploy the version that this command belongs to."
    )
    return InvocationFailed(message, "NotUnderstood", outage=True)


def is_well(functions: Functions, processor: str) -> bool:
    """Return whether a function answers at all, to an event without records."""
    try:
        functions.invoke(processor, {"operation": "replay", "Records": []})
    except InvocationFailed:
        return False
    return True
