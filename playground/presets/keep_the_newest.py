"""A row keeps its version: an older change is refused, and a delete leaves a tombstone."""
# -- part rows


def handler(event, context):
    for record in event["Records"]:
        body = record["dynamodb"]
        stream = record["eventSourceARN"].rpartition("/")[2]
        version = f"{stream}/{body['SequenceNumber']:0>40}"
        store.put_if_newer(body["Keys"]["id"]["S"], version, values(body.get("NewImage")))


# -- part compared rows
