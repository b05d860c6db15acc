"""One record can never be processed: the function raises at each attempt."""
# -- part rows


def handler(event, context):
    for record in event["Records"]:
        body = record["dynamodb"]
        image = body.get("NewImage")
        if image and "poison" in image:
            raise ValueError("this record can never be processed")
        store.put_if_newer(body["Keys"]["id"]["S"], version_of(record), values(image))


# -- part version
# -- part compared rows
