"""Deploy the very app that AWS gets to the emulator, with the CDK command line.

Nothing of the person's own AWS account takes part: the environment is cleaned
(`local.services.loopback`), the credentials are the emulator's, and the synthesised app goes to a
folder of its own, so that several deployments can run beside each other.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.config import Config

from local.services import loopback
from local.services.errors import EngineError
from local.services.process_guard import ProcessGuard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["CONFIG", "EngineError", "cdk_environment", "deploy", "session"]

ROOT = Path(__file__).parents[2]

CONFIG = Config(
    proxies={},
    connect_timeout=5,
    read_timeout=60,
    max_pool_connections=32,
    retries={"mode": "standard", "total_max_attempts": 3},
)
"""For every client of a local engine: no proxy, few retries."""

_TAIL_LINES = 25
_POLL_SECONDS = 0.05
_REMOVAL_SECONDS = 5.0


def session(url: str) -> boto3.Session:
    """A boto3 session whose clients and resources talk to this URL and to nothing else.

    They need no further arguments: `session(url).client("dynamodb")`. The person's profiles,
    credentials and variables play no part.
    """
    keys = loopback.credentials()
    return boto3.Session(
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        region_name=loopback.REGION,
        botocore_session=_LocalSession(url),
    )


class _LocalSession(botocore.session.Session):
    """A session that knows one endpoint: without one, botocore would quietly talk to AWS."""

    def __init__(self, url: str) -> None:
        # (name in the config file, environment variable, default, conversion): nothing is looked up
        super().__init__(
            session_vars={
                "profile": (None, None, None, None),
                "config_file": (None, None, os.devnull, None),
                "credentials_file": (None, None, os.devnull, None),
            }
        )
        self._url = url

    def create_client(self, *arguments: Any, **options: Any) -> Any:
        options["endpoint_url"] = self._url
        options["config"] = CONFIG.merge(options.get("config") or Config())
        return super().create_client(*arguments, **options)


def deploy(
    emulator_url: str,
    search_url: str,
    progress: Callable[[str], None] = lambda sentence: None,
    *,
    app: Path = ROOT,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, str]:
    """Bootstrap the emulator and deploy every stack of the app; return the stacks' outputs.

    `settings` are further context values (`-c name=value`) for the app.

    Raises:
        EngineError: The CDK command line failed; the message ends with what it said last.
    """
    environment = cdk_environment(emulator_url)
    account = f"aws://{loopback.ACCOUNT}/{loopback.REGION}"
    context = {"environment": "local", "search_url": search_url, **settings}
    flags = [word for name, value in context.items() for word in ("-c", f"{name}={value}")]
    with _workplace() as folder, ExitStack() as steps:

        def step(*arguments: str, directory: Path | None = None) -> _Step:
            made = _Step(arguments, folder / arguments[0], directory, environment)
            return steps.enter_context(closing(made))

        # Side by side: bootstrapping needs no app, and a synth keeps one core busy for seconds.
        synthesised = str(folder / "cdk.out")
        synth = step("synth", "--quiet", "--output", synthesised, *flags, directory=app)
        _finish([step("bootstrap", account), synth], progress)
        outputs = folder / "outputs.json"
        deployment = step(
            *("deploy", "--all", "--require-approval", "never", "--progress", "events"),
            *("--app", synthesised, "--outputs-file", str(outputs)),
        )
        _finish([deployment], progress)
        return _outputs(outputs)


def cdk_environment(emulator_url: str) -> Mapping[str, str]:
    """What the CDK command line and the app run with: the venv's Node and Python, the emulator."""
    own = Path(sys.executable).parent
    path = os.pathsep.join([str(own), os.environ.get("PATH", os.defpath)])
    return {
        **loopback.clean(),
        **loopback.credentials(),
        "AWS_ENDPOINT_URL": emulator_url,
        "CDK_DEFAULT_ACCOUNT": loopback.ACCOUNT,
        "CDK_DEFAULT_REGION": loopback.REGION,
        "CDK_DISABLE_VERSION_CHECK": "1",
        "NO_COLOR": "1",
        "PATH": path,
    }


class _Step:
    """One run of the CDK command line, guarded like an engine: it never outlives its starter."""

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        directory: Path | None,
        environment: Mapping[str, str],
    ) -> None:
        self.name = f"cdk {arguments[0]}"
        folder.mkdir()
        self._log = folder / "cdk.log"
        self._told = 0
        self._guard = ProcessGuard(
            [*_cdk(), *arguments],
            folder=folder,
            log=self._log,
            # What a step that is ended leaves in the temporary folder goes with its own.
            environment={**environment, "TMPDIR": str(folder)},
            directory=directory,
            grace=5.0,
        )
        try:
            self._guard.start()
        except BaseException:
            self._guard.close()
            raise

    def poll(self) -> int | None:
        return self._guard.status()

    def news(self) -> list[str]:
        """The lines written since the last call, without empty ones."""
        lines = self._lines()
        fresh, self._told = lines[self._told :], len(lines)
        return fresh

    def tail(self) -> str:
        return "\n".join(self._lines()[-_TAIL_LINES:])

    def close(self) -> None:
        self._guard.close()

    def _lines(self) -> list[str]:
        # Only what a line break has ended: the rest is still being written.
        written, _, _ = self._log.read_text("utf-8", "replace").rpartition("\n")
        return [line.strip() for line in written.splitlines() if line.strip()]


def _finish(steps: Sequence[_Step], progress: Callable[[str], None]) -> None:
    """Wait for every step, passing their lines on; stop at the first that fails."""
    running = list(steps)
    while running:
        for step in list(running):
            status = step.poll()
            for line in step.news():
                progress(f"{step.name}: {line}")
            if status is not None:
                running.remove(step)
            if status:
                message = f"`{step.name}` failed with status {status}. It said:\n{step.tail()}"
                raise EngineError(message)
        time.sleep(_POLL_SECONDS)


@contextmanager
def _workplace() -> Iterator[Path]:
    """One temporary folder for all steps, gone with them however they end.

    It has a name before it is there: an interrupt at any moment from then on removes it.
    """
    folder = Path(tempfile.gettempdir(), f"cdc-deploy-{uuid.uuid4().hex}").resolve()
    try:
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            message = f"Cannot deploy: {error}."
            raise EngineError(message) from error
        yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove what a process, killed in the middle of a write, put there while it was removed."""
    deadline = time.monotonic() + _REMOVAL_SECONDS
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(_POLL_SECONDS)


def _cdk() -> list[str]:
    cdk = ROOT / "node_modules" / ".bin" / "cdk"
    node = Path(sys.executable).with_name("node")
    if not cdk.exists() or not node.exists():
        message = "The CDK command line is not installed: run `make setup`."
        raise EngineError(message)
    return [str(node), str(cdk.resolve()), "--ci", "--no-notices", "--no-version-reporting"]


def _outputs(path: Path) -> dict[str, str]:
    """The outputs of all stacks in one dictionary; their names are unique across the app."""
    if not path.exists():
        message = "`cdk deploy` ended well and wrote no outputs."
        raise EngineError(message)
    stacks: dict[str, dict[str, str]] = json.loads(path.read_text("utf-8"))
    return {name: value for outputs in stacks.values() for name, value in outputs.items()}
