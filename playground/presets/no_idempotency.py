# -- broken
"""Lambda delivers at least once: an effect that is added is added twice."""

# -- right
"""Points and the mark of their order are one transaction: a second delivery finds the mark."""

# -- both
from collections import Counter


class Store:
    """The points of each customer, and the orders that were counted."""

    def __init__(self):
        self.points = Counter()
        self.counted = set()

    def give(self, customer, points):
        self.points[customer] += points

    def give_once(self, order, customer, points):
        """Give points and mark the order, in one transaction."""
        if order not in self.counted:
            self.counted.add(order)
            self.points[customer] += points


store = Store()


def handler(event, context):
    for record in event["Records"]:
        if record["eventName"] == "INSERT":
            order = record["dynamodb"]["NewImage"]
            customer, points = f"customer {order['group']['N']}", int(order["amount"]["N"])
            # -- broken
            store.give(customer, points)
            # -- right
            store.give_once(record["eventID"], customer, points)
            # -- both


def read(store):
    return store.points


def wanted(items):
    points = Counter()
    for states in items.history.values():
        for before, order in zip([None, *states], states):
            if before is None:
                points[f"customer {order['group']}"] += int(order["amount"])
    return points
