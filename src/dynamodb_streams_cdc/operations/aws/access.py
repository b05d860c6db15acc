"""Missing permissions, by action and resource, whichever way a service words them."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import ClientError

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
"""The codes by which services refuse; an answer to HEAD has no body, and so its status alone."""


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
"""The codes by which services refuse the credentials themselves."""


class AccessDenied(CdcError):
    """The credentials are good, and lack a permission; the message names action and resource."""


@contextmanager
def permitted(action: str, resource: str) -> Iterator[None]:
    """Let a refusal of what is done within out as `AccessDenied`, and every other error as it is.

    `action` is in the words of IAM, such as `s3:GetObject`.
    """
    try:
        yield
    except (ClientError, RetryableError) as error:
        if code_of(error) not in DENIED:
            raise
        message = f"These credentials may not do {action} on {resource}: {_words(error)}"
        raise AccessDenied(message) from error


def code_of(error: BaseException) -> str:
    """Return the code of a service's error, or of the one that an error was made of; or nothing."""
    if not isinstance(error, ClientError):
        cause = error.__cause__
        return code_of(cause) if isinstance(cause, ClientError) else ""
    return str(error.response.get("Error", {}).get("Code", ""))


def _words(error: BaseException) -> str:
    text = str(error.__cause__ if isinstance(error, RetryableError) else error)
    return text.rpartition("operation: ")[2] or text
