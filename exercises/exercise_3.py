"""Exercise 3: event sourcing.

Goal
    The change log holds every change of every order. Everything else can be made of it again: what
    an order is, what it was at any moment, and answers to questions that no one had when the log
    began. Here the question is how often orders became shipped on each day; the table has
    forgotten that.

What you write
    The class `History`. It is given the log's changes one by one, as a program reads them: an old
    part from a scan, new ones from the stream. So they come in any order, and some come twice.
    As it stands it trusts the order, and answers two of the three questions not at all.

What you have
    change.item_id          such as "orders/S=1001"
    change.kind             INSERT, MODIFY or REMOVE
    change.old_image        the order before; None if there was none
    change.new_image        the order after; None if there is none. order["status"] is one of
                            placed, shipped, refunded
    change.time             when, in UTC, rounded down to the second
    change.event_id, change.sequence_number, change.version

    make exercise-3             says what is wrong
    make exercise-3 HINT=1      prints hint 1, HINT=2 the next
"""

from datetime import datetime

from dynamodb_streams_cdc import Change, Image


class History:
    """What the log tells."""

    def __init__(self) -> None:
        self.changes: list[Change] = []

    def add(self, change: Change) -> None:
        """Take one change of the log."""
        self.changes.append(change)

    def state(self, item: str) -> Image | None:
        """Return an order as it is now; None if there is none."""
        found = None
        for change in self.changes:
            if change.item_id == item:
                found = change.new_image
        return found

    def state_at(self, item: str, moment: datetime) -> Image | None:
        """Return an order as it was at the end of the second of `moment`; None if there was none.

        `moment` is in UTC and has no fraction of a second.
        """
        return self.state(item)  # TODO

    def shipped_per_day(self) -> dict[str, int]:
        """Return how often orders became shipped on each day, such as {"2024-05-01": 2}.

        Each time that the status of an order becomes `shipped` counts, even if it changes
        afterwards; an order that is shipped, deleted and shipped again counts twice. Days are in
        UTC; those without any are left out.
        """
        return {}  # TODO
