"""Field fact: the SDK in Lambda's Python runtime depends on Region and day, so ours is packaged.

With the botocore 1.36.3 and 1.37.38 of a runtime, every function died at its cold start: "no
attribute 'resolved_protocol'". AWS advises to package all dependencies, the SDK included
(https://docs.aws.amazon.com/lambda/latest/dg/python-package.html); what happens to those who
package a part of them is in https://github.com/boto/boto3/issues/4579.

Everything here runs the real package, built by `make setup`, in an interpreter of its own that
finds the package and the standard library, and nothing else.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import Any

import botocore
import pytest

from dynamodb_streams_cdc.aws.opensearch_errors import MISSING
from stacks.packaging import PLATFORMS, Platform, Project, package
from tests.factories import order, record
from tests.schedules import long

HANDLERS = {
    "aggregation": "lambdas.aggregation.handler",
    "audit": "lambdas.audit.handler",
    "search": "lambdas.search.handler",
}

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "ASIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "example",
    "AWS_SESSION_TOKEN": "example-token",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
}
"""What Lambda puts into a function's environment
(https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html)."""

SETTINGS = {
    "PIPELINE": "cdc-sandbox-pipeline",
    "SOURCE_TABLE": "orders",
    "SOURCE_TABLE_NAME": "orders-1A2B",
    "EPOCH": "0001",
    "FEED": "table",
    "PROCESSOR": "orders",
    "DEAD_LETTER_BUCKET": "dead-letters",
    "DEAD_LETTER_PREFIX": "dead-letters/orders/",
    "LARGE_IMAGES_BUCKET": "large-images",
    "IDEMPOTENCY_TABLE": "idempotency",
    "ATTEMPTS_TABLE": "idempotency",
    "AGGREGATES_TABLE": "aggregates",
    "AGGREGATE_SHARDS": "8",
    "CHANGE_LOG_TABLE": "change-log",
    "SEARCH_AUTH": "iam",
    "SEARCH_REGION": "us-east-1",
}

PACKAGE_ALONE = """
import json, sys
from importlib.util import find_spec

package, *runtime = json.loads(sys.argv[1])
library = list(sys.path)
found = [name for name in ("botocore", "boto3", "jmespath", "urllib3") if find_spec(name)]
assert not found, f"{found} in {library}: this proves nothing"
sys.path[:] = [package, *library, *runtime]
"""
"""Leaves what a function finds in Lambda: its package first, the SDK of the runtime last."""

INVOKE = (
    PACKAGE_ALONE
    + """
import os, re
from importlib import import_module

class Context:
    aws_request_id = "5f6b-request"
    invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:orders"
    def get_remaining_time_in_millis(self):
        return 60_000

from lambdas import example_domain, runtime
runtime.TABLES = example_domain.TABLES
from lambdas.search import settings
os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"] = "on-demand"  # Lambda sets it
settings._DOMAIN = re.compile("http://(?P<region>.+)")  # the server of the test, not a domain
handler = import_module(sys.argv[2])
assert handler.processor.cache_info().currsize == 1, "made while the function is loaded"
answer = handler.handler(json.loads(sys.argv[3]), Context())
files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
elsewhere = {
    name: file
    for name, file in files.items()
    if file and not file.startswith((package, *library))
}
import botocore
print(json.dumps([answer, botocore.__file__, botocore.__version__, elsewhere]))
"""
)

ENDPOINTS = (
    PACKAGE_ALONE
    + """
import io, os
from botocore.awsrequest import AWSResponse
from lambdas import runtime
from lambdas.notifications import handler as notifications

def answer(request, **_):
    signed_for = str(request.headers["Authorization"]).split("/")[2:4]
    sent.append([request.method, request.url, signed_for])
    published = b"<PublishResponse><PublishResult/></PublishResponse>"
    body = published if "//sns" in request.url else b"{}" if request.method == "POST" else b""
    raw = io.BytesIO(body)
    raw.stream = lambda **_: iter([raw.read()])
    return AWSResponse(request.url, 200, {"x-amzn-RequestId": "1"}, raw)

requests = []
before = dict(os.environ)
for environment in json.loads(sys.argv[2]):
    os.environ.clear()
    os.environ.update(before, **environment)
    for cached in (runtime.session, runtime.dynamodb, runtime.s3, notifications.sns):
        cached.cache_clear()
    sent = []
    runtime.session().register("before-send", answer)
    runtime.dynamodb().get_item(TableName="orders", Key={"id": {"S": "1"}})
    runtime.s3().put_object(Bucket="bucket-of-orders", Key="a/b", Body=b"{}", IfNoneMatch="*")
    notifications.sns().publish(TopicArn="arn:aws:sns:us-east-1:1:topic", Message="text")
    requests.append(sent)
print(json.dumps(requests))
"""
)
"""The requests that the clients of the functions would send to AWS, in several environments."""


class Server(BaseHTTPRequestHandler):
    """DynamoDB, S3 and OpenSearch, all empty; every request has to be signed."""

    protocol_version = "HTTP/1.1"
    seen: list[str]
    answers: Mapping[str, Any] = {
        "BatchGetItem": {"Responses": {}, "UnprocessedKeys": {}},
        "BatchExecuteStatement": {"Responses": [{}]},
        "/orders-second/_alias": {"error": {"type": MISSING}},
        "/orders-write": {"_index": "orders-v1", "found": False},
        "/orders-write/_bulk": {"items": [{"create": {"result": "created", "status": 201}}]},
    }

    def respond(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        operation = self.headers.get("X-Amz-Target", "").partition(".")[2]
        path = self.path.partition("?")[0].partition("/_doc/")[0]
        self.seen.append(operation or f"{self.command} {path}")
        answer = json.dumps(self.answers.get(operation or path, {}))
        body = b"" if path.startswith("/dead-letters/") else answer.encode()
        signed = self.headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256 ")
        is_ours = signed and self.headers.get("X-Amz-Security-Token") == "example-token"
        status = 403 if not is_ours else 404 if self.command == "GET" else 200
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", "1")  # as S3 does
        self.send_header("x-amzn-RequestId", "1")  # as AWS does
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_GET = respond

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """The URL of a server, and the requests that it has seen."""
    seen: list[str] = []
    bound = type("Bound", (Server,), {"seen": seen})
    with ThreadingHTTPServer(("127.0.0.1", 0), bound) as running:
        thread = Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", seen
        running.shutdown()
        thread.join()


@pytest.fixture
def old_runtime(tmp_path: Path) -> Path:
    """The SDK of a runtime on which no function starts."""
    for name in ("botocore", "boto3", "jmespath", "urllib3", "s3transfer", "dateutil"):
        (tmp_path / f"{name}.py").write_text("raise AttributeError('resolved_protocol')\n")
    return tmp_path


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the byte code of all runs in one folder, and none in the package."""
    COMPILED.append(f"pycache_prefix={tmp_path_factory.mktemp('compiled')}")
    yield
    COMPILED.clear()


COMPILED: list[str] = []


def run(program: str, *arguments: str, path: list[Path], **environment: str) -> Any:
    """Return what a program prints as JSON: isolated (-I), without installed packages (-S)."""
    places = json.dumps([str(place) for place in path])
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-X", *COMPILED, "-c", program, places, *arguments],
        env={**CREDENTIALS, **SETTINGS, **environment},
        cwd=path[0],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("elsewhere_is", ["no SDK", pytest.param("an old SDK", marks=long)])
@pytest.mark.parametrize("name", HANDLERS)
def test_function_needs_no_sdk_but_its_own(
    name: str, elsewhere_is: str, server: tuple[str, list[str]], old_runtime: Path
) -> None:
    """S3 is used as well: one record is a dead letter. The other is old: its item is repaired."""
    url, seen = server
    folder = package("host")
    event = {"Records": [record(1, None, order()), {"eventName": "of no stream"}]}
    answer, file, found, elsewhere = run(
        INVOKE,
        HANDLERS[name],
        json.dumps(event),
        path=[folder] if elsewhere_is == "no SDK" else [folder, old_runtime],
        AWS_ENDPOINT_URL=url,
        SEARCH_ENDPOINT=url,
    )
    assert answer == {"batchItemFailures": []}
    assert file == str(folder / "botocore" / "__init__.py")
    assert found == locked("botocore")
    assert elsewhere == {}
    assert [call for call in seen if call.startswith("PUT /dead-letters/dead-letters/orders/")]
    expected = {
        "aggregation": {"BatchGetItem", "TransactWriteItems", "GetItem"},
        "audit": {"BatchExecuteStatement"},
        "search": {"POST /orders-write/_bulk", "GetItem"},
    }
    assert expected[name] <= set(seen)


@long
def test_trimmed_sdk_finds_the_endpoints_of_the_whole_one() -> None:
    """Without its rules botocore would not fail: it guesses, by rules of before."""
    domains: list[tuple[dict[str, str], str]] = [
        ({}, ".amazonaws.com"),
        ({"AWS_REGION": "us-gov-west-1"}, "us-gov-west-1.amazonaws.com"),
        ({"AWS_REGION": "cn-north-1"}, "cn-north-1.amazonaws.com.cn"),
        ({"AWS_REGION": "xx-nowhere-1"}, "xx-nowhere-1.amazonaws.com"),
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, "us-east-1.amazonaws.com"),
        ({"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "us-east-1."),
        ({"AWS_DEFAULTS_MODE": "in-region"}, "us-east-1.amazonaws.com"),
        ({"AWS_ACCOUNT_ID": "000000000000"}, ".amazonaws.com"),
    ]
    environments = json.dumps(
        [
            {**each, **({"AWS_DEFAULT_REGION": each["AWS_REGION"]} if "AWS_REGION" in each else {})}
            for each, _ in domains
        ]
    )
    installed = Path(botocore.__file__).parents[1]
    sources = Project().root
    whole = run(ENDPOINTS, environments, path=[sources, sources / "src", installed])
    trimmed = run(ENDPOINTS, environments, path=[package("host")])
    assert trimmed == whole
    assert len(trimmed) == len(domains)
    for sent, (environment, domain) in zip(trimmed, domains, strict=True):
        assert [method for method, *_ in sent] == ["POST", "PUT", "POST"], environment
        assert all(domain in url for _, url, _ in sent), environment


@pytest.mark.parametrize("platform", PLATFORMS)
def test_package_grows_by_less_than_5_mb(platform: Platform) -> None:
    """The whole botocore would add 28 MB; Lambda loads what is unzipped, at most 250 MB of it."""
    folder = package(platform)
    added = [*folder.glob("botocore*"), *folder.glob("jmespath*")]
    assert len(added) == 4
    files = [file for place in added for file in place.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 5_000_000


def test_aws_gets_the_sdk_that_is_tested_here() -> None:
    """What is for AWS runs on no laptop; botocore is Python, and the same for both."""
    aws, host = (_sources(package(platform) / "botocore") for platform in ("aws", "host"))
    assert aws == host
    assert locked("botocore") == version("botocore")
    assert locked("jmespath") == version("jmespath")


def locked(name: str) -> str:
    """Return the version of a dependency that the functions are packaged with."""
    found = re.search(rf"^{name}==(\S+) \\$", Project().lock_file.read_text(), re.MULTILINE)
    assert found, f"{name} is not in {Project().requirements}"
    return found[1]


def _sources(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.suffix != ".pyc"
    }
