"""What a preflight asks an account for is what the templates want."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3

from lambdas.example_domain import TABLES
from stacks.environments import load
from tests.infrastructure.templates import of_type, only
from tools.account.checks import BOOTSTRAP_VERSION
from tools.account.identity import Account
from tools.account.preflight import ENGINE, wanted_of

if TYPE_CHECKING:
    from tests.infrastructure.conftest import Synthesise
    from tests.infrastructure.templates import Assembly

ACCOUNT = Account("111122223333", "us-east-1", "arn", boto3.Session())


def test_the_engine_that_is_looked_for_is_the_domain_s(
    sandbox: Assembly, production: Assembly
) -> None:
    for assembly in (sandbox, production):
        domain = only(assembly.search, "AWS::OpenSearchService::Domain")
        assert domain["Properties"]["EngineVersion"] == ENGINE


def test_the_bootstrap_version_is_the_templates_own(sandbox: Assembly) -> None:
    rule = sandbox.pipeline["Rules"]["CheckBootstrapVersion"]["Assertions"][0]["Assert"]
    [[refused, _]] = [each["Fn::Contains"] for each in rule["Fn::Not"]]
    assert max(map(int, refused)) + 1 == BOOTSTRAP_VERSION


def test_as_many_mappings_are_counted_as_there_are(sandbox: Assembly) -> None:
    mappings = [
        resource
        for resource in sandbox.pipeline["Resources"].values()
        if resource["Type"] == "AWS::Lambda::EventSourceMapping"
    ]
    environment = load({"environment": "sandbox"})
    assert wanted_of(ACCOUNT, environment, TABLES).mappings == len(mappings)


def test_as_many_lanes_are_counted_as_there_are(synthesise: Synthesise) -> None:
    settings = {"environment": "sandbox", "parallelization_factor.audit": "10"}
    made = synthesise(**settings)
    lanes = [
        mapping["Properties"]["ParallelizationFactor"]
        for mapping in of_type(made.pipeline, "AWS::Lambda::EventSourceMapping").values()
    ]
    assert sorted(lanes) == [2, 2, 10]
    assert wanted_of(ACCOUNT, load(settings), TABLES).lanes == sum(lanes)
