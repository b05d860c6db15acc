"""What errors of DynamoDB, S3 and OpenSearch mean for a change: one row of the tables each."""

from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError
from botocore.retries import standard
from botocore.session import get_session
from opensearchpy.exceptions import (
    ConnectionError as SearchConnectionError,
)
from opensearchpy.exceptions import (
    ConnectionTimeout,
    NotFoundError,
    RequestError,
    SerializationError,
    TransportError,
)

from dynamodb_streams_cdc import PermanentError, RetryableError
from dynamodb_streams_cdc.aws.dynamodb.ledger import _cancelled
from dynamodb_streams_cdc.aws.errors import UnexpectedResponse, meaning, translated
from dynamodb_streams_cdc.aws.opensearch_documents import _upserted
from dynamodb_streams_cdc.aws.opensearch_errors import SearchRefused
from dynamodb_streams_cdc.aws.opensearch_errors import meaning as meaning_of
from dynamodb_streams_cdc.errors import AccessDeniedError, ConflictError
from dynamodb_streams_cdc.sinks.documents import Stale
from dynamodb_streams_cdc.sinks.ledger import LedgerRow, RowUpdate, WriteConflict
from tests.failure_table import CANCELLED, REFUSED

TOO_LARGE = "Item size has exceeded the maximum allowed size"
TOO_LONG = "Invalid UpdateExpression: Expression size has exceeded the maximum allowed size;"


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        *((code, "", expected) for code, expected in REFUSED.items()),
        ("TransactionConflict", "", ConflictError),
        ("Throttling", "", RetryableError),
        ("TooManyRequestsException", "", RetryableError),
        ("InternalServerError", "", RetryableError),
        ("InternalFailure", "", RetryableError),
        ("ServiceUnavailable", "", RetryableError),
        ("SlowDown", "", RetryableError),
        ("RequestTimeTooSkewed", "", RetryableError),
        ("AccessDenied", "", AccessDeniedError),
        ("KMSAccessDeniedException", "", AccessDeniedError),
        ("ResourceNotFoundException", "", RetryableError),
        ("NoSuchBucket", "", RetryableError),
        ("AuthorizationHeaderMalformed", "", RetryableError),
        ("IllegalLocationConstraintException", "", RetryableError),
        ("InaccessibleEncryptionCredentialsException", "", RetryableError),
        ("InvalidToken", "", RetryableError),
        ("OperationAborted", "", RetryableError),
        ("PermanentRedirect", "", RetryableError),
        ("ResourceInUseException", "", RetryableError),
        ("TableInUseException", "", RetryableError),
        ("TableNotFoundException", "", RetryableError),
        ("ReplicatedWriteConflictException", "", RetryableError),
        ("ItemCollectionSizeLimitExceededException", "", PermanentError),
        ("ValidationException", TOO_LARGE, PermanentError),
        ("ValidationError", TOO_LARGE, PermanentError),
        ("ValidationException", "Number overflow. Attempting to store", PermanentError),
        ("ValidationException", "DynamoDB only supports precision up to 38 digits", PermanentError),
        ("ValidationException", "more than 38 significant digits in a Number", PermanentError),
        ("ValidationException", "Number underflow. Attempting to store", PermanentError),
        ("ValidationException", "Nesting Levels have exceeded supported limits", PermanentError),
        ("ValidationError", "Item size to update has exceeded the maximum", PermanentError),
        ("ValidationException", "Size of hashkey has exceeded the maximum", PermanentError),
        ("ValidationException", "Aggregated size of all range keys has exceeded", PermanentError),
        ("ValidationError", "Hash primary key values must be under 2048 bytes", PermanentError),
        ("ValidationException", TOO_LONG, PermanentError),
        ("InvalidParameter", "Invalid parameter: Message too long", PermanentError),
        ("InvalidParameter", "Invalid parameter: TopicArn", UnexpectedResponse),
        ("ValidationException", "Invalid UpdateExpression: Syntax error", UnexpectedResponse),
        ("ConditionalCheckFailedException", "", UnexpectedResponse),
        ("SomethingNewException", TOO_LARGE, UnexpectedResponse),
    ],
)
def test_codes_of_dynamodb_and_s3(code: str, message: str, expected: type[Exception]) -> None:
    assert type(meaning(code, message)) is expected


def test_codes_of_a_key_are_outages() -> None:
    """Every error of KMS, as S3 passes it on, and every one that SQS has for its keys."""
    services = get_session()
    of_kms = services.get_service_model("kms").error_shapes
    of_sqs = services.get_service_model("sqs").error_shapes
    codes = [f"KMS.{shape.name}" for shape in of_kms]
    codes += [shape.name for shape in of_sqs if shape.name.startswith("Kms")]
    assert {"KMS.DisabledException", "KMS.KMSInvalidStateException", "KmsDisabled"} <= set(codes)
    assert "KMS.NotFoundException" in codes
    assert {code for code in codes if type(meaning(code, "")) is not RetryableError} == set()


def test_codes_that_botocore_retries_are_outages() -> None:
    throttled: Any = standard.ThrottledRetryableChecker
    transient: Any = standard.TransientRetryableChecker
    codes = {*throttled._THROTTLED_ERROR_CODES, *transient._TRANSIENT_ERROR_CODES}
    assert {code for code in codes if type(meaning(code, "")) is not RetryableError} == set()


def client_error(code: str, status: int) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": "no"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "PutItem")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (EndpointConnectionError(endpoint_url="http://x"), RetryableError),
        (ConnectTimeoutError(endpoint_url="http://x"), RetryableError),
        (ReadTimeoutError(endpoint_url="http://x"), RetryableError),
        (ConnectionClosedError(endpoint_url="http://x"), RetryableError),
        (NoCredentialsError(), RetryableError),
        (client_error("ThrottlingException", 400), RetryableError),
        (client_error("503", 503), RetryableError),
        (client_error("NeverHeardOf", 500), RetryableError),
        (client_error("NeverHeardOf", 429), RetryableError),
        (client_error("403", 403), RetryableError),
        (ResponseParserError("half an answer"), RetryableError),
        (IncompleteReadError(actual_bytes=1, expected_bytes=2), RetryableError),
        (client_error("NeverHeardOf", 400), ClientError),
        (ParamValidationError(report="a wrong shape"), ParamValidationError),
        (ZeroDivisionError(), ZeroDivisionError),
    ],
)
def test_what_a_call_raises(error: Exception, expected: type[Exception]) -> None:
    with pytest.raises(expected) as raised, translated():
        raise error
    assert type(raised.value) is expected


def refused(kind: str, *, status: int = 400, cause: str | None = None) -> dict[str, Any]:
    error: dict[str, Any] = {"type": kind, "reason": "no"}
    if cause:
        error["caused_by"] = {"type": "wrapper", "caused_by": {"type": cause, "reason": "why"}}
    return {"status": status, "error": error}


ANSWERS: list[tuple[Mapping[str, Any], Any]] = [
    ({"status": 200, "result": "updated"}, None),
    ({"status": 201, "result": "created"}, None),
    ({"result": "noop", "get": {"_source": {"cdc": {"changed_at": 7}}}}, Stale(7.0)),
    ({"result": "noop", "get": {"_source": {"cdc": {"changed_at": None}}}}, Stale(float("inf"))),
    (refused("mapper_parsing_exception"), PermanentError),
    (refused("strict_dynamic_mapping_exception"), PermanentError),
    (refused("illegal_argument_exception"), SearchRefused),
    (
        refused("illegal_argument_exception", cause="max_bytes_length_exceeded_exception"),
        PermanentError,
    ),
    (refused("illegal_argument_exception", cause="circuit_breaking_exception"), RetryableError),
    (refused("version_conflict_engine_exception", status=409), ConflictError),
    (refused("cluster_block_exception", status=403), RetryableError),
    (refused("security_exception", status=403), AccessDeniedError),
    (refused("authorization_exception", status=403), AccessDeniedError),
    (refused("index_closed_exception"), RetryableError),
    (refused("index_not_found_exception", status=404), RetryableError),
    (refused("rejected_execution_exception", status=429), RetryableError),
    (refused("cluster_manager_not_discovered_exception", status=503), RetryableError),
    (refused("never_heard_of", status=503), RetryableError),
    (refused("never_heard_of", status=429), RetryableError),
    (refused("script_exception"), SearchRefused),
    (refused("mapper_parsing_exception", status=503), PermanentError),
]


@pytest.mark.parametrize(("answer", "expected"), ANSWERS)
def test_answers_for_one_document(answer: Mapping[str, Any], expected: Any) -> None:
    found = _upserted(answer)
    assert found == expected or type(found) is expected


QUOTING = [
    # As OpenSearch 2.x and 3.x put it.
    (
        "mapper_parsing_exception",
        "failed to parse field [placed_at] of type [date] in document with id 'orders/S=1'. "
        "Preview of field's value: 'field [Jane Doe] of type [x]'",
        "mapper_parsing_exception: failed to parse field [placed_at] of type [date]",
    ),
    ("mapper_parsing_exception", "failed to parse", "mapper_parsing_exception"),
    (
        "illegal_argument_exception",
        'Document contains at least one immense term in field="title" (whose UTF8 encoding is '
        "longer than the max length 32766), ... The prefix of the first immense term is: 'Jane'",
        'illegal_argument_exception: Document contains at least one immense term in field="title"',
    ),
    (
        "strict_dynamic_mapping_exception",
        "mapping set to strict, dynamic introduction of [phone] within [_doc] is not allowed",
        "strict_dynamic_mapping_exception: mapping set to strict, dynamic introduction of [phone]",
    ),
    ("number_format_exception", 'For input string: "Jane Doe"', "number_format_exception"),
]


@pytest.mark.parametrize(("kind", "reason", "told"), QUOTING)
def test_a_refusal_of_opensearch_tells_type_and_field(kind: str, reason: str, told: str) -> None:
    error = {"type": kind, "reason": reason}
    found = _upserted({"status": 400, "error": error})
    assert str(found) == told
    cause = {"type": "illegal_argument_exception", "reason": 'For input string: "Jane Doe"'}
    found = _upserted({"status": 400, "error": {**error, "caused_by": cause}})
    assert "Jane" not in str(found)
    assert str(found).startswith(told)


@pytest.mark.parametrize(
    "error",
    [
        SerializationError('{"title": "Jane Doe"}', ValueError()),
        TransportError(413, "too large", "Jane Doe"),
        TransportError(400, "no", "Jane Doe"),
        TransportError(400, "x", {"error": {"type": "parse_exception", "reason": "Jane Doe"}}),
    ],
)
def test_a_refused_request_quotes_no_document(error: Any) -> None:
    assert "Jane" not in str(meaning_of(error))


def test_a_refusal_of_dynamodb_quotes_no_value() -> None:
    for message in (
        "The parameter cannot be converted to a numeric value: Jane Doe",
        "Number overflow. Attempting to store Jane Doe",
    ):
        assert "Jane" not in str(meaning("ValidationException", message))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (SearchConnectionError("N/A", "refused", OSError()), RetryableError),
        (ConnectionTimeout("TIMEOUT", "slow", OSError()), RetryableError),
        (SerializationError("half an answer"), RetryableError),
        (TransportError(413, "too large", "no json"), PermanentError),
        (TransportError(503, "unavailable", "no json"), RetryableError),
        (TransportError(429, "busy", {}), RetryableError),
        (TransportError(401, "who", "no json"), RetryableError),
        (
            TransportError(
                403, "no", {"Message": "User: anonymous is not authorized to perform: es:"}
            ),
            AccessDeniedError,
        ),
        (TransportError(403, "no", {"message": "The security token is expired"}), RetryableError),
        (TransportError(403, "no", "a page of a proxy"), RetryableError),
        (TransportError(302, "<html>", None), RetryableError),
        (
            TransportError(403, "no", {"error": {"type": "security_exception"}, "status": 403}),
            AccessDeniedError,
        ),
        (NotFoundError(404, "gone", {"error": "a text"}), RetryableError),
        (TransportError(403, "no", {"error": {"code": 403, "message": "no"}}), RetryableError),
        (TransportError(500, "x", {"error": {"type": "never_heard_of"}}), RetryableError),
        (
            RequestError(400, "x", {"error": {"type": "action_request_validation_exception"}}),
            PermanentError,
        ),
        (RequestError(400, "x", {"error": {"type": "parse_exception"}}), SearchRefused),
        (RequestError(400, "x", "a text"), SearchRefused),
    ],
)
def test_failures_of_a_whole_request(error: Any, expected: type[Exception]) -> None:
    assert type(meaning_of(error)) is expected


def row(name: str) -> LedgerRow:
    return LedgerRow(name, "v", 1, {}, 0.0, 0.0)


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        (["ConditionalCheckFailed", "None", "TransactionConflict"], WriteConflict),
        *((["None", code, "None"], expected) for code, expected in CANCELLED.items()),
        *((["None", "None", code], expected) for code, expected in CANCELLED.items()),
        ([], RetryableError),
    ],
)
def test_reasons_of_a_cancelled_transaction(codes: list[str], expected: type[Exception]) -> None:
    updates = [RowUpdate(None, row("a")), RowUpdate(None, row("b"))]
    assert type(_cancelled(updates, [{"Code": code} for code in codes])) is expected


def test_a_cancelled_transaction_names_the_rows_that_moved() -> None:
    updates = [RowUpdate(None, row("a")), RowUpdate(None, row("b"))]
    conflicts = _cancelled(updates, [{"Code": "None"}, {"Code": "ConditionalCheckFailed"}])
    assert isinstance(conflicts, WriteConflict)
    assert conflicts.item_ids == {"b"}
