"""A timestamp as version.

`ApproximateCreationDateTime` of a DynamoDB stream is rounded down to the second. Two changes of an
item within one second have the same, so "newer than the row" refuses the second of them, and
"not older" lets a redelivery of the first overwrite it.

Right: the sequence number orders the changes of an item; `Change.version` carries it.
"""

from dynamodb_streams_cdc.examples.mistakes.ports import Event, Rows, changes, consumer
from dynamodb_streams_cdc.lambda_types import LambdaContext


def compare_times(rows: Rows, event: Event, _context: LambdaContext) -> None:
    """Write each change that is newer than the row, by its time."""
    for change in changes(event):
        rows.write(change.item_id, f"{change.time:%Y-%m-%dT%H:%M:%SZ}", change.new_image)


def compare_versions(rows: Rows, event: Event, _context: LambdaContext) -> None:
    """Write each change that is newer than the row, by its version."""
    for change in changes(event):
        rows.write(change.item_id, change.version, change.new_image)


wrong = consumer(Rows, compare_times)
right = consumer(Rows, compare_versions)
