# -- broken
"""An error is logged and passed over, and the next change builds on what is missing."""

# -- right
"""The error leaves the function: the change is repeated before the next one comes."""

# -- both
# -- part sums


# -- broken
def handler(event, context):
    for record in event["Records"]:
        for which, sign in (("NewImage", 1), ("OldImage", -1)):
            image = record["dynamodb"].get(which)
            try:
                if image:
                    store.add(f"group {image['group']['N']}", sign * int(image["amount"]["N"]))
            except Exception as error:
                print(f"could not add {which}: {error}")


# -- right
# -- part replace


# -- both
# -- part compared sums
