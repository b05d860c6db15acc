"""Findings of a preflight on the account's VPC, key and copies: one sentence each, with the fix."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.example_domain import TABLES
from stacks.environments import load
from tests.lambdas.conftest import with_notifications
from tests.tools.fake_aws import ACCOUNT, KINDS, REGION, FakeAws, Stack, s3
from tools.account.cdk import ROOT
from tools.account.key import PAGE
from tools.account.preflight import preflight, wanted_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dynamodb_streams_cdc.entities import Table
    from tools.account.findings import Finding
    from tools.account.identity import Account

VPC = "vpc-0123456789abcdef0"
SUBNETS = [f"subnet-0123456789abcdef{number}" for number in range(3)]
GROUP = "sg-0123456789abcdef0"
TABLE = "rtb-0123456789abcdef0"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
IN_VPC: dict[str, Any] = {"vpc_id": VPC, "subnet_ids": SUBNETS, "security_group_ids": [GROUP]}
MAIN = {"Main": True, "RouteTableId": TABLE}
NAT = {"DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": "nat-1", "State": "active"}


def statement(service: str, *actions: str) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": list(actions),
        "Resource": "*",
    }


POLICY = [
    statement(f"logs.{REGION}.amazonaws.com", "kms:Encrypt*", "kms:Decrypt*", "kms:Generate*"),
    statement("events.amazonaws.com", "kms:Decrypt", "kms:GenerateDataKey*"),
    statement("cloudwatch.amazonaws.com", "kms:*"),
]


def found(
    account: Account, check: str, tables: Sequence[Table] = TABLES, **settings: Any
) -> list[Finding]:
    context = {"environment": "production", "alarm_email": "on-call@example.com", **settings}
    wanted = wanted_of(account, load(context), tables)
    return [each for each in preflight(account, wanted) if each.check == check]


@pytest.fixture
def vpc(aws: FakeAws) -> FakeAws:
    """An account whose VPC, with a NAT, is ready."""
    aws.subnets = {
        name: (VPC, f"{REGION}{zone}") for name, zone in zip(SUBNETS, "abc", strict=True)
    }
    aws.security_groups = {GROUP: VPC}
    aws.route_tables = [{"RouteTableId": TABLE, "Associations": [MAIN], "Routes": [NAT]}]
    aws.linked_roles = {"AWSServiceRoleForAmazonOpenSearchService"}
    aws.instance_types += ["r7g.large.search", "m7g.medium.search"]
    return aws


@pytest.fixture
def key(aws: FakeAws) -> FakeAws:
    """An account whose key is ready."""
    aws.keys[KEY] = {"KeyState": "Enabled", "Policy": {"Statement": POLICY}}
    return aws


def gateway(service: str, table: str = TABLE, **tags: str) -> dict[str, Any]:
    return {
        "VpcEndpointId": f"vpce-{service}",
        "ServiceName": f"com.amazonaws.{REGION}.{service}",
        "VpcEndpointType": "Gateway",
        "RouteTableIds": [table],
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
    }


class TestNetwork:
    def test_a_vpc_that_is_ready_is_fine(self, vpc: FakeAws, account: Account) -> None:
        [finding] = found(account, "network", **IN_VPC)
        assert str(finding) == f"ok         Functions can run in {VPC}."

    def test_without_a_vpc_nothing_is_asked(self, aws: FakeAws, account: Account) -> None:
        assert found(account, "network") == []
        assert not [call for call in aws.calls if call.startswith("ec2:")]

    def test_subnets_and_groups_have_to_be_in_it(self, vpc: FakeAws, account: Account) -> None:
        del vpc.subnets[SUBNETS[0]]
        vpc.security_groups[GROUP] = "vpc-1"
        missing, misplaced = found(account, "network", **IN_VPC)
        assert missing.level == misplaced.level == "blocking"
        assert missing.sentence == f"There is no {SUBNETS[0]}: correct subnet_ids."
        assert misplaced.sentence.startswith(f"{GROUP} is in vpc-1, not in {VPC} (vpc_id)")

    def test_a_domain_takes_subnets_of_different_zones(
        self, vpc: FakeAws, account: Account
    ) -> None:
        vpc.subnets[SUBNETS[1]] = vpc.subnets[SUBNETS[0]]
        [finding] = found(account, "network", **IN_VPC)
        assert finding.level == "blocking"
        assert "put subnets of different zones first" in finding.sentence
        url = "https://vpc-mine-1a2b.eu-west-1.es.amazonaws.com"
        [finding] = found(account, "network", **IN_VPC, search_url=url)
        assert finding.level == "ok"

    @pytest.mark.parametrize(
        "route",
        [{}, {**NAT, "State": "blackhole"}, {**NAT, "NatGatewayId": "", "GatewayId": "igw-1"}],
        ids=["none", "blackhole", "internet gateway"],
    )
    def test_a_subnet_has_to_reach_dynamodb_and_s3(
        self, vpc: FakeAws, account: Account, route: dict[str, str]
    ) -> None:
        vpc.route_tables[0]["Routes"] = [route]
        vpc.gateways = [gateway("s3"), gateway("dynamodb", "rtb-1")]
        findings = found(account, "network", **IN_VPC)
        assert [each.level for each in findings] == ["blocking"] * 3
        assert findings[0].sentence.startswith(f"{SUBNETS[0]} reaches no dynamodb: its route table")
        assert "add a gateway endpoint for dynamodb" in findings[0].sentence
        vpc.gateways[1]["RouteTableIds"].append(TABLE)
        [finding] = found(account, "network", **IN_VPC)
        assert finding.level == "ok"

    def test_an_interface_has_to_have_the_service_s_name(
        self, vpc: FakeAws, account: Account
    ) -> None:
        """The functions ask for `dynamodb.REGION.amazonaws.com`, which no interface answers to."""
        vpc.route_tables[0]["Routes"] = []
        s3, dynamodb = (
            {**gateway(service), "VpcEndpointType": "Interface", "RouteTableIds": []}
            for service in ("s3", "dynamodb")
        )
        for named, missing in (
            ({"PrivateDnsEnabled": False}, "no dynamodb and no s3"),
            ({"PrivateDnsEnabled": True}, "no dynamodb"),
            (
                {
                    "PrivateDnsEnabled": True,
                    "DnsOptions": {"PrivateDnsOnlyForInboundResolverEndpoint": True},
                },
                "no dynamodb and no s3",
            ),
        ):
            vpc.gateways = [{**s3, **named}, dynamodb]
            findings = found(account, "network", **IN_VPC)
            assert [each.level for each in findings] == ["blocking"] * 3
            assert f" reaches {missing}: its route table" in findings[0].sentence

    def test_the_subnet_s_own_table_counts(self, vpc: FakeAws, account: Account) -> None:
        own = {"SubnetId": SUBNETS[2], "RouteTableId": "rtb-2"}
        vpc.route_tables.append({"RouteTableId": "rtb-2", "Associations": [own], "Routes": []})
        [finding] = found(account, "network", **IN_VPC)
        assert finding.sentence.startswith(f"{SUBNETS[2]} reaches no dynamodb and no s3")

    def test_a_table_takes_one_gateway_of_a_service(self, vpc: FakeAws, account: Account) -> None:
        vpc.gateways = [gateway("s3")]
        asked = {**IN_VPC, "route_table_ids": [TABLE]}
        [finding] = found(account, "network", **asked)
        assert finding.level == "blocking"
        assert f"{TABLE} has the gateway endpoint vpce-s3" in finding.sentence
        vpc.gateways = [gateway("s3", application="cdc", environment="production")]
        [finding] = found(account, "network", **asked)
        assert finding.level == "ok"

    def test_every_subnet_needs_a_table_with_gateways(self, vpc: FakeAws, account: Account) -> None:
        """A VPC of the console has a table for each zone: Lambda runs functions in all of them."""
        own = {"SubnetId": SUBNETS[2], "RouteTableId": "rtb-2"}
        vpc.route_tables[0]["Routes"] = []
        vpc.route_tables.append({"RouteTableId": "rtb-2", "Associations": [own], "Routes": []})
        [finding] = found(account, "network", **IN_VPC, route_table_ids=[TABLE])
        assert finding.level == "blocking"
        assert finding.sentence.startswith(f"{SUBNETS[2]} reaches no dynamodb and no s3")
        assert "route table rtb-2 has neither" in finding.sentence
        assert "name it in route_table_ids, and the app" in finding.sentence
        vpc.route_tables[1]["Routes"] = [NAT]
        [finding] = found(account, "network", **IN_VPC, route_table_ids=[TABLE])
        assert finding.level == "ok"

    def test_gateways_that_the_deploy_removes_do_not_count(
        self, vpc: FakeAws, account: Account
    ) -> None:
        vpc.route_tables[0]["Routes"] = []
        vpc.gateways = [
            gateway(service, application="cdc", environment="production")
            for service in ("s3", "dynamodb")
        ]
        assert [e.level for e in found(account, "network", **IN_VPC)] == ["blocking"] * 3
        [finding] = found(account, "network", **IN_VPC, route_table_ids=[TABLE])
        assert finding.level == "ok"

    def test_gateways_of_another_stack_are_named(self, vpc: FakeAws, account: Account) -> None:
        """CloudFormation makes those of one stack before it deletes those of the other."""
        endpoint = ("AWS::EC2::VPCEndpoint", "vpce-1")
        vpc.add(Stack("cdc-production-pipeline-b", resources=[endpoint]))
        tables = [replace(TABLES[0], name=name, stack=f"pipeline-{name}") for name in "ba"]
        asked = {**IN_VPC, "route_table_ids": [TABLE]}
        [finding] = found(account, "network", tables=tables, **asked)
        assert finding.level == "blocking"
        assert finding.sentence.startswith(
            "cdc-production-pipeline-b has the gateway endpoints, and this deploy would make them "
            "again in cdc-production-pipeline-a, whose name sorts first"
        )
        assert "names that sort after cdc-production-pipeline-b" in finding.sentence
        [finding] = found(account, "network", tables=tables[1:], **asked)
        assert "delete-stack --stack-name cdc-production-pipeline-b`" in finding.sentence
        for given, expected in ((tables[:1], asked), (tables, IN_VPC)):
            levels = [e.level for e in found(account, "network", tables=given, **expected)]
            assert levels == ["ok"]

    def test_notifications_need_sns(self, vpc: FakeAws, account: Account) -> None:
        """An endpoint serves the whole VPC, once its names resolve to it."""
        vpc.route_tables[0]["Routes"] = []
        vpc.gateways = [gateway("s3"), gateway("dynamodb")]
        tables = with_notifications()
        assert [each.level for each in found(account, "network", **IN_VPC)] == ["ok"]
        asked: dict[str, Any]
        for asked in ({}, {"route_table_ids": ["rtb-0123456789abcdef9"]}):
            findings = found(account, "network", tables=tables, **IN_VPC, **asked)
            assert [each.level for each in findings] == ["blocking"] * 3
            assert findings[0].sentence.startswith(f"{SUBNETS[0]} reaches no sns, which the sink")
        sns = {**gateway("sns"), "VpcEndpointType": "Interface", "RouteTableIds": []}
        vpc.gateways.append({**sns, "PrivateDnsEnabled": False})
        assert len(found(account, "network", tables=tables, **IN_VPC)) == 3
        vpc.gateways.append({**sns, "PrivateDnsEnabled": True})
        assert [e.level for e in found(account, "network", tables=tables, **IN_VPC)] == ["ok"]
        vpc.route_tables[0]["Routes"], vpc.gateways = [NAT], []
        assert [e.level for e in found(account, "network", tables=tables, **IN_VPC)] == ["ok"]

    def test_a_public_domain_is_reached_by_a_nat(self, vpc: FakeAws, account: Account) -> None:
        """Without one, every request of the search function times out."""
        vpc.gateways = [gateway("s3"), gateway("dynamodb")]
        public = "https://search-mine-1a2b.eu-west-1.es.amazonaws.com"
        private = public.replace("search-", "vpc-")
        for url, routes, levels in (
            (public, [], ["warning"] * 3),
            (private, [], ["ok"]),
            (public, [NAT], ["ok"]),
        ):
            vpc.route_tables[0]["Routes"] = routes
            findings = found(account, "network", **IN_VPC, search_url=url)
            assert [each.level for each in findings] == levels
            if len(findings) == 3:
                assert findings[0].sentence.startswith(
                    f"{SUBNETS[0]} does not reach the domain mine, whose endpoint is public: its "
                )

    def test_a_domain_needs_the_service_linked_role(self, vpc: FakeAws, account: Account) -> None:
        vpc.linked_roles = set()
        [finding] = found(account, "network", **IN_VPC)
        assert finding.level == "blocking"
        assert "`aws iam create-service-linked-role --aws-service-name open" in finding.sentence
        vpc.linked_roles = {"AWSServiceRoleForAmazonElasticsearchService"}
        [finding] = found(account, "network", **IN_VPC)
        assert finding.level == "ok"


class TestKey:
    def test_a_key_that_is_ready_is_fine(self, key: FakeAws, account: Account) -> None:
        [finding] = found(account, "key", kms_key_arn=KEY)
        assert finding.level == "ok"

    def test_without_a_key_nothing_is_asked(self, aws: FakeAws, account: Account) -> None:
        assert found(account, "key") == []
        assert not [call for call in aws.calls if call.startswith("kms:")]

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"KeyState": "PendingDeletion"}, "is PendingDeletion: enable it"),
            ({"KeySpec": "RSA_2048"}, "is of the kind RSA_2048"),
        ],
    )
    def test_a_key_that_cannot_encrypt_is_named(
        self, key: FakeAws, account: Account, change: dict[str, str], says: str
    ) -> None:
        key.keys[KEY] |= change
        [finding] = found(account, "key", kms_key_arn=KEY)
        assert finding.level == "blocking"
        assert says in finding.sentence

    def test_a_key_has_to_exist(self, aws: FakeAws, account: Account) -> None:
        [finding] = found(account, "key", kms_key_arn=KEY)
        assert finding.level == "blocking"
        assert "does not exist: create it, or correct kms_key_arn." in finding.sentence

    def test_a_key_of_another_region_is_not_asked(self, aws: FakeAws, account: Account) -> None:
        elsewhere = KEY.replace(REGION, "ap-south-1")
        [finding] = found(account, "key", kms_key_arn=elsewhere)
        assert finding.level == "blocking"
        assert "Region ap-south-1, and the deploy goes to" in finding.sentence
        assert not [call for call in aws.calls if call.startswith("kms:")]

    @pytest.mark.parametrize("number", range(3))
    def test_a_service_that_may_not_use_it_is_named(
        self, key: FakeAws, account: Account, number: int
    ) -> None:
        """The queues, the topic or the log groups would take nothing."""
        service = POLICY[number]["Principal"]["Service"]
        key.keys[KEY]["Policy"]["Statement"] = [*POLICY[:number], *POLICY[number + 1 :]]
        [finding] = found(account, "key", kms_key_arn=KEY)
        assert finding.level == "blocking"
        assert f"does not let {service} do kms:" in finding.sentence
        assert "docs/how-to/use-a-key-of-your-own.md" in finding.sentence

    @pytest.mark.parametrize("asked", ["aws:SourceAccount", "aws:SourceArn", "AWS:SourceOrgID"])
    def test_eventbridge_meets_no_condition_on_the_source(
        self, key: FakeAws, account: Account, asked: str
    ) -> None:
        """https://github.com/awslabs/landing-zone-accelerator-on-aws/issues/407"""
        asking = {**POLICY[1], "Condition": {"StringEquals": {asked: ACCOUNT}}}
        key.keys[KEY]["Policy"]["Statement"] = [POLICY[0], asking, POLICY[2]]
        [finding] = found(account, "key", kms_key_arn=KEY)
        assert finding.level == "blocking"
        assert "does not let events.amazonaws.com do kms:Decrypt" in finding.sentence

    def test_the_policy_on_the_page_suffices(self, key: FakeAws, account: Account) -> None:
        shown = (ROOT / PAGE).read_text("utf-8").split("```json\n")[1].partition("```")[0]
        policy = json.loads(shown.replace("ACCOUNT", ACCOUNT).replace("REGION", REGION))
        key.keys[KEY]["Policy"] = policy
        [finding] = found(account, "key", kms_key_arn=KEY)
        assert finding.level == "ok"

    def test_half_of_the_actions_do_not_suffice(self, key: FakeAws, account: Account) -> None:
        half = statement("events.amazonaws.com", "kms:Decrypt")
        key.keys[KEY]["Policy"]["Statement"] = [POLICY[0], half, POLICY[2]]
        [finding] = found(account, "key", kms_key_arn=KEY)
        assert "does not let events.amazonaws.com do kms:GenerateDataKey" in finding.sentence

    def test_a_topic_of_others_needs_no_statement(self, key: FakeAws, account: Account) -> None:
        key.keys[KEY]["Policy"]["Statement"] = POLICY[:2]
        context = {"environment": "production", "alarms": "none", "kms_key_arn": KEY}
        wanted = wanted_of(account, load(context), TABLES)
        levels = [each.level for each in preflight(account, wanted) if each.check == "key"]
        assert levels == ["ok"]


class TestFormerKeys:
    FORMER = KEY.replace("1234abcd", "0987dcba")

    def test_one_that_can_decrypt_is_fine(self, key: FakeAws, account: Account) -> None:
        key.keys[self.FORMER] = {"KeyState": "Enabled"}
        assert found(account, "former keys", former_key_arns=self.FORMER) == []

    def test_one_that_cannot_decrypt_is_named(self, key: FakeAws, account: Account) -> None:
        [finding] = found(account, "former keys", former_key_arns=self.FORMER)
        assert finding.level == "warning"
        assert f"The former key {self.FORMER} does not exist" in finding.sentence
        key.keys[self.FORMER] = {"KeyState": "PendingDeletion"}
        [finding] = found(account, "former keys", former_key_arns=self.FORMER)
        assert f"The former key {self.FORMER} is PendingDeletion" in finding.sentence

    def test_the_key_of_objects_has_to_be_named(self, key: FakeAws, account: Account) -> None:
        """The roles would lose the dead letters and the large images."""
        names = [f"cdc-production-pipeline-{number}" for number in range(3)]
        for name in names[:2]:
            where = {"LocationConstraint": REGION}
            s3().create_bucket(Bucket=name, CreateBucketConfiguration=where)
        default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": self.FORMER}
        s3().put_bucket_encryption(
            Bucket=names[0],
            ServerSideEncryptionConfiguration={
                "Rules": [{"ApplyServerSideEncryptionByDefault": default}]
            },
        )
        key.add(Stack("cdc-production-pipeline", resources=[(KINDS["bucket"], n) for n in names]))
        key.keys[self.FORMER] = {**key.keys[KEY]}
        for current in (None, KEY):
            [finding] = found(account, "former keys", kms_key_arn=current)
            assert finding.level == "warning"
            assert f"{names[0]} is encrypted with {self.FORMER}, which nei" in finding.sentence
            assert "add the key to former_key_arns" in finding.sentence
        assert found(account, "former keys", kms_key_arn=self.FORMER) == []
        assert found(account, "former keys", former_key_arns=self.FORMER) == []


class TestDomain:
    @pytest.fixture
    def deployed(self, vpc: FakeAws, key: FakeAws) -> FakeAws:
        domain = ("AWS::OpenSearchService::Domain", "ours")
        vpc.add(Stack("cdc-production-search", resources=[domain]))
        vpc.domains["ours"] = {}
        return vpc

    def test_a_domain_stays_in_its_vpc(self, deployed: FakeAws, account: Account) -> None:
        [finding] = found(account, "own search domain", **IN_VPC)
        assert finding.level == "blocking"
        assert f"ours is in no VPC, vpc_id is {VPC}, and AWS moves no dom" in finding.sentence
        deployed.domains["ours"]["status"] = {"VPCOptions": {"VPCId": VPC}}
        assert found(account, "own search domain", **IN_VPC) == []
        assert (
            "is not set, and AWS moves no domain" in found(account, "own search domain")[0].sentence
        )

    def test_a_domain_keeps_its_key(self, deployed: FakeAws, account: Account) -> None:
        [finding] = found(account, "own search domain", kms_key_arn=KEY)
        assert finding.level == "blocking"
        assert "is encrypted with a key of AWS, and AWS changes the key" in finding.sentence
        options = {"Enabled": True, "KmsKeyId": KEY}
        deployed.domains["ours"]["status"] = {"EncryptionAtRestOptions": options}
        assert found(account, "own search domain", kms_key_arn=KEY) == []

    def test_the_key_of_a_domain_cannot_be_left_out(
        self, deployed: FakeAws, account: Account
    ) -> None:
        options = {"Enabled": True, "KmsKeyId": KEY}
        deployed.domains["ours"]["status"] = {"EncryptionAtRestOptions": options}
        deployed.keys[KEY]["KeyManager"] = "CUSTOMER"
        [finding] = found(account, "own search domain")
        assert finding.level == "blocking"
        assert f"ours is encrypted with {KEY}, kms_key_arn is not set" in finding.sentence
        deployed.keys[KEY]["KeyManager"] = "AWS"
        assert found(account, "own search domain") == []
        del deployed.keys[KEY]
        assert [each.level for each in found(account, "own search domain")] == ["blocking"]

    def test_a_key_that_may_not_be_read_hides_no_finding(
        self, deployed: FakeAws, account: Account
    ) -> None:
        options = {"Enabled": True, "KmsKeyId": KEY}
        deployed.domains["ours"]["status"] = {"EncryptionAtRestOptions": options}
        deployed.denied.add("kms:DescribeKey")
        network, unknown = found(account, "own search domain", **IN_VPC)
        assert (network.level, unknown.level) == ("blocking", "unknown")
        assert "could not be checked: allow kms:DescribeKey." in unknown.sentence


def test_a_stack_of_another_program_stops_a_deploy(aws: FakeAws, account: Account) -> None:
    aws.add(Stack("cdc-production-pipeline", is_ours=False))
    [finding] = found(account, "stacks")
    assert finding.level == "blocking"
    assert "without the tags application=cdc and environment=production" in finding.sentence
    assert found(account, "stacks", prefix="team")[0].level == "ok"


def test_a_copy_of_another_team_stops_a_deploy(aws: FakeAws, account: Account) -> None:
    declared = TABLES[0]
    stack = f"cdc-production-{declared.stack}"
    aws.add(Stack(stack, table="another"))
    [finding] = found(account, "stacks")
    assert finding.level == "blocking"
    assert (
        f"follows the table another, and lambdas/domain declares {declared.name}"
        in finding.sentence
    )
    assert "set a prefix (-c prefix=NAME)" in finding.sentence
    aws.add(Stack(stack, table=declared.name))
    assert found(account, "stacks")[0].level == "ok"


class TestTimeToLive:
    """CloudFormation cannot change the attribute of a Time to Live that is on."""

    [ORDERS] = TABLES
    OWN = "cdc-production-pipeline-OrdersTable"

    @pytest.fixture
    def deployed(self, aws: FakeAws) -> FakeAws:
        resources = [(KINDS["table"], self.OWN)]
        aws.add(Stack("cdc-production-pipeline", table=self.ORDERS.name, resources=resources))
        arn = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{self.OWN}"
        aws.tables[self.OWN] = f"{arn}/stream/2026-01-01T00:00:00.000"
        aws.expires_by[self.OWN] = "expires_at"
        return aws

    def changed(self, account: Account, expires_by: str | None) -> list[Finding]:
        return found(account, "Time to Live", [replace(self.ORDERS, expires_by=expires_by)])

    def test_that_of_the_declaration_is_fine(self, deployed: FakeAws, account: Account) -> None:
        assert self.changed(account, "expires_at") == []
        del deployed.expires_by[self.OWN]
        assert self.changed(account, "expires_at") == []
        assert self.changed(account, None) == []

    @pytest.mark.parametrize("declared", ["ttl", None])
    def test_another_attribute_takes_two_steps(
        self, deployed: FakeAws, account: Account, declared: str | None
    ) -> None:
        [finding] = self.changed(account, declared)
        assert finding.level == "blocking"
        assert f"is by expires_at, lambdas/domain declares expires_by={declared!r}" in str(finding)
        assert f"--table-name {self.OWN} --time-to-live-specification " in finding.sentence
        assert "Enabled=false,AttributeName=expires_at`), wait until" in finding.sentence

    def test_one_that_is_being_turned_off_has_to_be_off(
        self, deployed: FakeAws, account: Account
    ) -> None:
        deployed.time_to_live = "DISABLING"
        [finding] = self.changed(account, "ttl")
        assert finding.level == "blocking"
        assert "is being turned off: wait until" in finding.sentence
        assert self.changed(account, None) == []

    def test_a_table_of_another_program_is_not_deployed(self, account: Account) -> None:
        arn = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{self.OWN}"
        stream = f"{arn}/stream/2026-01-01T00:00:00.000"
        existing = {self.ORDERS.name: {"arn": arn, "stream_arn": stream}}
        environment = load({"environment": "sandbox", "source_tables": existing})
        assert wanted_of(account, environment, [self.ORDERS]).expires_by == {}


class TestReservations:
    """Production has three processors, each of which reserves as many."""

    def test_more_than_the_account_has_stops_a_deploy(self, aws: FakeAws, account: Account) -> None:
        [finding] = found(account, "concurrency", reserved_concurrency="301")
        assert finding.level == "blocking"
        assert "asks for 903 invocations in all. Of the account's 1,000" in finding.sentence
        assert "Lambda keeps 100 unreserved" in finding.sentence
        assert found(account, "concurrency", reserved_concurrency="300")[0].level == "ok"

    def test_so_does_more_than_other_functions_leave(self, aws: FakeAws, account: Account) -> None:
        aws.reserved = {"theirs": 601}
        [finding] = found(account, "concurrency", reserved_concurrency="100")
        assert finding.level == "blocking"
        assert "other functions reserve 601" in finding.sentence
        aws.reserved = {"theirs": 600}
        assert found(account, "concurrency", reserved_concurrency="100")[0].level == "ok"

    @pytest.fixture
    def deployed(self, aws: FakeAws) -> FakeAws:
        """An environment that has reserved all that the account has."""
        functions = [f"cdc-production-pipeline-{number}" for number in range(3)]
        resources = [("AWS::Lambda::Function", name) for name in functions]
        aws.add(Stack("cdc-production-pipeline", resources=resources))
        aws.reserved = dict.fromkeys(functions, 300)
        return aws

    def test_what_the_functions_have_is_not_counted_twice(
        self, deployed: FakeAws, account: Account
    ) -> None:
        assert found(account, "concurrency", reserved_concurrency="300")[0].level == "ok"
        levels = [e.level for e in found(account, "concurrency", reserved_concurrency="301")]
        assert levels == ["blocking"]

    def test_what_may_not_be_read_stops_nothing(self, deployed: FakeAws, account: Account) -> None:
        deployed.denied.add("lambda:GetFunctionConcurrency")
        [finding] = found(account, "concurrency", reserved_concurrency="300")
        assert finding.level == "warning"
        assert "could not be read: allow lambda:GetFunctionConcurrency" in finding.sentence
        [finding] = found(account, "concurrency", reserved_concurrency="301")
        assert finding.level == "blocking"
