"""`--on aws`: what the command says about an execution that goes on, or fails."""

import pytest

from dynamodb_streams_cdc.deadline import SystemClock
from tests.cli.conftest import MACHINE, Cloud
from tests.lambdas.conftest import create_table

ARN = MACHINE.replace(":stateMachine:", ":execution:")
STOP = f"aws stepfunctions stop-execution --execution-arn {ARN}:"


@pytest.fixture(autouse=True)
def table(cloud: Cloud) -> None:
    client = cloud.client("dynamodb")
    create_table(client, "orders-1A2B", [("customer_id", "S"), ("order_id", "S")])
    stream = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    client.update_table(TableName="orders-1A2B", StreamSpecification=stream)


@pytest.mark.parametrize("words", [["backfill", "--yes"], ["verify"], ["verify", "--json"]])
def test_ctrl_c_says_what_goes_on_and_how_to_stop_it(
    cloud: Cloud, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(clock: SystemClock, seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SystemClock, "sleep", interrupted)
    cloud.execution = {"status": "RUNNING"}
    done = cloud.run(*words, "--on", "aws")
    assert done.exit_code == 130, done.output
    [name] = cloud.executions
    begun, _, interruption = done.stderr.partition("The walk goes on without this command")
    assert f"{STOP}{name}" in begun
    assert f"{STOP}{name}" in interruption
    assert "Interrupted: run it again" not in done.output


def test_an_execution_that_fails_is_shown_with_its_cause(cloud: Cloud) -> None:
    said = {"error": "States.ItemReaderFailed", "cause": "Access Denied"}
    cloud.execution = {"status": "FAILED", **said}
    report = cloud.json("backfill", "--yes", "--on", "aws", status=1)
    assert cloud.calls.count("StartExecution") == 1
    [name] = cloud.executions
    wanted = f"ended as FAILED, States.ItemReaderFailed: Access Denied ({ARN}:{name})"
    assert wanted in report["problems"][-1]


def test_more_workers_than_a_function_may_run_are_refused(cloud: Cloud) -> None:
    """They would throttle each other, and the stream's invocations too."""
    cloud.reserved = {"cdc-sandbox-search": 40}
    done = cloud.run("verify", "--on", "aws", "--workers", "41")
    assert done.exit_code == 2
    assert "of function cdc-sandbox-search 40 invocations may run at one time" in done.output
    assert "StartExecution" not in cloud.calls
    assert cloud.run("verify", "--on", "aws", "--workers", "40").exit_code == 1
    assert "StartExecution" in cloud.calls
