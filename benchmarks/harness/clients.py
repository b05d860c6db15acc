"""Clients of DynamoDB: as our functions have them, and as boto3 makes them.

Both wait longer than a function does: a laptop under load is slower than AWS.
"""

import time
from typing import Any

from botocore.config import Config

from dynamodb_streams_cdc.aws.dynamodb.encoding import encode_once
from lambdas import runtime
from local.deployed.deployment import session

_PATIENT = Config(read_timeout=30.0, proxies={})


def as_deployed(url: str) -> Any:
    """Return a client as `lambdas.runtime` makes it."""
    return encode_once(session(url).client("dynamodb", config=runtime.CLIENT.merge(_PATIENT)))


def by_default(url: str) -> Any:
    """Return a client as boto3 makes it."""
    return session(url).client("dynamodb", config=_PATIENT)


def create_table(client: Any, name: str, keys: list[tuple[str, str]]) -> None:
    """Create a table; `keys` are name and type of its partition key, then of its sort key."""
    client.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": t} for n, t in keys],
        KeySchema=[
            {"AttributeName": attribute, "KeyType": kind}
            for (attribute, _), kind in zip(keys, ("HASH", "RANGE"), strict=False)
        ],
        BillingMode="PAY_PER_REQUEST",
    )


def move_away(client: Any, seconds: float) -> None:
    """Delay every request of a client by so many seconds, as a network does."""

    def wait(**others: Any) -> None:
        time.sleep(seconds)

    client.meta.events.register("before-send.dynamodb", wait)
