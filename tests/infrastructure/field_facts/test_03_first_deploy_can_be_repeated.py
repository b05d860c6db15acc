"""A first deployment that fails has to clean up after itself, or it cannot be repeated.

The CDK's command line turns termination protection on before it executes the change set, and later
tries to delete the failed stack without turning it off. A table with deletion protection makes the
rollback fail. A retained resource survives the rollback, and may bill.
https://github.com/awslabs/aws-secure-environment-accelerator/issues/253
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-attribute-deletionpolicy.html
(`RetainExceptOnCreate`)
"""

import json
from typing import Any

from lambdas.example_domain import TABLES
from stacks.environments import load
from tests.infrastructure.conftest import Synthesise
from tests.infrastructure.templates import Assembly, of_type
from tests.lambdas.conftest import without_documents
from tools.example_context import CONTEXT

TABLE = "AWS::DynamoDB::GlobalTable"


def test_nothing_that_is_kept_survives_a_failed_creation(production: Assembly) -> None:
    policies = {
        resource.get("DeletionPolicy", "Delete")
        for template in production.templates.values()
        for resource in template["Resources"].values()
    }
    assert policies == {"Delete", "RetainExceptOnCreate"}


def test_the_first_deployment_protects_nothing(
    synthesise: Synthesise,
) -> None:
    first = synthesise(environment="production", alarms="none", protection="false")
    assert _protected_stacks(first) == set()
    assert _protected_tables(first) == set()


def test_it_is_protected_from_then_on(production: Assembly) -> None:
    assert _protected_stacks(production) == {
        "cdc-production-search-logs",
        "cdc-production-search",
        "cdc-production-pipeline",
    }
    assert _protected_tables(production) == set(of_type(production.pipeline, TABLE))


def _protected_stacks(assembly: Assembly) -> set[str]:
    artifacts: dict[str, Any] = json.loads((assembly.folder / "manifest.json").read_text())[
        "artifacts"
    ]
    return {
        name
        for name, artifact in artifacts.items()
        if artifact.get("properties", {}).get("terminationProtection")
    }


def _protected_tables(assembly: Assembly) -> set[str]:
    return {
        logical_id
        for logical_id, table in of_type(assembly.pipeline, TABLE).items()
        if table["Properties"]["Replicas"][0]["DeletionProtectionEnabled"]
    }


def test_the_stacks_that_the_tools_know_are_those_of_the_app(
    sandbox: Assembly, production: Assembly, local: Assembly
) -> None:
    for assembly in (sandbox, production, local):
        (name,) = {path.name.split("-")[1] for path in assembly.folder.glob("*.template.json")}
        settings = {"production": {"alarms": "none"}, "local": {"search_url": "http://127.0.0.1:1"}}
        environment = load({**CONTEXT, "environment": name, **settings.get(name, {})})
        prefix = f"cdc-{name}-"
        assert {each.removeprefix(prefix) for each in environment.stack_names(TABLES)} == set(
            assembly.templates
        )


def test_stacks_without_documents_are_those_of_the_app(synthesise: Synthesise) -> None:
    """Named and not made, a stack would fail every deploy after the first."""
    settings = {"environment": "production", "alarms": "none"}
    assembly = synthesise(**settings, tables=without_documents())
    assert load({**CONTEXT, **settings}).stack_names(without_documents()) == (
        "cdc-production-pipeline",
    )
    assert set(assembly.templates) == {"pipeline"}
