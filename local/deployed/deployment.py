"""Deploys the app to the emulator with the CDK command line, as AWS gets it.

The AWS account of the person takes no part: the environment is cleaned
(`local.services.loopback`), the credentials are the emulator's, and the synthesised app goes to a
folder of its own, so that several deployments can run at the same time.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.config import Config

from local.services import loopback
from local.services.errors import ServiceError
from local.services.guarded import GuardedProcess
from local.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["CONFIG", "ServiceError", "cdk_environment", "deploy", "session"]

ROOT = Path(__file__).parents[2]

CONFIG = Config(
    proxies={},
    connect_timeout=5,
    read_timeout=60,
    max_pool_connections=32,
    retries={"mode": "standard", "total_max_attempts": 3},
)
"""For every client of a local service: no proxy, few retries."""

CDK_ADVICE = "feature flags are not configured"
"""Part of a line that `cdk synth` prints; no option of the CDK turns it off."""

QUALIFIER = "hnb659fds"
"""The CDK's qualifier, a part of the names of everything that `cdk bootstrap` makes, unless the
context has another: https://docs.aws.amazon.com/cdk/v2/guide/bootstrapping-customizing.html"""

QUALIFIER_KEY = "@aws-cdk/core:bootstrapQualifier"

_TAIL_LINES = 25
_POLL_SECONDS = 0.05
_REMOVAL_SECONDS = 5.0


def session(url: str) -> boto3.Session:
    """Return a boto3 session whose clients and resources talk to this URL only.

    They need no further arguments: `session(url).client("dynamodb")`. Profiles, credentials and
    variables of the person are ignored.
    """
    keys = loopback.credentials()
    return boto3.Session(
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        region_name=loopback.REGION,
        botocore_session=_LocalSession(url),
    )


class _LocalSession(botocore.session.Session):
    """A session with one endpoint: without one, botocore would talk to AWS."""

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
) -> dict[str, dict[str, str]]:
    """Bootstrap the emulator and deploy every stack of the app; return the outputs by stack.

    `settings` are further context values (`-c name=value`) for the app.

    Raises:
        ServiceError: The CDK command line failed; the message ends with its last output.
    """
    environment = cdk_environment(emulator_url)
    account = f"aws://{loopback.ACCOUNT}/{loopback.REGION}"
    context = {"environment": "local", "search_url": search_url, **settings}
    # That of cdk.json is an account's.
    context[QUALIFIER_KEY] = QUALIFIER
    flags = [word for name, value in context.items() for word in ("-c", f"{name}={value}")]
    with _workplace() as folder, ExitStack() as steps:

        def step(*arguments: str, directory: Path | None = None) -> _Step:
            made = _Step(arguments, folder / arguments[0], directory, environment)
            return steps.enter_context(made)

        # At the same time: bootstrapping needs no app, and a synth keeps one core busy for seconds.
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
    """Return the environment of the CDK command line: the venv's Node and Python, the emulator."""
    own = Path(sys.executable).parent
    path = os.pathsep.join([str(own), os.environ.get("PATH", os.defpath)])
    return {
        **loopback.clean(),
        **loopback.credentials(),
        "AWS_ENDPOINT_URL": emulator_url,
        "CDK_DEFAULT_ACCOUNT": loopback.ACCOUNT,
        "CDK_DEFAULT_REGION": loopback.REGION,
        "CDK_DISABLE_VERSION_CHECK": "1",
        # `make synth` and `make deploy` have CloudFormation's rules checked; it takes longer than
        # all else of a synth.
        "CDK_VALIDATION": "false",
        "NO_COLOR": "1",
        "PATH": path,
    }


class _Step(GuardedProcess):
    """One run of the CDK command line; it never outlives its starter."""

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        directory: Path | None,
        environment: Mapping[str, str],
    ) -> None:
        self.name = f"cdk {arguments[0]}"
        self.folder = folder
        folder.mkdir()
        self._arguments = arguments
        self._directory = directory
        self._environment = environment
        self._told = 0

    def start(self) -> None:
        # Temporary files of a step that is ended are removed with its folder.
        environment = {**self._environment, "TMPDIR": str(self.folder)}
        command = [*_cdk(), *self._arguments]
        self.guard(command, environment, grace=5.0, directory=self._directory).start()

    def news(self) -> list[str]:
        """Return the lines that were finished since the last call, without empty ones."""
        finished, _, _ = self.log.read_text("utf-8", "replace").rpartition("\n")
        stripped = map(str.strip, finished.splitlines())
        lines = [line for line in stripped if line and CDK_ADVICE not in line]
        fresh, self._told = lines[self._told :], len(lines)
        return fresh


def _finish(steps: Sequence[_Step], progress: Callable[[str], None]) -> None:
    """Wait for every step and report its lines; stop at the first that fails."""
    running = list(steps)
    while running:
        for step in list(running):
            status = step.status
            for line in step.news():
                progress(f"{step.name}: {line}")
            if status is not None:
                running.remove(step)
            if status:
                tail = step.tail(_TAIL_LINES)
                message = f"`{step.name}` failed with status {status}. Its output ends:\n{tail}"
                raise ServiceError(message)
        time.sleep(_POLL_SECONDS)


@contextmanager
def _workplace() -> Iterator[Path]:
    """One temporary folder for all steps, removed however they end.

    It is named before it is made, so that an interrupt at any moment removes it.
    """
    folder = Path(tempfile.gettempdir(), f"cdc-deploy-{uuid.uuid4().hex}").resolve()
    try:
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            message = f"Cannot deploy: {error}."
            raise ServiceError(message) from error
        yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder again while a process that was killed still finishes a write to it."""

    def removed() -> bool:
        shutil.rmtree(folder, ignore_errors=True)
        return not folder.exists()

    wait_until(removed, seconds=_REMOVAL_SECONDS)


def _cdk() -> list[str]:
    cdk = ROOT / "node_modules" / ".bin" / "cdk"
    node = Path(sys.executable).with_name("node")
    if not cdk.exists() or not node.exists():
        message = "The CDK command line is not installed: run `make setup`."
        raise ServiceError(message)
    return [str(node), str(cdk.resolve()), "--ci", "--no-notices", "--no-version-reporting"]


def _outputs(path: Path) -> dict[str, dict[str, str]]:
    if not path.exists():
        message = "`cdk deploy` succeeded and wrote no outputs."
        raise ServiceError(message)
    stacks: dict[str, dict[str, str]] = json.loads(path.read_text("utf-8"))
    return stacks
