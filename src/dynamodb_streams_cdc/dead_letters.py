"""Dead letters with their payload: the whole record, the reason, and a key of their own.

A dead letter has the envelope that Lambda writes to an S3 failure destination, as far as the
processor knows the fields
(https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html), with one record as its
payload and a `dead_letter` part of our own. Its key is a function of processor, item and version,
and it is written only if it is not there: a redelivered record makes no second dead letter.
"""

import hashlib
import json
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from dynamodb_streams_cdc.change import Change
from dynamodb_streams_cdc.deserializer import base64_text
from dynamodb_streams_cdc.errors import CdcError, PermanentError, text_of
from dynamodb_streams_cdc.lambda_types import (
    AnyRecord,
    DeadLetterPart,
    OnFailureDocument,
    RequestContext,
    StreamBatchInfo,
    on_failure_document,
    seconds_of,
)


@dataclass(frozen=True)
class DeadLetter:
    """A record that its processor gave up on.

    Attributes:
        processor: which processor it was for.
        record: the record as Lambda delivered it.
        change: the change that was made of it, if it could be read.
        error: why the processor gave up.
        written_at: seconds since 1970.
        request_id: of the invocation.
        function_arn: of the function.
    """

    processor: str
    record: AnyRecord
    change: Change | None
    error: Exception
    written_at: float
    request_id: str
    function_arn: str

    @property
    def name(self) -> str:
        """The end of the dead letter's key; see `dead_letter_name`."""
        item, version = self._identity
        return dead_letter_name(item, version, self.record)

    @property
    def _identity(self) -> tuple[str, str] | tuple[None, None]:
        return (self.change.item_id, self.change.version) if self.change else (None, None)

    @property
    def reason(self) -> str:
        """The name by which dead letters of one cause are grouped."""
        return reason_of(self.error)

    def envelope(self) -> OnFailureDocument:
        """Return the dead letter as JSON-ready data; see `envelope_of`."""
        item, version = self._identity
        return envelope_of(
            self.record,
            processor=self.processor,
            item=item,
            version=version,
            reason=self.reason,
            error=text_of(self.error),
            arrived_at=(self.change.timestamp or None) if self.change else None,
            written_at=self.written_at,
            request_id=self.request_id,
            function_arn=self.function_arn,
        )


def dead_letter_name(item: str | None, version: str | None, record: AnyRecord) -> str:
    """Return the end of a dead letter's key: `<SHA-256 of the item>/<version>.json`.

    A record that could not be read is named by its own SHA-256, under `unreadable/`.
    """
    if item is None or version is None:
        text = json.dumps(json_ready(record), sort_keys=True)
        return f"unreadable/{_digest(text)}.json"
    return f"{_digest(item)}/{version.replace('/', '_')}.json"


def envelope_of(
    record: AnyRecord,
    *,
    processor: str,
    item: str | None,
    version: str | None,
    reason: str,
    error: str,
    arrived_at: float | None,
    written_at: float,
    request_id: str | None,
    function_arn: str,
) -> OnFailureDocument:
    """Return a dead letter of one record; `payload` is text, as in Lambda's own dead letters.

    Times are seconds since 1970; `item` and `version` are None for a record that cannot be read.
    """
    record = json_ready(record)
    body = record.get("dynamodb")
    number = body.get("SequenceNumber") if isinstance(body, Mapping) else None
    arrival = _arrival(arrived_at)
    document = on_failure_document(
        RequestContext(
            requestId=request_id,
            functionArn=function_arn,
            condition="PermanentFailure",
            approximateInvokeCount=1,
        ),
        StreamBatchInfo(
            startSequenceNumber=number,
            endSequenceNumber=number,
            approximateArrivalOfFirstRecord=arrival,
            approximateArrivalOfLastRecord=arrival,
            batchSize=1,
            streamArn=record.get("eventSourceARN"),
        ),
        written_at,
    )
    document["dead_letter"] = DeadLetterPart(
        processor=processor, item=item, version=version, reason=reason, error=error
    )
    document["payload"] = json.dumps({"Records": [record]})
    return document


MOST_LEVELS = 200
"""Objects and lists within each other that a dead letter keeps. DynamoDB nests 32 levels, which are
66 in its JSON: no table has a record with more. Python's JSON reads about 1,000."""


def json_ready(value: object, levels: int = MOST_LEVELS) -> Any:
    """Return a record as JSON can carry it, cut below so many levels.

    Binary values of an API client become the base64 text of a Lambda event, moments the seconds.
    """
    if levels == 0 and isinstance(value, Mapping | list | tuple):
        return f"cut off: nested deeper than {MOST_LEVELS} levels"
    if isinstance(value, Mapping):
        return {str(name): json_ready(member, levels - 1) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(member, levels - 1) for member in value]
    if isinstance(value, datetime):
        return value.timestamp()
    if value is None or isinstance(value, str | int | float):
        return value
    try:
        return base64_text(value)
    except TypeError:
        return str(value)


class DeadLetterWriter(Protocol):
    """Store that processors write dead letters to."""

    def write(self, dead_letter: DeadLetter) -> bool:
        """Keep the dead letter; return False if it was there already.

        Raises:
            RetryableError: it could not be kept. The processor then reports the record as failed.
        """


def reason_of(error: Exception) -> str:
    """Return the name by which failures of one cause are grouped."""
    # A subclass may have an `__init__` of its own, and no reason.
    reason = getattr(error, "reason", None) if isinstance(error, PermanentError) else None
    return reason if reason and isinstance(reason, str) else type(error).__name__


def loggable(error: Exception) -> str:
    """Return what a log says of an error.

    The library's own texts quote no value of an item, nor do those of a store that is out. Others
    may: `int("anna@example.com")`, or what OpenSearch says of a field. Of these it has the reason
    and the line that raised it; the dead letter has the text.
    """
    if isinstance(error, CdcError) and not isinstance(error, PermanentError):
        return repr(error)
    raised = error.__cause__ or error
    frames = traceback.extract_tb(raised.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{reason_of(error)}{where}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _arrival(seconds: float | None) -> str | None:
    """Return a time that a record tells; None if it tells none, or one that is in no calendar."""
    try:
        return None if seconds is None else seconds_of(seconds)
    except (ArithmeticError, OSError, ValueError):
        return None
