"""Errors of DynamoDB and S3, and the exceptions that the ports raise for them.

The errors come from DynamoDB Local and the emulator. Errors that these do not have (throttles,
conflicts of transactions, credentials, permissions, item collections) come from a proxy before
them, in AWS's words.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from dynamodb_streams_cdc import Deadline, PermanentError, RetryableError
from dynamodb_streams_cdc.aws.dynamodb.ledger import DynamoDbLedger
from dynamodb_streams_cdc.aws.dynamodb.log import DynamoDbLog
from dynamodb_streams_cdc.aws.errors import UnexpectedResponse
from dynamodb_streams_cdc.aws.s3 import S3DeadLetters
from dynamodb_streams_cdc.dead_letters import DeadLetter
from dynamodb_streams_cdc.errors import AccessDeniedError, ConflictError
from dynamodb_streams_cdc.sinks.ledger import RowUpdate
from tests.contracts.ledger import row
from tests.factories import change, order
from tests.failure_table import CANCELLED, REFUSED
from tests.integration import clients
from tests.integration.clients import result_of
from tests.integration.faulty_proxy import (
    PAGE,
    Answer,
    Exchange,
    FaultyProxy,
    faulty_proxy,
    reset,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SHARDS = 1


def entry(version: str, **attributes: Any) -> dict[str, Any]:
    return {"item": {"S": "item"}, "version": {"S": version}, **attributes}


def maps(levels: int) -> dict[str, Any]:
    return {"S": "deep"} if levels == 0 else {"M": {"a": maps(levels - 1)}}


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"after": {"S": "x" * 400 * 1024}}, "ItemTooLarge"),
        ({"item": {"S": "x" * 2049}}, "KeyTooLong"),
        ({"version": {"S": "x" * 1025}}, "KeyTooLong"),
    ],
)
def test_an_entry_that_the_log_cannot_hold(
    log: DynamoDbLog, attributes: dict[str, Any], reason: str
) -> None:
    before, refused, after = log.insert(
        [entry("1"), {**entry("2"), **attributes}, entry("3")], Deadline()
    )
    assert before is after is True
    assert isinstance(refused, PermanentError)
    assert refused.reason == reason


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (maps(33), "NestedTooDeep"),
        ({"N": "1E+126"}, "NumberOverflow"),
        ({"N": "1E-131"}, "NumberOverflow"),
        ({"N": "1" * 39}, "NumberOverflow"),
    ],
)
def test_an_entry_that_fails_its_whole_request(
    log: DynamoDbLog, value: dict[str, Any], reason: str
) -> None:
    with pytest.raises(PermanentError) as refused:
        log.insert([entry("1"), entry("2", after=value), entry("3")], Deadline())
    assert refused.value.reason == reason
    assert list(log.read("item")) == []


def test_one_key_twice_in_a_request_is_unexpected(log: DynamoDbLog) -> None:
    with pytest.raises(ClientError, match="contains duplicates"):
        log.insert([entry("1"), entry("1")], Deadline())


def test_a_request_above_16_mb_is_unexpected_and_halved(log: DynamoDbLog) -> None:
    escaped = {"S": "\x01" * 380_000}
    entries = [entry(str(number), after=escaped) for number in range(10)]
    with pytest.raises(ClientError, match="413"):
        log.insert(entries, Deadline())
    assert log.insert(entries[:5], Deadline()) == [True] * 5


def test_an_entry_that_exists_is_not_a_failure(log: DynamoDbLog) -> None:
    assert log.insert([entry("1")], Deadline()) == [True]
    assert log.insert([entry("1"), entry("2")], Deadline()) == [False, True]


def adds(aggregate: str, amount: str = "1") -> dict[str, dict[str, Decimal]]:
    return {aggregate: {"revenue": Decimal(amount)}}


def test_a_row_that_the_ledger_cannot_hold(ledger: DynamoDbLedger) -> None:
    wide = {"month": {f"{number}{'x' * 60_000}": 1 for number in range(7)}}
    moves = [RowUpdate(None, row("first")), RowUpdate(None, replace(row("bad"), contribution=wide))]
    with pytest.raises(PermanentError) as refused:
        ledger.commit(moves, adds("month"))
    assert refused.value.reason == "ItemTooLarge"
    assert ledger.read(["first", "bad"], Deadline()) == {}


def test_an_aggregate_that_cannot_be_kept(ledger: DynamoDbLedger) -> None:
    with pytest.raises(PermanentError) as refused:
        ledger.commit([RowUpdate(None, row("item"))], adds("x" * 2049))
    assert refused.value.reason == "KeyTooLong"
    ledger.commit([RowUpdate(None, row("largest"))], adds("month", "9.9E+125"))
    with pytest.raises(PermanentError) as refused:
        ledger.commit([RowUpdate(None, row("item"))], adds("month", "9.9E+125"))
    assert refused.value.reason == "NumberOverflow"
    assert ledger.read(["item"], Deadline()) == {}


def test_a_sum_that_is_not_a_number_is_unexpected(
    ledger: DynamoDbLedger, dynamodb_local: "DynamoDBClient"
) -> None:
    dynamodb_local.put_item(
        TableName=ledger.aggregates,
        Item={"aggregate": {"S": "month"}, "shard": {"N": "0"}, "revenue": {"S": "much"}},
    )
    with pytest.raises(ClientError, match="incorrect data type"):
        ledger.commit([RowUpdate(None, row("item"))], adds("month"))


def test_tables_that_are_missing(log: DynamoDbLog, ledger: DynamoDbLedger) -> None:
    [refused] = replace(log, table="missing").insert([entry("1")], Deadline())
    assert type(refused) is RetryableError
    missing = replace(ledger, table="missing")
    with pytest.raises(RetryableError, match="ResourceNotFound"):
        missing.read(["item"], Deadline())
    with pytest.raises(RetryableError, match="ResourceNotFound"):
        missing.commit([RowUpdate(None, row("item"))], adds("month"))


def test_an_endpoint_that_is_not_there(log: DynamoDbLog) -> None:
    nowhere = replace(log, client=clients.dynamodb("http://127.0.0.1:1"))
    [refused] = nowhere.insert([entry("1")], Deadline())
    assert type(refused) is RetryableError


@dataclass
class Refusal:
    """A refusal of a whole request by DynamoDB."""

    code: str
    status: int = 400

    def __call__(self, exchange: Exchange) -> None:
        exchange.refuse(self.status, self.code)


@dataclass
class Cancelled:
    """A transaction that DynamoDB cancelled for its last action, the sum."""

    code: str

    def __call__(self, exchange: Exchange) -> None:
        exchange.cancel({-1: self.code})


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (reset, RetryableError),
        *((Refusal(code), expected) for code, expected in REFUSED.items()),
        *((Cancelled(code), expected) for code, expected in CANCELLED.items()),
        (Refusal("InternalServerError", 500), RetryableError),
        (PAGE, RetryableError),
        (replace(PAGE, status=403), RetryableError),
        (Refusal("ValidationException"), ClientError),
    ],
)
def test_answers_to_a_transaction(
    ledger: DynamoDbLedger,
    dynamodb_proxy: FaultyProxy,
    act: Callable[[Exchange], None],
    expected: type[Exception],
) -> None:
    dynamodb_proxy.once("TransactWriteItems", act)
    moves = [RowUpdate(None, row("item"))]
    refused = result_of(lambda: ledger.commit(moves, adds("month")))
    assert isinstance(refused, expected)
    assert isinstance(refused, RetryableError) == issubclass(expected, RetryableError)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ThrottlingError", RetryableError),
        ("ProvisionedThroughputExceeded", RetryableError),
        ("RequestLimitExceeded", RetryableError),
        ("InternalServerError", RetryableError),
        ("AccessDenied", AccessDeniedError),
        ("TransactionConflict", ConflictError),
        ("ItemCollectionSizeLimitExceeded", PermanentError),
        ("ConditionalCheckFailed", UnexpectedResponse),
    ],
)
def test_answers_to_a_statement(
    log: DynamoDbLog, dynamodb_proxy: FaultyProxy, code: str, expected: type[Exception]
) -> None:
    def refuse_the_first(exchange: Exchange) -> None:
        [written, *others] = exchange.forward().json()["Responses"]
        error = {"TableName": written["TableName"], "Error": {"Code": code, "Message": "no"}}
        exchange.reply(200, json.dumps({"Responses": [error, *others]}).encode())

    dynamodb_proxy.once("BatchExecuteStatement", refuse_the_first)
    refused, written = log.insert([entry("1"), entry("2")], Deadline())
    assert type(refused) is expected
    assert written is True


@pytest.fixture(scope="module")
def s3_proxy(emulator_url: str) -> Iterator[FaultyProxy]:
    with faulty_proxy(emulator_url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def dead_letters(s3_proxy: FaultyProxy) -> Iterator[S3DeadLetters]:
    """Dead letters in a bucket that is there."""
    client = clients.s3(s3_proxy.url)
    bucket = f"failures-{uuid4()}"
    client.create_bucket(Bucket=bucket)
    yield S3DeadLetters(lambda: client, bucket, "dead-letters/search/")
    client.close()


DEAD_LETTER = DeadLetter(
    "search", {}, change(1, None, order()), ValueError("no"), 1.0, "request", "function"
)


def answer_of_s3(status: int, code: str) -> Answer:
    return Answer(status, f"<Error><Code>{code}</Code></Error>", "application/xml")


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (Exchange.drop, "Connection"),
        (answer_of_s3(503, "SlowDown"), "SlowDown"),
        (answer_of_s3(500, "InternalError"), "InternalError"),
        (answer_of_s3(403, "AccessDenied"), "AccessDenied"),
        (answer_of_s3(400, "ExpiredToken"), "ExpiredToken"),
        (answer_of_s3(409, "ConditionalRequestConflict"), "ConditionalRequestConflict"),
    ],
)
def test_answers_to_a_dead_letter(
    dead_letters: S3DeadLetters, s3_proxy: FaultyProxy, act: Callable[[Exchange], None], text: str
) -> None:
    s3_proxy.once(f"PUT /{dead_letters.bucket}/dead-letters/search/{quote(DEAD_LETTER.name)}", act)
    with pytest.raises(RetryableError, match=text):
        dead_letters.write(DEAD_LETTER)


def test_a_bucket_that_is_missing(dead_letters: S3DeadLetters) -> None:
    with pytest.raises(RetryableError, match="NoSuchBucket"):
        replace(dead_letters, bucket=f"failures-{uuid4()}").write(DEAD_LETTER)
