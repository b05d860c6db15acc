"""Tell whether the records of an event or their source are at fault.

The stream and its mapping fill some fields of every record (`MalformedSource` names them). Where
one of these is malformed

    in all records of an event    the source is at fault: the batch is held and an error is logged,
                                  as when the stream carries no images. None becomes a dead letter
    in the only record            the same while the record is young (15 minutes); then it is a dead
                                  letter, so that a single poison record does not block its shard.
                                  A record without a time is a dead letter at once
    in some of the records        each of these is a dead letter
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from dynamodb_streams_cdc.errors import MalformedRecord, MalformedSource
from dynamodb_streams_cdc.lambda_types import StreamRecord

MILLISECONDS = 1e11
"""A time from here on is in milliseconds: in seconds it would be after the year 5000."""


def source_fault(
    records: Sequence[StreamRecord], unreadable: Mapping[int, MalformedRecord], young_since: float
) -> MalformedSource | None:
    """Return the fault that all records share and that is their source's; None if there is none.

    `unreadable` has the error of each record that could not be read, by position. A lone record is
    young if it was made after `young_since`, in seconds since 1970.
    """
    faults = [error for error in unreadable.values() if isinstance(error, MalformedSource)]
    if not faults or len(faults) < len(records):
        return None
    if len({fault.field for fault in faults}) > 1:
        return None
    if len(records) == 1 and told_time(records[0]) < young_since:
        return None
    return faults[0]


def told_time(record: object) -> float:
    """Return when a record says that it was made, in seconds since 1970, in any form it has.

    0, which is long ago, if it has no time: it must not wait for ever.
    """
    body = record.get("dynamodb") if isinstance(record, Mapping) else None
    time = body.get("ApproximateCreationDateTime") if isinstance(body, Mapping) else None
    if isinstance(time, datetime):
        return time.timestamp()
    try:
        number = float(time) if isinstance(time, str | int | float) else 0.0
    except (ValueError, OverflowError):
        return _moment(time)
    return number / 1000 if number >= MILLISECONDS else number


def _moment(time: object) -> float:
    try:
        return datetime.fromisoformat(time).timestamp() if isinstance(time, str) else 0.0
    except (ValueError, OverflowError):
        return 0.0
