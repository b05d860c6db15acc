"""The marker before the effect.

To do a thing once, the function writes down that it was done, and then does it. If it dies between
the two, or the second fails, the retry finds the marker and does nothing: the effect is lost
without an error. Locks that are taken before the effect have the same gap until they expire.

Right: the marker in the effect's own transaction (`Once.transact`), or, where the effect is out of
reach of transactions, *after* it (`Once.run`): then a crash repeats the effect, at worst.
"""

from functools import partial

from dynamodb_streams_cdc.examples.mistakes.ports import Event, Mail, changes, consumer
from dynamodb_streams_cdc.idempotency import MARKER_SECONDS, Once
from dynamodb_streams_cdc.lambda_types import LambdaContext


def mark_then_send(mail: Mail, event: Event, _context: LambdaContext) -> None:
    """Tell the customer of each change, once."""
    for change in changes(event):
        if not mail.seen(change.event_id):
            mail.mark(change.event_id, MARKER_SECONDS)
            mail.send(change.item_id, change.version)


def send_then_mark(mail: Mail, event: Event, _context: LambdaContext) -> None:
    """Tell the customer of each change, at least once."""
    once = Once(mail, "mail")
    for change in changes(event):
        once.run(change, partial(mail.send, change.item_id, change.version))


wrong = consumer(Mail, mark_then_send)
right = consumer(Mail, send_then_mark)
