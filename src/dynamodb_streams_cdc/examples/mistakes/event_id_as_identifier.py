"""The event id as `itemIdentifier`.

The function reports the first record that failed, but by its `eventID`. For a stream,
`itemIdentifier` is the *sequence number*. Lambda finds no such record in the batch and takes the
answer as the failure of all of it: it sends the batch again from the start, and with it everything
that was done before the failure. One order that the warehouse never accepts, and every order before
it in the batch is placed again at each retry, for as long as the record lives.

Right: `record["dynamodb"]["SequenceNumber"]`. Lambda keeps the records before it and begins there.
"""

from typing import Any

from dynamodb_streams_cdc.examples.mistakes.ports import (
    Event,
    Warehouse,
    changes,
    consumer,
    pieces,
)
from dynamodb_streams_cdc.lambda_types import LambdaContext


def report_event_id(warehouse: Warehouse, event: Event, _context: LambdaContext) -> Any:
    """Place an order for each change, up to the first that fails."""
    for change in changes(event):
        try:
            warehouse.order(change.item_id, pieces(change), change.version)
        except Exception:
            return {"batchItemFailures": [{"itemIdentifier": change.event_id}]}
    return {"batchItemFailures": []}


def report_sequence_number(warehouse: Warehouse, event: Event, _context: LambdaContext) -> Any:
    """Place an order for each change, up to the first that fails."""
    for change in changes(event):
        try:
            warehouse.order(change.item_id, pieces(change), change.version)
        except Exception:
            return {"batchItemFailures": [{"itemIdentifier": change.sequence_number}]}
    return {"batchItemFailures": []}


wrong = consumer(Warehouse, report_event_id)
right = consumer(Warehouse, report_sequence_number)
