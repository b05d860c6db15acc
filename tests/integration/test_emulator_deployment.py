"""`cdk deploy` reaches the emulator and never an account; what goes wrong is said."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from local.deployed.deployment import cdk_environment, deploy, session
from local.services import service
from local.services.errors import ServiceError

if TYPE_CHECKING:
    from pathlib import Path

APP = """
import os
import aws_cdk as cdk
from aws_cdk import aws_sqs as sqs

app = cdk.App()
for name in ("one", "two"):
    stack = cdk.Stack(
        app,
        f"probe-{name}",
        env=cdk.Environment(
            account=os.environ["CDK_DEFAULT_ACCOUNT"], region=os.environ["CDK_DEFAULT_REGION"]
        ),
    )
    queue = sqs.Queue(stack, "Queue")
    cdk.CfnOutput(stack, f"{name.title()}QueueUrl", value=queue.queue_url)
cdk.CfnOutput(stack, "Environment", value=app.node.get_context("environment"))
cdk.CfnOutput(stack, "SearchUrl", value=app.node.get_context("search_url"))
cdk.CfnOutput(stack, "Further", value=app.node.get_context("further"))
app.synth()
"""

MINES = {
    "AWS_PROFILE": "production",
    "AWS_ACCESS_KEY_ID": "person",
    "AWS_SESSION_TOKEN": "secret",
    "AWS_ENDPOINT_URL_DYNAMODB": "http://192.0.2.1",
    "AWS_CONFIG_FILE": "/nowhere/config",
    "CDK_DEFAULT_ACCOUNT": "123456789012",
    "CDK_OUTDIR": "/nowhere/cdk.out",
    "HTTPS_PROXY": "http://192.0.2.1:3128",
    "http_proxy": "http://192.0.2.1:3128",
}


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    # A fork's accounts may be bootstrapped with a qualifier of their own.
    context = {"@aws-cdk/core:bootstrapQualifier": "forks"}
    (tmp_path / "cdk.json").write_text(json.dumps({"app": "python app.py", "context": context}))
    return tmp_path


@pytest.fixture
def mines(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a person who works with real accounts behind a proxy."""
    for name, value in MINES.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("mines")
def test_every_stack_is_deployed_and_its_outputs_come_back(app: Path) -> None:
    told: list[str] = []
    with service.emulator() as emulator:
        stacks = deploy(
            emulator.url,
            "http://127.0.0.1:9250",
            told.append,
            app=app,
            settings={"further": "setting"},
        )
        client = session(emulator.url).client("sqs")
        queues = client.list_queues()["QueueUrls"]
        client.close()
    outputs = {name: value for each in stacks.values() for name, value in each.items()}
    assert outputs.keys() == {"OneQueueUrl", "TwoQueueUrl", "Environment", "SearchUrl", "Further"}
    assert outputs["Environment"] == "local"
    assert outputs["SearchUrl"] == "http://127.0.0.1:9250"
    assert outputs["Further"] == "setting"
    assert sorted(queues) == sorted([outputs["OneQueueUrl"], outputs["TwoQueueUrl"]])
    assert any(sentence.startswith("cdk deploy: ") for sentence in told)
    assert not any("feature flags" in sentence for sentence in told)
    assert {path.name for path in app.iterdir()} == {"app.py", "cdk.json"}


def test_an_app_that_fails_is_quoted(app: Path, emulator_url: str) -> None:
    (app / "app.py").write_text("raise SystemExit('environment=local: no such setting')")
    with pytest.raises(ServiceError, match="`cdk synth` failed with status 1") as raised:
        deploy(emulator_url, "http://127.0.0.1:9250", app=app)
    assert "environment=local: no such setting" in str(raised.value)


@pytest.mark.usefixtures("mines")
def test_nothing_of_the_persons_account_reaches_cdk() -> None:
    environment = cdk_environment("http://127.0.0.1:4566")
    assert not set(MINES.values()) & set(environment.values())
    assert environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
    assert environment["AWS_CONFIG_FILE"] == os.devnull


@pytest.mark.usefixtures("mines")
def test_no_client_of_a_session_can_reach_an_account() -> None:
    made = session("http://127.0.0.1:4566")
    credentials = made.get_credentials()
    assert credentials is not None
    assert (credentials.access_key, credentials.token) == ("test", None)
    for name in ("dynamodb", "s3"):
        client = made.client(name)
        assert client.meta.endpoint_url == "http://127.0.0.1:4566"
        assert client.meta.config.proxies == {}  # type: ignore[attr-defined]
        client.close()
    resource = made.resource("dynamodb")
    assert resource.meta.client.meta.endpoint_url == "http://127.0.0.1:4566"
    resource.meta.client.close()
