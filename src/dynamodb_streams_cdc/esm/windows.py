"""Tumbling windows: state that Lambda carries from one invocation of a shard to the next.

https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-windows.html
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dynamodb_streams_cdc.esm.batch import Record
from dynamodb_streams_cdc.lambda_types import seconds_of

LARGEST_STATE = 1024 * 1024
"""Bytes of state per shard; a larger state ends the window early
(https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-windows.html)."""


@dataclass(slots=True)
class TumblingWindow:
    """The window of a shard that is open.

    Attributes:
        start: seconds since 1970; the window's records are younger than `start` + `length`.
        origin: the place before the window's first record. It stays the shard's checkpoint until
            the window ends, because the state does not survive a restart.
        last_records: of the batch that was done last.
        early: whether the state has outgrown its limit.
    """

    start: int
    length: int
    origin: str
    state: Any = field(default_factory=dict)
    last_records: Sequence[Record] = ()
    early: bool = False

    @property
    def end(self) -> int:
        """When the window closes, in seconds since 1970."""
        return self.start + self.length

    def keep(self, state: Any, records: Sequence[Record]) -> None:
        """Keep the state that the function returned for a batch."""
        self.state = state
        self.last_records = records
        self.early = len(json.dumps(state).encode()) > LARGEST_STATE

    def fields(self, *, final: bool, shard_id: str, stream_arn: str) -> dict[str, Any]:
        """Return the fields of an event in addition to `Records`."""
        return {
            "window": {"start": seconds_of(self.start), "end": seconds_of(self.end)},
            "state": self.state,
            "shardId": shard_id,
            "eventSourceARN": stream_arn,
            "isFinalInvokeForWindow": final,
            "isWindowTerminatedEarly": final and self.early,
        }
