"""The services' own API models take every resource of the templates."""

from copy import deepcopy
from typing import Any

import pytest

from tests.infrastructure.deployment import Deployment
from tests.infrastructure.service_models import BEHIND, CALLS, calls, model_of, problems
from tests.infrastructure.templates import Assembly


def found(assembly: Assembly) -> list[str]:
    deployment = Deployment(assembly)
    return [
        f"{stack}/{name}: {problem}"
        for stack, template in assembly.templates.items()
        for name, resource in template["Resources"].items()
        for call in calls(
            resource["Type"],
            name,
            deployment.value(stack, deepcopy(resource.get("Properties", {}))),
        )
        for problem in problems(call)
    ]


@pytest.mark.parametrize("environment", ["sandbox", "production"])
def test_every_resource_satisfies_the_api(environment: str, request: pytest.FixtureRequest) -> None:
    assert found(request.getfixturevalue(environment)) == []


@pytest.mark.parametrize("environment", ["sandbox", "production"])
def test_every_type_is_checked(environment: str, request: pytest.FixtureRequest) -> None:
    assembly: Assembly = request.getfixturevalue(environment)
    types = {
        resource["Type"]
        for template in assembly.templates.values()
        for resource in template["Resources"].values()
    }
    assert types - set(CALLS) == set(), "say in CALLS which calls make it"


MAPPING = "AWS::Lambda::EventSourceMapping"
DOMAIN = "AWS::OpenSearchService::Domain"


@pytest.mark.parametrize(
    ("kind", "change", "problem"),
    [
        (MAPPING, {"MaximumRecordAgeInSeconds": 604_801}, "604801 is not within -1 and 604800"),
        (MAPPING, {"ParallelizationFactor": 11}, "11 is not within 1 and 10"),
        (MAPPING, {"StartingPosition": "OLDEST"}, "is not among"),
        (MAPPING, {"BisectBatchOnError": True}, ".BisectBatchOnError: unknown"),
        (MAPPING, {"BatchSize": "100"}, "is not of type integer"),
        (MAPPING, {"DestinationConfig": {"OnFailure": {"Destination": "a bucket"}}}, "not match"),
        ("AWS::Lambda::Function", {"Runtime": "python3.99"}, "is not among"),
        ("AWS::Lambda::Function", {"Environment": {"Variables": {"1": "x"}}}, "does not match"),
        ("AWS::Lambda::Function", {"MemorySize": 64}, "is not within 128"),
        (DOMAIN, {"EBSOptions": {"VolumeType": "gp4"}}, "is not among"),
        (DOMAIN, {"EngineVersion": "3.5"}, "does not match"),
        (DOMAIN, {"SnapshotOptions": {"Hour": 1}}, ".Hour: unknown"),
        ("AWS::CloudWatch::Alarm", {"Statistic": "Total"}, "is not among"),
        ("AWS::CloudWatch::Alarm", {"EvaluationPeriods": 0}, "is not within 1"),
        ("AWS::DynamoDB::GlobalTable", {"BillingMode": "ON_DEMAND"}, "is not among"),
        ("AWS::Logs::LogGroup", {"RetentionInDays": None}, "is not of type integer"),
        ("AWS::SQS::Queue", {"Retention": 1}, "is not among"),
    ],
    ids=str,
)
def test_a_wrong_property_is_found(
    production: Assembly, kind: str, change: dict[str, Any], problem: str
) -> None:
    (stack, name), *_ = [
        (stack, name)
        for stack, template in production.templates.items()
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    ]
    resource = production.templates[stack]["Resources"][name]
    properties = Deployment(production).value(stack, deepcopy(resource["Properties"]))
    told = [each for call in calls(kind, name, {**properties, **change}) for each in problems(call)]
    assert [each for each in told if problem in each], told


@pytest.mark.parametrize("shape", BEHIND)
def test_an_old_enumeration_is_still_old(shape: str) -> None:
    """Once the model knows these types, the exception can go."""
    known = model_of("opensearch").shape_for(shape).metadata["enum"]
    assert {"r7g.large.search", "m7g.medium.search"} & set(known) == set()


def test_a_missing_property_is_found() -> None:
    told = [each for call in calls(MAPPING, "Mapping", {}) for each in problems(call)]
    assert told == ["CreateEventSourceMapping.FunctionName: missing"]
