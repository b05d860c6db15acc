"""Requests to DynamoDB, and its items, without botocore's walk through every value of them.

The adapters send and take DynamoDB JSON. botocore still looks up the description of each value, of
each value within it, and copies it: half of the processor time of a request, and more than half of
that of a page of items. Here the parameters of a call become the body of its request at once, and
the body of a response with items becomes its result. All of this goes through botocore's events
(https://docs.aws.amazon.com/boto3/latest/guide/events.html).
"""

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from botocore.parsers import ResponseParserError

from dynamodb_streams_cdc.deserializer import base64_text

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_BODY = "dynamodb_streams_cdc.body"
READS = ("BatchGetItem", "GetItem", "Query", "Scan")
"""Operations whose responses have items."""

WRITES = (
    "BatchExecuteStatement",
    "DeleteItem",
    "PutItem",
    "TransactWriteItems",
    "UpdateItem",
)
"""Operations whose responses say that something was written."""

_encode = json.JSONEncoder(separators=(",", ":"), default=base64_text).encode


def encode_once(client: "DynamoDBClient") -> "DynamoDBClient":
    """Return the client, which from now on sends and returns items as they are, as JSON.

    For operations on items: all that they take is DynamoDB's JSON, binary values as `bytes`, or as
    the base64 text that they have in items that were read. Make the client with
    `Config(parameter_validation=False)`: nothing checks the parameters but DynamoDB.

    Raises:
        ValueError: the client speaks something else than JSON.
    """
    protocol = client.meta.service_model.resolved_protocol
    if protocol != "json":
        message = f"this version of botocore speaks {protocol} to DynamoDB: do without encode_once"
        raise ValueError(message)
    events = client.meta.events
    # After botocore's own, which add to the parameters.
    events.register_last("before-parameter-build", _take, unique_id=f"{_BODY}-take")
    events.register("before-call.dynamodb", _put, unique_id=f"{_BODY}-put")
    for operation in (*READS, *WRITES):
        event = f"before-parse.dynamodb.{operation}"
        events.register(event, _parse, unique_id=f"{_BODY}-parse-{operation}")
    return client


def _parse(
    response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    """Take the result from the body, and leave botocore an empty one; it reads errors itself.

    A page in the place of an answer is an error, where botocore takes it for one without members:
    for no item, or for a write that was done.
    """
    if response_dict["status_code"] == HTTPStatus.OK:
        try:
            found = json.loads(response_dict["body"])
        except ValueError:
            found = None
        if not isinstance(found, dict):
            message = "DynamoDB's answer is not a JSON object"
            raise ResponseParserError(message)
        customized_response_dict.update(found)
        response_dict["body"] = b"{}"


def _take(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    context[_BODY] = _encode(params).encode()
    params.update({name: _hollow(value) for name, value in params.items()})


def _hollow(value: Any) -> Any:
    """Return a parameter without the values that botocore would walk through.

    The endpoint depends on which tables of other accounts are named: those are kept, by ARN.
    """
    if isinstance(value, dict):
        return {name: {} for name in value}
    if isinstance(value, list):
        return [tables for action in value if (tables := _tables_by_arn(action))]
    return value


def _tables_by_arn(action: Any) -> dict[str, Any]:
    requests = action.items() if isinstance(action, dict) else ()
    named = ((kind, r.get("TableName", "")) for kind, r in requests if isinstance(r, dict))
    return {kind: {"TableName": name} for kind, name in named if name.startswith("arn:")}


def _put(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    params["body"] = context.pop(_BODY)
