"""Dead-letter store, notification queue and functions on boto3: contracts and failures."""

import io
import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)
from botocore.response import StreamingBody

from dynamodb_streams_cdc.control.functions import RESPONSE_TOO_LARGE, InvocationFailed
from dynamodb_streams_cdc.errors import RetryableError
from dynamodb_streams_cdc.names import FUNCTION_SECONDS
from dynamodb_streams_cdc.operations.aws import functions as functions_module
from dynamodb_streams_cdc.operations.aws.access import AccessDenied, code_of, permitted
from dynamodb_streams_cdc.operations.aws.dead_letter_store import S3DeadLetterStore
from dynamodb_streams_cdc.operations.aws.functions import (
    ATTEMPTS,
    LambdaFunctions,
)
from dynamodb_streams_cdc.operations.aws.notifications import SqsNotificationQueue
from dynamodb_streams_cdc.operations.stack import ASKING, Deployment, _client
from tests.cli.conftest import Cloud, refusal
from tests.contracts.dead_letter_store import DEAD_LETTER, LAMBDAS, OWN, DeadLetterStoreContract
from tests.factories import ManualClock
from tests.fake_pipeline import BUCKET, ON_FAILURE


class TestS3DeadLetterStore(DeadLetterStoreContract):
    @pytest.fixture
    def store(self, cloud: Cloud) -> S3DeadLetterStore:
        return S3DeadLetterStore(cloud.client("s3"), BUCKET, ON_FAILURE)

    def test_more_dead_letters_than_one_page_lists(
        self, cloud: Cloud, store: S3DeadLetterStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "3")
        for count in range(10):
            store.keep(f"dead-letters/search/{count:04}", DEAD_LETTER)
        store.keep(LAMBDAS, DEAD_LETTER)
        cloud.calls.clear()
        assert len(list(store.dead_letters())) == 11
        assert cloud.calls == ["ListObjectsV2"] * 5

    def test_other_objects_are_not_dead_letters(self, store: S3DeadLetterStore) -> None:
        for key in ("readme.txt", "archive/dead-letters/x", "lettersx", "aws/lambda/x"):
            store.client.put_object(Bucket=BUCKET, Key=key, Body=b"")
        assert list(store.dead_letters()) == []

    def test_every_object_of_lambda_is_a_dead_letter(self, store: S3DeadLetterStore) -> None:
        """Its keys are documented, and yet nothing may hide behind an odd one."""
        for key in (LAMBDAS, "another/form", "zzz"):
            store.client.put_object(Bucket=ON_FAILURE, Key=key, Body=b"")
        store.keep(OWN, DEAD_LETTER)
        assert [each.key for each in store.dead_letters()] == ["another/form", LAMBDAS, OWN, "zzz"]

    @pytest.mark.parametrize("key", [OWN, LAMBDAS])
    def test_each_kind_has_its_bucket_and_one_archive(
        self, store: S3DeadLetterStore, key: str
    ) -> None:
        def objects(bucket: str) -> list[str]:
            found = store.client.list_objects_v2(Bucket=bucket).get("Contents", [])
            return [each["Key"] for each in found]

        mine, other = (BUCKET, ON_FAILURE) if key == OWN else (ON_FAILURE, BUCKET)
        store.keep(key, DEAD_LETTER)
        assert (objects(mine), objects(other)) == ([key], [])
        assert store.keeps(mine, key)
        assert not store.keeps(other, key)
        assert not store.keeps("another", key)
        store.archive(key)
        assert (objects(BUCKET), objects(ON_FAILURE)) == ([f"archive/{key}"], [])

    def test_a_key_identifies_one_dead_letter(self, store: S3DeadLetterStore) -> None:
        """Keys of processors and of the archive are read from the dead-letter bucket alone."""
        for key in (OWN, f"archive/{OWN}"):
            store.client.put_object(Bucket=ON_FAILURE, Key=key, Body=b"")
        assert list(store.dead_letters()) == []
        assert store.read(OWN) is None

    @pytest.mark.parametrize(
        "work",
        [
            lambda store: list(store.dead_letters()),
            lambda store: store.read(OWN),
            lambda store: store.holds(OWN),
            lambda store: store.keep(OWN, DEAD_LETTER),
            lambda store: store.archive(OWN),
        ],
    )
    @pytest.mark.parametrize("code", ["AccessDenied", "403", "AllAccessDisabled"])
    def test_access_denied_is_raised(
        self,
        cloud: Cloud,
        store: S3DeadLetterStore,
        work: Callable[[S3DeadLetterStore], object],
        code: str,
    ) -> None:
        cloud.fails = lambda operation, arguments: refusal(code, operation)
        with pytest.raises(AccessDenied, match=r"These credentials may not do s3:\w+ on s3://"):
            work(store)

    @pytest.mark.parametrize("method", ["read", "holds", "archive"])
    def test_other_errors_are_raised(
        self, cloud: Cloud, store: S3DeadLetterStore, method: str
    ) -> None:
        cloud.fails = lambda operation, arguments: refusal("SlowDown", operation)
        with pytest.raises(ClientError, match="SlowDown"):
            getattr(store, method)(OWN)


class TestSqsNotificationQueue:
    @pytest.fixture
    def notifications(self, cloud: Cloud) -> SqsNotificationQueue:
        return SqsNotificationQueue(cloud.client("sqs"), cloud.queues["search"])

    def test_messages_are_hidden_until_they_are_put_back(
        self, cloud: Cloud, notifications: SqsNotificationQueue
    ) -> None:
        for count in range(25):
            cloud.notify(f"{count}")
        received = [message for _ in range(3) for message in notifications.receive()]
        assert sorted(int(message.body) for message in received) == list(range(25))
        assert notifications.receive() == []
        sizes: list[int] = []
        cloud.fails = lambda operation, arguments: sizes.append(len(arguments.get("Entries", ())))
        notifications.put_back(received[:21])
        assert sizes == [10, 10, 1]
        again = [message for _ in range(3) for message in notifications.receive()]
        assert sorted(m.id for m in again) == sorted(m.id for m in received[:21])

    def test_deleted_messages_do_not_return(
        self, cloud: Cloud, notifications: SqsNotificationQueue
    ) -> None:
        for count in range(12):
            cloud.notify(f"{count}")
        received = [*notifications.receive(), *notifications.receive()]
        notifications.delete(received[1:])
        notifications.put_back(received)
        assert [message.id for message in notifications.receive()] == [received[0].id]

    def test_an_empty_list_sends_no_request(
        self, cloud: Cloud, notifications: SqsNotificationQueue
    ) -> None:
        cloud.calls.clear()
        notifications.delete([])
        notifications.put_back([])
        assert cloud.calls == []


class Played:
    """A Lambda service that does one thing after the other."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.payloads: list[bytes] = []

    def invoke(self, **arguments: Any) -> Any:
        assert arguments["FunctionName"] == "cdc-search"
        assert arguments["InvocationType"] == "RequestResponse"
        self.payloads.append(arguments["Payload"])
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        body = answer.pop("Body")
        return {**answer, "Payload": StreamingBody(io.BytesIO(body), len(body))}


def said(body: object = None, **others: Any) -> dict[str, Any]:
    return {"StatusCode": 200, "Body": json.dumps(body).encode(), **others}


def played(*answers: Any) -> tuple[LambdaFunctions, Played, ManualClock]:
    service, clock = Played(*answers), ManualClock()
    client: Any = service
    return LambdaFunctions(client, {"search": "cdc-search"}, clock), service, clock


THROTTLED = refusal("TooManyRequestsException", "Invoke", "Rate exceeded")
URL = "https://lambda"
UNREACHED = EndpointConnectionError(endpoint_url=URL)
READ_TIMEOUT, CLOSED = ReadTimeoutError(endpoint_url=URL), ConnectionClosedError(endpoint_url=URL)


def failing(kind: str, message: str = "") -> dict[str, Any]:
    """Return the answer of a function that raises."""
    body = {"errorType": kind, "errorMessage": message, "stackTrace": []}
    return said(body, FunctionError="Unhandled")


class TestLambdaFunctions:
    def test_event_and_response_are_json(self) -> None:
        functions, service, _ = played(said({"failures": []}))
        event = {"operation": "replay", "Records": [{"name": "é\ud800"}]}
        assert functions.invoke("search", event) == {"failures": []}
        [payload] = service.payloads
        assert json.loads(payload.decode("utf-8", "surrogatepass")) == event
        assert "é".encode() in payload
        assert b" " not in payload

    def test_a_response_that_is_not_json_is_text(self) -> None:
        functions, *_ = played({"Body": b"<html>"})
        assert functions.invoke("search", {}) == "<html>"

    @pytest.mark.parametrize(
        "refused", [THROTTLED, UNREACHED, ConnectTimeoutError(endpoint_url=URL)]
    )
    def test_an_invocation_that_never_began_is_retried(self, refused: Exception) -> None:
        functions, service, clock = played(refused, refused, said(1))
        assert functions.invoke("search", {}) == 1
        assert len(service.payloads) == 3
        first, second = clock.slept
        assert 0.25 <= first <= 0.5
        assert 0.25 <= second <= 1.0

    def test_retries_end(self) -> None:
        functions, service, clock = played(*[THROTTLED] * ATTEMPTS)
        with pytest.raises(InvocationFailed, match="Rate exceeded") as caught:
            functions.invoke("search", {})
        assert caught.value.reason == "TooManyRequestsException"
        assert len(service.payloads) == ATTEMPTS
        assert len(clock.slept) == ATTEMPTS - 1

    @pytest.mark.parametrize(
        ("answer", "why", "reason", "outage"),
        [
            (READ_TIMEOUT, "no answer from function cdc-search", "ReadTimeoutError", True),
            (CLOSED, "no answer from function", "ConnectionClosedError", True),
            (refusal("ServiceException", "Invoke", "internal"), ": internal", None, True),
            (refusal("ResourceNotFoundException", "Invoke"), "is gone: deploy", None, True),
            (refusal("RequestEntityTooLargeException", "Invoke"), "not invoked", None, False),
            (refusal("InvalidRequestContentException", "Invoke"), "not invoked", None, False),
            (failing("Sandbox.Timedout"), "cdc-search failed", "Sandbox.Timedout", False),
            (failing("KeyError", "'SINK'"), "search failed: KeyError: 'SINK'", "KeyError", False),
            (failing("Function.ResponseSizeTooLarge"), "TooLarge", RESPONSE_TOO_LARGE, False),
            ({"Body": b"", "FunctionError": "Unhandled"}, "failed: Unhandled", "Unhandled", False),
        ],
    )
    def test_an_invocation_that_may_run_is_not_retried(
        self, answer: Any, why: str, reason: str | None, outage: bool
    ) -> None:
        functions, service, clock = played(answer)
        with pytest.raises(InvocationFailed, match=why) as caught:
            functions.invoke("search", {})
        assert (len(service.payloads), clock.slept) == (1, [])
        assert caught.value.reason == (reason or code_of(answer))
        assert caught.value.outage is outage, "an error of the event is not an outage"

    @pytest.mark.parametrize(
        ("error", "raised", "why"),
        [
            (refusal("ExpiredTokenException", "Invoke"), ClientError, "ExpiredTokenException"),
            (refusal("UnrecognizedClientException", "Invoke"), ClientError, "Unrecognized"),
            (NoCredentialsError(), NoCredentialsError, "credentials"),
            (
                refusal("AccessDeniedException", "Invoke"),
                AccessDenied,
                "lambda:InvokeFunction on cdc-search",
            ),
        ],
    )
    def test_credentials_without_permission_are_raised(
        self, error: Exception, raised: type[Exception], why: str
    ) -> None:
        functions, *_ = played(error)
        with pytest.raises(raised, match=why):
            functions.invoke("search", {})

    def test_the_client_outwaits_the_function_without_retry(self, cloud: Cloud) -> None:
        client = Deployment.find("sandbox", None, None).functions.client
        config: Any = client.meta.config
        assert config.read_timeout >= FUNCTION_SECONDS + 20
        assert config.retries["total_max_attempts"] == 1
        assert functions_module.CLIENT is not None


class TestEndpoints:
    @pytest.fixture
    def made(self, aws: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., BaseClient]:
        monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")

        def make(url: str | None, service: str = "s3") -> BaseClient:
            client: BaseClient = _client(boto3.Session(), service, ASKING, url)
            return client

        return make

    def test_loopback_uses_no_proxy(self, made: Callable[..., BaseClient]) -> None:
        for host in ("127.0.0.1", "localhost", "[::1]"):
            config: Any = made(f"http://{host}:4566").meta.config
            assert config.proxies == {}
            assert config.s3["addressing_style"] == "path"

    def test_other_endpoints_keep_boto3s_configuration(
        self, made: Callable[..., BaseClient]
    ) -> None:
        config: Any = made(None).meta.config
        assert config.proxies is None
        assert "addressing_style" not in (config.s3 or {})

    def test_loopback_in_the_environment_variable(
        self, made: Callable[..., BaseClient], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
        client: Any = made(None)
        assert client.meta.endpoint_url == "http://127.0.0.1:4566"
        assert client.meta.config.proxies == {}
        client = made("http://127.0.0.1:9999")
        assert client.meta.endpoint_url == "http://127.0.0.1:9999"

    def test_configs_can_be_merged(self) -> None:
        """What the command line relies on: botocore keeps the options of both."""
        merged: Any = functions_module.CLIENT.merge(Config(proxies={}))
        assert (merged.proxies, merged.read_timeout) == ({}, FUNCTION_SECONDS + 30)


class TestPermitted:
    def test_a_wrapped_denial_is_recognised(self) -> None:
        def translated() -> None:
            try:
                raise refusal("AccessDenied", "PutObject", "not you")  # noqa: EM101
            except ClientError as error:
                message = "the bucket does not take it"
                raise RetryableError(message) from error

        with (
            pytest.raises(AccessDenied, match="s3:PutObject on there: not you"),
            permitted("s3:PutObject", "there"),
        ):
            translated()

    def test_other_errors_pass(self) -> None:
        for error in (RetryableError("x"), refusal("Throttling", "Get"), ValueError("x")):
            with pytest.raises(type(error)) as caught, permitted("s3:GetObject", "there"):
                raise error
            assert caught.value is error

    def test_codes(self) -> None:
        assert code_of(refusal("Throttling", "Get")) == "Throttling"
        assert code_of(ValueError("x")) == ""
