"""Services start, stop, come back with their data, and say in a sentence why they cannot."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections import namedtuple
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local.services import java_dependencies as jars
from local.services import loopback, service
from local.services.service import Recipe, Service, ServiceError
from tests.integration.processes import alive, eventually

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]

STARTER = """
import sys
from local.services import service
with getattr(service, sys.argv[1])() as node:
    print(node.pid, node.folder, flush=True)
    sys.stdin.read()
"""


def request(method: str, url: str, document: object = None) -> Any:
    body = None if document is None else json.dumps(document).encode()
    headers = {"Content-Type": "application/json"}
    asked = urllib.request.Request(url, body, headers, method=method)
    with urllib.request.urlopen(asked, timeout=30) as response:
        return json.load(response)


def scripted(
    script: str, answers: Callable[[str, Path], bool] | None = None, **options: Any
) -> Service:
    """A service that is a few lines of Python."""
    recipe = Recipe(
        "The scripted service",
        lambda folder, port: [sys.executable, "-c", script],
        answers or (lambda url, folder: loopback.status(url) is not None),
        **options,
    )
    return Service(recipe)


def test_a_service_without_a_free_port_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every port that was free a moment ago may be in use now."""
    monkeypatch.setattr(loopback, "is_free", lambda port: False)

    with (
        pytest.raises(ServiceError, match=r"The AWS emulator finds no free port\."),
        service.emulator(),
    ):
        pass
    with pytest.raises(ServiceError, match="between 9201 and 9299"), service.opensearch():
        pass


def test_opensearch_keeps_its_data_over_a_stop_and_a_crash(opensearch_url: str) -> None:
    told: list[str] = []
    with service.opensearch(progress=told.append) as node:
        assert node.url != opensearch_url, "two nodes at once must have ports of their own"
        # A new index builds every analyzer that the node knows.
        request("PUT", f"{node.url}/kept/_doc/1?refresh=true", {"title": "first"})
        first, folder = node.pid, node.folder

        node.stop()
        assert not node.running
        assert not alive(first)
        assert loopback.status(node.url) is None
        node.start()
        assert node.pid != first
        assert request("GET", f"{node.url}/kept/_doc/1")["_source"] == {"title": "first"}

        request("PUT", f"{node.url}/kept/_doc/2", {"title": "second"})
        node.kill()
        node.start()
        assert request("GET", f"{node.url}/kept/_doc/2")["_source"] == {"title": "second"}
        last = node.pid
    assert not alive(last)
    assert not folder.exists()
    assert any("is starting on port" in sentence for sentence in told)
    assert "is ready on port" in told[-1]


def test_a_full_disk_does_not_make_indices_read_only(opensearch_url: str) -> None:
    settings = request(
        "GET", f"{opensearch_url}/_cluster/settings?include_defaults=true&flat_settings=true"
    )
    name = "cluster.routing.allocation.disk.threshold_enabled"
    assert {**settings["defaults"], **settings["persistent"], **settings["transient"]}[
        name
    ] == "false"


def test_opensearch_and_the_emulator_listen_on_loopback(
    opensearch_url: str, emulator_url: str
) -> None:
    for url in (opensearch_url, emulator_url):
        assert loopback.status(url) is not None
        # A service that listens on every interface answers here, where the platform has it.
        assert loopback.status(url.replace("127.0.0.1", "127.0.0.2")) is None


def test_two_of_a_kind_run_at_the_same_time(dynamodb_local_url: str, emulator_url: str) -> None:
    with service.dynamodb_local() as other, service.emulator() as another:
        assert other.url != dynamodb_local_url
        assert another.url != emulator_url
        assert loopback.status(dynamodb_local_url) == loopback.status(other.url) == 400
        assert alive(other.pid)
        assert alive(another.pid)
    assert not alive(other.pid)
    assert not alive(another.pid)


def test_a_service_that_ends_early_quotes_its_log() -> None:
    node = scripted("print('no such flag: -x'); raise SystemExit(2)")
    with pytest.raises(ServiceError, match="ended before it was ready") as raised, node:
        pytest.fail("it started")
    assert "no such flag: -x" in str(raised.value)
    assert not node.folder.exists()


def test_a_service_on_a_full_disk_says_so() -> None:
    node = scripted("raise OSError(28, 'No space left on device')")
    with pytest.raises(ServiceError, match=r"the disk that holds .* is full\.$"), node:
        pytest.fail("it started")


def test_a_service_that_never_answers_times_out() -> None:
    def answers(url: str, folder: Path) -> bool:
        # Python may take longer than its patience before it prints anything.
        eventually(lambda: "busy" in node.tail())
        return loopback.status(url) is not None

    script = "import time; print('busy', flush=True); time.sleep(600)"
    node = scripted(script, answers, patience=0.5)
    with pytest.raises(ServiceError, match=r"did not answer within .* s\.") as raised, node:
        pytest.fail("it started")
    assert "busy" in str(raised.value)
    assert not alive(node.pid)
    assert not node.folder.exists()


def test_a_full_disk_is_found_before_a_service_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**12, 10**12, 10**6))
    with pytest.raises(ServiceError, match="has 1 MB left"), service.emulator():
        pytest.fail("it started")


def test_missing_jars_are_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(jars, "_INSTALLED", tmp_path)
    with pytest.raises(ServiceError, match="run `make setup`"), service.dynamodb_local():
        pytest.fail("it started")


def lock_one_jar(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sha256: str) -> None:
    monkeypatch.setattr(jars, "_INSTALLED", tmp_path / "installed")
    monkeypatch.setattr(jars, "_LOCKS", tmp_path)
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "jgo.lock.toml").write_text(
        '[[dependencies]]\ngroupId = "g"\nartifactId = "a"\nversion = "1"\npackaging = "jar"\n'
        f'sha256 = "{sha256}"\n'
    )
    monkeypatch.setattr(jars, "SERVICES", ("fake",))
    monkeypatch.setattr("time.sleep", lambda seconds: None)


@pytest.mark.parametrize("failures", [2, 3])
def test_a_request_that_failed_is_repeated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failures: int
) -> None:
    lock_one_jar(monkeypatch, tmp_path, hashlib.sha256(b"jar").hexdigest())
    fetched = tmp_path / "fetched.jar"
    fetched.write_bytes(b"jar")
    answers = iter([ServiceError("Cannot fetch a-1.jar: 503.")] * failures)

    def fetch(artifact: object, jar: object) -> Path:
        for error in answers:
            raise error
        return fetched

    monkeypatch.setattr(jars, "_resolve", fetch)
    with pytest.raises(ServiceError, match="503") if failures == 3 else nullcontext():
        jars.install(lambda sentence: None)
    assert (tmp_path / "installed" / "fake" / "a-1.jar").exists() == (failures < 3)


def test_a_jar_that_is_not_the_locked_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lock_one_jar(monkeypatch, tmp_path, "0" * 64)

    def fetch(artifact: object, jar: object) -> Path:
        fetched = tmp_path / "fetched.jar"
        fetched.write_bytes(b"something else")
        return fetched

    monkeypatch.setattr(jars, "_resolve", fetch)
    with pytest.raises(ServiceError, match=r"a-1\.jar is not the file that was locked"):
        jars.install(lambda sentence: None)
    assert not (tmp_path / "installed" / "fake").exists()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("kind", ["opensearch", "dynamodb_local", "emulator"])
def test_a_starter_that_dies_leaves_no_engine_and_no_folder(kind: str, how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, kind],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as starter:
        assert starter.stdout is not None
        pid, folder = starter.stdout.readline().split()
        assert alive(int(pid))
        starter.send_signal(how)
        starter.wait()
    eventually(lambda: not alive(int(pid)))
    eventually(lambda: not Path(folder).exists())


def test_ctrl_c_while_an_engine_starts_leaves_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, "opensearch"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as starter:
        eventually(lambda: list(tmp_path.glob("cdc-service-*/process.log")))
        starter.send_signal(signal.SIGINT)
        starter.wait()
    listing = subprocess.run(
        ["ps", "-A", "-o", "args="], capture_output=True, text=True, check=True
    )
    assert str(tmp_path) not in listing.stdout
    assert list(tmp_path.glob("cdc-service-*")) == []
