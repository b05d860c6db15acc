# -- broken
"""A delete removes the row and its version: a late old change then looks new."""

# -- right
"""A delete leaves a tombstone, a row with its version and no value: an old change is refused."""


# -- both
class Store:
    """A database with conditional writes. Each call is a request, which can fail."""

    def __init__(self):
        self.rows = {}

    def put_if_newer(self, name, version, value):
        if name not in self.rows or self.rows[name][0] < version:
            self.rows[name] = (version, value)

    def delete(self, name):
        self.rows.pop(name, None)


store = Store()


# -- broken
def handler(event, context):
    for record in event["Records"]:
        body = record["dynamodb"]
        name = body["Keys"]["id"]["S"]
        if record["eventName"] == "REMOVE":
            store.delete(name)
        else:
            store.put_if_newer(name, version_of(record), values(body["NewImage"]))


# -- right
# -- part write


# -- both
# -- part version
# -- part compared rows
