"""VPC, customer key, permissions boundary, tracing and gradual releases."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from stacks.environments import SettingsError, load
from tests.infrastructure.conftest import EVERYTHING, KEY, SUBNETS, Synthesise
from tests.infrastructure.deployment import Deployment
from tests.infrastructure.policies import Request, decide
from tests.infrastructure.templates import Assembly, Resource, flat, of_type, only, processors
from tests.lambdas.conftest import with_notifications, without_documents
from tests.schedules import long
from tools.example_context import CONTEXT

VPC = {
    "vpc_id": "vpc-0123456789abcdef0",
    "subnet_ids": ",".join(SUBNETS),
    "security_group_ids": "sg-0123456789abcdef0",
}
# Where each type of resource names its key.
ENCRYPTED = {
    "AWS::DynamoDB::GlobalTable": ("Replicas", 0, "SSESpecification", "KMSMasterKeyId"),
    "AWS::S3::Bucket": (
        "BucketEncryption",
        "ServerSideEncryptionConfiguration",
        0,
        "ServerSideEncryptionByDefault",
        "KMSMasterKeyID",
    ),
    "AWS::SQS::Queue": ("KmsMasterKeyId",),
    "AWS::SNS::Topic": ("KmsMasterKeyId",),
    "AWS::Logs::LogGroup": ("KmsKeyId",),
    "AWS::OpenSearchService::Domain": ("EncryptionAtRestOptions", "KmsKeyId"),
}


def resources(assembly: Assembly) -> Iterator[tuple[str, Resource]]:
    for template in assembly.templates.values():
        yield from template["Resources"].items()


def wildcards(assembly: Assembly) -> set[str]:
    """The actions that a role may do to any resource."""
    return {
        action
        for policy in of_type(assembly.pipeline, "AWS::IAM::Policy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Resource"] == "*"
        for action in statement["Action"]
    }


class TestNetwork:
    def test_every_function_is_in_the_subnets(self, everything: Assembly) -> None:
        """But the maintenance, which invokes the others: a VPC may have no way to Lambda's API."""
        for name, function in of_type(everything.pipeline, "AWS::Lambda::Function").items():
            if name.startswith("Maintenance"):
                assert "VpcConfig" not in function["Properties"]
                continue
            assert function["Properties"]["VpcConfig"] == {
                "SecurityGroupIds": ["sg-0123456789abcdef0"],
                "SubnetIds": list(SUBNETS),
            }

    @long
    def test_the_domain_has_one_subnet_for_each_zone(self, synthesise: Synthesise) -> None:
        for zones in (1, 2):
            sizes = {"search_nodes": "2", "search_zones": str(zones)}
            assembly = synthesise(environment="sandbox", **VPC, **sizes)
            domain = only(assembly.search, "AWS::OpenSearchService::Domain")["Properties"]
            assert domain["VPCOptions"] == {
                "SecurityGroupIds": ["sg-0123456789abcdef0"],
                "SubnetIds": list(SUBNETS[:zones]),
            }

    def test_a_domain_needs_a_subnet_for_each_zone(self, synthesise: Synthesise) -> None:
        sizes = {"subnet_ids": SUBNETS[0], "search_nodes": "2", "search_zones": "2"}
        settings = {"environment": "sandbox", **VPC, **sizes}
        with pytest.raises(SettingsError) as refused:
            synthesise(**settings)
        assert str(refused.value) == (
            "Setting 'subnet_ids' has 1 for a domain in 2 zones ('search_zones'): give a subnet of "
            "each zone."
        )
        assert "pipeline" in synthesise(**settings, tables=without_documents()).templates

    def test_route_tables_get_gateways_to_dynamodb_and_s3(self, everything: Assembly) -> None:
        gateways = of_type(everything.pipeline, "AWS::EC2::VPCEndpoint").values()
        services = {flat(each["Properties"]["ServiceName"]) for each in gateways}
        region = "com.amazonaws.AWS::Region"
        assert services == {f"{region}.dynamodb", f"{region}.s3"}
        for gateway in gateways:
            assert gateway["Properties"]["RouteTableIds"] == ["rtb-0123456789abcdef0"]

    @long
    def test_gateways_stay_where_they_are_when_tables_are_added(
        self, synthesise: Synthesise
    ) -> None:
        """A route table takes one of each service: they cannot move between stacks."""
        (orders,) = without_documents()
        others = [replace(orders, name=name, stack=f"pipeline-{name}") for name in "ab"]
        settings = {"environment": "sandbox", **VPC, "route_table_ids": "rtb-0123456789abcdef0"}
        for tables, expected in (
            ([*others, orders], "pipeline"),
            ([others[1], others[0]], "pipeline-a"),
        ):
            templates = synthesise(**settings, tables=tables).templates
            with_gateways = [name for name, each in templates.items() if "VPCEndpoint" in str(each)]
            assert with_gateways == [expected]

    def test_without_route_tables_there_are_no_gateways(self, synthesise: Synthesise) -> None:
        url = "https://vpc-mine-1a2b.eu-west-1.es.amazonaws.com"
        assembly = synthesise(environment="sandbox", search_url=url, **VPC)
        assert set(assembly.templates) == {"pipeline"}
        assert "VPCEndpoint" not in str(assembly.pipeline)

    def test_the_wildcards_are_network_interfaces_and_traces(
        self, everything: Assembly, sandbox: Assembly
    ) -> None:
        found = wildcards(everything)
        assert {action.partition(":")[0] for action in found} == {"ec2", "xray"}
        assert len(found) == 8
        assert wildcards(sandbox) == set()

    def test_a_function_waits_for_the_permissions(self, everything: Assembly) -> None:
        """Lambda checks them when it makes the function."""
        for name, function in of_type(everything.pipeline, "AWS::Lambda::Function").items():
            role = name.partition("Function")[0]
            inside = ("NetworkInterfaces",) if "VpcConfig" in function["Properties"] else ()
            for policy in ("Tracing", "Key", *inside):
                assert any(each.startswith(f"{role}Role{policy}") for each in function["DependsOn"])


class TestKey:
    def test_everything_at_rest_is_under_the_key(self, everything: Assembly) -> None:
        found = set()
        for name, resource in resources(everything):
            if path := ENCRYPTED.get(resource["Type"]):
                value: Any = resource["Properties"]
                for step in path:
                    value = value[step]
                assert flat(value) in (KEY, KEY.rpartition("/")[2]), name
                found.add(resource["Type"])
        assert found == set(ENCRYPTED)

    def test_without_the_setting_no_key_is_named(self, sandbox: Assembly) -> None:
        assert "kms" not in str(sandbox.templates).lower()

    def test_every_role_and_the_operator_may_use_the_key(self, everything: Assembly) -> None:
        """Lambda reads a stream and writes to the on-failure bucket with the function's role."""
        deployment = Deployment(everything)
        roles = [
            flat(function["Properties"]["Role"]).removesuffix(".Arn")
            for function in of_type(everything.pipeline, "AWS::Lambda::Function").values()
        ]
        assert len(roles) == 6
        for action in ("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"):
            for name in roles:
                role = deployment.value("pipeline", {"Fn::GetAtt": [name, "Arn"]})
                assert deployment.decide(Request(role, action, KEY)).allowed
                other = KEY.replace("1234abcd", "0000abcd")
                assert not deployment.decide(Request(role, action, other)).allowed
            operator = Request("operator", action, KEY)
            assert decide(operator, [deployment.managed_policy()]).allowed

    def test_every_role_and_the_operator_read_under_former_keys(
        self, everything: Assembly, synthesise: Synthesise
    ) -> None:
        """Objects and messages stay under the key that they were written with."""
        former = EVERYTHING["former_key_arns"]
        removed = {"environment": "production", "alarms": "none", "former_key_arns": former}
        for assembly in (everything, synthesise(**removed)):
            deployment = Deployment(assembly)
            machine = of_type(assembly.pipeline, "AWS::StepFunctions::StateMachine").values()
            holders = [*of_type(assembly.pipeline, "AWS::Lambda::Function").values(), *machine]
            roles = [
                each["Properties"].get("Role") or each["Properties"]["RoleArn"] for each in holders
            ]
            assert len(roles) == 7
            for action, is_allowed in (("kms:Decrypt", True), ("kms:GenerateDataKey", False)):
                for role in roles:
                    request = Request(deployment.value("pipeline", role), action, former)
                    assert deployment.decide(request).allowed is is_allowed
                operator = Request("operator", action, former)
                decision = decide(operator, [deployment.managed_policy()])
                assert decision.allowed is is_allowed
            for name, resource in resources(assembly):
                if not resource["Type"].startswith("AWS::IAM::"):
                    assert former not in str(resource), name

    @long
    def test_the_topic_of_the_notifications_has_the_key(self, synthesise: Synthesise) -> None:
        made = synthesise(**EVERYTHING, tables=with_notifications())
        topics = of_type(made.pipeline, "AWS::SNS::Topic")
        assert len(topics) == 2
        assert {flat(topic["Properties"]["KmsMasterKeyId"]) for topic in topics.values()} == {KEY}
        deployment = Deployment(made)
        role = processors(made.pipeline)["notifications"]["Properties"]["Role"]
        for action in ("kms:Decrypt", "kms:GenerateDataKey"):
            request = Request(deployment.value("pipeline", role), action, KEY)
            assert deployment.decide(request).allowed

    def test_the_domain_alarms_watch_the_key(
        self, everything: Assembly, production: Assembly
    ) -> None:
        metrics = {
            alarm["Properties"].get("MetricName")
            for alarm in of_type(everything.pipeline, "AWS::CloudWatch::Alarm").values()
        }
        assert {"KMSKeyError", "KMSKeyInaccessible"} <= metrics
        assert "KMSKey" not in str(production.pipeline)


class TestFunctions:
    def test_every_role_has_the_boundary(self, everything: Assembly, sandbox: Assembly) -> None:
        roles = [each for _, each in resources(everything) if each["Type"] == "AWS::IAM::Role"]
        assert len(roles) == 10, "of six functions, three releases and the state machine"
        for role in roles:
            boundary = role["Properties"]["PermissionsBoundary"]
            assert boundary == EVERYTHING["permissions_boundary_arn"]
        assert "PermissionsBoundary" not in str(sandbox.templates)

    def test_every_function_is_traced(self, everything: Assembly, sandbox: Assembly) -> None:
        for function in of_type(everything.pipeline, "AWS::Lambda::Function").values():
            assert function["Properties"]["TracingConfig"] == {"Mode": "Active"}
        assert "TracingConfig" not in str(sandbox.pipeline)


class TestRelease:
    def test_mappings_invoke_the_alias_that_codedeploy_moves(self, everything: Assembly) -> None:
        deployment = Deployment(everything)
        aliases = of_type(everything.pipeline, "AWS::Lambda::Alias")
        groups = of_type(everything.pipeline, "AWS::CodeDeploy::DeploymentGroup")
        assert len(aliases) == len(groups) == 3
        invoked = {
            deployment.value("pipeline", each["Properties"]["FunctionName"])
            for each in of_type(everything.pipeline, "AWS::Lambda::EventSourceMapping").values()
        }
        assert invoked == {
            f"{alias['Properties']['FunctionName']['Ref']}:live" for alias in aliases.values()
        }
        moved = {
            alias["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]["DeploymentGroupName"]["Ref"]
            for alias in aliases.values()
        }
        assert moved == set(groups)

    def test_operators_may_ask_for_the_code_of_the_alias(self, everything: Assembly) -> None:
        deployment = Deployment(everything)
        mappings = of_type(everything.pipeline, "AWS::Lambda::EventSourceMapping").values()
        for each in mappings:
            name = deployment.value("pipeline", each["Properties"]["FunctionName"])
            arn = deployment.arn("lambda:GetFunctionConfiguration", name)
            request = Request("operator", "lambda:GetFunctionConfiguration", arn)
            assert decide(request, [deployment.managed_policy()]).allowed

    def test_alarms_of_the_processor_take_a_release_back(self, everything: Assembly) -> None:
        for group in of_type(everything.pipeline, "AWS::CodeDeploy::DeploymentGroup").values():
            rollback = group["Properties"]["AutoRollbackConfiguration"]
            assert rollback["Enabled"]
            assert "DEPLOYMENT_STOP_ON_ALARM" in rollback["Events"]
            configured = group["Properties"]["AlarmConfiguration"]["Alarms"]
            alarms = [flat(each["Name"]) for each in configured]
            assert len(alarms) == 3
            for alarm in alarms:
                # One on the mapping, which waits for the alias, would be a circle.
                assert "Mapping" not in str(everything.pipeline["Resources"][alarm])

    def test_snapshots_are_of_versions_that_mappings_invoke(self, synthesise: Synthesise) -> None:
        assembly = synthesise(environment="sandbox", snap_start="true")
        deployment = Deployment(assembly)
        for each in of_type(assembly.pipeline, "AWS::Lambda::EventSourceMapping").values():
            invoked = deployment.value("pipeline", each["Properties"]["FunctionName"])
            function, _, alias = invoked.partition(":")
            found = assembly.pipeline["Resources"][function]["Properties"]
            assert found["SnapStart"] == {"ApplyOn": "PublishedVersions"}
            assert alias == "live"
        assert "CodeDeploy" not in str(assembly.pipeline)

    def test_a_direct_release_has_no_alias(self, sandbox: Assembly) -> None:
        assert "AWS::Lambda::Alias" not in str(sandbox.pipeline)
        assert "CodeDeploy" not in str(sandbox.pipeline)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"vpc_id": "vpc-0123456789abcdef0"},
            "Setting 'subnet_ids' is missing: 'vpc_id' is 'vpc-0123456789abcdef0', so give "
            "subnet_ids and security_group_ids of that VPC.",
        ),
        ({**VPC, "subnet_ids": ""}, "Setting 'subnet_ids' is missing: "),
        ({**VPC, "security_group_ids": ""}, "Setting 'security_group_ids' is missing: "),
        ({"subnet_ids": SUBNETS[0]}, "Setting 'subnet_ids' is given without 'vpc_id'"),
        ({"route_table_ids": "rtb-0123456789abcdef0"}, "'route_table_ids' is given without"),
        ({**VPC, "subnet_ids": "subnet-1, sg-2"}, "Setting 'subnet_ids' is 'subnet-1' in -c"),
        ({**VPC, "vpc_id": "default"}, "Setting 'vpc_id' is 'default' in -c vpc_id=:"),
        ({"kms_key_arn": "alias/mine"}, "Setting 'kms_key_arn' is 'alias/mine' in -c kms_key"),
        ({"former_key_arns": "alias/mine"}, "Setting 'former_key_arns' is 'alias/mine' in -c for"),
        (
            {"kms_key_arn": KEY, "former_key_arns": KEY},
            f"Setting 'former_key_arns' has {KEY}, which is 'kms_key_arn': name the keys before",
        ),
        ({"permissions_boundary_arn": "boundary"}, "Setting 'permissions_boundary_arn' is 'bou"),
        ({"release": "canary"}, "Setting 'release' is 'canary' in -c release=: input should be"),
        ({"snap_start": "fast"}, "Setting 'snap_start' is 'fast' in -c snap_start=:"),
        ({"tracing": "on and off"}, "Setting 'tracing' is 'on and off' in -c tracing=:"),
        *(
            (
                {"environment": "local", "search_url": "http://127.0.0.1:9250", **setting},
                "is for AWS, and environment local is this machine's.",
            )
            for setting in (
                VPC,
                {"kms_key_arn": KEY},
                {"former_key_arns": KEY},
                {"tracing": "true"},
                {"release": "gradual"},
                {"snap_start": "true"},
            )
        ),
    ],
)
def test_a_wrong_setting_is_a_sentence(settings: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load({**CONTEXT, "environment": "sandbox", **settings})
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
