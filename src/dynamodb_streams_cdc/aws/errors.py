"""The exceptions for the errors of DynamoDB, S3 and SNS, in one table for all adapters.

Permanent is an allow-list. An error in no table is raised as it is: the processor treats it as
unexpected. Lost permissions, credentials or tables are outages: no record can be at fault for them.
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html,
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchStatementError.html,
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html,
https://docs.aws.amazon.com/sns/latest/api/API_Publish.html; the codes that botocore
retries are in it as well)
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from dynamodb_streams_cdc.errors import (
    AccessDeniedError,
    ConflictError,
    PermanentError,
    RetryableError,
)

CONFLICTS = frozenset({"TransactionConflict", "TransactionConflictException"})

DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AllAccessDisabled",
        "AuthorizationError",
        "KMSAccessDeniedException",
    }
)
"""The caller is known and lacks a permission. Expired or wrong credentials are in `OUTAGE`."""

OUTAGE = frozenset(
    {
        "AccountProblem",
        "AuthorizationHeaderMalformed",
        "BandwidthLimitExceeded",
        "ConditionalRequestConflict",
        "EC2ThrottledException",
        "ExpiredToken",
        "ExpiredTokenException",
        "IllegalLocationConstraintException",
        "InaccessibleEncryptionCredentialsException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "IndexNotFoundException",
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "InvalidSignatureException",
        "InvalidToken",
        "LimitExceededException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NoSuchBucket",
        "NotFound",
        "NotSignedUp",
        "OperationAborted",
        "OptInRequired",
        "PermanentRedirect",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "QueueDoesNotExist",
        "ReplicatedWriteConflictException",
        "RequestExpired",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeTooSkewed",
        "RequestTimeout",
        "RequestTimeoutException",
        "ResourceInUseException",
        "ResourceNotFound",
        "ResourceNotFoundException",
        "ServiceUnavailable",
        "SignatureDoesNotMatch",
        "SlowDown",
        "TableInUseException",
        "TableNotFoundException",
        "TemporaryRedirect",
        "ThrottledException",
        "Throttling",
        "ThrottlingError",
        "ThrottlingException",
        "TokenRefreshRequired",
        "TooManyRequestsException",
        "TransactionInProgressException",
        "UnrecognizedClientException",
    }
)

OF_THE_KEY = ("KMS", "Kms")
"""Prefixes of the codes about a customer's key, followed by the name of an error of KMS:
`KMS.DisabledException` (S3), `KmsDisabled` (SQS), `KMSAccessDeniedException`. Without its key no
record can be read or written
(https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateDataKey.html)."""

PERMANENT = frozenset(
    {"ItemCollectionSizeLimitExceeded", "ItemCollectionSizeLimitExceededException"}
)

PERMANENT_VALIDATION = {
    "Item size has exceeded": "ItemTooLarge",
    "Item size to update has exceeded": "ItemTooLarge",
    "Nesting Levels have exceeded": "NestedTooDeep",
    "Number overflow": "NumberOverflow",
    "Number underflow": "NumberOverflow",
    "more than 38 significant digits": "NumberOverflow",
    "precision up to 38 digits": "NumberOverflow",
    "hashkey has exceeded": "KeyTooLong",
    "range keys has exceeded": "KeyTooLong",
    "primary key values must be under": "KeyTooLong",
    "Expression size has exceeded": "TooManyMeasures",
    "Message too long": "MessageTooLong",
}
"""DynamoDB has one code, ValidationException, for a wrong request and for an item it cannot hold,
and SNS has InvalidParameter for a wrong topic and for a message it cannot send; only these parts of
their texts are about the item: the size of an expression grows with the measures that an item adds
to. Where two have one meaning, one of them is
DynamoDB Local's (https://repost.aws/knowledge-center/dynamodb-transactwriteitems lists some)."""

UNAVAILABLE = frozenset({401, 403, 407, 408, 429})
"""Statuses of an outage, for codes that are in no table, such as a proxy's page."""


class UnexpectedResponse(Exception):
    """Raised if DynamoDB refuses one element of a request for a reason that is in no table."""


def meaning(code: str, message: str) -> Exception:
    """Return the exception for an error code of DynamoDB or S3."""
    text = f"{code}: {message}"
    if code in CONFLICTS:
        return ConflictError(text)
    if code in DENIED:
        return AccessDeniedError(text)
    if code in OUTAGE or code.startswith(OF_THE_KEY):
        return RetryableError(text)
    if code in PERMANENT:
        return PermanentError(text, code)
    for part, reason in PERMANENT_VALIDATION.items():
        if code.startswith(("Validation", "InvalidParameter")) and part in message:
            return PermanentError(f"{code}: {part}", reason)
    return UnexpectedResponse(text.partition("numeric value:")[0])


@contextmanager
def translated() -> Iterator[None]:
    """Raise the errors of a boto3 call as exceptions of this library."""
    try:
        yield
    except (
        BotoConnectionError,
        HTTPClientError,
        IncompleteReadError,
        FlexibleChecksumError,
        ResponseParserError,
        NoCredentialsError,
        CredentialRetrievalError,
    ) as error:
        raise RetryableError(str(error)) from error
    except ClientError as error:
        details = error.response.get("Error", {})
        found = meaning(details.get("Code", ""), details.get("Message", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if not isinstance(found, UnexpectedResponse):
            raise found from error
        if status in UNAVAILABLE or status >= 500:
            raise RetryableError(str(error)) from error
        raise


REQUEST_IDS = frozenset({"x-amz-request-id", "x-amzn-requestid"})
"""Headers of which AWS sends one with each answer, also with errors
(https://docs.aws.amazon.com/AmazonS3/latest/API/get-request-ids.html)."""


def require_request_id(response_dict: Mapping[str, Any], **_: object) -> None:
    """Refuse an answer of a proxy or of another program, such as a page, before it is parsed.

    botocore takes it for an empty answer, so for a write that was done, or for a refusal by AWS.
    It repeats a request after a server error itself, and one that is too large is sent in halves.

    Raises:
        ResponseParserError: the answer has no request id of AWS.
    """
    status, headers = response_dict["status_code"], response_dict["headers"]
    if status < 500 and status != 413 and not any(name in headers for name in REQUEST_IDS):
        message = f"The endpoint answered without AWS's request id (status {status})"
        raise ResponseParserError(message)
