"""The emulator's Lambda workers: their environment, and their end with the emulator."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local.deployed.deployment import session
from tests.integration.processes import alive, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_lambda import LambdaClient

ROOT = Path(__file__).parents[2]
ROLE = "arn:aws:iam::000000000000:role/probe"

HANDLER = """
import os, sys, time
import boto3

def handler(event, context):
    if "sleep" in event:
        with open(event["sleep"], "w") as file:
            file.write(str(os.getpid()))
        time.sleep(600)
    client = boto3.client("dynamodb")
    return {
        "environment": dict(os.environ),
        "path": sys.path,
        "endpoint": client.meta.endpoint_url,
        "region": client.meta.region_name,
        "pid": os.getpid(),
        "links": os.stat(__file__).st_nlink,
    }
"""

STARTER = """
import sys
from local.services import service
with service.emulator() as engine:
    print(engine.url, engine.pid, engine.folder, flush=True)
    sys.stdin.read()
"""


def create_function(client: LambdaClient, name: str) -> None:
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("probe.py", HANDLER)
    client.create_function(
        FunctionName=name,
        Runtime="python3.13",
        Handler="probe.handler",
        Role=ROLE,
        Code={"ZipFile": package.getvalue()},
        Environment={"Variables": {"SOURCE_TABLE": "orders"}},
        Timeout=60,
    )


def invoke(client: LambdaClient, name: str, event: object) -> Any:
    with client.invoke(FunctionName=name, Payload=json.dumps(event))["Payload"] as payload:
        return json.load(payload)


@pytest.fixture(scope="module")
def seen(emulator_url: str) -> Iterator[dict[str, Any]]:
    """Environment of a function."""
    client = session(emulator_url).client("lambda")
    create_function(client, "probe")
    yield invoke(client, "probe", {})
    client.close()


def test_workers_get_links_to_the_files_of_a_package(seen: dict[str, Any]) -> None:
    assert seen["links"] > 1


def test_a_function_talks_to_the_emulator_and_to_no_account(
    seen: dict[str, Any], emulator_url: str
) -> None:
    assert seen["endpoint"] == emulator_url
    assert seen["region"] == "us-east-1"
    assert seen["environment"]["AWS_CONFIG_FILE"] == "/dev/null"
    assert "AWS_PROFILE" not in seen["environment"]
    assert seen["environment"]["SOURCE_TABLE"] == "orders"


def test_a_function_imports_its_package_only(
    seen: dict[str, Any],
) -> None:
    assert seen["path"][0].endswith("/code")
    assert str(ROOT) not in seen["path"]


def test_a_worker_is_warm_and_is_replaced_when_it_was_killed(
    seen: dict[str, Any], emulator_url: str
) -> None:
    client = session(emulator_url).client("lambda")
    assert invoke(client, "probe", {})["pid"] == seen["pid"]
    subprocess.run(["kill", "-9", str(seen["pid"])], check=True)
    eventually(lambda: not alive(seen["pid"]))
    assert invoke(client, "probe", {})["pid"] != seen["pid"]
    client.close()


def test_busy_workers_end_when_the_starter_dies(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTER],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as starter:
        assert starter.stdout is not None
        url, emulator, folder = starter.stdout.readline().split()
        client = session(url).client("lambda")
        create_function(client, "sleeper")
        notes = [tmp_path / "one", tmp_path / "two"]
        for note in notes:
            client.invoke(
                FunctionName="sleeper",
                InvocationType="Event",
                Payload=json.dumps({"sleep": str(note)}),
            )
        eventually(lambda: all(note.exists() and note.read_text() for note in notes))
        workers = [int(note.read_text()) for note in notes]
        assert len({*workers, int(emulator)}) == 3
        assert all(alive(worker) for worker in workers)

        starter.send_signal(signal.SIGKILL)
        starter.wait()
    eventually(lambda: not any(alive(pid) for pid in (*workers, int(emulator))))
    eventually(lambda: not Path(folder).exists())
    client.close()
