"""Continuing past a failure, with an effect that does not converge.

The function tries every record and reports those that failed. Lambda goes back to the *first* of
them and sends it again with all that follow, whether they had succeeded or not: everything after a
failure is done again at each retry. It is harmless where doing a thing twice is doing it once; an
order, a mail or a payment is not such a thing. It also lets later changes of an item overtake the
one that failed.

Right: stop at the first failure and report it. (`ChangeHandlers` goes on with other items, and
`idempotency.Once` guards what must not be repeated.)
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


def try_them_all(warehouse: Warehouse, event: Event, _context: LambdaContext) -> Any:
    """Place an order for each change; report each that failed."""
    failures = []
    for change in changes(event):
        try:
            warehouse.order(change.item_id, pieces(change), change.version)
        except Exception:
            failures.append({"itemIdentifier": change.sequence_number})
    return {"batchItemFailures": failures}


def stop_at_the_first(warehouse: Warehouse, event: Event, _context: LambdaContext) -> Any:
    """Place an order for each change, up to the first that fails."""
    for change in changes(event):
        try:
            warehouse.order(change.item_id, pieces(change), change.version)
        except Exception:
            return {"batchItemFailures": [{"itemIdentifier": change.sequence_number}]}
    return {"batchItemFailures": []}


wrong = consumer(Warehouse, try_them_all)
right = consumer(Warehouse, stop_at_the_first)
