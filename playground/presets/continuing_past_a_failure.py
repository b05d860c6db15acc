# -- broken
"""The function goes on after a failure: each retry does every later record again."""

# -- right
"""The function stops at the first failure and reports it: what is before it is done for good."""

# -- both
# -- part warehouse


# -- broken
def handler(event, context):
    failures = []
    for record in event["Records"]:
        try:
            store.order(record["dynamodb"]["Keys"]["id"]["S"], amount_of(record))
        except ValueError:
            failures.append({"itemIdentifier": record["dynamodb"]["SequenceNumber"]})
    return {"batchItemFailures": failures}


# -- right
def handler(event, context):
    for record in event["Records"]:
        try:
            store.order(record["dynamodb"]["Keys"]["id"]["S"], amount_of(record))
        except ValueError:
            number = record["dynamodb"]["SequenceNumber"]
            return {"batchItemFailures": [{"itemIdentifier": number}]}
    return {"batchItemFailures": []}


# -- both
# -- part compared orders
