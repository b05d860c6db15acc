"""The document that a mapping leaves of records that it gave up.

Field by field as AWS writes it (observed; the documentation's samples agree):
https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html. A queue or a topic gets
positions in a stream that forgets after a day; only a bucket gets the records.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from dynamodb_streams_cdc.esm.batch import Entry
from dynamodb_streams_cdc.esm.configuration import DestinationKind, MappingConfiguration
from dynamodb_streams_cdc.lambda_types import (
    OnFailureDocument,
    RequestContext,
    ResponseContext,
    StreamBatchInfo,
    on_failure_document,
    seconds_of,
)
from dynamodb_streams_cdc.names import GIVEN_UP_BY_LAMBDA


class Condition(StrEnum):
    """Why records were given up."""

    RETRY_ATTEMPTS_EXHAUSTED = "RetryAttemptsExhausted"
    RECORD_AGE_EXCEEDED = "RecordAgeExceeded"


@dataclass(frozen=True, slots=True)
class Discard:
    """Records that a mapping gave up together, and the facts of their last invocation.

    Attributes:
        invocations: how often they were sent to the function; a document says at least 1.
        function_error: of the last failure; None if that was a response.
    """

    entries: tuple[Entry, ...]
    condition: Condition
    invocations: int
    function_error: str | None
    request_id: str
    executed_version: str = "$LATEST"


def document_of(
    discard: Discard,
    mapping: MappingConfiguration,
    *,
    shard_id: str,
    now: float,
    payload: str = "string",
) -> OnFailureDocument:
    """Return the document for the mapping's destination; for S3 it carries the records."""
    first, last = discard.entries[0], discard.entries[-1]
    document = on_failure_document(
        RequestContext(
            requestId=discard.request_id,
            functionArn=mapping.function_arn,
            condition=str(discard.condition),
            approximateInvokeCount=max(1, discard.invocations),
        ),
        StreamBatchInfo(
            shardId=shard_id,
            startSequenceNumber=first.sequence_number,
            endSequenceNumber=last.sequence_number,
            approximateArrivalOfFirstRecord=seconds_of(first.time),
            approximateArrivalOfLastRecord=seconds_of(last.time),
            batchSize=len(discard.entries),
            streamArn=mapping.stream_arn or first.record.get("eventSourceARN", ""),
        ),
        now,
        _response(discard),
    )
    if mapping.destination is not None and mapping.destination.kind is DestinationKind.S3:
        event = event_of([entry.record for entry in discard.entries])
        document["payload"] = event if payload == "object" else json.dumps(event)
    return document


def _response(discard: Discard) -> ResponseContext | None:
    if discard.condition is not Condition.RETRY_ATTEMPTS_EXHAUSTED:
        return None
    return ResponseContext(
        statusCode=200,
        executedVersion=discard.executed_version,
        functionError=discard.function_error,
    )


def event_of(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the event that carries `records` to a function."""
    return {"Records": list(records)}


def object_key(mapping_uuid: str, shard_id: str, now: float, random_uuid: str) -> str:
    """Return the key under which a mapping writes a document to S3."""
    moment = datetime.fromtimestamp(now, UTC)
    return (
        f"{GIVEN_UP_BY_LAMBDA}{mapping_uuid}/{shard_id}/{moment:%Y/%m/%d}/"
        f"{moment:%Y-%m-%dT%H.%M.%S}-{random_uuid}"
    )
