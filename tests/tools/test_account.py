"""What `make deploy` and `make destroy` ask before anything is done."""

from collections.abc import Mapping
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from tools import account


class Stacks:
    """CloudFormation with one stack, or none; moto's own needs far more to be installed."""

    def __init__(self, name: str | None, outputs: Mapping[str, str]) -> None:
        self.name = name
        self.outputs = outputs

    def describe_stacks(self, StackName: str) -> Any:
        if StackName != self.name:
            raise ClientError({"Error": {"Code": "ValidationError"}}, "DescribeStacks")
        outputs = [{"OutputKey": key, "OutputValue": value} for key, value in self.outputs.items()]
        return {"Stacks": [{"Outputs": outputs}]}


def with_stacks(monkeypatch: pytest.MonkeyPatch, stacks: Stacks) -> None:
    client = boto3.Session.client

    def choose(session: boto3.Session, service: Any, **options: Any) -> Any:
        return stacks if service == "cloudformation" else client(session, service, **options)

    monkeypatch.setattr(boto3.Session, "client", choose)


@pytest.fixture
def region(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.delenv("CONFIRM", raising=False)
    return "eu-west-1"


@mock_aws
def test_nothing_goes_on_unless_the_account_is_named(
    region: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert account.main(["deploy", "sandbox"]) == 1
    monkeypatch.setenv("CONFIRM", "999999999999")
    assert account.main(["deploy", "sandbox"]) == 1
    monkeypatch.setenv("CONFIRM", "123456789012")
    assert account.main(["deploy", "sandbox"]) == 0
    said = capsys.readouterr().out
    assert "AWS account 123456789012, Region eu-west-1" in said
    assert "repeat with CONFIRM=123456789012" in said
    assert "the account is 123456789012, not 999999999999" in said


@mock_aws
def test_a_sandbox_s_buckets_are_emptied_first(
    region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONFIRM", "123456789012")
    buckets = {
        "DeadLetterBucketName": "letters",
        "OnFailureBucketName": "given-up",
        "OverflowBucketName": "images",
    }
    s3: Any = boto3.client("s3", region_name="us-east-1")
    for bucket in buckets.values():
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="an object", Body=b"{}")
    with_stacks(
        monkeypatch, Stacks("cdc-sandbox-pipeline", {"OrdersTableName": "orders", **buckets})
    )
    assert account.main(["destroy", "sandbox"]) == 0
    for bucket in buckets.values():
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


@mock_aws
def test_production_is_not_destroyed_by_a_make_target(
    region: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONFIRM", "123456789012")
    assert account.main(["destroy", "production"]) == 1
    assert "termination protection" in capsys.readouterr().out


@mock_aws
def test_the_account_asked_about_is_the_one_that_cdk_uses(
    region: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CONFIRM", "123456789012")
    monkeypatch.setenv("CDK_OPTIONS", "--profile other")
    assert account.main(["deploy", "sandbox"]) == 1
    assert "AWS_PROFILE" in capsys.readouterr().out


@mock_aws
def test_destroying_what_was_never_deployed_is_fine(
    region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONFIRM", "123456789012")
    with_stacks(monkeypatch, Stacks(None, {}))
    assert account.main(["destroy", "sandbox"]) == 0


def test_a_missing_region_and_wrong_words_are_sentences(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    assert account.main(["deploy", "sandbox"]) == 1
    with monkeypatch.context() as mistyped:
        mistyped.setenv("AWS_PROFILE", "nope")
        assert account.main(["deploy", "sandbox"]) == 1
    assert account.main(["remove", "sandbox"]) == 2
    assert account.main(["destroy", "local"]) == 2
    said = capsys.readouterr().out
    assert "No AWS Region: set AWS_REGION" in said
    assert "No AWS profile: The config profile (nope) could not be found" in said
    assert "usage: " in said
