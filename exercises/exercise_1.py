"""Exercise 1: an audit log.

Goal
    A log with one entry for each change of each order: what happened, who did it, and what the
    order was before and after. What is in the log stays as it is. All of that must hold although
    Lambda may deliver a batch twice, retry a function that died, or bring an old batch back.

What you write
    `audit`. As it stands it looks right, and loses changes.

What you have
    change.item_id          such as "orders/S=1001"; the log's partition key
    change.kind             INSERT, MODIFY or REMOVE
    change.old_image        the order before; None if there was none
    change.new_image        the order after; None if there is none
    change.actor            who made the change; None for a delete, which carries nobody's
                            name. The application writes it into `updated_by`;
                            Source(actor_attribute="updated_by") reads it
    change.time             when, in UTC
    change.event_id, change.sequence_number, change.version

    log.put(item, sort, entry)      writes an entry, over the one that is there
    log.insert(item, sort, entry)   writes an entry; raises AlreadyThere if there is one
    log.history(item)               the entries of an item, in the order of `sort`

What an entry is
    A dictionary with kind, who, before and after.

    make exercise-1             says what is wrong
    make exercise-1 HINT=1      prints hint 1, HINT=2 the next
"""

from dynamodb_streams_cdc import Change
from exercises.stores import AlreadyThere, AuditTable  # noqa: F401 - you may need both


def audit(change: Change, log: AuditTable) -> None:
    """Write the entry of one change. Called once for each record of a batch, in order."""
    entry = {"kind": change.kind, "after": change.new_image}
    log.put(change.item_id, change.time.isoformat(), entry)
