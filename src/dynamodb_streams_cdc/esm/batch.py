"""Records on their way through an engine, and the batches that they travel in."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from dynamodb_streams_cdc.errors import MalformedRecord

LARGEST_PAYLOAD = 6 * 1024 * 1024
"""Bytes of the largest event
(https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html)."""

ENVELOPE = len('{"Records":[]}')

Record: TypeAlias = Mapping[str, Any]
"""An element of `event["Records"]`."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


@dataclass(slots=True, eq=False)
class Entry:
    """One record that was read and is not known to be done.

    Attributes:
        after: the place from which a read brings this record first.
        time: seconds since 1970, rounded down by DynamoDB.
        size: bytes of the record in an event.
    """

    record: Record
    sequence_number: str
    after: str
    time: float
    size: int
    done: bool = False

    @classmethod
    def of(cls, record: Record, after: str) -> "Entry":
        """Return the entry of a record in the form in which Lambda delivers it.

        Raises:
            MalformedRecord: a field is missing or not of that form.
        """
        try:
            body = record["dynamodb"]
            _, time = body["Keys"], float(body["ApproximateCreationDateTime"])
            size = len(_encode(record).encode("utf-8", "surrogatepass")) + 1
            return cls(record, body["SequenceNumber"], after, time, size)
        except (KeyError, TypeError, ValueError) as error:
            raise _malformed(error) from error


def sequence_of(record: Record) -> tuple[str, int]:
    """Return a record's sequence number, as text and to compare by.

    Raises:
        MalformedRecord: it has none.
    """
    try:
        text = record["dynamodb"]["SequenceNumber"]
        return text, int(text)
    except (KeyError, TypeError, ValueError) as error:
        raise _malformed(error) from error


def _malformed(error: Exception) -> MalformedRecord:
    return MalformedRecord(
        "records must have the form in which Lambda delivers them: SequenceNumber as digits, Keys, "
        f"ApproximateCreationDateTime in seconds, binary as base64 text ({error!r})"
    )


@dataclass(slots=True, eq=False)
class Batch:
    """Records that are sent to the function together.

    Attributes:
        ready_at: not sent before.
        attempts: invocations that count against the retry budget.
        refusals: how often in a row the function was not invoked at all.
        function_error: of the last invocation; None if it answered.
        final: whether this is the last invocation of a tumbling window, without records of its own.
    """

    entries: list[Entry]
    ready_at: float = float("-inf")
    attempts: int = 0
    refusals: int = 0
    function_error: str | None = None
    request_id: str | None = None
    executed_version: str = "$LATEST"
    final: bool = False
