"""Types of Lambda's events, responses, context and on-failure documents.

They state the documented form. An event comes from outside, so `Change.from_record` checks the
fields of a record, and `operations.dead_letter_store` those of a document.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NotRequired, Protocol, TypeAlias, TypedDict

Attributes: TypeAlias = Mapping[str, Mapping[str, Any]]
"""An image as DynamoDB JSON: `{"total": {"N": "29.33"}}`."""


class LambdaContext(Protocol):
    """The part of Lambda's context object that this library uses.

    https://docs.aws.amazon.com/lambda/latest/dg/python-context.html
    """

    @property
    def aws_request_id(self) -> str:
        """The invocation's id, which its log lines carry."""

    @property
    def invoked_function_arn(self) -> str:
        """The function's ARN."""

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until Lambda ends the invocation."""


class StreamBody(TypedDict, total=False):
    """The member `dynamodb` of a stream record.

    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_StreamRecord.html
    """

    ApproximateCreationDateTime: float
    Keys: Attributes
    NewImage: Attributes
    OldImage: Attributes
    SequenceNumber: str
    SizeBytes: int
    StreamViewType: str


class StreamRecord(TypedDict, total=False):
    """A record of a DynamoDB stream, as Lambda delivers it.

    https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
    """

    awsRegion: str
    dynamodb: StreamBody
    eventID: str
    eventName: str
    eventSource: str
    eventSourceARN: str
    eventVersion: str
    userIdentity: Mapping[str, str]


class StreamEvent(TypedDict):
    """The event of a DynamoDB stream's mapping, or an operator's request; see `control`."""

    Records: Sequence[StreamRecord]
    operation: NotRequired[str]
    streamArn: NotRequired[str]


AnyRecord: TypeAlias = StreamRecord | Mapping[str, Any]
"""A stream record that is not checked yet: events come from outside."""

AnyEvent: TypeAlias = StreamEvent | Mapping[str, Any]
"""An event that is not checked yet."""


class ItemFailure(TypedDict):
    """One entry of `batchItemFailures`."""

    itemIdentifier: str


class BatchResponse(TypedDict):
    """The response of a function with ReportBatchItemFailures."""

    batchItemFailures: list[ItemFailure]


class RequestContext(TypedDict):
    """The invocation after which records were given up."""

    requestId: str | None
    functionArn: str
    condition: str
    approximateInvokeCount: int


class ResponseContext(TypedDict):
    """The response of that invocation; `functionError` is None if the function returned one."""

    statusCode: int
    executedVersion: str
    functionError: str | None


class StreamBatchInfo(TypedDict):
    """The position of the records in their stream; times as `seconds_of` returns them."""

    shardId: NotRequired[str]
    startSequenceNumber: str | None
    endSequenceNumber: str | None
    approximateArrivalOfFirstRecord: str | None
    approximateArrivalOfLastRecord: str | None
    batchSize: int
    streamArn: str | None


class DeadLetterPart(TypedDict):
    """The part of a dead letter that a processor adds to Lambda's document."""

    processor: str
    item: str | None
    version: str | None
    reason: str
    error: str


class OnFailureDocument(TypedDict):
    """The document of records that a mapping or a processor gave up.

    `payload` is the event, as JSON text; only a bucket gets it. `dead_letter` is only in documents
    that a processor wrote.
    https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
    """

    requestContext: RequestContext
    responseContext: NotRequired[ResponseContext]
    version: str
    timestamp: str
    DDBStreamBatchInfo: StreamBatchInfo
    dead_letter: NotRequired[DeadLetterPart]
    payload: NotRequired[Any]


def on_failure_document(
    request: RequestContext,
    batch: StreamBatchInfo,
    written_at: float,
    response: ResponseContext | None = None,
) -> OnFailureDocument:
    """Return the document without its payload; `written_at` is in seconds since 1970.

    Its members are in the order of AWS's, and `timestamp` is such as `2019-11-14T00:13:49.717Z`.
    """
    document: OnFailureDocument = {
        "requestContext": request,
        **({"responseContext": response} if response else {}),  # type: ignore[typeddict-item]
        "version": "1.0",
        "timestamp": _utc(written_at, "milliseconds"),
        "DDBStreamBatchInfo": batch,
    }
    return document


def seconds_of(time: float) -> str:
    """Return a time as arrivals in a DynamoDB stream have it: `2019-11-14T00:13:19Z`."""
    return _utc(time, "seconds")


def _utc(time: float, precision: str) -> str:
    text = datetime.fromtimestamp(time, UTC).isoformat(timespec=precision)
    return text.replace("+00:00", "Z")


def sequence_number(record: object) -> str:
    """Return the record's sequence number; empty, which fails the whole batch, if it has none."""
    body = record.get("dynamodb") if isinstance(record, Mapping) else None
    number: Any = body.get("SequenceNumber") if isinstance(body, Mapping) else None
    return number if isinstance(number, str) else ""
