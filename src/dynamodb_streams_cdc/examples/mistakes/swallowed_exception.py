"""A swallowed exception.

The function logs the error and returns. To Lambda that is success: the checkpoint moves on,
the record is never sent again, no metric counts it, and it reaches no failure destination.

Right: let the exception out, or report the record in `batchItemFailures`. A record that can
never succeed becomes a dead letter, with its payload, before it counts as done.
"""

import logging

from dynamodb_streams_cdc.examples.mistakes.ports import Event, Rows, changes, consumer
from dynamodb_streams_cdc.lambda_types import LambdaContext

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


wrong = consumer(Rows, log_and_go_on)
right = consumer(Rows, let_it_out)
