"""Requests for images that are kept elsewhere: they leave time to write what they were made for."""

from collections.abc import Callable
from typing import TypeVar

from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.errors import DeadlineExceeded, RetryableError

Result = TypeVar("Result")


class ImageRequests:
    """Makes requests of an image store in half of the time that is left, and at least one.

    After one that the store did not answer, it is not asked again: each would take as long.
    """

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._least = deadline.remaining() / 2
        self._answered = False
        self._problem: RetryableError | DeadlineExceeded | None = None

    def make(self, request: Callable[[], Result]) -> Result:
        """Return the result of a request.

        Raises:
            RetryableError: the store does not answer it, or an earlier one, at the moment.
            DeadlineExceeded: the time is up.
            Exception: what else the request raises.
        """
        if self._problem is None and self._answered and self._deadline.remaining() < self._least:
            self._problem = DeadlineExceeded("the images of other changes took half of the time")
        if self._problem is not None:
            raise self._problem
        self._deadline.check()
        try:
            result = request()
        except (RetryableError, DeadlineExceeded) as error:
            self._problem = error
            raise
        self._answered = True
        return result
