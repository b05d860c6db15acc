# -- broken
"""Sequence numbers have 21 to 40 digits. As text, "1000" is less than "999"."""

# -- right
"""Padded with zeros to 40 digits, sequence numbers compare as text as they do as numbers."""


# -- both
# -- part rows
# -- part write


# -- broken
def version_of(record):
    stream = record["eventSourceARN"].rpartition("/")[2]
    return f"{stream}/{record['dynamodb']['SequenceNumber']}"


# -- right
# -- part version


# -- both
# -- part compared rows
