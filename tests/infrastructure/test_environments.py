"""What differs between environments, and settings that are wrong."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from stacks.constructs.retention import RETENTION
from stacks.endpoints import ManagedDomain
from stacks.environments import DEFAULTS, SettingsError, load
from stacks.settings.general import RETENTION_DAYS
from stacks.settings.names import PROFILES
from tests.infrastructure.conftest import ROOT, Synthesise
from tests.infrastructure.templates import (
    Assembly,
    environment_of,
    flat,
    of_type,
    only,
    processors,
    statements,
)
from tools.example_context import CONTEXT

ARN = "arn:aws:es:eu-west-1:123456789012:domain/my-domain"
URL = "https://search-orders-abc.eu-west-1.es.amazonaws.com"
DUAL_STACK = "https://orders-abc.aos.eu-west-1.on.aws"
ORDERS = "arn:aws:es:eu-west-1:123456789012:domain/orders"
FIFO = "arn:aws:sns:eu-west-1:123456789012:on-call.fifo"
HOLDS_DATA = (
    "AWS::DynamoDB::GlobalTable",
    "AWS::S3::Bucket",
    "AWS::Logs::LogGroup",
    "AWS::OpenSearchService::Domain",
)
# A second deployment with one of these names would collide with the first.
PHYSICAL_NAMES = {
    "AWS::DynamoDB::GlobalTable": "TableName",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::IAM::Role": "RoleName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::OpenSearchService::Domain": "DomainName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SQS::Queue": "QueueName",
}


@pytest.fixture(scope="module")
def everywhere(sandbox: Assembly, production: Assembly, local: Assembly) -> list[Assembly]:
    return [sandbox, production, local]


PATHS = [
    f"{index}-{end}" for index in ("orders", "customers") for end in ("v*", "second/*", "write/*")
] + ["_aliases"]
"""What the search function reaches in a domain."""

ERASED = [
    f"{index}-{end}"
    for index in ("orders", "customers")
    for end in (
        *("write/*", "second/*", "v*/*"),
        *("write/_mget", "v*/_mget", "write/_doc/*", "v*/_doc/*"),
    )
]
"""What the function that erases reaches there."""


def in_a_domain(assembly: Assembly, role: str) -> set[str]:
    """Return what a function's role reaches by HTTP requests to a domain."""
    return {
        resource
        for of, action, resource in statements(assembly.pipeline)
        if action.startswith("es:") and of.startswith(f"{role}Role")
    }


class TestDeployed:
    def test_production_keeps_its_data_when_a_stack_goes(self, production: Assembly) -> None:
        for template in (production.pipeline, production.search):
            for logical_id, resource in template["Resources"].items():
                if resource["Type"] in HOLDS_DATA:
                    policies = (resource["DeletionPolicy"], resource["UpdateReplacePolicy"])
                    assert policies == ("RetainExceptOnCreate", "Retain"), logical_id
        for table in of_type(production.pipeline, "AWS::DynamoDB::GlobalTable").values():
            (replica,) = table["Properties"]["Replicas"]
            assert replica["DeletionProtectionEnabled"] is True

    def test_a_sandbox_leaves_nothing_behind(self, sandbox: Assembly) -> None:
        for template in (sandbox.pipeline, sandbox.search):
            for logical_id, resource in template["Resources"].items():
                assert resource.get("DeletionPolicy", "Delete") == "Delete", logical_id

    def test_what_nothing_could_rebuild_can_be_restored(
        self, everywhere: list[Assembly], production: Assembly
    ) -> None:
        for assembly in everywhere:
            restorable = {
                logical_id.split("Table")[0]
                for logical_id, table in of_type(
                    assembly.pipeline, "AWS::DynamoDB::GlobalTable"
                ).items()
                if table["Properties"]["Replicas"][0]["PointInTimeRecoverySpecification"][
                    "PointInTimeRecoveryEnabled"
                ]
            }
            # With Expiry.KEEP ledger and sums are the only copy of what expired.
            sums = {"Idempotency", "Aggregates"} if assembly is production else set()
            assert restorable == {"Orders", "ChangeLog"} | sums

    def test_no_log_is_kept_forever(self, everywhere: list[Assembly]) -> None:
        for assembly in everywhere:
            for template in assembly.templates.values():
                for resource in template["Resources"].values():
                    if resource["Type"] == "AWS::Logs::LogGroup":
                        assert resource["Properties"]["RetentionInDays"] in RETENTION_DAYS
            # Without one of its own, a function logs into a group that Lambda makes, for ever.
            for function in of_type(assembly.pipeline, "AWS::Lambda::Function").values():
                group = flat(function["Properties"]["LoggingConfig"]["LogGroup"])
                assert group in assembly.pipeline["Resources"]

    def test_the_domain_is_encrypted_private_and_on_tls(
        self, sandbox: Assembly, production: Assembly
    ) -> None:
        for assembly in (sandbox, production):
            domain = only(assembly.search, "AWS::OpenSearchService::Domain")["Properties"]
            assert domain["EncryptionAtRestOptions"] == {"Enabled": True}
            assert domain["NodeToNodeEncryptionOptions"] == {"Enabled": True}
            assert domain["DomainEndpointOptions"]["EnforceHTTPS"] is True
            assert "TLS-1-2" in domain["DomainEndpointOptions"]["TLSSecurityPolicy"]
            (statement,) = domain["AccessPolicies"]["Statement"]
            assert flat(statement["Principal"]["AWS"]).endswith("AWS::AccountId:root")

    def test_production_s_domain_survives_a_zone(self, production: Assembly) -> None:
        domain = only(production.search, "AWS::OpenSearchService::Domain")["Properties"]
        assert domain["ClusterConfig"]["ZoneAwarenessConfig"] == {"AvailabilityZoneCount": 3}
        assert domain["ClusterConfig"]["DedicatedMasterCount"] == 3

    def test_an_existing_domain_is_granted_under_its_own_name(self, synthesise: Synthesise) -> None:
        endpoint = "https://search-my-domain-abcdefghij0123456789klmnop.eu-west-1.es.amazonaws.com"
        assembly = synthesise(environment="sandbox", search_url=endpoint)
        assert set(assembly.templates) == {"pipeline"}
        prefix = "arn:AWS::Partition:es:eu-west-1:AWS::AccountId:domain/my-domain"
        assert in_a_domain(assembly, "Search") == {f"{prefix}/{path}" for path in PATHS}
        assert in_a_domain(assembly, "Erasure") == {f"{prefix}/{path}" for path in ERASED}

    @pytest.mark.parametrize(
        ("endpoint", "region"),
        [
            ("HTTPS://Search-My-Domain-a1b2.eu-west-1.es.amazonaws.com:443/", "eu-west-1"),
            ("https://search-my-domain-a1b2.cn-north-1.es.amazonaws.com.cn", "cn-north-1"),
            ("https://my-domain-a1b2.aos.us-east-2.on.aws", "us-east-2"),
            ("https://search-my-domain-a1b2.aos.us-east-2.on.aws", "us-east-2"),
            ("https://my-domain-a1b2.aos.cn-north-1.on.amazonwebservices.com.cn", "cn-north-1"),
        ],
    )
    def test_a_public_endpoint_names_domain_and_region(self, endpoint: str, region: str) -> None:
        environment = load({**CONTEXT, "environment": "sandbox", "search_url": endpoint})
        assert environment.managed_domain == ManagedDomain("my-domain", region)
        assert environment.search_url is not None
        assert environment.search_url == environment.search_url.lower().rstrip("/")
        assert ":443" not in environment.search_url

    @pytest.mark.parametrize(
        "endpoint",
        [
            "https://vpc-my-domain-a1b2.eu-west-1.es.amazonaws.com",
            "https://vpc-my-domain-a1b2.aos.eu-west-1.on.aws",
        ],
    )
    def test_a_vpc_endpoint_is_used_from_its_vpc(self, endpoint: str) -> None:
        settings = {
            "vpc_id": "vpc-0123456789abcdef0",
            "subnet_ids": "subnet-0123456789abcdef0",
            "security_group_ids": "sg-0123456789abcdef0",
        }
        environment = load(
            {**CONTEXT, "environment": "sandbox", "search_url": endpoint, **settings}
        )
        assert environment.managed_domain == ManagedDomain("my-domain", "eu-west-1", in_vpc=True)

    def test_a_custom_endpoint_is_granted_by_the_domain_s_arn(self, synthesise: Synthesise) -> None:
        assembly = synthesise(
            environment="sandbox", search_url="https://search.example.com", search_domain_arn=ARN
        )
        assert in_a_domain(assembly, "Search") == {f"{ARN}/{path}" for path in PATHS}
        assert in_a_domain(assembly, "Erasure") == {f"{ARN}/{path}" for path in ERASED}
        function = processors(assembly.pipeline)["search"]
        variables = environment_of(function)
        assert variables["SEARCH_ENDPOINT"] == "https://search.example.com"
        assert variables["SEARCH_REGION"] == "eu-west-1"

    def test_local_makes_no_domain_and_signs_nothing(self, local: Assembly) -> None:
        assert set(local.templates) == {"pipeline"}
        assert not [action for _, action, _ in statements(local.pipeline) if action[:3] == "es:"]

    def test_two_deployments_fit_into_one_account(self, everywhere: list[Assembly]) -> None:
        for assembly in everywhere:
            for template in assembly.templates.values():
                for logical_id, resource in template["Resources"].items():
                    name = PHYSICAL_NAMES.get(resource["Type"], "no name")
                    assert name not in resource.get("Properties", {}), logical_id

    def test_no_function_is_deployed_but_our_own(self, everywhere: list[Assembly]) -> None:
        """Custom resources bring functions and roles that this project does not define."""
        for assembly in everywhere:
            for template in assembly.templates.values():
                types = {resource["Type"] for resource in template["Resources"].values()}
                assert not [kind for kind in types if "Custom" in kind]
            functions = of_type(assembly.pipeline, "AWS::Lambda::Function")
            maintained = any(name.startswith("Maintenance") for name in functions)
            assert len(functions) == 5 + maintained


class TestSettings:
    def test_each_setting_can_be_overridden(self) -> None:
        environment = load(
            {
                **CONTEXT,
                "environment": "sandbox",
                "epoch": "0002",
                "log_retention_days": "30",
                "parallelization_factor": "10",
                "aggregate_shards": "41",
                "alarm_email": "on-call@example.com",
            }
        )
        assert environment.epoch == "0002"
        assert environment.log_retention_days == 30
        assert environment.parallelization_factor == 10
        assert environment.aggregate_shards == 41
        assert environment.alarm_email == "on-call@example.com"

    def test_context_overrides_cdk_json_and_defaults(self) -> None:
        context: dict[str, Any] = {"environment": "production", "alarms": "none"}
        assert load(context).log_retention_days == 365
        context["environments"] = {"production": {"log_retention_days": 180}}
        assert load(context).log_retention_days == 180
        context["log_retention_days"] = "90"
        assert load(context).log_retention_days == 90

    @pytest.mark.parametrize(
        ("context", "sentence"),
        [
            ({}, "No environment is chosen: pass -c environment=NAME"),
            ({"environment": ""}, "No environment is chosen: pass -c environment=NAME"),
            (
                {"enviroment": "sandbox"},
                "Unknown setting 'enviroment' in the context (-c): did you mean 'environment'?",
            ),
            ({"environment": "prod"}, "Unknown environment 'prod': pass -c environment="),
            ({"environment": {"staging": {}}}, "Unknown environment {'staging': {}}: pass -c"),
            (
                {"environment": "sandbox", "serach_url": "http://127.0.0.1"},
                "Unknown setting 'serach_url' in the context (-c): did you mean 'search_url'?",
            ),
            (
                {"environment": "sandbox", "colour": "red"},
                "Unknown setting 'colour' in the context (-c): known are profile, prefix,",
            ),
            (
                {"environment": "sandbox", "environments": {"sandbox": {"epcoh": "0002"}}},
                "Unknown setting 'epcoh' in cdk.json under environments.sandbox: did you mean",
            ),
            (
                {"environment": "sandbox", "environments": {"producton": {}}},
                "Environment 'producton' in cdk.json under environments has no profile: did you "
                "mean 'production'?",
            ),
            (
                {"environment": "sandbox", "environments": "sandbox"},
                "The context key environments must be an object in cdk.json",
            ),
            (
                {"environment": "sandbox", "environments": {"sandbox": "0002"}},
                "cdk.json: environments.sandbox must be an object of settings.",
            ),
            (
                {"environment": "sandbox", "environments": {"sandbox": {"epoch": "2"}}},
                "Setting 'epoch' is '2' in cdk.json under environments.sandbox:",
            ),
            (
                {"environment": "sandbox", "log_retention_days": "15"},
                "Setting 'log_retention_days' is '15' in -c log_retention_days=: must be one of 1,",
            ),
            (
                {"environment": "sandbox", "index_prefix": "Staging-"},
                "Setting 'index_prefix' is 'Staging-' in -c index_prefix=:",
            ),
            (
                {"environment": "sandbox", "log_retention_days": "two weeks"},
                "Setting 'log_retention_days' is 'two weeks' in -c log_retention_days=:",
            ),
            (
                {"environment": "sandbox", "parallelization_factor": "11"},
                "Setting 'parallelization_factor' is '11' in -c parallelization_factor=:",
            ),
            (
                {"environment": "sandbox", "alarm_email": "on-call"},
                "Setting 'alarm_email' is 'on-call' in -c alarm_email=:",
            ),
            (
                {
                    "environment": "local",
                    "search_url": "http://127.0.0.1:9250",
                    "alarm_email": "on-call@example.com",
                },
                "Setting 'alarm_email' is not for environment local, which sends no mail.",
            ),
            ({"environment": "local"}, "Setting 'search_url' is missing: environment local makes"),
            (
                {"environment": "local", "search_url": "127.0.0.1:9250"},
                "Setting 'search_url' is '127.0.0.1:9250' in -c search_url=: must be an http",
            ),
            (
                {"environment": "local", "search_url": "http://me:secret@127.0.0.1:9250"},
                "must not hold a name and password",
            ),
            (
                {"environment": "local", "search_url": "http://127.0.0.1:9250/orders"},
                "must end after the host and the port",
            ),
            (
                {"environment": "local", "search_url": "http://[::1", "search_auth": "none"},
                "Setting 'search_url' is 'http://[::1' in -c search_url=:",
            ),
            (
                {"environment": "sandbox", "search_url": "https://search.example.com"},
                "give the domain's ARN as well (-c search_domain_arn=arn:aws:es:REGION:ACCOUNT:",
            ),
            (
                {"environment": "sandbox", "search_domain_arn": ARN},
                "Setting 'search_domain_arn' is given without 'search_url'",
            ),
            (
                {
                    "environment": "sandbox",
                    "search_domain_arn": ARN,
                    "search_url": "https://search-other-a1b2.eu-west-1.es.amazonaws.com",
                },
                "is the endpoint of domain other in eu-west-1, and 'search_domain_arn' names",
            ),
            (
                {"environment": "sandbox", "search_domain_arn": "my-domain"},
                "Setting 'search_domain_arn' is 'my-domain' in -c search_domain_arn=:",
            ),
            *(
                ({"environment": "sandbox", "search_url": url}, sentence)
                for url, sentence in (
                    ("https://vpc-orders-abc123.eu-west-1.es.amazonaws.com", "give 'vpc_id'"),
                    ("https://vpc-orders-abc123.aos.eu-west-1.on.aws", "inside its VPC"),
                    ("https://abc123.eu-west-1.aoss.amazonaws.com", "OpenSearch Serverless"),
                    ("http://search-orders-abc123.eu-west-1.es.amazonaws.com", "must be https"),
                    ("https://search-orders-a1.eu-west-1.es.amazonaws.com:9200", "on port 443"),
                )
            ),
            ({"environment": "production"}, "has to say who is told of its alarms: pass -c alarm_"),
            (
                {"environment": "production", "alarms": "none", "alarm_email": "a@example.com"},
                "Settings 'alarm_email' and 'alarms' exclude each other",
            ),
            (
                {"environment": "production", "alarms": "all"},
                "Setting 'alarms' is 'all' in -c alarms=: ",
            ),
            (
                {"environment": "production", "alarm_topic_arn": "on-call"},
                "Setting 'alarm_topic_arn' is 'on-call' in -c alarm_topic_arn=: ",
            ),
            (  # SNS: "The MessageGroupId parameter is required for FIFO topics"
                {"environment": "production", "alarm_topic_arn": FIFO},
                f"Setting 'alarm_topic_arn' is '{FIFO}' in -c alarm_topic_arn=: ",
            ),
            (
                {"environment": "sandbox", "source_tables": '{"orders": {"arn": "Shop"}}'},
                "Setting 'source_tables.orders.arn' is 'Shop' in -c source_tables=: ",
            ),
            (
                {"environment": "sandbox", "source_tables": '{"orders": {}}'},
                "Setting 'source_tables.orders.arn' is missing in -c source_tables=: ",
            ),
            (
                {"environment": "production", "alarms": "none", "search_auth": "none"},
                "Setting 'search_auth' is 'none', which is for environment local",
            ),
        ],
    )
    def test_a_wrong_setting_is_named_in_one_sentence(
        self, context: dict[str, Any], sentence: str
    ) -> None:
        with pytest.raises(SettingsError) as refused:
            load(context)
        assert sentence in str(refused.value)
        assert "\n" not in str(refused.value)

    @pytest.mark.parametrize(
        ("sandbox", "staging", "shared"),
        [
            ({"search_url": URL}, {"search_url": f"{URL.upper()}:443/"}, True),
            ({"search_url": URL}, {"search_url": URL, "index_prefix": "staging-"}, False),
            (
                {"search_url": URL, "index_prefix": "a-"},
                {"search_url": URL, "index_prefix": "a-"},
                True,
            ),
            ({"search_url": URL}, {"search_url": URL.replace("abc", "abd")}, False),
            ({"search_url": URL}, {}, False),
            ({}, {}, False),
            (
                {"search_url": "https://search.example.com", "search_domain_arn": ARN},
                {"search_url": "https://other.example.com", "search_domain_arn": ARN},
                True,
            ),
            (
                {"search_url": "https://search.example.com", "search_domain_arn": ARN},
                {"search_url": "https://search.example.com", "search_domain_arn": f"{ARN}-2"},
                False,
            ),
            ({"search_url": URL}, {"search_url": "no URL"}, False),
            ({"search_url": URL}, {"search_url": URL, "search_nodes": 0}, True),
            ({"search_url": URL}, {"search_url": DUAL_STACK}, True),
            (
                {"search_url": URL},
                {"search_url": "https://search.example.com", "search_domain_arn": ORDERS},
                True,
            ),
            (
                {"search_url": URL},
                {"search_url": "https://search.example.com", "search_domain_arn": ARN},
                False,
            ),
            ({"search_url": URL}, {"search_url": "https://search.example.com"}, False),
        ],
    )
    def test_two_environments_with_the_same_indexes_are_refused(
        self, sandbox: dict[str, str], staging: dict[str, str], shared: bool
    ) -> None:
        known = {"sandbox": sandbox, "staging": {"profile": "sandbox", **staging}}
        context = {"environment": "sandbox", "environments": known}
        if not shared:
            load(context)
            return
        with pytest.raises(SettingsError) as refused:
            load(context)
        said = str(refused.value)
        assert said.startswith("Environments 'sandbox' and 'staging' write into the same indexes: ")
        assert "give one of them an index_prefix of its own" in said
        assert "of 'staging', a prefix that only -c gives does not count" in said
        # One that the command line adds is compared as well, and one that it changes is not.
        added = {"environment": "pr-7", "profile": "sandbox", **sandbox}
        with pytest.raises(SettingsError, match="'pr-7' and 'sandbox' write into"):
            load({**context, **added})
        assert load({**context, "index_prefix": "own-"}).index_prefix == "own-"

    def test_settings_of_the_whole_cdk_json_are_compared(self) -> None:
        own = {"staging": {"profile": "sandbox", "index_prefix": "staging-"}}
        inherited = {"staging": {"profile": "sandbox"}}
        top = {"search_url": URL}
        chosen = {"environment": "sandbox", **top}
        load({**chosen, "environments": own}, top)
        with pytest.raises(SettingsError, match="'sandbox' and 'staging' write into the same"):
            load({**chosen, "environments": inherited}, top)
        # Only `sandbox` has a URL that -c gives.
        load({**chosen, "environments": inherited}, {})

    def test_the_app_stops_with_the_sentence_and_no_traceback(self) -> None:
        context = json.dumps({"environment": "sandbx"})
        app = subprocess.run(
            [sys.executable, "app.py"],
            cwd=ROOT,
            env={**os.environ, "CDK_CONTEXT_JSON": context},
            capture_output=True,
            text=True,
            check=False,
        )
        assert app.returncode == 1
        assert app.stderr.splitlines() == [
            "Unknown environment 'sandbx': pass -c environment= with one of sandbox, production, "
            'local, or give the new one a profile in cdk.json ("environments": {"sandbx": '
            '{"profile": "sandbox"}}).'
        ]

    def test_environments_and_retentions_are_complete(self) -> None:
        assert set(DEFAULTS) == set(PROFILES) == set(CONTEXT["environments"])
        assert tuple(RETENTION) == RETENTION_DAYS
