"""Runs commands as a person would type them, `cdc` above all, in processes of their own."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.deployed.deployment import ROOT
from local.services import loopback
from local.services.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SECONDS = 900.0
_SHOWN = 2000  # characters of an output without JSON


@dataclass(frozen=True, slots=True)
class CommandLine:
    """Runs commands on the pipeline of an environment.

    Attributes:
        environment: name of the pipeline's environment.
        variables: environment variables, such as those with credentials.
        words: further words for `cdc`.
        stack: name of the pipeline's stack; without it, `cdc` finds the only one.
    """

    environment: str
    variables: Mapping[str, str]
    words: Sequence[str] = ()
    stack: str | None = None

    @classmethod
    def of_emulator(cls, url: str, **variables: str) -> CommandLine:
        """Return a command line for the emulator's pipelines, with further variables."""
        known = {**loopback.clean(), **loopback.credentials(), **variables}
        return cls("local", known, ("--endpoint-url", url))

    def on(self, stack: str) -> CommandLine:
        """Return a command line for a stack, of which the environment may have several."""
        return replace(self, stack=stack)

    def cdc(self, *arguments: str) -> list[str]:
        """Return the words of a `cdc` command."""
        where = ["--stack", self.stack] if self.stack else ["--environment", self.environment]
        return ["cdc", *arguments, *where, *self.words]

    def run(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command of the virtual environment.

        Raises:
            ServiceError: It is not installed, or takes too long.
        """
        command = str(Path(sys.executable).with_name(words[0]))
        try:
            return subprocess.run(
                [command, *words[1:]],
                cwd=ROOT,
                env=dict(self.variables),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
        except FileNotFoundError as error:
            message = f"{command} is not installed: run `make setup`."
            raise ServiceError(message) from error
        except subprocess.TimeoutExpired as error:
            message = f"`{shlex.join(words)}` took longer than {_SECONDS:.0f} s."
            raise ServiceError(message) from error

    def json(self, *arguments: str) -> tuple[int, Any]:
        """Return the exit status of `cdc` with `--json`, and the document that it printed.

        Raises:
            ServiceError: It printed no JSON; the message quotes the output.
        """
        words = self.cdc(*arguments, "--json")
        done = self.run(words)
        try:
            return done.returncode, json.loads(done.stdout)
        except ValueError as error:
            said = (done.stderr or done.stdout).strip()
            message = f"`{shlex.join(words)}` ended with status {done.returncode}: {said[-_SHOWN:]}"
            raise ServiceError(message) from error
