"""The function that most samples show: it writes each image over the row."""

store = {}


def handler(event, context):
    for record in event["Records"]:
        name = record["dynamodb"]["Keys"]["id"]["S"]
        if record["eventName"] == "REMOVE":
            store.pop(name, None)
        else:
            image = record["dynamodb"]["NewImage"]
            store[name] = {"group": int(image["group"]["N"]), "amount": int(image["amount"]["N"])}


def wanted(items):
    return {item["id"]: {name: int(item[name]) for name in ("group", "amount")} for item in items}
