"""Sequence numbers, compared as they are.

They are text, they have 21 to 40 digits, and the width varies. As text, "1000" is less than "999":
on the day on which a stream's numbers get one digit more, every change looks older than the
copy, and is refused. As numbers they fit neither 64 bits nor a DynamoDB number.

Right: pad them to 40 digits, as `Change.version` does, behind the label of the stream: numbers of
two streams of a table say nothing about each other.
"""

from dynamodb_streams_cdc.examples.mistakes.ports import Event, Rows, changes, consumer
from dynamodb_streams_cdc.lambda_types import LambdaContext


def compare_as_text(rows: Rows, event: Event, _context: LambdaContext) -> None:
    """Write each change that is newer than the row, by stream and sequence number."""
    for change in changes(event):
        stream = change.version.rpartition("/")[0]
        rows.write(change.item_id, f"{stream}/{change.sequence_number}", change.new_image)


def compare_padded(rows: Rows, event: Event, _context: LambdaContext) -> None:
    """Write each change that is newer than the row, by stream and padded sequence number."""
    for change in changes(event):
        rows.write(change.item_id, change.version, change.new_image)


wrong = consumer(Rows, compare_as_text)
right = consumer(Rows, compare_padded)
