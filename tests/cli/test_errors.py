"""What cannot work ends with one sentence, never with a traceback."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import (
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ProfileNotFound,
    SSOTokenLoadError,
)
from botocore.parsers import ResponseParserError
from typer import Exit
from typer.main import get_command

from dynamodb_streams_cdc.cli.app import app
from dynamodb_streams_cdc.cli.errors import reported, sentence, sentences
from dynamodb_streams_cdc.operations.endpoint import problem_of
from dynamodb_streams_cdc.operations.purge import PurgeReport
from dynamodb_streams_cdc.operations.stack import ASKING
from dynamodb_streams_cdc.operations.stack import _client as make_client
from tests.cli.conftest import STACK, Cloud, fail, refusal, refuse
from tests.fake_pipeline import BUCKET, ON_FAILURE
from tools.cli_reference import commands

COMMANDS = [
    ["dead-letters", "list"],
    ["dead-letters", "show", "deadbeef"],
    ["redrive", "--yes"],
    ["history", "customer_id=1", "order_id=1"],
    ["diff", "customer_id=1", "order_id=1", "--from", "2024-05-01T12:00:00Z"],
    ["tail"],
    ["status"],
]
every_command = pytest.mark.parametrize("command", COMMANDS, ids=" ".join)


def fails(cloud: Cloud, command: list[str], status: int = 1) -> str:
    result = cloud.run(*command)
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    assert isinstance(result.exception, SystemExit)
    [line] = result.stderr.splitlines()
    return line


@every_command
@pytest.mark.parametrize(
    ("options", "name"),
    [
        (["-e", "prod"], "cdc-prod-pipeline"),
        (["--environment", "local"], "cdc-local-pipeline"),
        (["--stack", "mine"], "mine"),
    ],
)
def test_no_such_stack(cloud: Cloud, command: list[str], options: list[str], name: str) -> None:
    line = fails(cloud, command + options)
    assert line.startswith(f"There is no stack {name} in region us-east-1")


TWO = ["cdc-sandbox-pipeline-customers", "cdc-sandbox-pipeline-orders"]
CHOOSE = (
    "Environment sandbox has 2 pipelines: choose one of cdc-sandbox-pipeline-customers, "
    "cdc-sandbox-pipeline-orders with --stack."
)


@every_command
@pytest.mark.parametrize("stacks", [TWO, [STACK, *TWO]])
def test_an_environment_of_several_pipelines(
    cloud: Cloud, command: list[str], stacks: list[str]
) -> None:
    """The manifest names them; without the usual stack, CloudFormation lists them."""
    cloud.stacks, cloud.manifest["pipelines"] = stacks, TWO
    assert fails(cloud, command, 2) == CHOOSE
    assert cloud.run("dead-letters", "list", "--stack", TWO[0]).exit_code == 0


def test_the_only_pipeline_may_have_any_name(cloud: Cloud) -> None:
    cloud.stacks, cloud.manifest["pipelines"] = TWO[:1], TWO[:1]
    assert cloud.run("dead-letters", "list").exit_code == 0
    assert f"no stack {STACK}" not in cloud.run("dead-letters", "list").output


def test_an_operator_need_not_list_all_stacks(cloud: Cloud) -> None:
    cloud.stacks = TWO
    listing = refusal("AccessDenied", "DescribeStacks")
    cloud.fails = lambda operation, arguments: (
        listing if operation == "DescribeStacks" and not arguments else None
    )
    assert fails(cloud, ["dead-letters", "list"]).startswith(f"There is no stack {STACK} in")


def test_the_environment_from_a_variable(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_ENVIRONMENT", "production")
    assert "cdc-production-pipeline" in fails(cloud, ["dead-letters", "list"])
    assert cloud.run("dead-letters", "list", "-e", "sandbox").exit_code == 0


def test_the_region_from_the_variable_of_the_aws_cli(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    assert "region eu-west-3" in fails(cloud, ["dead-letters", "list", "-e", "none"])


@every_command
def test_no_region(cloud: Cloud, command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert fails(cloud, command).startswith("No AWS region is chosen")


@every_command
def test_no_credentials(cloud: Cloud, command: list[str]) -> None:
    cloud.fails = fail(NoCredentialsError())
    assert fails(cloud, command).startswith("No AWS credentials to work with")


@every_command
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("ExpiredToken", "The AWS credentials have expired: sign in again."),
        ("ExpiredTokenException", "The AWS credentials have expired: sign in again."),
        ("InvalidClientTokenId", "The AWS credentials are not accepted (InvalidClientTokenId)"),
        ("SignatureDoesNotMatch", "The AWS credentials are not accepted (SignatureDoesNotMatch)"),
        ("AccessDenied", f"may not do cloudformation:DescribeStacks on stack {STACK}"),
        ("Throttling", "AWS refused DescribeStacks: Throttling: no"),
    ],
)
def test_refusals(cloud: Cloud, command: list[str], code: str, said: str) -> None:
    cloud.fails = refuse("DescribeStacks", code)
    assert said in fails(cloud, command)


@pytest.mark.parametrize("command", COMMANDS[:3], ids=" ".join)
@pytest.mark.parametrize(
    ("operation", "action"),
    [
        (f"ListObjectsV2 {BUCKET}", f"s3:ListBucket on s3://{BUCKET}"),
        (f"ListObjectsV2 {ON_FAILURE}", f"s3:ListBucket on s3://{ON_FAILURE}"),
        (f"GetObject {BUCKET}", f"s3:GetObject on s3://{BUCKET}/dead-letters/search/x.json"),
    ],
)
def test_no_permission_on_the_bucket(
    cloud: Cloud, command: list[str], operation: str, action: str
) -> None:
    cloud.put("dead-letters/search/x.json", b"{}")
    operation, bucket = operation.split()
    cloud.fails = refuse(operation, part=bucket)
    if command[1] == "show":
        key = "dead-letters/search/x.json" if operation == "GetObject" else "deadbeef"
        command = [*command[:2], key]
    if command[0] == "redrive":
        # A redrive without a filter reads its dead letters as it goes, and tells how far it came.
        command = [*command, "--processor", "search"]
    assert action in fails(cloud, command)


@pytest.mark.parametrize("role", ["dead_letters", "on_failure"])
def test_a_deleted_bucket(cloud: Cloud, role: str) -> None:
    cloud.manifest["buckets"][role] = "gone-with-the-wind"
    assert "NoSuchBucket" in fails(cloud, ["dead-letters", "list"])


@every_command
def test_a_manifest_that_cannot_be_read(cloud: Cloud, command: list[str]) -> None:
    cloud.manifest.clear()
    assert "output Manifest of stack cdc-sandbox-pipeline cannot be read" in fails(cloud, command)


def test_a_manifest_in_a_file(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "manifest.json"
    file.write_text(json.dumps({**cloud.manifest, "search": None}))
    cloud.fails = refuse("DescribeStacks")
    assert cloud.run("dead-letters", "list", "--manifest", str(file)).exit_code == 0
    monkeypatch.setenv("CDC_MANIFEST", str(file))
    assert cloud.run("dead-letters", "list").exit_code == 0


@every_command
def test_a_file_without_a_manifest_is_refused(
    cloud: Cloud, command: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "manifest.json"
    of_file = [*command, "--manifest", str(file)]
    assert f"--manifest: {file} cannot be read" in fails(cloud, of_file, status=2)
    file.write_text("{}")
    assert f"The file {file} cannot be read (it has no 'schema'): correct" in fails(cloud, of_file)
    both = [*of_file, "--stack", "mine"]
    assert f"--stack mine and --manifest {file}" in fails(cloud, both, status=2)


@every_command
def test_a_manifest_of_another_schema(cloud: Cloud, command: list[str]) -> None:
    cloud.manifest["schema"] = 2
    assert "has schema 2, and this version of cdc reads 1" in fails(cloud, command)


def test_a_pipeline_without_a_change_log(cloud: Cloud) -> None:
    cloud.manifest["tables"].clear()
    for command in COMMANDS[3:6]:
        assert "no table with the role change_log" in fails(cloud, command)


@every_command
def test_an_unreachable_endpoint(cloud: Cloud, command: list[str]) -> None:
    url = "http://127.0.0.1:9"
    cloud.fails = fail(EndpointConnectionError(endpoint_url=url))
    line = fails(cloud, [*command, "--endpoint-url", url])
    assert line.startswith(f'Could not connect to the endpoint URL: "{url}"')
    assert "--endpoint-url" in line


@every_command
def test_an_endpoint_that_is_not_of_aws(cloud: Cloud, command: list[str]) -> None:
    """Such as a proxy that answers in its place; its page may be long."""
    text = "Unable to parse response, invalid XML received. Further retries may succeed:\nb'<html>'"
    cloud.fails = fail(ResponseParserError(text))
    line = fails(cloud, command)
    assert line.startswith("Unable to parse response, invalid XML received: see --endpoint-url")


class Page(BytesIO):
    """The body of an answer, as urllib3 gives it."""

    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.read()


@pytest.mark.parametrize("status", [200, 307, 403])
@pytest.mark.parametrize(
    ("service", "operation", "arguments"),
    [
        ("s3", "list_objects_v2", {"Bucket": "dead-letters"}),
        ("dynamodb", "describe_table", {"TableName": "orders"}),
        ("lambda", "get_function_configuration", {"FunctionName": "search"}),
        ("cloudformation", "describe_stacks", {}),
    ],
)
def test_a_page_is_not_an_answer(
    status: int, service: str, operation: str, arguments: dict[str, str]
) -> None:
    """With status 200 there were no dead letters, or a traceback; with 403 AWS denied access."""
    body = b"\n<!DOCTYPE HTML><html><body>Sign in</body></html>"
    session = boto3.Session("key", "secret", region_name="us-east-1")
    client = make_client(session, service, ASKING, None)
    client.meta.events.register_first(
        "before-send",
        lambda request, **_: AWSResponse(request.url, status, HTTPHeaders(), Page(body)),
    )
    with pytest.raises(ResponseParserError, match=rf"request id \(status {status}\)"):
        getattr(client, operation)(**arguments)


@every_command
def test_an_endpoint_that_is_not_a_url(cloud: Cloud, command: list[str]) -> None:
    assert "nonsense" in fails(cloud, [*command, "--endpoint-url", "nonsense"], status=2)


NO_ENDPOINTS = [
    "127.0.0.1:4566",
    "ftp://x",
    "http://",
    "nonsense",
    "http://127.0.0.1:99999",
    "http://127.0.0.1:0",
    "http://127.0.0.1:-1",
    "http://127.0.0.1:x",
    "http://127.0.0.1:\u0661",
    "http://[::1",
    "http://::1]:4566",
    "http://[nonsense]:4566",
    "http://a b:4566",
    "http://a..b",
    "http://-a",
    "http://127.0.0.1:4566?x=y",
    "http://127.0.0.1:4566#x",
    "http://127.0.0.1:4566\\x",
    "http://127.0.0.1:4566 ",
    "http://ex\u202eample",
    "http://\x1b[2J",
    "//127.0.0.1:4566",
    "http:127.0.0.1:4566",
]


@pytest.mark.parametrize("url", NO_ENDPOINTS, ids=ascii)
def test_malformed_endpoints(url: str) -> None:
    problem = str(problem_of(url))
    assert problem.startswith("expected a URL such as http://127.0.0.1:4566, got ")


@pytest.mark.parametrize("url", ["http://user:secret@127.0.0.1:1", "http://127.0.0.1:x"])
@pytest.mark.parametrize("name", ["--endpoint-url", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS"])
def test_an_endpoint_of_an_option_or_a_variable_is_refused(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, name: str, url: str
) -> None:
    command = ["dead-letters", "list"]
    if name.startswith("--"):
        command += [name, url]
    else:
        monkeypatch.setenv(name, url)
    assert fails(cloud, command, status=2) == f"{name}: {problem_of(url)}."


@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret@127.0.0.1:1",
        "http://secret@127.0.0.1:1",
        "http://user:secret@127.0.0.1:99999",
        "http://user:secret@[::1",
        "http://user:s/ecret@127.0.0.1:1",
        "http://user:secret/x@127.0.0.1:1",
        "http://user:secret@",
        "ftp://user:secret@x",
        "user:secret@127.0.0.1:1",
        "http:/user:secret@127.0.0.1:1",
        "http://us er:secret@127.0.0.1:1",
        "http://a@secret@127.0.0.1:1",
    ],
)
def test_an_endpoint_with_credentials_is_refused(url: str) -> None:
    problem = problem_of(url)
    assert problem is not None
    assert "ecret" not in problem


def test_credentials_in_botocore_errors_are_masked(cloud: Cloud) -> None:
    """From a profile, for one; boto3 reads more places than are checked here."""
    url = "http://user:secret@127.0.0.1:1/"
    cloud.fails = fail(EndpointConnectionError(endpoint_url=url))
    line = fails(cloud, ["dead-letters", "list"])
    assert 'the endpoint URL: "http://***@127.0.0.1:1/"' in line
    assert "secret" not in line


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:4566",
        "https://localhost",
        "http://[::1]:4566",
        "http://my_host.internal:80/a/path",
        "HTTP://HOST:65535/",
    ],
)
def test_well_formed_endpoints(url: str) -> None:
    assert problem_of(url) is None


@pytest.mark.parametrize("command", ["dead-letters list", "redrive"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--processor", "serach"], "cdc-sandbox-pipeline has audit, search, and no processor"),
        (["--older-than", "soon"], "--older-than: expected a duration such as 90s"),
    ],
)
def test_wrong_use(cloud: Cloud, command: str, options: list[str], said: str) -> None:
    assert said in fails(
        cloud, [*command.split(), *options, *(["--yes"] * (command == "redrive"))], 2
    )


@pytest.mark.parametrize("command", ["verify", "rebuild search"])
def test_a_time_without_end_is_refused(cloud: Cloud, command: str) -> None:
    result = cloud.run(*command.split(), "--settle", "inf")
    assert (result.exit_code, "--settle" in result.stderr) == (2, True)


NUMBERS = frozenset({"accept", "accept_moving", "capacity", "settle", "workers"})


def parameters() -> Iterator[tuple[str, Any]]:
    """Every option and argument of every command that takes text."""
    for name, command in commands(get_command(app)):
        for parameter in command.params:
            if parameter.name not in NUMBERS and not getattr(parameter, "is_flag", False):
                yield name, parameter


@pytest.mark.parametrize(
    ("name", "parameter"), list(parameters()), ids=lambda each: getattr(each, "name", each)
)
def test_an_empty_value_is_refused(cloud: Cloud, name: str, parameter: Any) -> None:
    """It is a variable that is not set, and would mean: everything."""
    cloud.put("dead-letters/search/x.json", b"{}")
    required = {
        "dead-letters show": ["x"],
        "repair": ["--all"],
        "history": ["x"],
        "diff": ["x", "--from", "2024-05-01T12:00:00Z"],
    }.get(name, [])
    if parameter.param_type_name == "argument":
        called = parameter.metavar
        command = [*name.split(), *(word for word in required if word != "x")]
    else:
        called = parameter.opts[0]
        command = [*name.split(), *required, called]
    for empty in ("", " "):
        line = fails(cloud, [*command, empty], status=2)
        assert line.endswith("is empty: leave it out, or give it a value.")
        assert line.startswith(f"{called} ")
    assert cloud.calls == []


def test_every_parameter_is_tried_and_documented() -> None:
    found = list(parameters())
    assert len(found) > 25
    assert [name for name, parameter in found if not parameter.help] == []


@pytest.mark.parametrize("key", ["order_id=", "order_id:N=", "order_id:B="])
@pytest.mark.parametrize("command", ["repair", "history"])
def test_a_key_without_a_value_is_refused(cloud: Cloud, command: str, key: str) -> None:
    assert f"{key!r} has no value" in fails(cloud, [command, "customer_id=1", key], status=2)


@every_command
def test_ctrl_c(cloud: Cloud, command: list[str]) -> None:
    cloud.fails = fail(KeyboardInterrupt())
    result = cloud.run(*command)
    assert result.exit_code == 130
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ProfileNotFound(profile="absent"), "absent) could not be found: see AWS_PROFILE."),
        (SSOTokenLoadError(error_msg="no token"), "No AWS credentials to work with"),
        (ConnectTimeoutError(endpoint_url="https://x"), "or the network."),
        (refusal("RequestExpired", "GetObject"), "have expired"),
    ],
)
def test_other_sentences(error: Exception, said: str) -> None:
    assert said in sentence(error)


def in_a_process(code: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "error", [sqlite3.OperationalError("database or disk is full"), OSError(28, "No space left")]
)
def test_a_full_disk(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exit), sentences():
        raise error
    [line] = capsys.readouterr().err.splitlines()
    assert line == f"This machine is at fault ({error}): is its disk full? Then run it again."


def test_a_missing_extra_is_named() -> None:
    found = in_a_process(
        "import sys; sys.modules['typer'] = None; import dynamodb_streams_cdc.cli as c; c.main()"
    )
    assert found.returncode == 1
    assert "pip install 'dynamodb-streams-cdc[cli]'" in found.stderr
    assert "Traceback" not in found.stderr


def test_the_installed_command() -> None:
    cdc = Path(sys.executable).with_name("cdc")
    found = subprocess.run([cdc, "-h"], capture_output=True, text=True, timeout=60, check=True)
    for name in ("dead-letters", "redrive", "repair", "history", "diff", "tail", "status"):
        assert name in found.stdout


def test_progress_ends_before_the_report_is_shown() -> None:
    """It would be drawn again below the report."""
    told: list[str] = []
    progress = ExitStack()
    progress.callback(told.append, "progress")
    with reported(PurgeReport(), lambda report: told.append("report"), progress=progress):
        pass
    assert told == ["progress", "report"]
