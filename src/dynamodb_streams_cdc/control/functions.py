"""The deployed functions as an operator asks them, and what their responses mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from dynamodb_streams_cdc.control.items import HeldState
from dynamodb_streams_cdc.errors import CdcError
from dynamodb_streams_cdc.lambda_types import AnyEvent
from dynamodb_streams_cdc.names import Operation

RESPONSE_TOO_LARGE = "Function.ResponseSizeTooLarge"
"""Error type of a response above 6 MB."""

NOT_UNDERSTOOD, TIME_IS_UP = "NotUnderstood", "TimeIsUp"
FINAL = frozenset({NOT_UNDERSTOOD, TIME_IS_UP})
"""Reasons of a failure that another attempt has as well."""


class InvocationFailed(CdcError):
    """A function was not reached, was throttled, raised, or timed out.

    Some of the records may be applied.

    Attributes:
        reason: error type, such as `TooManyRequestsException`.
        outage: whether the records are not the cause: the function was not reached, was throttled,
            or does not know the operation.
    """

    def __init__(
        self, message: str, reason: str = "InvocationFailed", *, outage: bool = False
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.outage = outage


class Functions(Protocol):
    """The deployed functions."""

    def invoke(self, processor: str, event: AnyEvent) -> Any:
        """Invoke a processor's function and return its parsed response.

        Raises:
            InvocationFailed: there was no response.
        """


@dataclass(frozen=True)
class RecordFailure:
    """A record that is not done.

    Attributes:
        position: index in the dead letter, or in the items of a repair.
        item, version: as the function read them; None if it could not.
        reason: name that groups failures of one cause.
        retryable: whether the sink was at fault, and not the record.
    """

    position: int
    item: str | None
    version: str | None
    reason: str
    error: str
    retryable: bool


@dataclass(frozen=True)
class ReplayResult:
    """Result of a replay, added up over invocations; `problem` says why the rest waits.

    `replayed` counts each record once, however often it was replayed.
    """

    applied: int = 0
    stale: int = 0
    repaired: int = 0
    failures: tuple[RecordFailure, ...] = ()
    problem: str = ""
    replayed: int = 0

    def __add__(self, other: "ReplayResult") -> "ReplayResult":
        return ReplayResult(
            self.applied + other.applied,
            self.stale + other.stale,
            self.repaired + other.repaired,
            self.failures + other.failures,
            replayed=self.replayed + other.replayed,
        )


def parse_replay_response(processor: str, answer: Any, positions: Sequence[int]) -> ReplayResult:
    """Return the result of a replay of the records at `positions`.

    Raises:
        InvocationFailed: the response is not a replay's, or contradicts itself. A dead letter is
            archived only if the function clearly states that all of it is done.
    """
    try:
        failures = failures_of(answer, positions)
        reported = answer["batchItemFailures"]
        counts = [answer[name] for name in ("applied", "stale", "repaired")]
    except (LookupError, TypeError, ValueError):
        raise not_understood(processor, Operation.REPLAY, answer) from None
    if (
        not isinstance(reported, list)
        or bool(reported) != bool(failures)
        or not all(isinstance(count, int) and count >= 0 for count in counts)
        or counts[0] + counts[1] > len(positions)
    ):
        raise not_understood(processor, Operation.REPLAY, answer)
    applied, stale, repaired = counts
    return ReplayResult(applied, stale, repaired, failures)


@dataclass(frozen=True)
class RepairResult:
    """Result of a repair, added up over invocations.

    Attributes:
        repaired: copies that differed from the table.
        gone: items that are not in the table; their copies are removed.
        repairable: whether the sink keeps copies that a repair can fix.
    """

    repaired: int = 0
    failures: tuple[RecordFailure, ...] = ()
    repairable: bool = True
    gone: int = 0

    def __add__(self, other: "RepairResult") -> "RepairResult":
        return RepairResult(
            self.repaired + other.repaired,
            self.failures + other.failures,
            self.repairable and other.repairable,
            self.gone + other.gone,
        )


def parse_repair_response(processor: str, answer: Any, positions: Sequence[int]) -> RepairResult:
    """Return the result of a repair of the items at `positions`.

    Raises:
        InvocationFailed: the response is not a repair's.
    """
    try:
        repaired, repairable, gone = answer["repaired"], answer["repairable"], answer["gone"]
        failures = failures_of(answer, positions)
    except (LookupError, TypeError):
        raise not_understood(processor, Operation.REPAIR, answer) from None
    if not isinstance(repaired, int) or not isinstance(repairable, bool):
        raise not_understood(processor, Operation.REPAIR, answer)
    return RepairResult(repaired, failures, repairable, int(gone))


def parse_inspect_response(
    processor: str, answer: Any, positions: Sequence[int]
) -> list[HeldState]:
    """Return the sink's state of the records at `positions`.

    Raises:
        InvocationFailed: the response is not an inspection's.
    """
    held = answer.get("held") if isinstance(answer, Mapping) else None
    if (
        not isinstance(held, list)
        or len(held) != len(positions)
        or not all(isinstance(each, Mapping) for each in held)
    ):
        raise not_understood(processor, Operation.INSPECT, answer)
    return [
        cast("HeldState", {**each, "position": position})
        for each, position in zip(held, positions, strict=True)
    ]


def failures_of(answer: Any, positions: Sequence[int]) -> tuple[RecordFailure, ...]:
    """Return the failures in a response about the records or items at `positions`.

    Raises:
        LookupError, TypeError: it has no list of failures, or one of another form.
    """
    failures = answer["failures"]
    if not isinstance(failures, list):
        raise TypeError
    return tuple(_read_failure(failure, positions) for failure in failures)


def _read_failure(failure: Mapping[str, Any], positions: Sequence[int]) -> RecordFailure:
    place, item, version = failure["position"], failure["item"], failure.get("version")
    if not isinstance(place, int) or place < 0 or not isinstance(failure["retryable"], bool):
        raise TypeError
    return RecordFailure(
        position=positions[place],
        item=None if item is None else str(item),
        version=None if version is None else str(version),
        reason=str(failure["reason"]),
        error=str(failure["error"]),
        retryable=failure["retryable"],
    )


def not_understood(processor: str, operation: str, answer: Any) -> InvocationFailed:
    """Return the error for a response that does not fit the operation."""
    message = (
        f"the function of {processor} does not know the operation {operation}: it answered "
        f"{str(answer)[:80]!r}. Deploy the version that this command belongs to."
    )
    return InvocationFailed(message, NOT_UNDERSTOOD, outage=True)


def is_healthy(functions: Functions, processor: str) -> bool:
    """Return whether a function responds to an event without records."""
    try:
        functions.invoke(processor, {"operation": Operation.REPLAY, "Records": []})
    except InvocationFailed:
        return False
    return True
