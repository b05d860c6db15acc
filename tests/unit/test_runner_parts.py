"""Parts of the runner: records, invocations, destinations, checkpoints, take-over."""

from __future__ import annotations

import io
import json
from asyncio import CancelledError
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import (
    EndpointConnectionError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.response import StreamingBody
from botocore.stub import Stubber

from dynamodb_streams_cdc.esm import (
    Deliver,
    Destination,
    DestinationKind,
    Invoke,
    ReadShard,
)
from dynamodb_streams_cdc.esm.poller.runner import (
    CheckpointError,
    CheckpointFile,
    FunctionFailed,
    FunctionReturned,
    HandlerFunction,
    InvocationOutcome,
    LambdaFunction,
    NotInvoked,
    OnFailure,
    StreamReader,
    lambda_record,
    runner_of,
    take_over,
)
from dynamodb_streams_cdc.esm.poller.streams import Page, Trouble
from dynamodb_streams_cdc.esm.poller.takeover import checkpoint_file
from tests.unit.runner_fakes import FUNCTION, STREAM, UUID, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_lambda import LambdaClient

ONE, TWO = "shardId-00000000000000000000001", "shardId-00000000000000000000002"
COMMAND = Invoke(1, {"Records": [{"name": "Zoë"}]}, "shard-1", 0, 1)
READ = ReadShard(ONE, "TRIM_HORIZON", None, 1000)

TOPIC = "arn:aws:sns:us-east-1:000000000000:dead-letters"

CONFIG = Config(retries={"total_max_attempts": 1})


@pytest.fixture
def session() -> boto3.Session:
    return boto3.Session("test", "test", region_name="us-east-1")


# Records


def test_a_record_has_the_form_in_which_lambda_delivers_it() -> None:
    record = {
        "eventID": "1f",
        "eventName": "REMOVE",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": datetime(2024, 11, 25, 15, 47, 40, tzinfo=UTC),
            "Keys": {"id": {"S": "1"}},
            "OldImage": {
                "id": {"S": "1"},
                "total": {"N": "12345678901234567890.12"},
                "raw": {"B": b"foobar"},
                "set": {"BS": [b"\x00", b"\xff"]},
                "deep": {"M": {"list": {"L": [{"B": b""}, {"NULL": True}, {"SS": ["a"]}]}}},
                "flag": {"BOOL": False},
            },
            "SequenceNumber": "800000000003126276362",
            "SizeBytes": 70,
            "StreamViewType": "OLD_IMAGE",
        },
        "userIdentity": {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"},
    }
    found = lambda_record(record, STREAM)
    assert json.loads(json.dumps(found)) == found
    assert list(found["dynamodb"]) == [
        "ApproximateCreationDateTime",
        "Keys",
        "OldImage",
        "SequenceNumber",
        "SizeBytes",
        "StreamViewType",
    ]
    assert found["eventSourceARN"] == STREAM
    assert found["userIdentity"] == {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    assert found["dynamodb"]["ApproximateCreationDateTime"] == 1732549660.0
    assert isinstance(found["dynamodb"]["ApproximateCreationDateTime"], float)
    assert found["dynamodb"]["OldImage"] == {
        "id": {"S": "1"},
        "total": {"N": "12345678901234567890.12"},
        "raw": {"B": "Zm9vYmFy"},
        "set": {"BS": ["AA==", "/w=="]},
        "deep": {"M": {"list": {"L": [{"B": ""}, {"NULL": True}, {"SS": ["a"]}]}}},
        "flag": {"BOOL": False},
    }


def test_what_a_record_lacks_has_no_key() -> None:
    record = {
        "eventID": "1f",
        "eventName": "INSERT",
        "dynamodb": {
            "ApproximateCreationDateTime": datetime(2024, 1, 1, tzinfo=UTC),
            "Keys": {"id": {"S": "1"}},
            "SequenceNumber": "1",
        },
    }
    found = lambda_record(record, STREAM)
    assert found["eventVersion"] == "1.1"
    assert "userIdentity" not in found
    assert set(found["dynamodb"]) == {"ApproximateCreationDateTime", "Keys", "SequenceNumber"}


# Reading


@pytest.fixture
def streams(session: boto3.Session) -> Iterator[tuple[StreamReader, Stubber]]:
    client = session.client("dynamodbstreams", config=CONFIG)
    with Stubber(client) as stubber:
        yield StreamReader(client, STREAM), stubber
        stubber.assert_no_pending_responses()


def test_all_pages_of_shards_are_listed(streams: tuple[StreamReader, Stubber]) -> None:
    reader, stubber = streams
    first = {"Shards": [{"ShardId": ONE}], "LastEvaluatedShardId": ONE}
    stubber.add_response("describe_stream", {"StreamDescription": first}, {"StreamArn": STREAM})
    stubber.add_response(
        "describe_stream",
        {"StreamDescription": {"Shards": [{"ShardId": TWO}]}},
        {"StreamArn": STREAM, "ExclusiveStartShardId": ONE},
    )
    assert reader.shards() == [{"ShardId": ONE}, {"ShardId": TWO}]


def test_a_read_without_a_cursor_begins_at_its_place(streams: tuple[StreamReader, Stubber]) -> None:
    reader, stubber = streams
    place = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": "0" * 20 + "7"}
    stubber.add_response(
        "get_shard_iterator",
        {"ShardIterator": "it-1"},
        {"StreamArn": STREAM, "ShardId": ONE, **place},
    )
    stubber.add_response(
        "get_records",
        {"Records": [], "NextShardIterator": "it-2"},
        {"ShardIterator": "it-1", "Limit": 10},
    )
    stubber.add_response("get_records", {"Records": []}, {"ShardIterator": "it-2", "Limit": 10})
    assert reader.read(ReadShard(ONE, "0" * 20 + "7", None, 10)) == Page([], "it-2")
    assert reader.read(ReadShard(ONE, "0" * 20 + "7", "it-2", 10)) == Page([], None)


@pytest.mark.parametrize(
    ("operation", "code", "trouble"),
    [
        ("get_records", "ExpiredIteratorException", Trouble.EXPIRED),
        ("get_records", "ValidationException", Trouble.EXPIRED),
        ("get_records", "TrimmedDataAccessException", Trouble.TRIMMED),
        ("get_shard_iterator", "TrimmedDataAccessException", Trouble.TRIMMED),
        ("get_shard_iterator", "ResourceNotFoundException", Trouble.NOT_FOUND),
        ("get_shard_iterator", "ValidationException", Trouble.FAILED),
        ("get_records", "LimitExceededException", Trouble.FAILED),
        ("get_records", "AccessDeniedException", Trouble.FAILED),
        ("get_records", "InternalServerError", Trouble.FAILED),
    ],
)
def test_each_error_of_a_read_has_its_fix(
    streams: tuple[StreamReader, Stubber], operation: str, code: str, trouble: Trouble
) -> None:
    reader, stubber = streams
    if operation == "get_records":
        stubber.add_response("get_shard_iterator", {"ShardIterator": "it-1"})
    stubber.add_client_error(operation, code)
    assert reader.read(READ) is trouble


def test_a_stream_that_does_not_answer_is_a_failed_read(
    streams: tuple[StreamReader, Stubber], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, _ = streams

    def refuse(**arguments: Any) -> Any:
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")

    monkeypatch.setattr(reader.client, "get_shard_iterator", refuse)
    monkeypatch.setattr(reader.client, "describe_stream", refuse)
    assert reader.read(READ) is Trouble.FAILED
    assert reader.shards() is None


# Invoking


class Api:
    """The Invoke call of the Lambda API."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        self.answer = answer
        self.arguments: dict[str, Any] = {}

    def invoke(self, **arguments: Any) -> Any:
        self.arguments = arguments
        return self.answer()


def invoked(answer: Callable[[], Any]) -> InvocationOutcome:
    api: Any = Api(answer)
    return LambdaFunction(api, FUNCTION)(COMMAND)


def response(body: bytes, **fields: str) -> dict[str, Any]:
    return {
        "StatusCode": 200,
        "ExecutedVersion": "7",
        "ResponseMetadata": {"RequestId": "r-1"},
        "Payload": StreamingBody(io.BytesIO(body), len(body)),
        **fields,
    }


@pytest.mark.parametrize(
    ("body", "value"),
    [(b'{"batchItemFailures":[]}', {"batchItemFailures": []}), (b"null", None), (b"", None)],
)
def test_what_a_function_returned_is_handed_on(body: bytes, value: object) -> None:
    assert invoked(lambda: response(body)) == FunctionReturned(value, "r-1", "7")


def test_an_event_is_sent_as_the_engine_measured_it() -> None:
    api: Any = Api(lambda: response(b"null"))
    LambdaFunction(api, FUNCTION)(COMMAND)
    assert api.arguments == {
        "FunctionName": FUNCTION,
        "InvocationType": "RequestResponse",
        "Payload": '{"Records":[{"name":"Zoë"}]}'.encode(),
    }


def test_a_function_error_is_a_failure_with_its_reason() -> None:
    body = b'{"errorType":"KeyError","errorMessage":"total"}'
    found = invoked(lambda: response(body, FunctionError="Unhandled"))
    assert found == FunctionFailed("KeyError: total", "Unhandled", "r-1", "7")


def _raising(error: Exception) -> Callable[[], Any]:
    def answer() -> Any:
        raise error

    return answer


@pytest.mark.parametrize(
    "error",
    [
        refusal("TooManyRequestsException", 429, "Invoke"),
        refusal("ServiceException", 500, "Invoke"),
        refusal("ResourceNotFoundException", 404, "Invoke"),
        EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
        ReadTimeoutError(endpoint_url="http://127.0.0.1:1"),
        ResponseStreamingError(error="connection broken"),
    ],
)
def test_what_the_service_refuses_was_not_invoked(error: Exception) -> None:
    assert invoked(_raising(error)) == NotInvoked(str(error))


def test_the_client_of_a_function_outwaits_it_and_never_retries(
    session: boto3.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = session.client("lambda")
    with Stubber(asking) as stubber:
        stubber.add_response(
            "get_function_configuration", {"Timeout": 60}, {"FunctionName": FUNCTION}
        )
        made: list[Config] = []

        def client(name: str, config: Config | None = None) -> LambdaClient:
            if config is not None:
                made.append(config)
            return asking

        monkeypatch.setattr(session, "client", client)
        LambdaFunction.of(session, FUNCTION)
    [config] = made
    assert config.read_timeout > 60  # type: ignore[attr-defined]
    assert config.retries == {"total_max_attempts": 1}  # type: ignore[attr-defined]


def test_a_handler_gets_an_event_of_its_own_and_a_context() -> None:
    seen: list[Any] = []

    def handler(event: Any, context: Any) -> Any:
        event["Records"].clear()
        seen.append((context.function_name, context.get_remaining_time_in_millis()))
        return {"request": context.aws_request_id, "arn": context.invoked_function_arn}

    found = HandlerFunction(handler, FUNCTION, timeout=3)(COMMAND)
    assert isinstance(found, FunctionReturned)
    assert found.response == {"request": found.request_id, "arn": FUNCTION}
    assert COMMAND.event["Records"]
    [(name, left)] = seen
    assert name == "f"
    assert 0 < left <= 3000


@pytest.mark.parametrize("error", [KeyError("total"), SystemExit(1), CancelledError()])
def test_a_handler_that_raises_is_a_function_that_failed(error: BaseException) -> None:
    def handler(event: Any, context: Any) -> Any:
        raise error

    found = HandlerFunction(handler, FUNCTION)(COMMAND)
    assert isinstance(found, FunctionFailed)
    assert type(error).__name__ in found.reason


# Destinations


def deliver(kind: DestinationKind, arn: str, key: str | None = None) -> Deliver:
    info = {"batchSize": 2, "startSequenceNumber": "1", "endSequenceNumber": "2"}
    return Deliver(1, Destination(arn, kind), {"DDBStreamBatchInfo": info}, key, ())


DOCUMENT = json.dumps(deliver(DestinationKind.S3, "").document)
QUEUE = {"QueueName": "dead-letters", "QueueOwnerAWSAccountId": "000000000000"}


@pytest.mark.parametrize(
    ("kind", "arn", "calls"),
    [
        (
            DestinationKind.S3,
            "arn:aws:s3:::dead-letters",
            {
                "put_object": {
                    "Bucket": "dead-letters",
                    "Key": "aws/lambda/u/s/1",
                    "Body": DOCUMENT.encode(),
                    "ContentType": "application/json",
                }
            },
        ),
        (
            DestinationKind.SQS,
            "arn:aws:sqs:us-east-1:000000000000:dead-letters",
            {
                "get_queue_url": QUEUE,
                "send_message": {"QueueUrl": "http://queue", "MessageBody": DOCUMENT},
            },
        ),
        (DestinationKind.SNS, TOPIC, {"publish": {"TopicArn": TOPIC, "Message": DOCUMENT}}),
    ],
)
def test_a_destination_gets_the_document(
    session: boto3.Session, kind: DestinationKind, arn: str, calls: dict[str, dict[str, Any]]
) -> None:
    command = deliver(kind, arn, "aws/lambda/u/s/1")
    destination = OnFailure.of(session, command.destination)
    assert destination.client.meta.service_model.service_name == kind
    with Stubber(destination.client) as stubber:
        for operation, params in calls.items():
            answer = {"QueueUrl": "http://queue"} if operation == "get_queue_url" else {}
            stubber.add_response(operation, answer, params)
        assert destination(command)
        stubber.assert_no_pending_responses()


def test_a_bucket_that_is_gone_is_said(
    session: boto3.Session, caplog: pytest.LogCaptureFixture
) -> None:
    client = session.client("s3", config=CONFIG)
    command = deliver(DestinationKind.S3, "arn:aws:s3:::dead-letters", "key")
    with Stubber(client) as stubber:
        stubber.add_client_error("put_object", "NoSuchBucket", "it is not there")
        assert not OnFailure(client, command.destination)(command)
    assert "arn:aws:s3:::dead-letters did not take the document of 2 records, 1 to 2" in caplog.text


# Checkpoints


def test_checkpoints_are_read_as_they_were_saved(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "c.json")
    assert (file.exists(), file.load()) == (False, {})
    file.save({"shard-1": "TRIM_HORIZON", "shard-2": "0" * 39 + "1"})
    file.save({"shard-2": "0" * 39 + "2"})
    assert CheckpointFile(tmp_path / "c.json").load() == {"shard-2": "0" * 39 + "2"}
    assert [path.name for path in tmp_path.iterdir()] == ["c.json"]


@pytest.mark.parametrize("moment", ["dump", "replace"])
def test_a_save_that_is_cut_off_leaves_the_places_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    file = CheckpointFile(tmp_path / "c.json")
    file.save({"shard-1": "1"})

    def cut(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    target: Any = json if moment == "dump" else Path
    with monkeypatch.context() as patch:
        patch.setattr(target, moment, cut)
        with pytest.raises(KeyboardInterrupt):
            file.save({"shard-1": "2"})
    assert file.load() == {"shard-1": "1"}
    file.save({"shard-1": "3"})
    assert file.load() == {"shard-1": "3"}


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"checkpoints": 1}', '{"checkpoints": {"a": 1}}']
)
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"c\.json is not a checkpoint file"):
        CheckpointFile(tmp_path / "c.json").load()


# Take-over


class Mappings:
    """The part of the Lambda API that a take-over needs; `busy` answers say "Disabling"."""

    def __init__(self, *states: str, busy: int = 0, refuses: int = 0) -> None:
        self.mappings: list[dict[str, Any]] = [
            {"UUID": f"{UUID[:-1]}{index}", "State": state, "EventSourceArn": STREAM}
            for index, state in enumerate(states)
        ]
        self.busy = busy
        self.refuses = refuses
        self.updates: list[str] = []

    def get_paginator(self, name: str) -> Any:
        assert name == "list_event_source_mappings"
        return self

    def paginate(self) -> Any:
        return [{"EventSourceMappings": [dict(each)]} for each in self.mappings]

    def update_event_source_mapping(self, **arguments: Any) -> None:
        assert not arguments["Enabled"]
        if self.refuses:
            self.refuses -= 1
            error = refusal("ResourceInUseException", 400, "UpdateEventSourceMapping")
            raise error
        self.updates.append(arguments["UUID"])

    def get_event_source_mapping(self, **arguments: Any) -> Any:
        if arguments["UUID"] not in self.updates:
            return {"State": "Updating"}
        self.busy -= 1
        return {"State": "Disabling" if self.busy >= 0 else "Disabled"}


def taken(api: Mappings, folder: Path, **options: Any) -> list[str]:
    client: Any = api
    found = take_over(client, folder, pause=lambda seconds: None, **options)
    assert all(each["State"] == "Disabled" for each in found)
    return [each["UUID"][-1] for each in found]


def test_every_mapping_is_disabled_and_its_batch_waited_for(tmp_path: Path) -> None:
    api = Mappings("Enabled", "Creating", busy=3, refuses=1)
    assert taken(api, tmp_path) == ["0", "1"]
    assert sorted(uuid[-1] for uuid in api.updates) == ["0", "1"]
    assert api.busy < 0


def test_a_mapping_that_a_person_disabled_is_left_alone(tmp_path: Path) -> None:
    assert taken(Mappings("Disabled", "Enabled"), tmp_path) == ["1"]


def test_a_mapping_taken_over_before_is_taken_again(tmp_path: Path) -> None:
    checkpoint_file(tmp_path, f"{UUID[:-1]}0").save({"shard-1": "7"})
    api = Mappings("Disabled")
    assert taken(api, tmp_path) == ["0"]
    assert api.updates == []
    assert checkpoint_file(tmp_path, f"{UUID[:-1]}0").load() == {"shard-1": "7"}


def test_a_take_over_that_is_cut_off_is_finished_by_the_next(tmp_path: Path) -> None:
    api = Mappings("Enabled")

    def cut(**arguments: Any) -> Any:
        raise KeyboardInterrupt

    api.update_event_source_mapping = cut  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        taken(api, tmp_path)
    assert taken(Mappings("Disabled"), tmp_path) == ["0"]


def test_other_event_sources_are_not_ours(tmp_path: Path) -> None:
    api = Mappings("Enabled", "Enabled")
    api.mappings[0]["EventSourceArn"] = "arn:aws:sqs:us-east-1:000000000000:q"
    assert taken(api, tmp_path) == ["1"]


def test_a_poller_that_does_not_let_go_is_named(tmp_path: Path) -> None:
    ticks = iter(range(100))
    with pytest.raises(TimeoutError, match=f"{UUID[:-1]}0 is Disabling"):
        taken(Mappings("Enabled", busy=99), tmp_path, patience=3, clock=lambda: next(ticks))


def test_a_runner_is_made_of_what_the_mapping_says(tmp_path: Path, session: boto3.Session) -> None:
    """As the emulator describes it, which leaves the metrics out and a qualifier in."""
    mapping = {
        "UUID": UUID,
        "EventSourceArn": STREAM,
        "FunctionArn": FUNCTION,
        "Qualifier": None,
        "State": "Disabled",
        "StartingPosition": "TRIM_HORIZON",
        "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:s3:::dead-letters"}},
    }
    made = runner_of(mapping, session, tmp_path, handlers={"f": lambda event, context: None})
    assert made.uuid == UUID
    assert not made.alive
    with pytest.raises(ValueError, match="EventSourceArn"):
        runner_of({**mapping, "EventSourceArn": None}, session, tmp_path)
