"""Verdicts on the responses of a function.

https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html lists which
answers are a success, a failure of the batch, or a failure from one record on. The empty list and
the empty string as a success, and a number as identifier as a failure, were observed on AWS.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from dynamodb_streams_cdc.esm.policies import Policies

LARGEST_RESPONSE = 6 * 1024 * 1024
"""Bytes of the largest response
(https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html)."""

UNHANDLED = "Unhandled"
"""`FunctionError` of a function that raised, timed out, ran out of memory or did not start."""

NOT_READ = "its batchItemFailures are not read: the mapping lacks ReportBatchItemFailures"
"""Reason of a success that the function did not mean."""

NO_STATE = "no state, which a tumbling window requires"
"""Reason of a rejected answer without `state`."""


class Result(StrEnum):
    """Result of an invocation."""

    SUCCESS = "success"
    """Every record is done."""

    PARTIAL = "partial"
    """The records before `first_failed` are done, that one and all after it are not."""

    REJECTED = "rejected"
    """The function returned something that fails the batch as a whole."""

    ERROR = "error"
    """The function failed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The meaning of one answer.

    Attributes:
        first_failed: index of the first record that is not done; of a success, the batch's length.
        reason: a text for timelines and logs.
        function_error: as Lambda names it; None unless the function failed.
        state: of the tumbling window, if the mapping has one and the answer carried it.
        failures_reported: whether `batchItemFailures` named anything.
    """

    result: Result
    first_failed: int
    reason: str = ""
    function_error: str | None = None
    state: Any = None
    failures_reported: bool = field(default=False)


def function_error(reason: str, kind: str = UNHANDLED) -> Verdict:
    """Return the verdict on a function that failed instead of answering."""
    return Verdict(Result.ERROR, 0, reason, kind)


def classify(
    response: object,
    sequence_numbers: Sequence[str],
    *,
    report_batch_item_failures: bool,
    tumbling_window: bool = False,
    policies: Policies | None = None,
) -> Verdict:
    """Return the verdict on a response to a batch of records with these sequence numbers.

    `response` is the Python value that the function returned; it is judged as the JSON that the
    Lambda runtime would make of it.
    """
    count = len(sequence_numbers)
    if not report_batch_item_failures and not tumbling_window and response is None:
        return Verdict(Result.SUCCESS, count)
    try:
        text = json.dumps(response, default=_as_the_runtime_does)
    except (TypeError, ValueError, RecursionError) as error:
        return function_error(f"Runtime.MarshalError: {error}")
    if len(text) > LARGEST_RESPONSE:
        return function_error(
            f"Function.ResponseSizeTooLarge: {len(text)} bytes, at most {LARGEST_RESPONSE}"
        )
    answer = json.loads(text)
    state: Any = None
    if tumbling_window:
        if not isinstance(answer, dict) or answer.get("state") is None:
            return Verdict(Result.REJECTED, 0, NO_STATE)
        state = answer["state"]
    if not report_batch_item_failures:
        unread = isinstance(answer, dict) and answer.get("batchItemFailures")
        return Verdict(Result.SUCCESS, count, NOT_READ if unread else "", state=state)
    return _reported(answer, sequence_numbers, state, policies or Policies())


def _as_the_runtime_does(value: object) -> float:
    """Write a Decimal as a number, as Lambda's Python runtime does; refuse anything else."""
    if isinstance(value, Decimal):
        return math.nan if value.is_nan() else float(value)
    message = f"Object of type {type(value).__name__} is not JSON serializable"
    raise TypeError(message)


def _reported(
    answer: Any, sequence_numbers: Sequence[str], state: Any, policies: Policies
) -> Verdict:
    count = len(sequence_numbers)
    done = Verdict(Result.SUCCESS, count, state=state)
    if answer is None or answer in ("", []):
        return done
    if not isinstance(answer, dict):
        return _unreadable(f"{type(answer).__name__} instead of an object", done, policies)
    failures = answer.get("batchItemFailures")
    if failures is None:
        return done
    if not isinstance(failures, list):
        kind = type(failures).__name__
        return _unreadable(f"batchItemFailures is a {kind} instead of a list", done, policies)
    if not failures:
        return done
    return _first_failed(failures, sequence_numbers, state, policies)


def _unreadable(reason: str, done: Verdict, policies: Policies) -> Verdict:
    if policies.unreadable_response == "success":
        return done
    return Verdict(Result.REJECTED, 0, reason)


def _first_failed(
    failures: list[Any], sequence_numbers: Sequence[str], state: Any, policies: Policies
) -> Verdict:
    positions = {number: index for index, number in enumerate(sequence_numbers)}
    first = len(sequence_numbers)
    bad = False, None
    for failure in failures:
        identifier = failure.get("itemIdentifier") if isinstance(failure, Mapping) else None
        if not isinstance(identifier, str) or not identifier:
            bad = True, failure
        elif identifier in positions:
            first = min(first, positions[identifier])
        elif policies.unknown_identifier == "failure":
            bad = True, failure
    if bad[0] and (first == len(sequence_numbers) or policies.bad_entry == "failure"):
        reason = f"{json.dumps(bad[1])[:80]} names no record of this batch"
        return Verdict(Result.REJECTED, 0, reason, failures_reported=True)
    if first == len(sequence_numbers):
        return Verdict(Result.SUCCESS, first, state=state, failures_reported=True)
    reason = f"from {sequence_numbers[first]} on"
    return Verdict(Result.PARTIAL, first, reason, state=state, failures_reported=True)
