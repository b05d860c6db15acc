"""A delete that leaves no tombstone.

The function compares versions before it overwrites a row, but when the item is removed it removes
the row, and the version with it. An old change that is delivered again later finds no row, so
nothing is newer: it brings the item back. (OpenSearch does the same with its own versions, which it
forgets a minute after a delete.)

Right: a REMOVE writes a tombstone with its version. Readers do not see it; maintenance purges it
once nothing that old can be replayed any more.
"""

from dynamodb_streams_cdc.examples.mistakes.ports import Event, Rows, changes, consumer
from dynamodb_streams_cdc.lambda_types import LambdaContext


def forget(rows: Rows, event: Event, _context: LambdaContext) -> None:
    """Write each change that is newer than the row; remove the rows of removed items."""
    for change in changes(event):
        if change.new_image is None:
            rows.delete(change.item_id)
        else:
            rows.write(change.item_id, change.version, change.new_image)


def remember(rows: Rows, event: Event, _context: LambdaContext) -> None:
    """Write each change that is newer than the row, a removal like any other."""
    for change in changes(event):
        rows.write(change.item_id, change.version, change.new_image)


wrong = consumer(Rows, forget)
right = consumer(Rows, remember)
