"""Lambda checks at CreateEventSourceMapping that the role may put any object of the destination.

With `s3:PutObject` on `bucket/aws/lambda/*` alone, every mapping fails with "The function execution
role does not have permissions to call PutObject on S3", and the stack rolls back. Two projects with
the same prefix report it, and both fixed it by all objects of the bucket:
https://github.com/xuanquangIT/aws-oilfield-esp (infrastructure/realtime_stack.py) and
https://github.com/DavidCs9/personal-finance-system/pull/148. AWS's own example grants all objects,
and ListBucket, on condition of the account (S3BucketResourceAccountWrite):
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.infrastructure.templates import (
    Assembly,
    Template,
    as_list,
    flat,
    of_type,
    only,
    processors,
)

MAPPING = "AWS::Lambda::EventSourceMapping"
BUCKET = "AWS::S3::Bucket"


@pytest.fixture(params=["sandbox", "production", "local"])
def template(request: pytest.FixtureRequest) -> Template:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Assembly)
    return found.pipeline


def destination(template: Template, processor: str) -> str:
    """The logical id of the bucket that the mapping of a processor gives up into."""
    mapping = only(template, MAPPING, processor.capitalize())["Properties"]
    arn = flat(mapping["DestinationConfig"]["OnFailure"]["Destination"])
    assert arn.endswith(".Arn")
    return arn.removesuffix(".Arn")


def policies_of(template: Template, processor: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each (logical id of the policy, statement) that the role of a processor has."""
    role = flat(processors(template)[processor]["Properties"]["Role"]).removesuffix(".Arn")
    for id, policy in of_type(template, "AWS::IAM::Policy").items():
        if role in map(flat, policy["Properties"]["Roles"]):
            for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
                yield id, statement


def on_destination(template: Template, processor: str) -> list[tuple[str, str, str, Any]]:
    """Each (policy, action, resource, condition) of the role on its mapping's destination."""
    arn = f"{destination(template, processor)}.Arn"
    return [
        (id, action, flat(resource), statement.get("Condition"))
        for id, statement in policies_of(template, processor)
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
        if flat(resource).partition("/")[0] == arn
    ]


def test_every_role_may_put_any_object_and_list_the_destination(template: Template) -> None:
    for processor in processors(template):
        arn = f"{destination(template, processor)}.Arn"
        found = {
            (action, resource) for _, action, resource, _ in on_destination(template, processor)
        }
        assert found == {("s3:PutObject", f"{arn}/*"), ("s3:ListBucket", arn)}


def test_the_grants_end_with_the_account(template: Template) -> None:
    """A deleted bucket's name is free for anybody: what is given up must not go to them."""
    for processor in processors(template):
        for *_, condition in on_destination(template, processor):
            assert condition == {"StringEquals": {"s3:ResourceAccount": {"Ref": "AWS::AccountId"}}}


def test_the_mapping_is_created_after_its_policy(template: Template) -> None:
    for processor in processors(template):
        mapping = only(template, MAPPING, processor.capitalize())
        policies = {id for id, *_ in on_destination(template, processor)}
        assert policies
        assert policies <= set(as_list(mapping.get("DependsOn", [])))


def test_the_destination_holds_nothing_but_what_lambda_gives_up(template: Template) -> None:
    """Any role may put any object there: so neither dead letters of processors nor the archive."""
    for processor, function in processors(template).items():
        variables = function["Properties"]["Environment"]["Variables"]
        assert flat(variables["DEAD_LETTER_BUCKET"]) != destination(template, processor)
    own = {
        flat(f["Properties"]["Environment"]["Variables"]["DEAD_LETTER_BUCKET"])
        for f in processors(template).values()
    }
    destinations = {destination(template, processor) for processor in processors(template)}
    assert len(own) == len(destinations) == 1
    outputs = {name: flat(output["Value"]) for name, output in template["Outputs"].items()}
    assert {outputs["DeadLetterBucketName"]} == own
    assert {outputs["OnFailureBucketName"]} == destinations


def test_the_destination_accepts_unconditional_puts(template: Template) -> None:
    """Lambda sends no If-None-Match."""
    bucket = destination(template, "search")
    for policy in of_type(template, "AWS::S3::BucketPolicy").values():
        if flat(policy["Properties"]["Bucket"]) == bucket:
            for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
                assert "s3:if-none-match" not in str(statement.get("Condition"))


def test_new_objects_of_both_buckets_reach_the_queues(template: Template) -> None:
    outputs = {name: flat(output["Value"]) for name, output in template["Outputs"].items()}
    both = {outputs["DeadLetterBucketName"], outputs["OnFailureBucketName"]}
    for name in both:
        bucket = template["Resources"][name]["Properties"]
        configuration = bucket["NotificationConfiguration"]["EventBridgeConfiguration"]
        assert configuration == {"EventBridgeEnabled": True}
    rules = [rule["Properties"] for rule in of_type(template, "AWS::Events::Rule").values()]
    patterns = [rule["EventPattern"] for rule in rules if "EventPattern" in rule]
    assert len(patterns) == len(processors(template))
    for pattern in patterns:
        assert set(map(flat, pattern["detail"]["bucket"]["name"])) == both


@pytest.mark.parametrize("output", ["DeadLetterBucketName", "OnFailureBucketName"])
def test_only_the_archive_expires_where_data_is_kept(production: Assembly, output: str) -> None:
    """A dead letter without a redrive is the only copy of a change that is not applied."""
    bucket = production.pipeline["Resources"][flat(production.pipeline["Outputs"][output]["Value"])]
    rules = bucket["Properties"]["LifecycleConfiguration"]["Rules"]
    assert all(rule["Status"] == "Enabled" for rule in rules)
    expiring = [rule for rule in rules if any("Expiration" in name for name in rule)]
    prefixes = [rule.get("Prefix") for rule in expiring]
    assert prefixes == (["archive/"] if output == "DeadLetterBucketName" else [])


@pytest.mark.parametrize("output", ["DeadLetterBucketName", "OnFailureBucketName"])
def test_a_sandbox_forgets_after_90_days(sandbox: Assembly, output: str) -> None:
    bucket = sandbox.pipeline["Resources"][flat(sandbox.pipeline["Outputs"][output]["Value"])]
    [rule] = bucket["Properties"]["LifecycleConfiguration"]["Rules"]
    assert rule["ExpirationInDays"] == 90
    assert "Prefix" not in rule
