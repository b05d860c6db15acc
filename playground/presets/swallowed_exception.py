# -- broken
"""The change is lost silently: the function logs an error and returns, which is success."""

# -- right
"""The error leaves the function: Lambda sends the batch again until the store takes it."""


# -- both
# -- part rows


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
# -- part write


# -- both
# -- part version
# -- part compared rows
