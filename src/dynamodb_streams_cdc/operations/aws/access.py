"""Missing permissions: one error for all services, with action and resource."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from dynamodb_streams_cdc.errors import CdcError, RetryableError

DENIED = frozenset(
    {
        "403",
        "AccessDenied",
        "AccessDeniedException",
        "AllAccessDisabled",
        "AuthorizationErrorException",
        "UnauthorizedOperation",
    }
)
"""Error codes of missing permissions; a response to HEAD has no body, so its status is the code."""


CREDENTIALS = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
"""Error codes of invalid credentials."""

UNREACHABLE = (BotoConnectionError, HTTPClientError, ResponseParserError)
"""Errors of an endpoint that does not answer, or not as AWS does."""


def unreached(error: Exception) -> str:
    """Return the text of such an error without its period, and without the answer it quotes."""
    return str(error).partition(" Further retries may succeed")[0].rstrip(".")


class AccessDenied(CdcError):
    """The credentials are valid but lack a permission; the message names action and resource."""


@contextmanager
def permitted(action: str, resource: str) -> Iterator[None]:
    """Raise `AccessDenied` if a service denies the request; other errors pass unchanged.

    `action` is an IAM action, such as `s3:GetObject`.
    """
    try:
        yield
    except (ClientError, RetryableError) as error:
        if code_of(error) not in DENIED:
            raise
        message = f"These credentials may not do {action} on {resource}: {_words(error)}"
        raise AccessDenied(message) from error


def code_of(error: BaseException) -> str:
    """Return the code of a service's error, or of an error's cause; empty if there is none."""
    if not isinstance(error, ClientError):
        cause = error.__cause__
        return code_of(cause) if isinstance(cause, ClientError) else ""
    return str(error.response.get("Error", {}).get("Code", ""))


def _words(error: BaseException) -> str:
    text = str(error.__cause__ if isinstance(error, RetryableError) else error)
    return text.rpartition("operation: ")[2] or text
