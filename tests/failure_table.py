"""Errors of DynamoDB and the exceptions for them, without a server and on DynamoDB Local."""

from dynamodb_streams_cdc import PermanentError, RetryableError
from dynamodb_streams_cdc.aws.errors import UnexpectedResponse
from dynamodb_streams_cdc.errors import AccessDeniedError, ConflictError

REFUSED: dict[str, type[Exception]] = {
    "AccessDeniedException": AccessDeniedError,
    "ExpiredTokenException": RetryableError,
    "ProvisionedThroughputExceededException": RetryableError,
    "RequestLimitExceeded": RetryableError,
    "ThrottlingException": RetryableError,
    "TransactionConflictException": ConflictError,
    "TransactionInProgressException": RetryableError,
    "UnrecognizedClientException": RetryableError,
}
"""Error codes of a whole request."""

CANCELLED: dict[str, type[Exception]] = {
    "ItemCollectionSizeLimitExceeded": PermanentError,
    "ProvisionedThroughputExceeded": ConflictError,
    "ThrottlingError": ConflictError,
    "TransactionConflict": ConflictError,
    "ValidationError": UnexpectedResponse,
}
"""Reasons of a cancelled transaction."""
