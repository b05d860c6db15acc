# -- broken
"""The function goes on after a failure: each retry does every later record again."""

# -- right
"""The function stops at the first failure and reports it: what is before it is done for good."""

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


# -- broken
def handler(event, context):
    failures = []
    for record in event["Records"]:
        try:
            store.order(record["dynamodb"]["Keys"]["id"]["S"], amount_of(record))
        except ValueError:
            failures.append({"itemIdentifier": record["dynamodb"]["SequenceNumber"]})
    return {"batchItemFailures": failures}


# -- right
def handler(event, context):
    for record in event["Records"]:
        try:
            store.order(record["dynamodb"]["Keys"]["id"]["S"], amount_of(record))
        except ValueError:
            number = record["dynamodb"]["SequenceNumber"]
            return {"batchItemFailures": [{"itemIdentifier": number}]}
    return {"batchItemFailures": []}


# -- both
def amount_of(record):
    image = record["dynamodb"].get("NewImage")
    return int(image["amount"]["N"]) if image else 0


def read(store):
    return store.orders


def compare(orders, items):
    """Each fault may repeat an order once; one that came more often repeats by itself."""
    return [f"{order} was ordered {times} times" for order, times in orders.items() if times > 20]
