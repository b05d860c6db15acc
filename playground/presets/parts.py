"""Parts that several examples have: `# -- part NAME` in an example stands for one of them."""

# -- part rows


class Store:
    """A database with conditional writes. Each call is a request, which can fail."""

    def __init__(self):
        self.rows = {}

    def put_if_newer(self, name, version, value):
        if name not in self.rows or self.rows[name][0] < version:
            self.rows[name] = (version, value)


store = Store()


# -- part version


def version_of(record):
    stream = record["eventSourceARN"].rpartition("/")[2]
    return f"{stream}/{record['dynamodb']['SequenceNumber']:0>40}"


# -- part write


def handler(event, context):
    for record in event["Records"]:
        body = record["dynamodb"]
        name, image = body["Keys"]["id"]["S"], values(body.get("NewImage"))
        store.put_if_newer(name, version_of(record), image)


# -- part compared rows


def values(image):
    return image and {name: int(image[name]["N"]) for name in ("group", "amount")}


def read(store):
    return {name: value for name, (_, value) in store.rows.items() if value is not None}


def wanted(items):
    return {item["id"]: {name: int(item[name]) for name in ("group", "amount")} for item in items}


# -- part sums
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


# -- part replace


def handler(event, context):
    for record in event["Records"]:
        body = record["dynamodb"]
        stream = record["eventSourceARN"].rpartition("/")[2]
        version = f"{stream}/{body['SequenceNumber']:0>40}"
        image = body.get("NewImage")
        share = (f"group {image['group']['N']}", int(image["amount"]["N"])) if image else (None, 0)
        store.replace(body["Keys"]["id"]["S"], version, share)


# -- part compared sums


def read(store):
    return {group: amount for group, amount in store.sums.items() if group and amount}


def wanted(items):
    sums = Counter()
    for item in items:
        sums[f"group {item['group']}"] += int(item["amount"])
    return dict(sums)


# -- part warehouse
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


# -- part compared orders


def amount_of(record):
    image = record["dynamodb"].get("NewImage")
    return int(image["amount"]["N"]) if image else 0


def read(store):
    return store.orders


def compare(orders, items):
    """Each fault may repeat an order once; one that came more often repeats by itself."""
    return [f"{order} was ordered {times} times" for order, times in orders.items() if times > 20]
