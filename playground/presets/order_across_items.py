# -- broken
"""Item 0 is a customer, the others are orders. An order without its customer is dropped."""

# -- right
"""Item 0 is a customer, the others are orders. Each row is kept, and joined when it is read."""

# -- both


class Store:
    """A database with conditional writes. Each call is a request, which can fail."""

    def __init__(self):
        self.rows = {}

    def has(self, name):
        return name in self.rows

    def put_if_newer(self, name, version, value):
        if name not in self.rows or self.rows[name][0] < version:
            self.rows[name] = (version, value)


store = Store()


def handler(event, context):
    for record in event["Records"]:
        body = record["dynamodb"]
        name = body["Keys"]["id"]["S"]
        # -- broken
        if name != "item-0" and not store.has("item-0"):
            print(f"{name} has no customer, and is dropped")
            continue
        # -- both
        store.put_if_newer(name, version_of(record), values(body.get("NewImage")))


# -- part version
# -- part compared rows
