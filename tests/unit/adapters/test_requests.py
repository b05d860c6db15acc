"""What goes over the wire, where an answer cannot tell: limits of services, the order of steps."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError

from dynamodb_streams_cdc.aws.dynamodb.erasure import DynamoDbErasableLog
from dynamodb_streams_cdc.aws.dynamodb.idempotency import DynamoDbIdempotencyStore
from dynamodb_streams_cdc.aws.dynamodb.ledger import DynamoDbLedger
from dynamodb_streams_cdc.aws.dynamodb.log import DynamoDbLog
from dynamodb_streams_cdc.aws.errors import translated
from dynamodb_streams_cdc.aws.s3 import put_once
from dynamodb_streams_cdc.aws.s3_versions import S3ObjectVersions
from dynamodb_streams_cdc.control.erasure_copies import LogPlace
from dynamodb_streams_cdc.control.erasure_objects import StoredVersion
from dynamodb_streams_cdc.deadline import RESERVE_SECONDS, Deadline
from dynamodb_streams_cdc.errors import RetryableError
from dynamodb_streams_cdc.operations.aws.dead_letter_store import S3DeadLetterStore
from dynamodb_streams_cdc.operations.aws.notifications import SqsNotificationQueue
from dynamodb_streams_cdc.operations.notifications import Notification
from dynamodb_streams_cdc.sinks.aggregation import Aggregation
from dynamodb_streams_cdc.sinks.change_log import ChangeLog
from dynamodb_streams_cdc.sinks.generations import CACHE_SECONDS
from dynamodb_streams_cdc.sinks.log_entries import entry_of
from lambdas import runtime
from lambdas.example_domain.order import contributions
from lambdas.maintenance import handler as maintenance
from lambdas.notifications import handler as notifications
from lambdas.search_client import search_client
from tests.factories import NOON, ManualClock, change, deadline, order
from tests.unit.adapters.cloud import Body, client

DEAD_LETTER = "dead-letters/search/0a/1.json"


class Wire:
    """Keeps what a client sends, and answers with what was prepared, or with nothing."""

    def __init__(self, service: str, *answers: Mapping[str, Any], status: int = 200) -> None:
        self.client = client(service)
        self.answers, self.status = list(answers), status
        self.sent: list[tuple[str, Any]] = []
        self.client.meta.events.register("before-send", self._send)

    def _send(self, request: Any, **_: Any) -> AWSResponse:
        target = request.headers.get("X-Amz-Target", b"").decode().partition(".")[2]
        name = target or f"{request.method} {request.url.partition('.com')[2]}"
        self.sent.append((name, json.loads(request.body) if target else None))
        answer: Any = self.answers.pop(0) if self.answers else {}
        body = Body(answer if target else b"")
        return AWSResponse(request.url, self.status, HTTPHeaders(), body)


def key(item: str) -> dict[str, Any]:
    return {"id": {"S": f"ledger/{item}"}}


def test_unprocessed_rows_are_read_again_consistently() -> None:
    row = {
        **key("a"),
        "version": {"S": "v1"},
        "revision": {"N": "1"},
        "contribution": {"M": {}},
        "changed_at": {"N": "1"},
        "written_at": {"N": "1"},
        "deleted": {"BOOL": False},
        "retained": {"BOOL": False},
    }
    left = {"idempotency": {"Keys": [key("b")], "ConsistentRead": True}}
    wire = Wire(
        "dynamodb",
        {"Responses": {"idempotency": [row]}, "UnprocessedKeys": left},
        {"Responses": {"idempotency": [{**row, **key("b")}]}, "UnprocessedKeys": {}},
    )
    ledger = DynamoDbLedger(wire.client, "idempotency", "aggregates")
    assert ledger.read(["a", "b"], deadline()).keys() == {"a", "b"}
    assert [body["RequestItems"]["idempotency"] for _, body in wire.sent] == [
        {"Keys": [key("a"), key("b")], "ConsistentRead": True},
        {"Keys": [key("b")], "ConsistentRead": True},
    ]


def test_a_hundred_rows_are_read_at_once_at_most() -> None:
    wire = Wire("dynamodb", *[{"Responses": {}, "UnprocessedKeys": {}}] * 2)
    ledger = DynamoDbLedger(wire.client, "idempotency", "aggregates")
    ledger.read([f"item-{number}" for number in range(130)], deadline())
    requests = [body["RequestItems"]["idempotency"] for _, body in wire.sent]
    assert [(len(each["Keys"]), each["ConsistentRead"]) for each in requests] == [
        (100, True),
        (30, True),
    ]


def test_unread_rows_are_an_outage() -> None:
    """Taken for missing, their items would be counted a second time."""
    left = {"idempotency": {"Keys": [key("a")]}}
    wire = Wire("dynamodb", *[{"Responses": {}, "UnprocessedKeys": left}] * 3)
    ledger = DynamoDbLedger(wire.client, "idempotency", "aggregates")
    with pytest.raises(RetryableError, match=r"1 items of \S+ unread"):
        ledger.read(["a"], deadline())


def test_an_erasure_says_that_the_log_is_throttled() -> None:
    """Its function would fail otherwise, and its answer about other places would be lost."""
    throttled = {"__type": "a#ThrottlingException", "message": "Rate exceeded"}
    wire = Wire("dynamodb", throttled, status=400)
    place = LogPlace(DynamoDbErasableLog(wire.client, "log"))
    with pytest.raises(RetryableError, match="Rate exceeded"):
        place.find({"orders/S=1": {}}, None, deadline())


def test_an_object_without_an_etag_was_not_written() -> None:
    """A page of a proxy is an empty answer to a client that the user made."""
    with pytest.raises(RetryableError, match="no ETag"):
        put_once(Wire("s3").client, "dead-letters", DEAD_LETTER, "{}")


def test_a_version_that_was_not_replaced_is_not_deleted() -> None:
    """An erasure would delete the parts of a dead letter that are of other items."""
    wire = Wire("s3")
    stored = StoredVersion(DEAD_LETTER, "1", 0.0)
    with pytest.raises(RetryableError, match="no ETag"):
        S3ObjectVersions(lambda: wire.client, "b").replace(stored, "etag", b"{}", deadline())
    assert [name for name, _ in wire.sent] == [f"PUT /b/{DEAD_LETTER}"]


@pytest.mark.parametrize(("entries", "requests"), [(25, [25]), (26, [1, 25])])
def test_log_sends_25_statements_at_most(entries: int, requests: list[int]) -> None:
    """https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchExecuteStatement.html

    It says 25 for a batch; DynamoDB Local takes more.
    """
    wire = Wire("dynamodb", *[{"Responses": [{}] * 25}] * 2)
    changes = [change(number, None, order()) for number in range(1, entries + 1)]
    DynamoDbLog(wire.client, "log").insert([entry_of(each) for each in changes], deadline())
    assert sorted(len(body["Statements"]) for _, body in wire.sent) == requests


def test_record_that_is_twice_in_a_batch_is_one_statement() -> None:
    """`LogStore.insert` takes no key twice: DynamoDB has no order for the statements of a batch."""
    wire = Wire("dynamodb", {"Responses": [{}, {}]})
    first, second = change(1, None, order()), change(2, order(), order(status="shipped"))
    outcome = ChangeLog(DynamoDbLog(wire.client, "log")).apply([first, first, second], deadline())
    assert (outcome.applied, outcome.stale, outcome.failures) == (2, 1, {})
    [(_, body)] = wire.sent
    assert len(body["Statements"]) == 2


def test_item_that_is_twice_in_a_batch_is_one_row() -> None:
    """DynamoDB refuses a BatchGetItem or a transaction that names an item twice."""
    wire = Wire("dynamodb", {}, {"Responses": {}, "UnprocessedKeys": {}})
    sink = Aggregation(DynamoDbLedger(wire.client, "idempotency", "aggregates"), contributions)
    changes = [change(1, None, order()), change(2, order(), order(status="shipped"))]
    assert sink.apply(changes, deadline()).failures == {}
    [_, (_, read), (_, write)] = wire.sent
    assert len(read["RequestItems"]["idempotency"]["Keys"]) == 1
    assert sum("Put" in action for action in write["TransactItems"]) == 1


def test_generations_are_looked_up_once_in_ten_seconds() -> None:
    nothing: Any = {"Responses": {}, "UnprocessedKeys": {}}
    wire = Wire("dynamodb", {}, nothing, {}, nothing, {}, {}, nothing)
    sink = Aggregation(DynamoDbLedger(wire.client, "idempotency", "aggregates"), contributions)
    clock = ManualClock()
    for number, seconds in enumerate((0.0, CACHE_SECONDS - 0.5, CACHE_SECONDS), 1):
        clock.time = NOON + seconds
        placed = change(number, None, order(f"{number:05}-1"))
        assert sink.apply([placed], Deadline(clock)).failures == {}
    names = [name for name, _ in wire.sent]
    look_up, batch = "GetItem", ["BatchGetItem", "TransactWriteItems"]
    assert names == [look_up, *batch, *batch, look_up, *batch]
    assert wire.sent[0][1] == {
        "TableName": "idempotency",
        "Key": {"id": {"S": "generations/sums"}},
        "ConsistentRead": True,
    }


def test_a_row_of_the_new_generation_adds_to_both_in_one_action() -> None:
    number = {"N": "1"}
    state = {"base": {"N": "0"}, "live": {"N": "0"}, "built": number, "last": number}
    state |= {"revision": number, "since": number}
    wire = Wire("dynamodb", {"Item": state}, {"Responses": {}, "UnprocessedKeys": {}})
    sink = Aggregation(DynamoDbLedger(wire.client, "idempotency", "aggregates"), contributions)
    assert sink.apply([change(1, None, order())], deadline()).failures == {}
    [put, *updates] = wire.sent[-1][1]["TransactItems"]
    assert put["Put"]["Item"]["generation"] == number
    assert len(updates) == 2
    names = set(updates[0]["Update"]["ExpressionAttributeNames"].values())
    assert names == {"orders", "g1_orders", "units", "g1_units", "revenue", "g1_revenue"}


def test_markers_expire() -> None:
    wire = Wire("dynamodb")
    store = DynamoDbIdempotencyStore(wire.client, "idempotency")
    store.mark("once/mail/1", 3600)
    store.mark_with("once/mail/1", 3600, [])
    [(_, put), (_, transaction)] = wire.sent
    for item in (put["Item"], transaction["TransactItems"][0]["Put"]["Item"]):
        assert item.keys() == {"id", "expires_at", "written_at"}
        assert int(item["expires_at"]["N"]) > 1_700_000_000


def test_dead_letter_is_copied_before_it_is_deleted() -> None:
    wire = Wire("s3")
    assert S3DeadLetterStore(wire.client, "box", "given-up").archive(DEAD_LETTER)
    assert [name for name, _ in wire.sent] == [
        f"PUT /archive/{DEAD_LETTER}",
        f"DELETE /{DEAD_LETTER}",
    ]


def test_dead_letter_whose_copy_fails_is_not_deleted() -> None:
    wire = Wire("s3", status=503)
    with pytest.raises(Exception, match="503"):
        S3DeadLetterStore(wire.client, "box", "given-up").archive(DEAD_LETTER)
    assert [name for name, _ in wire.sent] == [f"PUT /archive/{DEAD_LETTER}"]


class TestNotificationQueue:
    @pytest.fixture
    def wire(self) -> Wire:
        return Wire("sqs", {"Messages": []})

    @pytest.fixture
    def notifications(self, wire: Wire) -> SqsNotificationQueue:
        return SqsNotificationQueue(
            wire.client, "https://sqs.us-east-1.amazonaws.com/000000000000/notifications"
        )

    def test_asks_all_servers_of_the_queue_and_hides_what_it_got(
        self, wire: Wire, notifications: SqsNotificationQueue
    ) -> None:
        """A short poll asks some servers: an empty answer would not mean an empty queue.

        Hidden for less than a page of dead letters takes, a message would be received twice.
        """
        notifications.receive()
        [(name, body)] = wire.sent
        assert name == "ReceiveMessage"
        assert body["WaitTimeSeconds"] >= 1
        assert body["MaxNumberOfMessages"] == 10
        assert 60 <= body["VisibilityTimeout"] <= 300

    def test_puts_back_at_once(self, wire: Wire, notifications: SqsNotificationQueue) -> None:
        notifications.put_back([Notification("1", "receipt", "body")])
        [(_, body)] = wire.sent
        assert body["Entries"] == [{"Id": "0", "ReceiptHandle": "receipt", "VisibilityTimeout": 0}]


class TestClientsOfTheFunctions:
    """A request that hangs must end in the time that is kept back, and is not repeated unseen."""

    @pytest.fixture(autouse=True)
    def environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "testing")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")

    @pytest.mark.parametrize("make", [runtime.dynamodb, runtime.s3])
    def test_of_aws(self, make: Any) -> None:
        config = make().meta.config
        make.cache_clear()
        runtime.session.cache_clear()
        assert config.connect_timeout + config.read_timeout < RESERVE_SECONDS
        assert config.retries == {"mode": "standard", "total_max_attempts": 1}

    @pytest.mark.parametrize("status", [200, 302, 404])
    @pytest.mark.parametrize(
        ("make", "operation", "arguments"),
        [
            (runtime.s3, "put_object", {"Bucket": "b", "Key": "k", "Body": b"1"}),
            (runtime.s3, "get_object", {"Bucket": "b", "Key": "k"}),
            (runtime.s3, "delete_objects", {"Bucket": "b", "Delete": {"Objects": [{"Key": "k"}]}}),
            (runtime.s3, "list_object_versions", {"Bucket": "b"}),
            (runtime.dynamodb, "transact_write_items", {"TransactItems": []}),
            (maintenance.client, "invoke", {"FunctionName": "search"}),
            (notifications.sns, "publish", {"TopicArn": "arn:aws:sns:us-east-1:1:t"}),
        ],
    )
    @pytest.mark.parametrize("page", [b"", b"<html>Sign in</html>", b'{"message": "no route"}'])
    def test_a_page_in_place_of_an_answer_is_an_outage(
        self,
        make: Any,
        operation: str,
        arguments: dict[str, Any],
        status: int,
        page: bytes,
    ) -> None:
        """A dead letter that came to no bucket would count as written."""
        made = make()
        make.cache_clear()
        runtime.session.cache_clear()
        made.meta.events.register_first(
            "before-send",
            lambda request, **_: AWSResponse(request.url, status, HTTPHeaders(), Body(page)),
        )
        with pytest.raises(RetryableError), translated():
            getattr(made, operation)(**arguments)

    def test_a_request_too_large_is_sent_in_halves(self) -> None:
        """It would be repeated without end; an unexpected error has its request sent in halves."""
        made: Any = runtime.dynamodb()
        runtime.dynamodb.cache_clear()
        runtime.session.cache_clear()
        made.meta.events.register_first(
            "before-send",
            lambda request, **_: AWSResponse(request.url, 413, HTTPHeaders(), Body(b"<html>")),
        )
        with pytest.raises(ClientError), translated():
            made.batch_execute_statement(Statements=[])

    def test_an_object_in_html_is_an_answer(self) -> None:
        """S3 names its request; a function may keep pages of its own in a bucket."""
        headers = HTTPHeaders()
        headers["Content-Type"] = "text/html"
        headers["x-amz-request-id"] = "1"
        made: Any = runtime.s3()
        runtime.s3.cache_clear()
        runtime.session.cache_clear()
        made.meta.events.register_first(
            "before-send",
            lambda request, **_: AWSResponse(request.url, 200, headers, Body(b"<html>")),
        )
        assert made.get_object(Bucket="b", Key="k")["ContentType"] == "text/html"

    def test_of_opensearch(self) -> None:
        transport = search_client("http://127.0.0.1:9", "none", "").transport
        assert transport.max_retries == 0
