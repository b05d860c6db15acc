"""Counts of the attempts at a record that may kill the function.

A record can kill the process: it needs more memory than the function has, or a native library
crashes on it. A dead process reports nothing and writes no dead letter. Lambda halves the batch
until the record is alone and delivers it again for 20 hours; its shard waits as long.

So the attempt is counted *before* it is made, and the count is cleared after it, with or without
success. The attempts that are left are those that killed the process. Only a suspect is counted: a
record that is alone in its batch, as a halved batch leaves it, and older than 15 minutes. Healthy
traffic costs no request.

A deployed bug may kill the function on every record. So a few records become dead letters in an
hour, and the others are tried as before: each attempt kills the function, until the fix is
deployed.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from dynamodb_streams_cdc.dead_letters import loggable
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.errors import AccessDeniedError, PermanentError, RetryableError, visible
from dynamodb_streams_cdc.lambda_types import AnyRecord, sequence_number
from dynamodb_streams_cdc.names import LogEvent

logger = logging.getLogger(__name__)

MOST_DEATHS = 3
"""Attempts without an end after which a record becomes a dead letter."""

MOST_IN_AN_HOUR = 10
"""Records of a processor that become dead letters in an hour because the function died on them.
Further ones are tried again at each delivery: the code is at fault, or the function's memory."""

END_SECONDS = 7.0
"""Seconds that must be left to clear a count: for a request that hangs, and the response; a
quarter of an invocation that has less than 28 seconds."""

KEEP_SECONDS = 2 * 24 * 3600
"""How long a count is kept; the stream has forgotten the record a day earlier."""


def hour_of(processor: str, now: float) -> str:
    """Return the name under which a processor's records are counted that it died on in an hour."""
    return f"{processor}/died/{int(now // 3600)}"


class FunctionDied(PermanentError):
    """The function died on this record alone, by memory, by a crash or by its time limit."""


class Attempts(Protocol):
    """Store of the counts, outside of the process."""

    def begin(self, name: str, now: float) -> int:
        """Count an attempt; return how many began before and did not end.

        `name` is the record's, of at most 2,000 bytes; `now` in seconds since 1970.

        Raises:
            RetryableError: it cannot be counted at the moment.
        """

    def end(self, name: str, now: float) -> None:
        """Forget the attempts at a record: the process is still there.

        Raises:
            RetryableError: they cannot be forgotten at the moment.
        """

    def read(self, name: str, now: float) -> int:
        """Return how many attempts began and did not end; count none.

        Raises:
            RetryableError: it cannot be read at the moment.
        """


def name_of(processor: str, record: AnyRecord) -> str | None:
    """Return the name under which a processor's attempts at a record are counted.

    `None` for a record without a sequence number: its batch is not halved down to it.
    """
    number = sequence_number(record)
    return f"{processor}/{number}" if number else None


@dataclass
class Suspect:
    """The attempt of one invocation at a suspect record; without a name or a store, nothing.

    A count that fails is logged; the batch goes on.

    Attributes:
        store: store of the counts.
        processor: name of the processor.
        name: name of the record, by `name_of`; None for a batch without a suspect.
        survived: names of attempts that this process survived and could not clear yet.
        deadline: deadline of the invocation.
        seconds_left: returns the seconds until Lambda ends the invocation.
        denied: whether the function lacks the permission to count.
    """

    store: Attempts | None
    processor: str
    name: str | None
    survived: set[str]
    deadline: Deadline
    seconds_left: Callable[[], float]
    denied: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._end_seconds = min(END_SECONDS, self.seconds_left() / 4)

    def begin(self) -> int:
        """Count an attempt; return how many of them the function did not survive."""
        if self.store is None or self.name is None:
            return 0
        for name in tuple(self.survived):
            self._clear(self.store, name)
        if self.name in self.survived:
            return 0
        try:
            return self.store.begin(self.name, self.deadline.now())
        except Exception as error:
            self._uncounted(error)
            return 0

    def end(self) -> None:
        """Clear the count; if that fails or no time is left, the next attempt does."""
        if self.store is not None and self.name is not None:
            self._clear(self.store, self.name)

    def dies_of_everything(self) -> bool | None:
        """Return whether too many records became dead letters in this hour; None if unknown."""
        assert self.store is not None
        now = self.deadline.now()
        try:
            return self.store.read(hour_of(self.processor, now), now) >= MOST_IN_AN_HOUR
        except Exception as error:
            self._uncounted(error)
            return None

    def gave_up(self) -> None:
        """Count a record that has become a dead letter in this hour."""
        assert self.store is not None
        now = self.deadline.now()
        try:
            self.store.begin(hour_of(self.processor, now), now)
        except Exception as error:
            self._uncounted(error)

    def _clear(self, store: Attempts, name: str) -> None:
        self.survived.add(name)
        if self.seconds_left() < self._end_seconds:
            return
        for attempt in count():
            try:
                store.end(name, self.deadline.now())
            except RetryableError as error:
                if attempt == 2 or not self.deadline.pause(attempt):
                    self._uncounted(error)
                    return
            except Exception as error:
                self._uncounted(error)
                return
            else:
                self.survived.discard(name)
                return

    def _uncounted(self, error: Exception) -> None:
        logger.error(
            "an attempt could not be counted: %s",
            visible(loggable(error)),
            extra=LogEvent.ATTEMPT_NOT_COUNTED.fields(error=type(error).__name__),
        )
        self.denied = self.denied or isinstance(error, AccessDeniedError)
