# -- broken
"""The difference of two images is added: a redelivery adds it twice."""

# -- right
"""Each item's share replaces its last one, if it is newer: a redelivery changes nothing."""

# -- both
# -- part sums


# -- broken
def handler(event, context):
    for record in event["Records"]:
        for which, sign in (("NewImage", 1), ("OldImage", -1)):
            image = record["dynamodb"].get(which)
            if image:
                store.add(f"group {image['group']['N']}", sign * int(image["amount"]["N"]))


# -- right
# -- part replace


# -- both
# -- part compared sums
