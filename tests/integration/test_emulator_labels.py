"""The emulator labels the streams of tables from CloudFormation as AWS does, with the fix."""

import json
import uuid
from typing import Any

import pytest

from dynamodb_streams_cdc.identity import stream_label
from local.deployed.deployment import session
from local.services import service
from local.services.emulator import UNPATCHED

TABLE = {
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
    "StreamSpecification": {"StreamViewType": "NEW_IMAGE"},
}
RESOURCES = {
    "AWS::DynamoDB::Table": TABLE,
    "AWS::DynamoDB::GlobalTable": {**TABLE, "Replicas": [{"Region": "us-east-1"}]},
}


def stream_of_a_stack(url: str, kind: str) -> str:
    client: Any = session(url).client("cloudformation")
    name = f"labels-{uuid.uuid4()}"
    template = {
        "Resources": {"Table": {"Type": kind, "Properties": RESOURCES[kind]}},
        "Outputs": {"Stream": {"Value": {"Fn::GetAtt": ["Table", "StreamArn"]}}},
    }
    client.create_stack(StackName=name, TemplateBody=json.dumps(template))
    client.get_waiter("stack_create_complete").wait(
        StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )
    [output] = client.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
    client.close()
    arn: str = output["OutputValue"]
    return arn


@pytest.mark.parametrize("kind", RESOURCES)
def test_a_label_is_one_that_versions_are_made_of(emulator_url: str, kind: str) -> None:
    assert stream_label(stream_of_a_stack(emulator_url, kind))


def test_the_repair_is_still_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once this fails, `fix_labels` in local/services/emulator.py can go."""
    monkeypatch.setenv(UNPATCHED, "1")
    with service.emulator() as bare:
        assert stream_of_a_stack(bare.url, "AWS::DynamoDB::Table").endswith("Z")
