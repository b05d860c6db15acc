"""The third of ten records fails once, and the function reports it. What comes again?"""


class Store:
    """A database with conditional writes, which refuses one row the first time."""

    def __init__(self):
        self.rows = {}
        self.has_refused = False

    def put_if_newer(self, name, version, value):
        if name == "item-2" and not self.has_refused:
            self.has_refused = True
            raise ConnectionError(f"{name}: try again")
        if name not in self.rows or self.rows[name][0] < version:
            self.rows[name] = (version, value)


store = Store()


def handler(event, context):
    for record in event["Records"]:
        body = record["dynamodb"]
        try:
            name, image = body["Keys"]["id"]["S"], values(body.get("NewImage"))
            store.put_if_newer(name, version_of(record), image)
        except Exception:
            return {"batchItemFailures": [{"itemIdentifier": body["SequenceNumber"]}]}
    return {"batchItemFailures": []}


# -- part version
# -- part compared rows
