"""Attempts at a record that may kill the function: what a dead process can still tell.

A record can take the process with it: it needs more memory than the function has, or a native
library crashes on it. A dead process reports nothing and writes no dead letter. Lambda halves the
batch until the record is alone and delivers it again for 20 hours, and its shard waits as long.

So the attempt is counted *before* it is made, and the count is cleared after it, whatever came of
it: what is left over are the attempts that nobody survived. Only a suspect is counted: a record
that is alone in its batch, as a halved batch leaves it, and older than 15 minutes. Healthy traffic
costs no request.
"""

from typing import Protocol

from dynamodb_streams_cdc.errors import PermanentError
from dynamodb_streams_cdc.lambda_types import AnyRecord, sequence_number

MOST_DEATHS = 3
"""As many attempts that did not end make a record a dead letter."""

MOST_IN_AN_HOUR = 10
"""As many records of a processor may be given up in an hour because the function died on them. A
deployed bug that kills it on every record rings, and makes no dead letter of all of them."""

END_SECONDS = 7.0
"""What has to be left of an invocation to clear a count: a request that hangs, and the answer."""

KEEP_SECONDS = 2 * 24 * 3600
"""How long a count is kept; the stream has forgotten the record a day earlier."""


def hour_of(processor: str, now: float) -> str:
    """Return the name under which a processor's records are counted that it died on in an hour."""
    return f"{processor}/died/{int(now // 3600)}"


class FunctionDied(PermanentError):
    """The function died on this record alone, by memory, by a crash or by its time limit."""


class Attempts(Protocol):
    """Where attempts are counted, outside of the process."""

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


def name_of(processor: str, record: AnyRecord) -> str | None:
    """Return the name under which a processor's attempts at a record are counted.

    `None` for a record without a sequence number: its batch is not halved down to it.
    """
    number = sequence_number(record)
    return f"{processor}/{number}" if number else None
