"""The state machine of `--on aws` stays within the limits of Step Functions."""

import json
from typing import Any

import pytest

from dynamodb_streams_cdc.cli.jobs import MOST_CHILDREN
from dynamodb_streams_cdc.operations.remote_walk import ITEMS_PER_PART
from dynamodb_streams_cdc.operations.walk import MOST_ITEMS
from stacks.maintenance import MOST_STEPS, THROTTLED, machine_name
from tests.infrastructure.deployment import Deployment
from tests.infrastructure.templates import Assembly, only

HISTORY_EVENTS, PAYLOAD_BYTES = 25_000, 256 * 1024
"""https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html"""

EVENTS_OF_A_TASK, EVENTS_OF_ANOTHER, EVENTS_OF_AN_ATTEMPT = 5, 2, 3
"""Entered, scheduled, started, succeeded, exited; entered, exited; scheduled, started, failed."""


@pytest.fixture(scope="module")
def walk(sandbox: Assembly) -> dict[str, Any]:
    machine = only(sandbox.pipeline, "AWS::StepFunctions::StateMachine", "MaintenanceMachine")
    text = Deployment(sandbox).value("pipeline", machine["Properties"]["DefinitionString"])
    found: dict[str, Any] = json.loads(text)["States"]["Walk"]
    return found


def test_a_child_execution_ends_before_its_history_is_full(walk: dict[str, Any]) -> None:
    states = walk["ItemProcessor"]["States"]
    one_step = ("Ask", "Keep", "Decide", "Rest", "Following")
    events = sum(
        EVENTS_OF_A_TASK if states[name]["Type"] == "Task" else EVENTS_OF_ANOTHER
        for name in one_step
    )
    throttled = 20 * EVENTS_OF_AN_ATTEMPT
    assert MOST_STEPS * (events + throttled) < HISTORY_EVENTS
    assert MOST_STEPS * MOST_ITEMS > ITEMS_PER_PART, "most parts end in one child execution"
    limits = [each for each in states["Decide"]["Choices"] if each.get("Variable") == "$.step"]
    assert [each["NumericGreaterThanEquals"] for each in limits] == [MOST_STEPS]


def test_stacks_with_long_names_have_machines_of_their_own() -> None:
    assert machine_name("cdc-sandbox-pipeline") == "cdc-sandbox-pipeline-maintenance"
    fits = "cdc-sandbox-pipeline-".ljust(68, "a")
    assert machine_name(fits) == f"{fits}-maintenance"
    names = {machine_name(f"{fits}{end}") for end in ("-x", "-y")}
    assert [len(name) for name in names] == [80, 80]
    assert all(name.startswith(fits[:59]) for name in names)


def test_a_part_that_fails_ends_no_other(walk: dict[str, Any]) -> None:
    assert walk["ToleratedFailurePercentage"] == 100
    assert walk["ItemProcessor"]["ProcessorConfig"] == {
        "Mode": "DISTRIBUTED",
        "ExecutionType": "STANDARD",
    }


def test_the_outputs_of_all_children_fit_into_a_state(walk: dict[str, Any]) -> None:
    """`ResultPath: null` does not help: the outputs are collected before it applies."""
    states = walk["ItemProcessor"]["States"]
    ends = [name for name, state in states.items() if state["Type"] == "Succeed"]
    assert {name: states[name].get("OutputPath", "$") for name in ends} == {"Done": None}
    assert not any(state.get("End") for state in states.values())
    assert MOST_CHILDREN * len("{},") < PAYLOAD_BYTES


def test_throttles_are_waited_for(walk: dict[str, Any]) -> None:
    ask = walk["ItemProcessor"]["States"]["Ask"]
    assert ask["Retry"][0]["ErrorEquals"] == list(THROTTLED)
    assert ask["Retry"][0]["JitterStrategy"] == "FULL"
    assert ask["Retry"][0]["MaxAttempts"] * ask["Retry"][0]["MaxDelaySeconds"] / 2 > 15 * 60
    assert ask["Catch"] == [
        {"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "GaveUp"}
    ]


def test_every_state_is_reached_and_leads_on(walk: dict[str, Any]) -> None:
    child = walk["ItemProcessor"]
    states, seen, waiting = child["States"], set[str](), [child["StartAt"]]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        state = states[name]
        following = [each["Next"] for each in (*state.get("Choices", ()), *state.get("Catch", ()))]
        following += [state[key] for key in ("Next", "Default") if key in state]
        assert following or state["Type"] == "Succeed", name
        waiting += following
    assert seen == set(states)


def test_services_are_called_in_the_partition(sandbox: Assembly) -> None:
    """`arn:aws:states` does not deploy in China, nor in GovCloud."""
    machine = only(sandbox.pipeline, "AWS::StepFunctions::StateMachine", "MaintenanceMachine")
    assert "arn:aws:" not in json.dumps(machine["Properties"]["DefinitionString"])


def test_an_operator_may_stop_what_runs(sandbox: Assembly) -> None:
    policy = only(sandbox.pipeline, "AWS::IAM::ManagedPolicy", "MaintenanceOperator")
    [allowed] = [
        each
        for each in policy["Properties"]["PolicyDocument"]["Statement"]
        if "states:StopExecution" in each["Action"]
    ]
    assert "states:DescribeExecution" in allowed["Action"]
    assert ":execution:" in json.dumps(allowed["Resource"])
