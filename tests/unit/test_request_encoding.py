"""Our clients send what botocore would have sent, to the same place, and return the same items."""

import json
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.session import get_session

from dynamodb_streams_cdc.aws.dynamodb.encoding import encode_once
from dynamodb_streams_cdc.aws.errors import translated
from dynamodb_streams_cdc.deserializer import base64_text, deserialize_item
from dynamodb_streams_cdc.errors import RetryableError

ITEM = {
    "id": {"S": 'é "quoted" \u2028'},
    "total": {"N": "29.33"},
    "seal": {"B": b"\x00\xff"},
    "seals": {"BS": [b"1", b"2"]},
    "lines": {
        "L": [{"M": {"title": {"S": "CD"}, "gift": {"BOOL": False}, "note": {"NULL": True}}}]
    },
}
KEY = {"id": {"S": "1"}}
PUT = {"Put": {"TableName": "sums", "Item": ITEM, "ConditionExpression": "a = :b"}}

OTHERS = "arn:aws:dynamodb:eu-central-1:222222222222:table/orders"
"""A table of another account than that of the credentials, with an endpoint of its own."""

CALLS = [
    ("get_item", {"TableName": "orders", "Key": KEY, "ConsistentRead": True}),
    ("put_item", {"TableName": "orders", "Item": ITEM}),
    ("delete_item", {"TableName": "orders", "Key": KEY}),
    ("batch_get_item", {"RequestItems": {"ledger": {"Keys": [KEY], "ConsistentRead": True}}}),
    ("transact_write_items", {"TransactItems": [PUT, PUT], "ClientRequestToken": "a token"}),
    ("batch_execute_statement", {"Statements": [{"Statement": "?", "Parameters": [KEY["id"]]}]}),
    ("batch_execute_statement", {"Statements": [{"Statement": 'INSERT INTO "TableName"'}]}),
    ("scan", {"TableName": "orders", "Limit": 3}),
    ("put_item", {"TableName": OTHERS, "Item": ITEM}),
    ("batch_get_item", {"RequestItems": {OTHERS: {"Keys": [KEY]}}}),
    (
        "transact_write_items",
        {
            "TransactItems": [{"Put": {"TableName": OTHERS, "Item": ITEM}}],
            "ClientRequestToken": "t",
        },
    ),
]


class Socket:
    """Keeps the requests of a client, and answers each with the same."""

    def __init__(self, client: Any, answer: Any = None, status: int = 200) -> None:
        self.sent: list[Any] = []
        self.answer, self.status = json.dumps(answer or {}).encode(), status
        client.meta.events.register("before-send", self._send)

    def _send(self, request: Any, **_: Any) -> AWSResponse:
        self.sent.append(request)
        return AWSResponse(request.url, self.status, HTTPHeaders(), self)

    def stream(self, **_: Any) -> Any:
        yield self.answer


def client(**options: Any) -> Any:
    session = get_session()
    session.set_credentials("test", "test", account_id="111111111111")
    config = Config(region_name="eu-central-1", **options)
    return session.create_client("dynamodb", config=config)


def encoding() -> Any:
    return encode_once(client(parameter_validation=False))


@pytest.mark.parametrize(("operation", "params"), CALLS, ids=[name for name, _ in CALLS])
def test_the_request_is_the_same(operation: str, params: dict[str, Any]) -> None:
    theirs, ours = client(), encoding()
    sockets = Socket(theirs), Socket(ours)
    for each in (theirs, ours):
        getattr(each, operation)(**params)
    ([expected], [found]) = (socket.sent for socket in sockets)
    assert found.url == expected.url
    assert json.loads(found.body) == json.loads(expected.body)
    assert found.headers["X-Amz-Target"] == expected.headers["X-Amz-Target"]


def test_a_client_may_be_told_twice() -> None:
    made: Any = encode_once(encoding())
    socket = Socket(made)
    made.put_item(TableName="orders", Item=ITEM)
    assert json.loads(socket.sent[0].body)["TableName"] == "orders"


def test_what_was_given_is_left_as_it_was() -> None:
    actions: list[Any] = [PUT]
    Socket(made := encoding())
    made.transact_write_items(TransactItems=actions)
    assert actions == [PUT]


def test_a_transaction_has_the_token_that_botocore_gives_it() -> None:
    socket = Socket(made := encoding())
    made.transact_write_items(TransactItems=[PUT])
    assert len(json.loads(socket.sent[0].body)["ClientRequestToken"]) == 36


SENT = json.loads(json.dumps(ITEM, default=base64_text))
PAGE = {"Items": [SENT], "Count": 1, "LastEvaluatedKey": KEY}
READ = [
    ("get_item", {"TableName": "orders", "Key": KEY}, {"Item": SENT}),
    ("scan", {"TableName": "orders"}, PAGE),
    ("query", {"TableName": "orders"}, PAGE),
    (
        "batch_get_item",
        {"RequestItems": {"orders": {"Keys": [KEY]}}},
        {"Responses": {"orders": [SENT]}, "UnprocessedKeys": {"orders": {"Keys": [KEY]}}},
    ),
]


@pytest.mark.parametrize(("operation", "params", "answer"), READ, ids=[name for name, *_ in READ])
def test_the_items_are_the_same(operation: str, params: Any, answer: Any) -> None:
    """But for binary values, which botocore returns as bytes; the deserializer takes both."""
    theirs, ours = client(), encoding()
    for each in (theirs, ours):
        Socket(each, answer)
    expected, found = (getattr(each, operation)(**params) for each in (theirs, ours))
    assert expected.pop("ResponseMetadata") == found.pop("ResponseMetadata")
    assert found == json.loads(json.dumps(expected, default=base64_text))
    assert found != expected
    assert deserialize_item(SENT) == deserialize_item(ITEM)


def test_an_error_is_read_by_botocore() -> None:
    made = encoding()
    Socket(made, {"__type": "a#ResourceNotFoundException", "message": "no such table"}, 400)
    with pytest.raises(made.exceptions.ResourceNotFoundException, match="no such table"):
        made.scan(TableName="orders")


@pytest.mark.parametrize("page", [b"<html>", b'{"Item": {', b"", b"null", b"[]", b"\xff"])
@pytest.mark.parametrize(("operation", "params"), CALLS, ids=[name for name, _ in CALLS])
def test_a_page_in_the_place_of_an_answer_is_an_outage(
    operation: str, params: dict[str, Any], page: bytes
) -> None:
    """Otherwise a repair would find no item, and a write would count as done."""
    socket = Socket(made := encoding())
    socket.answer = page
    with pytest.raises(RetryableError), translated():
        getattr(made, operation)(**params)


def test_a_key_that_was_read_is_sent_again_as_it_was() -> None:
    socket = Socket(made := encoding())
    made.batch_get_item(RequestItems={"orders": {"Keys": [{"seal": SENT["seal"]}]}})
    sent = json.loads(socket.sent[0].body)["RequestItems"]["orders"]["Keys"]
    assert sent == [{"seal": SENT["seal"]}]
