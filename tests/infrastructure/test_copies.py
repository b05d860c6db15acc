"""Environments of any name, and several copies of the app in one account."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lambdas.example_domain import TABLES
from stacks.environments import Environment, SettingsError, load, names
from stacks.settings.names import Naming
from tests.infrastructure.conftest import Synthesise
from tests.infrastructure.templates import Assembly, environment_of, of_type, processors
from tests.schedules import long
from tools.example_context import CONTEXT

STAGING = {"environment": "staging", "profile": "production", "alarms": "none"}


def loaded(**context: Any) -> Environment:
    return load({**CONTEXT, **context})


@pytest.fixture(scope="module")
def copy(synthesise: Synthesise) -> Assembly:
    return synthesise(environment="sandbox", prefix="team")


def texts(value: Any) -> Iterator[str]:
    """Every text in a template, keys included."""
    match value:
        case dict():
            for key, member in value.items():
                yield key
                yield from texts(member)
        case list():
            for member in value:
                yield from texts(member)
        case str():
            yield value


class TestNames:
    def test_a_name_of_one_s_own_has_the_profile_s_defaults(self) -> None:
        environments = {
            "staging": {"profile": "production", "alarms": "none"},
            "dev-anna": {"profile": "sandbox"},
        }
        staging = load({"environment": "staging", "environments": environments})
        assert staging.keeps_data
        assert staging.protection
        assert staging.search_nodes == 3
        assert staging.stack_names(TABLES) == (
            "cdc-staging-search-logs",
            "cdc-staging-search",
            "cdc-staging-pipeline",
        )
        anna = load({"environment": "dev-anna", "environments": environments})
        assert not anna.keeps_data
        assert anna.stack_names(TABLES) == ("cdc-dev-anna-search", "cdc-dev-anna-pipeline")

    @pytest.mark.parametrize("name", ["observability", "observability-eu"])
    def test_a_name_may_begin_with_a_part_of_earlier_versions(self, name: str) -> None:
        found = loaded(environment=name, profile="sandbox")
        assert found.stack_names(TABLES)[-1] == f"cdc-{name}-pipeline"

    def test_the_production_profile_asks_for_a_receiver_of_alarms(self) -> None:
        with pytest.raises(SettingsError, match="Environment staging has to say who is told"):
            loaded(environment="staging", profile="production")

    def test_sandbox_may_have_another_profile(self) -> None:
        assert loaded(environment="sandbox", profile="production", alarms="none").keeps_data

    @long
    def test_staging_is_held_to_the_rules_of_production(self, synthesise: Synthesise) -> None:
        assembly = synthesise(nag=True, **STAGING)
        report = json.loads((assembly.folder / "validation-report.json").read_text())
        packs = {pack["pluginName"]: pack["violations"] for pack in report["pluginReports"]}
        assert packs == {"AwsSolutions": [], "NIST.800.53.R5": []}

    @pytest.mark.parametrize(
        ("context", "sentence"),
        [
            ({"environment": "staging"}, "or give the new one a profile in cdk.json"),
            (
                {"environment": "sandbox", "environments": {"staging": {}}},
                "Environment 'staging' in cdk.json under environments has no profile: A name of",
            ),
            (
                {"environment": "sandbox", "environments": {"Dev": {"profile": "sandbox"}}},
                "The environment's name 'Dev' in cdk.json under environments must match",
            ),
            (
                {"environment": "dev_anna", "profile": "sandbox"},
                "The environment's name 'dev_anna' in -c environment= must match",
            ),
            (
                {"environment": "dev-search", "profile": "sandbox"},
                "must not have 'search' after a hyphen, which begins 'search', a stack.",
            ),
            ({"environment": "dev-pip", "profile": "sandbox"}, "which begins 'pipeline', a stack"),
            *(
                ({"environment": name, "profile": "sandbox"}, "which names a stack: choose another")
                for name in ("search", "pipeline", "search-a")
            ),
            (
                {"environment": "staging", "profile": "prod"},
                "Setting 'profile' is 'prod' in -c profile=: input should be 'sandbox', ",
            ),
            (
                {"environment": "laptop", "profile": "local", "search_url": "http://127.0.0.1:1"},
                "Profile and environment local belong together",
            ),
            ({"environment": "local", "profile": "sandbox"}, "Profile and environment local"),
            (
                {"environment": "integration-tests", "profile": "sandbox", "prefix": "billing"},
                "have 24 characters together: choose shorter ones, of at most 20.",
            ),
            *(
                ({"environment": "sandbox", "prefix": prefix}, "Setting 'prefix' is ")
                for prefix in ("my-team", "Team", "1st", "")
            ),
        ],
    )
    def test_a_wrong_name_is_a_sentence(self, context: dict[str, Any], sentence: str) -> None:
        with pytest.raises(SettingsError) as refused:
            loaded(**context)
        assert sentence in str(refused.value)
        assert "\n" not in str(refused.value)

    def test_names_are_known_where_a_setting_is_wrong(self) -> None:
        """`make destroy` needs the names alone: production without a receiver can be destroyed."""
        found = names({"environment": "production", "prefix": "team", "epoch": "no number"})
        assert (found.stack_prefix, found.keeps_data) == ("team-production", True)

    def test_the_laptop_s_stack_has_no_prefix_of_its_own(self) -> None:
        context = {"environment": "local", "search_url": "http://127.0.0.1:9250"}
        assert load({**context, "prefix": "team"}).stack_names(TABLES) == ("cdc-local-pipeline",)


class TestOwnership:
    """The tools find the resources of an environment by their names."""

    @pytest.mark.parametrize(
        ("name", "owned"),
        [
            ("cdc-dev-pipeline", True),
            ("cdc-dev-pipeline-OrdersTable-1A2B", True),
            ("cdc-dev-pipeline-customers-AuditFunction-1A2B", True),
            ("cdc-dev-search-logs", True),
            ("cdc-dev-observability", True),
            # Shortened by CloudFormation.
            ("cdc-dev-pipel-deadlettersbucket-1a2b", True),
            ("cdc-dev-anna-pipeline", False),
            ("cdc-dev-anna-pipeline-orderstable-1a2b", False),
            ("cdc-development-pipeline", False),
            ("cdc-dev-other", False),
            ("team-dev-pipeline", False),
        ],
    )
    def test_a_name_is_owned_by_one_environment(self, name: str, owned: bool) -> None:
        assert Naming(name="dev", profile="sandbox").owns(name) is owned

    def test_the_longest_name_is_found_in_a_bucket_s(self) -> None:
        longest = Naming(name="integration-us", profile="sandbox", prefix="acmecd")
        assert longest.owns(f"{longest.stack_prefix}-pipeline"[:24])


class TestCopies:
    def test_no_name_of_a_copy_is_the_other_s(self, copy: Assembly, sandbox: Assembly) -> None:
        """Exports, saved queries, metrics and permissions on names: each has the prefix in it."""
        for stack, template in copy.templates.items():
            assert not [text for text in texts(template) if "cdc-sandbox" in text]
            assert any("cdc-sandbox" in text for text in texts(sandbox.templates[stack]))
        exports = {
            output["Export"]["Name"]
            for output in copy.search["Outputs"].values()
            if "Export" in output
        }
        assert exports == {f"team-sandbox-search-Domain{x}" for x in ("Arn", "Endpoint", "Name")}
        for query in of_type(copy.pipeline, "AWS::Logs::QueryDefinition").values():
            assert query["Properties"]["Name"].startswith("team-sandbox-pipeline/")

    def test_the_metrics_of_a_copy_are_its_own(self, copy: Assembly, sandbox: Assembly) -> None:
        for assembly, name in ((copy, "team-sandbox-pipeline"), (sandbox, "cdc-sandbox-pipeline")):
            dimensions = {
                dimension["Value"]
                for alarm in of_type(assembly.pipeline, "AWS::CloudWatch::Alarm").values()
                for dimension in alarm["Properties"].get("Dimensions", [])
                if dimension["Name"] == "Pipeline"
            }
            assert dimensions == {name}
            for function in of_type(assembly.pipeline, "AWS::Lambda::Function").values():
                assert environment_of(function)["PIPELINE"] == name
            assert len(processors(assembly.pipeline)) == 3

    def test_the_tags_tell_copies_apart(self, copy: Assembly) -> None:
        manifest = json.loads((copy.folder / "manifest.json").read_text())["artifacts"]
        tags = manifest["team-sandbox-pipeline"]["properties"]["tags"]
        assert tags == {"application": "team", "environment": "sandbox"}
