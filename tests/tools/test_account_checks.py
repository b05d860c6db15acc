"""Findings of a preflight from AWS's responses: one sentence each, with the fix."""

import json
from typing import Any

import pytest

from lambdas.example_domain import TABLES
from stacks.environments import load
from stacks.settings.names import Naming
from tests.lambdas.conftest import without_documents
from tests.tools.conftest import Make
from tests.tools.fake_aws import ACCOUNT, KINDS, REGION, FakeAws, Stack, uuid
from tools.account.checks import Wanted, region, topic_place
from tools.account.findings import Finding, stops
from tools.account.identity import Account
from tools.account.preflight import ENGINE, preflight, wanted_of
from tools.account.settings import settings_of

VERSION = "/cdk-bootstrap/hnb659fds/version"
STREAM = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/orders/stream/2026-11-28T11:00:00.000"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:alarms"


def wanted(**changes: Any) -> Wanted:
    usual: dict[str, Any] = {
        "names": Naming(name="sandbox", profile="sandbox"),
        "account": ACCOUNT,
        "region": REGION,
        "lanes": 6,
        "mappings": 3,
        "engine": ENGINE,
        "instance_types": ("t3.small.search",),
    }
    return Wanted(**{**usual, **changes})


def found(account: Account, check: str, **changes: Any) -> list[Finding]:
    return [each for each in preflight(account, wanted(**changes)) if each.check == check]


@pytest.fixture
def fresh(aws: FakeAws) -> FakeAws:
    """An account with nothing of ours but the CDK's bootstrap stack."""
    aws.parameters[VERSION] = "30"
    return aws


def test_an_account_that_is_ready_has_no_complaint(fresh: FakeAws, account: Account) -> None:
    findings = preflight(account, wanted())
    assert {each.level for each in findings} == {"ok"}
    assert {each.check for each in findings} == {
        *("bootstrap", "concurrency", "log policies", "search domain", "stacks", "readers")
    }


def test_a_preflight_only_reads(fresh: FakeAws, account: Account) -> None:
    fresh.tables["orders"] = STREAM
    fresh.topics[TOPIC] = {}
    fresh.add(Stack("cdc-sandbox-pipeline", resources=[("AWS::DynamoDB::Table", "orders")]))
    preflight(account, wanted(alarm_topic=TOPIC))
    verbs = {call.partition(":")[2] for call in fresh.calls}
    assert {verb for verb in verbs if not verb.startswith(("Get", "List", "Describe"))} == set()


@pytest.mark.parametrize(("version", "says"), [(None, "is not set up"), ("5", "has version 5")])
def test_a_region_that_is_not_bootstrapped_stops_a_deploy(
    aws: FakeAws, account: Account, version: str | None, says: str
) -> None:
    if version:
        aws.parameters[VERSION] = version
    [finding] = found(account, "bootstrap")
    assert finding.level == "blocking"
    assert says in finding.sentence
    assert "`make bootstrap ENVIRONMENT=sandbox`" in finding.sentence


def test_a_new_account_s_concurrency_of_ten_is_named(fresh: FakeAws, account: Account) -> None:
    fresh.concurrency = 10
    [finding] = found(account, "concurrency")
    assert finding.level == "warning"
    assert "10 functions at once" in finding.sentence
    assert "need 24" in finding.sentence
    assert "--quota-code L-B99A9384" in finding.sentence


class TestLogPolicies:
    """An account has ten resource policies of CloudWatch Logs in a Region."""

    def test_ten_in_use_leave_none_for_a_domain_with_logs(
        self, fresh: FakeAws, account: Account
    ) -> None:
        fresh.log_policies = [f"policy-{number}" for number in range(10)]
        [finding] = found(account, "log policies", publishes_logs=True)
        assert finding.level == "blocking"
        assert "10 of 10" in finding.sentence
        assert "aws logs delete-resource-policy" in finding.sentence
        [finding] = found(account, "log policies")
        assert finding.level == "ok"

    def test_one_of_ours_among_them_is_used_again(self, fresh: FakeAws, account: Account) -> None:
        others = [f"policy-{number}" for number in range(9)]
        fresh.log_policies = [*others, "cdcsandboxsearchlogsLogAccess1234"]
        [finding] = found(account, "log policies", publishes_logs=True)
        assert finding.level == "ok"
        fresh.log_policies = [*others, "cdcsandbox2searchlogsLogAccess1234"]
        [finding] = found(account, "log policies", publishes_logs=True)
        assert finding.level == "blocking"

    @pytest.mark.parametrize(
        ("environment", "options", "publishes"),
        [
            ("production", "", True),
            ("production", "-c search_logs=false", False),
            ("production", "-c search_url=https://search-o-a.eu-west-1.es.amazonaws.com", False),
            ("sandbox", "", False),
            ("sandbox", "-c search_logs=true", True),
        ],
    )
    def test_the_settings_say_whether_the_domain_has_logs(
        self, account: Account, environment: str, options: str, publishes: bool
    ) -> None:
        receiver = "-c alarms=none " if environment == "production" else ""
        settings = settings_of(environment, receiver + options, TABLES)
        assert wanted_of(account, settings, TABLES).publishes_logs is publishes


class TestSearchDomain:
    def test_a_region_without_the_instance_type(self, fresh: FakeAws, account: Account) -> None:
        fresh.instance_types = ["m7g.large.search"]
        [finding] = found(account, "search domain")
        assert finding.level == "blocking"
        assert f"t3.small.search is not offered for {ENGINE} in Region {REGION}" in finding.sentence
        assert "search_instance_type" in finding.sentence

    def test_a_region_without_the_engine(self, fresh: FakeAws, account: Account) -> None:
        fresh.engines = ["OpenSearch_2.19"]
        [finding] = found(account, "search domain")
        assert finding.level == "blocking"
        assert f"{ENGINE} is not offered in Region {REGION}" in finding.sentence

    def test_a_domain_that_search_url_names_has_to_exist(
        self, fresh: FakeAws, account: Account
    ) -> None:
        fresh.domains["orders"] = {}
        own = {"instance_types": (), "domain": ("orders", REGION)}
        assert found(account, "search domain", **own)[0].level == "ok"
        [finding] = found(account, "search domain", **{**own, "domain": ("ordres", REGION)})
        assert finding.level == "blocking"
        assert "correct search_url" in finding.sentence

    def test_a_domain_of_another_account_is_not_asked(
        self, fresh: FakeAws, account: Account
    ) -> None:
        arn = f"arn:aws:es:{REGION}:999999999999:domain/orders"
        options = f"-c search_url=https://search.example.com -c search_domain_arn={arn}"
        seen = wanted_of(account, settings_of("sandbox", options, TABLES), TABLES)
        [finding] = [e for e in preflight(account, seen) if e.check == "search domain"]
        assert finding.level == "warning"
        assert f"is in account 999999999999, Region {REGION}: its access" in finding.sentence
        assert f"must allow es:ESHttp* to account {ACCOUNT}" in finding.sentence
        assert "opensearch:DescribeDomain" not in fresh.calls
        options = options.replace("999999999999", ACCOUNT)
        seen = wanted_of(account, settings_of("sandbox", options, TABLES), TABLES)
        [finding] = [e for e in preflight(account, seen) if e.check == "search domain"]
        assert finding.level == "blocking"
        assert "or name the domain of another account as search_domain_arn" in finding.sentence

    def test_fine_grained_access_control_wants_a_role_mapped(
        self, fresh: FakeAws, account: Account
    ) -> None:
        fresh.domains["orders"] = {"fine_grained": True}
        [finding] = found(account, "search domain", instance_types=(), domain=("orders", REGION))
        assert finding.level == "warning"
        assert "map the role" in finding.sentence


class TestStacks:
    """States that an earlier deploy or destroy has left."""

    @pytest.mark.parametrize(
        ("state", "protected", "level", "says"),
        [
            ("ROLLBACK_COMPLETE", False, "warning", "the next deploy deletes it first"),
            ("ROLLBACK_COMPLETE", True, "blocking", "--no-enable-termination-protection"),
            ("ROLLBACK_FAILED", True, "blocking", "delete-stack --stack-name cdc-sandbox-search"),
            ("REVIEW_IN_PROGRESS", False, "warning", "the next one continues it"),
            ("CREATE_IN_PROGRESS", False, "blocking", "wait until"),
            ("UPDATE_ROLLBACK_IN_PROGRESS", False, "blocking", "wait until"),
            ("DELETE_FAILED", False, "blocking", "`make destroy ENVIRONMENT=sandbox`"),
            ("UPDATE_ROLLBACK_FAILED", False, "blocking", "continue-update-rollback"),
            ("UPDATE_FAILED", False, "warning", "describe-stack-events"),
        ],
    )
    def test_a_stack_in_the_way_names_the_fix(
        self,
        fresh: FakeAws,
        account: Account,
        state: str,
        protected: bool,
        level: str,
        says: str,
    ) -> None:
        fresh.add(
            Stack("cdc-sandbox-search", state, protected=protected), Stack("cdc-sandbox-pipeline")
        )
        [finding] = found(account, "stacks")
        assert finding.level == level
        assert finding.sentence.startswith(f"cdc-sandbox-search is {state}: ")
        assert says in finding.sentence

    def test_stacks_of_other_environments_are_none_of_ours(
        self, fresh: FakeAws, account: Account
    ) -> None:
        fresh.add(Stack("cdc-production-search", "DELETE_FAILED"), Stack("mine", "DELETE_FAILED"))
        [finding] = found(account, "stacks")
        assert (finding.level, finding.sentence) == ("ok", "Stacks: none yet.")


class TestReaders:
    """A stream serves two readers; Lambda's mappings and EventBridge Pipes are both."""

    @pytest.fixture(autouse=True)
    def deployed(self, fresh: FakeAws) -> FakeAws:
        fresh.tables["orders"] = STREAM
        fresh.add(
            Stack(
                "cdc-sandbox-pipeline",
                resources=[
                    (KINDS["table"], "orders"),
                    (KINDS["mapping"], uuid("aggregation")),
                    (KINDS["mapping"], uuid("audit")),
                ],
            )
        )
        for reader in ("aggregation", "audit"):
            fresh.add_mapping(uuid(reader), f"cdc-sandbox-pipeline-{reader}", "orders")
        return fresh

    def test_our_own_two_are_fine(self, account: Account) -> None:
        [finding] = found(account, "readers")
        assert finding.level == "ok"

    def test_a_third_reader_of_a_stream_is_named(self, deployed: FakeAws, account: Account) -> None:
        deployed.add_mapping(uuid("theirs"), "nightly-export", "orders")
        [finding] = found(account, "readers")
        assert finding.level == "warning"
        assert f"nightly-export (mapping {uuid('theirs')}), 3 readers in all" in finding.sentence

    def test_so_is_a_pipe(self, deployed: FakeAws, account: Account) -> None:
        deployed.pipes = {"to-the-lake": STREAM}
        [finding] = found(account, "readers")
        assert finding.level == "warning"
        assert "pipe to-the-lake, 3 readers in all" in finding.sentence

    def test_a_mapping_that_a_destroy_has_stopped_is_named(
        self, deployed: FakeAws, account: Account
    ) -> None:
        deployed.mappings[uuid("audit")]["State"] = "Disabled"
        [finding] = found(account, "readers")
        assert finding.level == "warning"
        assert f"update-event-source-mapping --uuid {uuid('audit')} --enabled" in finding.sentence

    def test_a_table_that_is_gone_has_none(self, deployed: FakeAws, account: Account) -> None:
        deployed.tables.clear()
        [finding] = found(account, "readers")
        assert finding.level == "ok"


@pytest.mark.parametrize(
    ("place", "settings", "blocked"),
    [
        ("cn-north-1", ("snap_start", "tracing"), ["snap_start", "tracing"]),
        ("us-gov-west-1", ("snap_start", "tracing"), ["snap_start"]),
        ("ap-southeast-6", ("snap_start", "tracing"), ["snap_start"]),
        ("ap-east-2", ("snap_start", "tracing"), ["snap_start"]),
        ("ap-east-1", ("snap_start", "tracing"), []),
        ("ap-southeast-6", (), []),
    ],
)
def test_a_region_without_the_feature_stops_a_deploy(
    place: str, settings: tuple[str, ...], blocked: list[str]
) -> None:
    findings = region(wanted(region=place, **dict.fromkeys(settings, True)))
    sentences = [each.sentence for each in findings if each.level == "blocking"]
    assert sentences == [
        f"{name} is set, which Lambda lacks in Region {place}: leave it out." for name in blocked
    ]


def test_china_lacks_destination_and_metrics_of_the_mappings() -> None:
    [finding] = region(wanted(region="cn-northwest-1"))
    assert finding.level == "warning"
    assert "nor have metrics of mappings" in finding.sentence
    assert "the event source mappings of every processor ask for both" in finding.sentence


class TestAlarmTopic:
    @pytest.mark.parametrize(
        ("arn", "level", "says"),
        [
            (f"arn:aws:sns:us-east-1:{ACCOUNT}:alarms", "blocking", "is in Region us-east-1"),
            (f"arn:aws:sns:{REGION}:999999999999:alarms", "warning", "is in account 999999999999"),
            ("alarms", "blocking", "is not a topic's ARN"),
            (f"arn:aws:sqs:{REGION}:{ACCOUNT}:alarms", "blocking", "is not a topic's ARN"),
        ],
    )
    def test_a_topic_that_alarms_cannot_notify(self, arn: str, level: str, says: str) -> None:
        [finding] = topic_place(wanted(alarm_topic=arn))
        assert finding.level == level
        assert says in finding.sentence

    def test_a_topic_has_to_exist(self, fresh: FakeAws, account: Account) -> None:
        [finding] = found(account, "alarm topic", alarm_topic=TOPIC)
        assert finding.level == "blocking"
        fresh.topics[TOPIC] = {}
        [finding] = found(account, "alarm topic", alarm_topic=TOPIC)
        assert finding.level == "ok"

    def test_the_key_of_aws_lets_no_alarm_publish(self, fresh: FakeAws, account: Account) -> None:
        fresh.topics[TOPIC] = {"KmsMasterKeyId": "alias/aws/sns"}
        [finding] = found(account, "alarm topic", alarm_topic=TOPIC)
        assert finding.level == "warning"


def test_remains_of_an_earlier_deployment_are_named(fresh: FakeAws, account: Account) -> None:
    tags = {"application": "cdc", "environment": "sandbox"}
    fresh.domains = {"domain66ac69e0": {"tags": tags}, "somebodys": {"tags": {}}}
    fresh.tables["cdc-sandbox-pipeline-Orders"] = STREAM
    [finding] = found(account, "leftovers")
    assert finding.level == "warning"
    assert "table cdc-sandbox-pipeline-Orders, search domain domain66ac69e0" in finding.sentence
    fresh.add(Stack("cdc-sandbox-pipeline"))
    assert found(account, "leftovers") == []


def test_leftovers_that_may_not_be_listed_are_not_called_absent(
    fresh: FakeAws, account: Account
) -> None:
    fresh.denied.add("opensearch:ListDomainNames")
    [finding] = found(account, "leftovers")
    assert finding.level == "unknown"
    assert "search domain" in finding.sentence


@pytest.mark.parametrize(
    ("operation", "check", "action"),
    [
        ("ssm:GetParameter", "bootstrap version", "ssm:GetParameter"),
        ("lambda:GetAccountSettings", "concurrency", "lambda:GetAccountSettings"),
        ("logs:DescribeResourcePolicies", "log policies", "logs:DescribeResourcePolicies"),
        ("opensearch:ListVersions", "search domain", "es:ListVersions"),
        ("cloudformation:DescribeStacks", "stacks", "cloudformation:DescribeStacks"),
        ("sns:GetTopicAttributes", "alarm topic", "sns:GetTopicAttributes"),
    ],
)
def test_a_missing_permission_is_a_finding_not_a_block(
    fresh: FakeAws, account: Account, operation: str, check: str, action: str
) -> None:
    fresh.denied.add(operation)
    fresh.topics[TOPIC] = {}
    findings = preflight(account, wanted(alarm_topic=TOPIC))
    [finding] = [each for each in findings if each.check == check and each.level == "unknown"]
    assert f"could not be checked: allow {action}" in finding.sentence
    assert not stops(findings)


def test_the_settings_are_those_of_the_deploy(account: Account) -> None:
    url = "https://search-orders-abc123.eu-central-1.es.amazonaws.com"
    seen = wanted_of(
        account, settings_of("production", f"-c alarms=none -c search_url={url}", TABLES), TABLES
    )
    assert seen.domain == ("orders", "eu-central-1")
    assert seen.instance_types == ()
    made = load({"environment": "production", "alarms": "none"})
    types = ("r7g.large.search", "m7g.medium.search")
    assert wanted_of(account, made, TABLES).instance_types == types
    assert (seen.snap_start, seen.tracing) == (False, False)
    both = wanted_of(account, settings_of("sandbox", "-c snap_start=1 -c tracing=1", TABLES), [])
    assert (both.snap_start, both.tracing) == (True, True)


def test_without_documents_no_domain_is_asked_for(account: Account) -> None:
    for options in ("", " -c search_url=https://search-orders-abc123.eu-west-1.es.amazonaws.com"):
        settings = settings_of("production", f"-c alarms=none{options}", without_documents())
        seen = wanted_of(account, settings, without_documents())
        assert (seen.instance_types, seen.zones, seen.domain) == ((), 1, None)


def test_findings_are_json_for_programs(fresh: FakeAws, make: Make) -> None:
    status, said = make("preflight", "sandbox", "--json")
    document = json.loads(said)
    assert status == 0
    assert (document["account"], document["region"]) == (ACCOUNT, REGION)
    assert document["deployable"] is True
    assert {"check", "level", "sentence"} == set(document["findings"][0])
    fresh.parameters.clear()
    status, said = make("preflight", "sandbox", "--json")
    assert (status, json.loads(said)["deployable"]) == (1, False)
