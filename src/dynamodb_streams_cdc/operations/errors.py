"""Errors of an operator's request; each message is a sentence that says what to do."""

from dynamodb_streams_cdc.errors import CdcError


class OperationError(CdcError):
    """The request cannot be carried out."""


class UsageError(OperationError):
    """The request itself is wrong: an argument, or a combination of arguments."""
