"""Requests to DynamoDB without botocore's walk through every value of them.

What the adapters send is DynamoDB's JSON already. botocore still looks up the description of each
value, of each value within it, and copies it: two thirds of the processor time of a request. Here
the parameters of a call become the body of its request at once. All of this goes through events
that botocore documents for the purpose
(https://docs.aws.amazon.com/boto3/latest/guide/events.html).
"""

import json
from typing import TYPE_CHECKING, Any

from dynamodb_streams_cdc.deserializer import base64_text

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_BODY = "dynamodb_streams_cdc.body"
_encode = json.JSONEncoder(separators=(",", ":"), default=base64_text).encode


def encode_once(client: "DynamoDBClient") -> "DynamoDBClient":
    """Return the client, which from now on sends the parameters of a call as they are, as JSON.

    Binary values are given as `bytes`. Make the client with
    `Config(parameter_validation=False)`: nothing checks the parameters but DynamoDB.
    """
    events = client.meta.events
    events.register_last("before-parameter-build", _take)  # after botocore's own, which add to them
    events.register("before-call.dynamodb", _put)
    return client


def _take(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    context[_BODY] = _encode(params).encode()
    params.update({name: _hollow(value) for name, value in params.items()})


def _hollow(value: Any) -> Any:
    """Return what botocore may walk through: the endpoint depends on the names of tables."""
    if isinstance(value, dict):
        return {name: {} for name in value}
    return [] if isinstance(value, list) else value


def _put(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    params["body"] = context.pop(_BODY)
