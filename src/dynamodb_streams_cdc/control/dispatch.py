"""Do what an operator asks a function for; see `control`."""

from collections.abc import Callable, Sequence
from math import ceil
from typing import Any, cast

from dynamodb_streams_cdc.applier import SinkApplier
from dynamodb_streams_cdc.change import Source
from dynamodb_streams_cdc.control import items, notes
from dynamodb_streams_cdc.control.backfill import Backfill, BackfillPart
from dynamodb_streams_cdc.control.index_rebuild import IndexRebuild
from dynamodb_streams_cdc.control.parts import Part
from dynamodb_streams_cdc.control.purge import Purge
from dynamodb_streams_cdc.control.sums_rebuild import SumsRebuild
from dynamodb_streams_cdc.control.verification import Verification
from dynamodb_streams_cdc.errors import MalformedRecord
from dynamodb_streams_cdc.lambda_types import AnyEvent, BatchResponse
from dynamodb_streams_cdc.names import Operation


def respond(
    event: AnyEvent,
    records: Sequence[Any],
    applier: SinkApplier,
    source: Source,
    read: Callable[[], items.ReadRecords],
) -> BatchResponse:
    """Return the response to an operator's request.

    Args:
        event: the request.
        records: its records.
        applier: knows the sinks, the table and the deadline.
        source: names the table in identities.
        read: reads the records as changes.

    Raises:
        MalformedRecord: the request is of no operation, or is not of its form.
    """
    _check_stream(applier.source_table, event.get("streamArn"))
    notes.note_fill(applier.notes, event, applier.deadline)
    begun = applier.deadline.now()
    response = _done(event, records, applier, source, read)
    rate = event.get("unitsPerSecond")
    if isinstance(rate, int | float) and rate > 0:
        # Seconds to wait before the next request, so that no more units a second are consumed.
        units = cast("float", dict(response).get("units", 0.0))
        rest = max(0, ceil(units / rate - (applier.deadline.now() - begun)))
        return cast("BatchResponse", {**response, "rest": rest})
    return response


def _done(
    event: AnyEvent,
    records: Sequence[Any],
    applier: SinkApplier,
    source: Source,
    read: Callable[[], items.ReadRecords],
) -> BatchResponse:
    stream_arn = event.get("streamArn")
    match event.get("operation"):
        case Operation.REPLAY:
            return items.replay(applier, records, read())
        case Operation.INSPECT:
            return items.inspect(applier, read())
        case Operation.REPAIR:
            counts = event.get("countMissing") is True
            return items.repair(applier, source, records, stream_arn, counts_missing=counts)
        case Operation.VERIFY:
            return Verification(applier, source).run(Part.from_event(event))
        case Operation.REMOVE:
            return Verification(applier, source).remove(records)
        case Operation.BACKFILL:
            return Backfill(applier, source).run(BackfillPart.from_event(event))
        case Operation.REBUILD_SUMS:
            return SumsRebuild(applier, source).run(event)
        case Operation.REBUILD_INDEX:
            return IndexRebuild(applier, source).run(event)
        case Operation.PURGE:
            return Purge(applier).run(event)
        case Operation.NOTES:
            return notes.run(applier.notes, event, applier.deadline)
    message = f"operation: expected one of {', '.join(Operation)}, got {event.get('operation')!r}"
    raise MalformedRecord(message)


def _check_stream(source_table: object, stream_arn: object) -> None:
    """Refuse the stream of another table: its floor would hold back this table's changes."""
    table = getattr(source_table, "table", None)
    if isinstance(stream_arn, str) and isinstance(table, str):
        wanted = f":table/{table}/stream/"
        if "/stream/" in stream_arn and wanted not in stream_arn:
            message = f"streamArn: expected a stream of table {table}, got {stream_arn}"
            raise MalformedRecord(message)
