"""What the errors of DynamoDB and S3 mean, by type: one table, which the adapters share.

Permanent is an allow-list. What stands in neither table stays as it is: the processor treats it as
unexpected. Lost permissions, credentials or tables are outages: no record can be at fault for them.
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html,
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchStatementError.html)
"""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError

from dynamodb_streams_cdc.errors import ContentionError, OutageError, PermanentError

CONTENTION = frozenset({"TransactionConflict", "TransactionConflictException"})

OUTAGE = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ConditionalRequestConflict",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "KMSAccessDeniedException",
        "LimitExceededException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NoSuchBucket",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "ReplicatedWriteConflictException",
        "RequestExpired",
        "RequestLimitExceeded",
        "RequestTimeTooSkewed",
        "RequestTimeout",
        "ResourceNotFound",
        "ResourceNotFoundException",
        "ServiceUnavailable",
        "SignatureDoesNotMatch",
        "SlowDown",
        "Throttling",
        "ThrottlingError",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
        "UnrecognizedClientException",
    }
)

PERMANENT = frozenset(
    {"ItemCollectionSizeLimitExceeded", "ItemCollectionSizeLimitExceededException"}
)

PERMANENT_VALIDATION = {
    "Item size": "ItemTooLarge",
    "item size": "ItemTooLarge",
    "Number overflow": "NumberOverflow",
    "Number underflow": "NumberOverflow",
    "precision up to 38 digits": "NumberOverflow",
    "esting levels": "NestedTooDeep",
    "ested levels": "NestedTooDeep",
}
"""DynamoDB has one code, ValidationException, for a wrong request and for an item it cannot hold;
only these parts of its messages speak of the item."""


class UnexpectedResponse(Exception):
    """DynamoDB refused one element of a request for a reason that is in no table."""


def meaning(code: str, message: str) -> Exception:
    """Return the exception that an error code of DynamoDB or S3 stands for."""
    text = f"{code}: {message}"
    if code in CONTENTION:
        return ContentionError(text)
    if code in OUTAGE:
        return OutageError(text)
    if code in PERMANENT:
        return PermanentError(text, code)
    for part, reason in PERMANENT_VALIDATION.items():
        if code.startswith("Validation") and part in message:
            return PermanentError(text, reason)
    return UnexpectedResponse(text)


@contextmanager
def translated() -> Iterator[None]:
    """Let the errors of a boto3 call out as what they mean for the change at hand."""
    try:
        yield
    except (
        BotoConnectionError,
        HTTPClientError,
        NoCredentialsError,
        CredentialRetrievalError,
    ) as error:
        raise OutageError(str(error)) from error
    except ClientError as error:
        details = error.response.get("Error", {})
        found = meaning(details.get("Code", ""), details.get("Message", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if not isinstance(found, UnexpectedResponse):
            raise found from error
        if status == 429 or status >= 500:
            raise OutageError(str(error)) from error
        raise
