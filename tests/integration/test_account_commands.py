"""The commands for an AWS account, typed and interrupted; the emulator stands for the account."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from local.deployed.deployment import ROOT
from local.services import loopback, service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Type = Callable[..., tuple[int, str]]


@pytest.fixture
def typed() -> Iterator[Type]:
    """Run a command without a terminal; press Ctrl-C when it says `interrupt_at`."""
    with service.emulator() as emulator:
        environment = {
            **loopback.clean(),
            **loopback.credentials(),
            "AWS_ENDPOINT_URL": emulator.url,
            "CONFIRM": loopback.ACCOUNT,
            "NO_COLOR": "1",
        }

        def run(*words: str, interrupt_at: str | None = None) -> tuple[int, str]:
            with subprocess.Popen(
                [sys.executable, "-m", "tools.account", *words],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            ) as process:
                assert process.stdout is not None
                said = []
                for line in process.stdout:
                    said.append(line)
                    if interrupt_at is not None and interrupt_at in line:
                        interrupt_at = None
                        os.killpg(process.pid, signal.SIGINT)
            assert interrupt_at is None, "".join(said)
            return process.returncode, "".join(said)

        yield run


def test_deploy_and_destroy_are_interrupted_and_repeated(typed: Type) -> None:
    status, said = typed("preflight", "sandbox")
    assert (status, "make bootstrap ENVIRONMENT=sandbox" in said) == (1, True), said
    status, said = typed("bootstrap", "sandbox")
    assert status == 0, said
    assert f"Environment aws://{loopback.ACCOUNT}/{loopback.REGION} bootstrapped." in said

    status, said = typed("deploy", "sandbox", interrupt_at=": deploying...")
    assert status == 130, said
    assert "--require-approval never" in said
    assert "CloudFormation continues" in said
    assert "Traceback" not in said
    # The emulator does not support every type of the last stack: the failure is checked as well.
    status, said = typed("deploy", "sandbox")
    assert (status == 0) != ("The deploy failed with status" in said), said
    _, found = typed("preflight", "sandbox", "--json")
    stacks = [each for each in json.loads(found)["findings"] if each["check"] == "stacks"]
    assert "cdc-sandbox-search CREATE_COMPLETE" in stacks[0]["sentence"], stacks

    status, said = typed("destroy", "sandbox", interrupt_at="Deleting cdc-sandbox-")
    assert status == 130, said
    status, said = typed("destroy", "sandbox")
    assert status == 0, said
    assert "Nothing of environment sandbox is left" in said
