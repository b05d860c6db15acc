"""`--on aws` finds what this machine finds, and fills what it fills; the schedule does its part.

The state machine runs in the emulator, with the deployed functions and OpenSearch. Nothing reads
the streams meanwhile: what the copies have, they have by the commands.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import urllib3

from dynamodb_streams_cdc import serialize_item
from dynamodb_streams_cdc.operations.manifest import Manifest
from local.deployed.command_line import CommandLine
from local.deployed.deployment import cdk_environment, deploy, session
from local.services import service
from local.services.emulator import UNPATCHED
from tests.factories import order

if TYPE_CHECKING:
    from pathlib import Path

    import boto3

ITEMS = 400
FILL = [word for name in ("aggregation", "audit", "search") for word in ("--processor", name)]


class Deployed(NamedTuple):
    aws: boto3.Session
    manifest: Manifest
    command: CommandLine


@pytest.fixture(scope="module")
def deployed(
    emulator_url: str, opensearch_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Deployed:
    """The app with its maintenance; items in the table, and no copy of any."""
    settings = {"maintenance": "true", "index_prefix": "onaws-", "verify_share": "100"}
    outputs = deploy(emulator_url, opensearch_url, settings=settings)
    [stack] = [name for name, found in outputs.items() if "Manifest" in found]
    manifest = Manifest.of(stack, outputs[stack])
    aws = session(emulator_url)
    for processor in manifest.processors:
        aws.client("lambda").update_event_source_mapping(UUID=processor.mapping, Enabled=False)
    table = manifest.source_table().table
    for number in range(ITEMS):
        placed = order(f"{number % 90:05}-{number:04}", total=f"{number % 50}.25")
        aws.client("dynamodb").put_item(TableName=table, Item=serialize_item(placed))
    jobs: Path = tmp_path_factory.mktemp("jobs")
    variables = {**cdk_environment(emulator_url), "CDC_JOBS": str(jobs)}
    return Deployed(aws, manifest, CommandLine("local", variables))


def test_both_ways_fill_and_find_the_same(deployed: Deployed) -> None:
    status, filled = deployed.command.json(
        "backfill", "--yes", "--on", "aws", "--workers", "6", *FILL
    )
    assert (status, filled["problems"], filled["failures"]) == (0, [], [])
    assert filled["read"] == filled["applied"]
    assert filled["read"] == dict.fromkeys(("aggregation", "audit", "search"), ITEMS)
    again = deployed.command.json("backfill", "--yes", "--job", "again", *FILL)[1]
    assert again["held"] == filled["applied"], "this machine would have filled the same"

    assert verified(deployed) == verified(deployed, "--on", "aws") == (0, [])
    damage(deployed)
    here, there = verified(deployed), verified(deployed, "--on", "aws")
    assert here == there
    kinds = {(each["sink"], each["kind"]) for each in here[1]}
    assert {("search", "missing"), ("search", "wrong"), ("search", "extra")} <= kinds
    assert {("aggregation", "missing"), ("aggregation", "sum")} <= kinds
    assert len(here[1]) > 20


def test_the_scheduled_function_counts_the_differences(deployed: Deployed) -> None:
    """It verifies all of the table here; and no fill is open, so it purges."""
    assert deployed.manifest.maintenance is not None
    name = deployed.manifest.maintenance.function
    for task in ("verify", "purge"):
        answer = deployed.aws.client("lambda").invoke(
            FunctionName=name, Payload=json.dumps({"task": task}).encode()
        )
        assert "FunctionError" not in answer, answer["Payload"].read()
    status, found = deployed.command.json("status")
    assert status == 0
    noted = found["processors"]["search"]
    assert noted["differences"] > 0
    assert noted["tombstones"] == 0


def verified(deployed: Deployed, *words: str) -> tuple[int, list[dict[str, Any]]]:
    job = ("--job", "-".join(["verify", *words]).replace("--", ""))
    status, found = deployed.command.json("verify", "--settle", "0", *job, *words)
    assert (found["problems"], found["moving"], found["complete"]) == ([], 0, True)
    return status, found["differences"]


def damage(deployed: Deployed) -> None:
    """Lose and alter documents, add one of no item, and lose ledger rows."""
    assert deployed.manifest.search is not None
    index = f"{deployed.manifest.search.endpoint}/onaws-orders-write"
    names = [f"orders/S={n % 90:05}/S={n % 90:05}-{n:04}" for n in range(ITEMS)]
    for name in names[:9]:
        sent("DELETE", f"{index}/_doc/{quoted(name)}")
    for name in names[20:27]:
        held = sent("GET", f"{index}/_doc/{quoted(name)}")["_source"]
        sent("PUT", f"{index}/_doc/{quoted(name)}", {**held, "status": "altered"})
    held = sent("GET", f"{index}/_doc/{quoted(names[30])}")["_source"]
    never = "orders/S=99999/S=99999-0001"
    strange = {**held, "cdc": {**held["cdc"], "item": never}}
    sent("PUT", f"{index}/_doc/{quoted(never)}", strange)
    sent("POST", f"{index}/_refresh")
    ledger = deployed.manifest.table("idempotency")
    for name in names[50:55]:
        key = {"id": {"S": f"ledger/{name}"}}
        deployed.aws.client("dynamodb").delete_item(TableName=ledger, Key=key)


def quoted(name: str) -> str:
    return name.replace("/", "%2F").replace("=", "%3D")


def sent(method: str, url: str, body: Any = None) -> Any:
    answer = urllib3.request(method, url, json=body)
    assert answer.status < 300, answer.data
    return answer.json()


def test_the_emulator_still_needs_its_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the fix, a state machine cannot write an object."""
    machine = {
        "StartAt": "Put",
        "States": {
            "Put": {
                "Type": "Task",
                "Resource": "arn:aws:states:::aws-sdk:s3:putObject",
                "Parameters": {"Bucket": "bucket", "Key": "key", "Body": {"a": 1}},
                "End": True,
            }
        },
    }
    role = "arn:aws:iam::000000000000:role/any"
    monkeypatch.setenv(UNPATCHED, "1")
    with service.emulator() as emulator:
        aws = session(emulator.url)
        aws.client("s3").create_bucket(Bucket="bucket")
        states = aws.client("stepfunctions")
        arn = states.create_state_machine(name="put", definition=json.dumps(machine), roleArn=role)[
            "stateMachineArn"
        ]
        execution = states.start_execution(stateMachineArn=arn)["executionArn"]
        while (found := states.describe_execution(executionArn=execution))["status"] == "RUNNING":
            pass
        assert found["status"] == "FAILED"
