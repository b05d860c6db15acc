"""One record can never be processed: the function raises at each attempt."""


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
        image = body.get("NewImage")
        if image and "poison" in image:
            raise ValueError("this record can never be processed")
        store.put_if_newer(body["Keys"]["id"]["S"], version_of(record), values(image))


def version_of(record):
    stream = record["eventSourceARN"].rpartition("/")[2]
    return f"{stream}/{record['dynamodb']['SequenceNumber']:0>40}"


def values(image):
    return image and {name: int(image[name]["N"]) for name in ("group", "amount")}


def read(store):
    return {name: value for name, (_, value) in store.rows.items() if value is not None}


def wanted(items):
    return {item["id"]: {name: int(item[name]) for name in ("group", "amount")} for item in items}
