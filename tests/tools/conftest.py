"""An AWS account in memory for the tools that look at one and change one."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import pytest
from moto import mock_aws

from lambdas.example_domain import TABLES
from tests.tools.fake_aws import ACCOUNT, REGION, FakeAws
from tools.account import __main__ as command
from tools.account import cdk, deploy, settings
from tools.account.identity import Account, sign_in
from tools.example_context import CONTEXT


@pytest.fixture
def aws(sessions: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAws]:
    """The account that the credentials of this test reach."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "CONFIRM", "CDK_OPTIONS", "ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with mock_aws():
        yield FakeAws().installed(monkeypatch)


@pytest.fixture
def account(aws: FakeAws) -> Account:
    return sign_in()


Make: TypeAlias = Callable[..., tuple[int, str]]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Make:
    """Runs a make target for an account; returns its exit status and what it printed."""

    def run(*words: str, confirm: str = ACCOUNT, options: str = "") -> tuple[int, str]:
        with monkeypatch.context() as given:
            given.setenv("CONFIRM", confirm)
            given.setenv("CDK_OPTIONS", options)
            status = command.main(words)
        return status, capsys.readouterr().out

    return run


@pytest.fixture
def signed_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A shell without credentials, profile and Region."""
    for name in ("PROFILE", "REGION", "DEFAULT_REGION", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(autouse=True)
def example(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork has settings and tables of its own in cdk.json and lambdas/domain."""
    monkeypatch.setattr(settings, "cdk_json", lambda: CONTEXT)
    monkeypatch.setattr(deploy, "TABLES", TABLES)


@dataclass
class Cdk:
    """The CDK's command line: remembers how it was started."""

    status: int = 0
    runs: list[tuple[list[str], Path]] = field(default_factory=list)
    region: str | None = None

    @property
    def commands(self) -> list[list[str]]:
        return [arguments for arguments, _ in self.runs]

    def run(self, arguments: Sequence[str], directory: Path, environment: Mapping[str, str]) -> int:
        self.runs.append((list(arguments), directory))
        self.region = environment.get("AWS_REGION")
        assert not (directory / "cdk.json").exists() or arguments[0] != "bootstrap"
        return self.status


@pytest.fixture
def started(aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> Cdk:
    """A fresh account that is bootstrapped, and no CDK that is run for real."""
    aws.parameters["/cdk-bootstrap/hnb659fds/version"] = "30"
    made = Cdk()
    monkeypatch.setattr(cdk, "run", made.run)
    return made
