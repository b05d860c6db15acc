# -- broken
"""With NEW_IMAGE the record lacks the previous state, and nothing is subtracted from it."""

# -- right
"""With NEW_AND_OLD_IMAGES the record has the previous state, which is subtracted."""

# -- both
from collections import Counter


class Store:
    """How many orders there are in each group."""

    def __init__(self):
        self.orders = Counter()

    def count(self, group, number):
        self.orders[group] += number


store = Store()


def handler(event, context):
    for record in event["Records"]:
        body = record["dynamodb"]
        if "NewImage" in body:
            store.count(f"group {body['NewImage']['group']['N']}", 1)
        if "OldImage" in body:
            store.count(f"group {body['OldImage']['group']['N']}", -1)


def read(store):
    return {group: number for group, number in store.orders.items() if number}


def wanted(items):
    return dict(Counter(f"group {item['group']}" for item in items))
