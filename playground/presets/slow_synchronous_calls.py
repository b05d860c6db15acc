# -- broken
"""A slow call for each record: the batch never fits the timeout, and begins again."""

# -- right
"""One call for the whole batch: it fits the timeout."""

# -- both
from collections import Counter


class Partner:
    """Takes orders, one or many in a call."""

    def __init__(self):
        self.taken = Counter()

    def take(self, *orders):
        self.taken.update(orders)


store = Partner()


def handler(event, context):
    orders = [record["dynamodb"]["Keys"]["id"]["S"] for record in event["Records"]]
    # -- broken
    for order in orders:
        store.take(order)
    # -- right
    store.take(*orders)
    # -- both


def read(store):
    return dict.fromkeys(store.taken, "taken")


def wanted(items):
    return dict.fromkeys(items.history, "taken")
