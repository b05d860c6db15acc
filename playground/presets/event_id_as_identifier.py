# -- broken
"""The event id is reported, where Lambda expects the sequence number: it sends all again."""

# -- right
"""The sequence number is reported: Lambda repeats that record and those after it."""

# -- both
# -- part warehouse


def handler(event, context):
    for record in event["Records"]:
        try:
            store.order(record["dynamodb"]["Keys"]["id"]["S"], amount_of(record))
        except ValueError:
            # -- broken
            return {"batchItemFailures": [{"itemIdentifier": record["eventID"]}]}
            # -- right
            number = record["dynamodb"]["SequenceNumber"]
            return {"batchItemFailures": [{"itemIdentifier": number}]}
            # -- both
    return {"batchItemFailures": []}


# -- part compared orders
