"""The preparation of a batch's writes: it leaves time to write what is prepared.

A sink that prepares all writes before the first one computes and reads images for as long as there
is time; then nothing of the batch is written, and the next delivery of it ends in the same way.
"""

from collections.abc import Callable
from typing import TypeVar

from dynamodb_streams_cdc.change import Change, Image
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.errors import DeadlineExceeded, RetryableError

Result = TypeVar("Result")


class Preparation:
    """Takes half of the time that is left, and at least one change.

    An image store that did not answer is not asked again: each request would take as long.
    """

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._half = deadline.remaining() / 2
        self._begun = False
        self._problem: RetryableError | DeadlineExceeded | None = None

    def begin(self, *, older: bool = False) -> None:
        """Begin with the next change; `older`: instead of a newer one of its item, which failed.

        Older ones may take all of the time. Without the oldest, the next delivery begins with the
        same change, and ends in the same way.

        Raises:
            DeadlineExceeded: the others took half of the time, or the time is up.
        """
        if older or not self._begun:
            self._deadline.check()
            self._begun = True
        elif self._deadline.remaining() < self._half:
            message = "the changes before this one took half of the time: they are written first"
            raise DeadlineExceeded(message)

    def request(self, request: Callable[[], Result]) -> Result:
        """Return the result of a request of an image store.

        Raises:
            RetryableError: the store does not answer it, or an earlier one, at the moment.
            Exception: what else the request raises.
        """
        if self._problem is not None:
            raise self._problem
        try:
            return request()
        except (RetryableError, DeadlineExceeded) as error:
            self._problem = error
            raise

    def new_image(self, change: Change) -> Image | None:
        """Return the item after a change, by a request if it is kept elsewhere."""
        if change.image_loader is None:
            return change.new_image
        return self.request(lambda: change.new_image)

    def old_image(self, change: Change) -> Image | None:
        """Return the item before a change, by a request if it is kept elsewhere."""
        if change.image_loader is None:
            return change.old_image
        return self.request(lambda: change.old_image)
