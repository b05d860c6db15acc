# -- broken
"""The event id is reported, where Lambda expects the sequence number: it sends all again."""

# -- right
"""The sequence number is reported: Lambda repeats that record and those after it."""

# -- both
from collections import Counter


class Store:
    """A warehouse that takes orders, but none of more than 90 pieces."""

    def __init__(self):
        self.orders = Counter()

    def order(self, name, amount):
        if amount > 90:
            raise ValueError(f"{amount} are too many")
        self.orders[f"{amount} for {name}"] += 1


store = Store()


def handler(event, context):
    for record in event["Records"]:
        try:
            store.order(record["dynamodb"]["Keys"]["id"]["S"], amount_of(record))
        except ValueError:
            # -- broken
            return {"batchItemFailures": [{"itemIdentifier": record["eventID"]}]}
            # -- right
            number = record["dynamodb"]["SequenceNumber"]
            return {"batchItemFailures": [{"itemIdentifier": number}]}
            # -- both
    return {"batchItemFailures": []}


def amount_of(record):
    image = record["dynamodb"].get("NewImage")
    return int(image["amount"]["N"]) if image else 0


def read(store):
    return store.orders


def compare(orders, items):
    """Each fault may repeat an order once; one that came more often repeats by itself."""
    return [f"{order} was ordered {times} times" for order, times in orders.items() if times > 20]
