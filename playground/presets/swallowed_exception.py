# -- broken
"""The change is lost silently: the function logs an error and returns, which is success."""

# -- right
"""The error leaves the function: Lambda sends the batch again until the store takes it."""


# -- both
class Store:
    """A database with conditional writes. Each call is a request, which can fail."""

    def __init__(self):
        self.rows = {}

    def put_if_newer(self, name, version, value):
        if name not in self.rows or self.rows[name][0] < version:
            self.rows[name] = (version, value)


store = Store()


# -- broken
def handler(event, context):
    for record in event["Records"]:
        body = record["dynamodb"]
        name, image = body["Keys"]["id"]["S"], values(body.get("NewImage"))
        try:
            store.put_if_newer(name, version_of(record), image)
        except Exception as error:
            print(f"could not write {name}: {error}")


# -- right
def handler(event, context):
    for record in event["Records"]:
        body = record["dynamodb"]
        name, image = body["Keys"]["id"]["S"], values(body.get("NewImage"))
        store.put_if_newer(name, version_of(record), image)


# -- both
def version_of(record):
    stream = record["eventSourceARN"].rpartition("/")[2]
    return f"{stream}/{record['dynamodb']['SequenceNumber']:0>40}"


def values(image):
    return image and {name: int(image[name]["N"]) for name in ("group", "amount")}


def read(store):
    return {name: value for name, (_, value) in store.rows.items() if value is not None}


def wanted(items):
    return {item["id"]: {name: int(item[name]) for name in ("group", "amount")} for item in items}
