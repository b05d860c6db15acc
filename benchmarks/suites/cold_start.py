"""From a fresh interpreter to the answer of the first invocation, with a batch of one record.

Ours are the functions as they are packaged for this machine, with their SDK, in the deployed
folder, which stays read-only, as on Lambda. They are compared with a minimal function, which
imports boto3, makes one client and sends one request (`benchmarks/peers/starts`). Its boto3 is in a
folder of its own, with its byte code, as on Lambda.

The time is processor time, from the first line of the interpreter's program: a start waits only for
a server in this process, whose responses are ready.
"""

import compileall
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

from benchmarks.harness.records import changes
from benchmarks.harness.rows import OURS, Options, Row, compare, turns
from local.deployed.deployment import ROOT
from local.services import loopback
from stacks.packaging import fetch, package

REPEATS = 15

BARE = "boto3, one client"
GOALS = {"aggregation": 1 / 1.25, "audit": 1 / 1.25, "search": 1 / 1.5}
"""By function: how many times as fast as bare boto3 it must be at least."""

MODULES = {
    "aggregation": "lambdas.aggregation.handler",
    "audit": "lambdas.audit.handler",
    "search": "lambdas.search.handler",
}

RUNTIME = ("boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3")
"""Distributions in Lambda's Python runtime."""

CHILD = """
import json, sys, time
from importlib import import_module

class Context:
    function_name = "orders"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:orders"
    aws_request_id = "5f6b-request"
    def get_remaining_time_in_millis(self):
        return 60_000

event = json.loads(sys.argv[2])
began = time.process_time()
answer = import_module(sys.argv[1]).handler(event, Context())
answered = time.process_time()
assert not (answer or {}).get("batchItemFailures"), answer
sys.stderr.write(json.dumps(answered - began))
"""


def run(options: Options) -> list[Row]:
    """Start every function, and its peer, in turns."""
    fetch("host")
    packaged = package("host")
    event = json.dumps({"Records": changes(options.records, 1)})
    compileall.compile_dir(Path(__file__).parent, quiet=2)
    rows: list[Row] = []
    with answers() as url, TemporaryDirectory(prefix="cdc-starts-") as folder:
        runtime = installed(Path(folder, "runtime"), RUNTIME)
        for name, module in MODULES.items():
            contestants = {
                OURS: partial(_start, event, url, [packaged], module),
                BARE: partial(_start, event, url, [ROOT, runtime], "benchmarks.peers.starts.bare"),
            }
            turns(contestants, 1)  # brings the files into memory
            starts = turns(contestants, options.repeats or REPEATS)
            goals = {BARE: GOALS[name]}
            rows += compare("cold_start", f"{name}: first answer", "ms", starts, goals=goals)
    return rows


def installed(folder: Path, names: Sequence[str]) -> Path:
    """Return a folder with these distributions of the virtual environment, byte code and all."""
    folder.mkdir()
    for name in names:
        found = distribution(name)
        for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            place = Path(str(found.locate_file(top)))
            if place.is_dir():
                compileall.compile_dir(place, quiet=2)  # it would not follow the link
                (folder / top).symlink_to(place)
            else:
                shutil.copy(place, folder)
    compileall.compile_dir(folder, quiet=2)
    return folder


def command(module: str, event: str) -> list[str]:
    """Return the command that starts a function and invokes it once."""
    return [sys.executable, "-S", "-P", "-c", CHILD, module, event]


def environment(url: str, path: Sequence[Path]) -> dict[str, str]:
    """Return the environment of a function; it can import from `path` only."""
    return {
        **loopback.clean(),
        **loopback.credentials(),
        **_settings(url),
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _start(event: str, url: str, path: Sequence[Path], module: str) -> float:
    """Return the milliseconds of the processor until the function had answered."""
    done = subprocess.run(
        command(module, event),
        env=environment(url, path),
        cwd=path[0],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answered: float = json.loads(done.stderr.splitlines()[-1])
    return 1000 * answered


def _settings(url: str) -> dict[str, str]:
    """Return the settings that the templates set, and that of the peer."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "PIPELINE": "cdc-local-pipeline",
        "SOURCE_TABLE": "orders",
        "SOURCE_TABLE_NAME": "orders",
        "EPOCH": "0001",
        "FEED": "table",
        "PROCESSOR": "orders",
        "DEAD_LETTER_BUCKET": "dead_letters",
        "DEAD_LETTER_PREFIX": "dead-letters/orders/",
        "LARGE_IMAGES_BUCKET": "large-images",
        "IDEMPOTENCY_TABLE": "idempotency",
        "ATTEMPTS_TABLE": "idempotency",
        "AGGREGATES_TABLE": "aggregates",
        "AGGREGATE_SHARDS": "8",
        "CHANGE_LOG_TABLE": "change-log",
        "SEARCH_ENDPOINT": url,
        "SEARCH_INDEX": "orders",
        "SEARCH_AUTH": "iam",
        "SEARCH_REGION": loopback.REGION,
        "TABLE": "orders",
    }


ANSWERS: Mapping[str, Any] = {
    "BatchGetItem": {"Responses": {}, "UnprocessedKeys": {}},
    "BatchExecuteStatement": {"Responses": [{}]},
}
"""Responses of DynamoDB by operation; others are empty on success."""

NO_SECOND_INDEX = {"error": {"type": "index_not_found_exception"}, "status": 404}
BULK = {"errors": False, "items": [{"update": {"result": "created", "status": 201}}]}


class _Server(BaseHTTPRequestHandler):
    """DynamoDB and OpenSearch to a function that starts; a request has to be signed."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        _, _, operation = self.headers.get("X-Amz-Target", "").partition(".")
        self._answer("200 OK", ANSWERS.get(operation, {}) if operation else BULK)

    do_PUT = do_POST

    def do_GET(self) -> None:
        self._answer("404 Not Found", NO_SECOND_INDEX)

    def _answer(self, status: str, answer: Mapping[str, Any]) -> None:
        body = json.dumps(answer).encode()
        if not self.headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256 "):
            status = "403 Forbidden"
        head = (
            f"HTTP/1.1 {status}\r\nx-amzn-RequestId: 1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}"
        )
        self.wfile.write(f"{head}\r\n\r\n".encode() + body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextmanager
def answers() -> Iterator[str]:
    """Yield the URL of a server whose responses are ready."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
