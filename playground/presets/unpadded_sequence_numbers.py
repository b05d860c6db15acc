# -- broken
"""Sequence numbers have 21 to 40 digits. As text, "1000" is less than "999"."""

# -- right
"""Padded with zeros to 40 digits, sequence numbers compare as text as they do as numbers."""


# -- both
class Store:
    """A database with conditional writes. Each call is a request, which can fail."""

    def __init__(self):
        self.rows = {}

    def put_if_newer(self, name, version, value):
        if name not in self.rows or self.rows[name][0] < version:
            self.rows[name] = (version, value)


store = Store()


def handler(event, context):
    for record in event["Records"]:
        body = record["dynamodb"]
        name, image = body["Keys"]["id"]["S"], values(body.get("NewImage"))
        store.put_if_newer(name, version_of(record), image)


# -- broken
def version_of(record):
    stream = record["eventSourceARN"].rpartition("/")[2]
    return f"{stream}/{record['dynamodb']['SequenceNumber']}"


# -- right
def version_of(record):
    stream = record["eventSourceARN"].rpartition("/")[2]
    return f"{stream}/{record['dynamodb']['SequenceNumber']:0>40}"


# -- both
def values(image):
    return image and {name: int(image[name]["N"]) for name in ("group", "amount")}


def read(store):
    return {name: value for name, (_, value) in store.rows.items() if value is not None}


def wanted(items):
    return {item["id"]: {name: int(item[name]) for name in ("group", "amount")} for item in items}
