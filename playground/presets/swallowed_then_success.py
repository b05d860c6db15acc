# -- broken
"""An error is logged and passed over, and the next change builds on what is missing."""

# -- right
"""The error leaves the function: the change is repeated before the next one comes."""

# -- both
from collections import Counter


class Store:
    """A database with sums, and a ledger of each item's share. Each call is a transaction."""

    def __init__(self):
        self.sums = Counter()
        self.ledger = {}

    def add(self, group, amount):
        self.sums[group] += amount

    def replace(self, name, version, share):
        """Put an item's share in the place of its last one, if the version is newer."""
        held, (group, amount) = self.ledger.get(name, ("", (None, 0)))
        if held < version:
            self.sums[group] -= amount
            self.sums[share[0]] += share[1]
            self.ledger[name] = (version, share)


store = Store()


# -- broken
def handler(event, context):
    for record in event["Records"]:
        for which, sign in (("NewImage", 1), ("OldImage", -1)):
            image = record["dynamodb"].get(which)
            try:
                if image:
                    store.add(f"group {image['group']['N']}", sign * int(image["amount"]["N"]))
            except Exception as error:
                print(f"could not add {which}: {error}")


# -- right
def handler(event, context):
    for record in event["Records"]:
        body = record["dynamodb"]
        stream = record["eventSourceARN"].rpartition("/")[2]
        version = f"{stream}/{body['SequenceNumber']:0>40}"
        image = body.get("NewImage")
        share = (f"group {image['group']['N']}", int(image["amount"]["N"])) if image else (None, 0)
        store.replace(body["Keys"]["id"]["S"], version, share)


# -- both
def read(store):
    return {group: amount for group, amount in store.sums.items() if group and amount}


def wanted(items):
    sums = Counter()
    for item in items:
        sums[f"group {item['group']}"] += int(item["amount"])
    return dict(sums)
