# -- broken
"""ApproximateCreationDateTime is rounded to the second: two changes of one have the same."""

# -- right
"""The sequence number is the version: it tells two changes of one second apart."""


# -- both
# -- part rows


# -- broken
def handler(event, context):
    for record in event["Records"]:
        body = record["dynamodb"]
        name, image = body["Keys"]["id"]["S"], values(body.get("NewImage"))
        store.put_if_newer(name, body["ApproximateCreationDateTime"], image)


# -- right
# -- part write


# -- both
# -- right
# -- part version


# -- both
# -- part compared rows
