"""A swallowed exception.

The function logs what went wrong and returns. To Lambda that is success: the checkpoint moves on,
the record is never sent again, no metric counts it, and it reaches no failure destination.

Right: let the exception out, or report the record in `batchItemFailures`. What can never succeed
goes to dead letters, with its payload, before it counts as done.
"""

import logging

from dynamodb_streams_cdc.examples.mistakes.ports import Event, Rows, changes, consumer
from dynamodb_streams_cdc.lambda_types import LambdaContext
from dynamodb_streams_cdc.testing.simulation import Consumer, VirtualClock

logger = logging.getLogger(__name__)


def log_and_go_on(rows: Rows, event: Event, _context: LambdaContext) -> None:
    """Write each change."""
    for change in changes(event):
        try:
            rows.write(change.item_id, change.version, change.new_image)
        except Exception:
            logger.exception("could not write %s", change.item_id)


def let_it_out(rows: Rows, event: Event, _context: LambdaContext) -> None:
    """Write each change."""
    for change in changes(event):
        rows.write(change.item_id, change.version, change.new_image)


def wrong(_virtual_clock: VirtualClock) -> Consumer:
    """Return the function that makes a success of a failure."""
    rows = Rows()
    return consumer(rows, log_and_go_on, rows.differences)


def right(_virtual_clock: VirtualClock) -> Consumer:
    """Return the function that fails when it fails."""
    rows = Rows()
    return consumer(rows, let_it_out, rows.differences)
