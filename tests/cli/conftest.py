"""`cdc` in this process: moto for S3, SQS and DynamoDB, fakes for the stack and the functions."""

import io
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any
from unittest.mock import patch
from uuid import NAMESPACE_DNS, uuid5

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from botocore.response import StreamingBody
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID as ACCOUNT
from moto.s3.models import s3_backends
from moto.sqs.models import sqs_backends
from pytest_socket import disable_socket, enable_socket
from typer.main import get_command
from typer.testing import CliRunner, Result

from dynamodb_streams_cdc.cli.app import app
from dynamodb_streams_cdc.control.functions import InvocationFailed
from tests.fake_pipeline import (
    BUCKET,
    ON_FAILURE,
    FakePipeline,
    bucket_of,
    given_up,
    lambdas_key,
    pointer,
)
from tests.lambdas.conftest import create_table

STACK = "cdc-sandbox-pipeline"
LARGE_IMAGES = "large-images-1a2b"
RUNS_BUCKET = "runs-7a8b"
MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:Maintenance"
BATCH = lambdas_key("batch")
PROCESSORS = ("audit", "search")
DEPLOYED = datetime(2024, 5, 1, 11, tzinfo=UTC)
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}
ABSENT = ("AWS_PROFILE", "AWS_REGION", "AWS_ENDPOINT_URL", "CDC_ENVIRONMENT", "AWS_SESSION_TOKEN")

command = cache(get_command)

Refusal = Callable[[str, dict[str, Any]], BaseException | None]


def refusal(code: str, operation: str, message: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


EXPIRED = refusal("ExpiredTokenException", "Invoke")


def missing(stack: str) -> ClientError:
    return refusal("ValidationError", "DescribeStacks", f"Stack with id {stack} does not exist")


@cache
def client(service: str) -> Any:
    """Return a client that all tests share: making one takes longer than many a test."""
    make: Any = boto3.Session(region_name="us-east-1").client
    return make(service)


@dataclass
class Cloud:
    """A deployed pipeline, and its failures.

    Attributes:
        manifest: the document in the stack's output `Manifest`.
        pipeline: responds for the functions.
        fails: called before each request, with the operation and its arguments; returns an
            exception to raise, or None.
        calls: the operations, in order.
        stacks: names of the stacks that have the manifest.
        described: answers of Lambda about mappings and functions, by UUID and ARN.
        reserved: concurrency that is reserved for functions.
        execution: answer of Step Functions about each execution.
    """

    manifest: dict[str, Any]
    pipeline: FakePipeline = field(default_factory=FakePipeline)
    fails: Refusal = lambda operation, arguments: None
    calls: list[str] = field(default_factory=list)
    posted: set[str] = field(default_factory=set)
    stacks: list[str] = field(default_factory=lambda: [STACK])
    described: dict[str, dict[str, Any]] = field(default_factory=dict)
    executions: set[str] = field(default_factory=set)
    reserved: dict[str, int] = field(default_factory=dict)
    execution: dict[str, str] = field(default_factory=lambda: {"status": "SUCCEEDED"})

    @property
    def queues(self) -> dict[str, str]:
        return {each["name"]: each["dead_letter_queue"] for each in self.manifest["processors"]}

    @property
    def table(self) -> dict[str, Any]:
        """The first source table of the manifest."""
        found: dict[str, Any] = self.manifest["source_tables"][0]
        return found

    def add_processor(self, name: str) -> None:
        """Deploy a processor with its function, its mapping and its notification queue."""
        function, uuid = f"cdc-sandbox-{name}", str(uuid5(NAMESPACE_DNS, name))
        arn = f"arn:aws:lambda:us-east-1:000000000000:function:{function}"
        result = {"State": "Enabled", "LastProcessingResult": "OK", "LastModified": DEPLOYED}
        self.described[uuid] = {"UUID": uuid, "FunctionArn": arn, **result}
        modified = "2024-05-01T11:00:00.000+0000"
        self.described[arn] = {"Version": "7", "CodeSha256": "2yZHlu2", "LastModified": modified}
        self.manifest["processors"].append(
            {
                "name": name,
                "function": function,
                "feed": "table",
                "source_table": "orders",
                "sink": name,
                "mapping": uuid,
                "dead_letter_queue": self.client("sqs").create_queue(QueueName=name)["QueueUrl"],
            }
        )

    def add_erasure(self) -> None:
        """Deploy the function that erases."""
        self.manifest["erasure"] = "cdc-sandbox-erasure"

    def client(self, service: str) -> Any:
        return client(service)

    def run(self, *arguments: str, **options: Any) -> Result:
        # A process makes the command once: so do all tests.
        with patch("typer.testing._get_command", command):
            return CliRunner().invoke(app, arguments, **options)

    def json(
        self, *arguments: str, status: int = 0, standard_input: str | None = None
    ) -> dict[str, Any]:
        """Run `cdc` with these arguments and `--json`; return what it writes."""
        result = self.run(*arguments, "--json", input=standard_input)
        assert result.exit_code == status, result.output
        document: dict[str, Any] = json.loads(result.stdout)
        return document

    def give_up(
        self, *records: Mapping[str, Any], processor: str = "search", key: str = BATCH
    ) -> None:
        """Let Lambda give up a batch of records."""
        self.pipeline.store.deliver(key, given_up(records, processor))
        self.post()

    def post(self) -> None:
        """Put the dead letters into their buckets, and notifications of them on the queues."""
        for key, body in self.pipeline.store.objects.items():
            if key not in self.posted:
                self.posted.add(key)
                self.put(key, body)

    def put(self, key: str, body: bytes = b"", processor: str = "") -> None:
        """Put an object into its bucket, and a pointer to it on the queue of its processor."""
        s3_backends[ACCOUNT]["aws"].put_object(bucket_of(key), key, body)
        named = processor or (key.split("/")[1] if key.startswith("dead-letters/") else "search")
        if named in self.queues:
            self.notify(pointer(key), named)

    def notify(self, body: str, processor: str = "search") -> None:
        name = self.queues[processor].rpartition("/")[2]
        sqs_backends[ACCOUNT]["us-east-1"].send_message(name, body)

    def remaining(self, processor: str = "search") -> list[str]:
        """Return the keys that visible pointers of a queue point at; other messages as they are."""
        url = self.queues[processor]
        found = []
        client = self.client("sqs")
        while messages := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            found += [message["Body"] for message in messages]
        return sorted(_key(body) for body in found)

    def objects(self, prefix: str = "") -> list[str]:
        """Return the keys in both buckets, the archive left out unless it is asked for."""
        keys = [
            found["Key"]
            for bucket in (ON_FAILURE, BUCKET)
            for found in self.client("s3")
            .list_objects_v2(Bucket=bucket, Prefix=prefix)
            .get("Contents", [])
        ]
        return [key for key in keys if prefix or not key.startswith("archive/")]

    def answer(self, service: str, operation: str, arguments: dict[str, Any]) -> Any:
        """Return the answer of what moto does not play; None for the rest."""
        self.calls.append(operation)
        failure = self.fails(operation, arguments)
        if failure is not None:
            raise failure
        if service == "cloudformation":
            return self._described(arguments.get("StackName"))
        if operation == "StartExecution":
            # An execution that has ended with one answer: of a function of another version.
            self.executions.add(arguments["name"])
            key = f"runs/{arguments['name']}/0/0.json"
            s3_backends[ACCOUNT]["aws"].put_object(RUNS_BUCKET, key, b"{}")
            return {}
        if operation == "DescribeExecution":
            if arguments["executionArn"].rpartition(":")[2] not in self.executions:
                code = "ExecutionDoesNotExist"
                raise refusal(code, operation)
            return self.execution
        if operation == "Invoke":
            return self._invoked(arguments)
        if operation == "StopExecution":
            self.execution = {"status": "ABORTED"}
            return {}
        if operation == "GetFunctionConcurrency":
            reserved = self.reserved.get(arguments["FunctionName"])
            return {} if reserved is None else {"ReservedConcurrentExecutions": reserved}
        if operation == "GetEventSourceMapping":
            return self.described[arguments["UUID"]]
        if operation == "GetFunctionConfiguration":
            return self.described[arguments["FunctionName"]]
        return None

    def _described(self, name: str | None) -> Any:
        if name not in (None, *self.stacks):
            raise missing(str(name))
        output = {"OutputKey": "Manifest", "OutputValue": json.dumps(self.manifest)}
        named = [each for each in self.stacks if name in (None, each)]
        described = [{"StackName": each, "Outputs": [output]} for each in named]
        return {"Stacks": [*described, *({"StackName": "other"} for _ in range(name is None))]}

    def _invoked(self, arguments: dict[str, Any]) -> Any:
        names = {each["function"]: each["name"] for each in self.manifest["processors"]}
        names |= {self.manifest.get("erasure", ""): "erasure"}
        processor = names[arguments["FunctionName"]]
        answer: dict[str, Any] = {"StatusCode": 200}
        try:
            found = self.pipeline.invoke(processor, json.loads(arguments["Payload"]))
        except InvocationFailed as failed:
            answer["FunctionError"] = "Unhandled"
            found = {"errorType": failed.reason, "errorMessage": str(failed)}
        body = json.dumps(found).encode()
        return {**answer, "Payload": StreamingBody(io.BytesIO(body), len(body))}


def _key(body: str) -> str:
    try:
        return str(json.loads(body)["detail"]["object"]["key"])
    except (ValueError, LookupError, TypeError):
        return body


def nothing(operation: str, arguments: dict[str, Any]) -> None:
    """Let no call fail."""


def refuse(operation: str, code: str = "AccessDenied", *, part: str = "") -> Refusal:
    """Let calls of an operation fail whose arguments contain a text."""
    return lambda called, arguments: (
        refusal(code, called) if called == operation and part in str(arguments) else None
    )


def fail(error: BaseException, operation: str = "", *, at: int | None = None) -> Refusal:
    """Raise an error at the call of this number, or at each, of one operation or of any."""
    numbers = itertools.count()

    def fails(called: str, arguments: dict[str, Any]) -> BaseException | None:
        here = operation in ("", called) and at in (None, next(numbers))
        return error if here else None

    return fails


@pytest.fixture
def aws(sessions: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An account in this process."""
    for name in ABSENT:
        monkeypatch.delenv(name, raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    # No message arrives on these queues during a long poll.
    monkeypatch.setattr("dynamodb_streams_cdc.operations.aws.notifications.WAIT_SECONDS", 0)
    # A function that does not answer here will not in a minute either.
    for name in ("FIRST_PAUSE_SECONDS", "LONGEST_PAUSE_SECONDS"):
        monkeypatch.setattr(f"dynamodb_streams_cdc.operations.walk.{name}", 0.0)
    disable_socket(allow_unix_socket=True)
    with mock_aws():
        yield
    enable_socket()


@pytest.fixture
def cloud(aws: None) -> Iterator[Cloud]:
    """A deployed pipeline of two processors, with nothing in its bucket."""
    for bucket in (BUCKET, ON_FAILURE, LARGE_IMAGES, RUNS_BUCKET):
        client("s3").create_bucket(Bucket=bucket)
    create_table(client("dynamodb"), "change-log-3c4d", [("item", "S"), ("version", "S")])
    made = Cloud(
        {
            "schema": 1,
            "pipelines": [STACK],
            "source_tables": [
                {
                    "name": "orders",
                    "table": "orders-1A2B",
                    "keys": {"customer_id": "S", "order_id": "S"},
                    "stream": "arn:aws:dynamodb:us-east-1:000000000000:table/orders-1A2B/stream/x",
                }
            ],
            "tables": {"change_log": "change-log-3c4d"},
            "processors": [],
            "search": {"endpoint": "http://127.0.0.1:9200", "indexes": ["orders"]},
            "buckets": {
                "dead_letters": BUCKET,
                "on_failure": ON_FAILURE,
                "large_images": LARGE_IMAGES,
                "runs": RUNS_BUCKET,
            },
            "maintenance": {"state_machine": MACHINE, "function": "cdc-sandbox-maintenance"},
        }
    )
    for name in PROCESSORS:
        made.add_processor(name)
    original = BaseClient._make_api_call  # type: ignore[attr-defined]

    def call(self: BaseClient, operation: str, arguments: dict[str, Any]) -> Any:
        service = self.meta.service_model.service_name
        found = made.answer(service, operation, arguments)
        return original(self, operation, arguments) if found is None else found

    with patch.object(BaseClient, "_make_api_call", call):
        yield made
