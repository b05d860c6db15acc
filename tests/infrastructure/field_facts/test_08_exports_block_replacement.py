"""CloudFormation refuses to change or remove a value that another stack imports.

"Export ... cannot be updated as it is in use by ..."; a weak reference follows without a word.
https://github.com/aws/aws-cdk/issues/7602 · https://github.com/aws/aws-cdk/issues/5304
"""

import json
from typing import Any

import pytest

from tests.infrastructure.templates import Assembly

EXPORTS = {
    "sandbox": {
        "cdc-sandbox-search-DomainArn",
        "cdc-sandbox-search-DomainEndpoint",
        "cdc-sandbox-search-DomainName",
    },
    "production": {
        "cdc-production-search-DomainArn",
        "cdc-production-search-DomainEndpoint",
        "cdc-production-search-DomainName",
        "cdc-production-search-logs-Errors",
        "cdc-production-search-logs-SlowIndexing",
        "cdc-production-search-logs-SlowSearches",
    },
    "local": set[str](),
}
"""Names of our own, which stay the same when code is moved or renamed."""


@pytest.mark.parametrize("environment", EXPORTS)
def test_few_values_are_exported_under_names_that_do_not_change(
    environment: str, request: pytest.FixtureRequest
) -> None:
    assembly: Assembly = request.getfixturevalue(environment)
    exported = {
        output["Export"]["Name"]
        for template in assembly.templates.values()
        for output in template.get("Outputs", {}).values()
        if "Export" in output
    }
    imported = set(_imports(list(assembly.templates.values())))
    assert exported == EXPORTS[environment]
    assert imported == exported


@pytest.mark.parametrize("environment", EXPORTS)
def test_tables_streams_and_functions_are_not_exported(
    environment: str, request: pytest.FixtureRequest
) -> None:
    """They are replaced when a key or a view type changes: what reads them shares their stack."""
    assembly: Assembly = request.getfixturevalue(environment)
    assert not [o for o in assembly.pipeline["Outputs"].values() if "Export" in o]


def test_each_stack_is_deployed_after_its_imports(production: Assembly) -> None:
    manifest = json.loads((production.folder / "manifest.json").read_text())["artifacts"]
    for stack in ("search", "pipeline"):
        name = f"cdc-production-{stack}"
        for imported in _imports(production.templates[stack]):
            exporter = imported.rpartition("-")[0]
            assert exporter in manifest[name]["dependencies"], imported


def _imports(value: Any) -> list[str]:
    match value:
        case {"Fn::ImportValue": name}:
            return [str(name)]
        case dict():
            return [name for each in value.values() for name in _imports(each)]
        case list():
            return [name for each in value for name in _imports(each)]
    return []
