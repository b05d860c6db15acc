"""Findings of a preflight about a source table that exists: one sentence each, with the fix."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.example_domain import TABLES
from stacks.environments import load
from tests.tools.fake_aws import ACCOUNT, REGION, FakeAws, Stack, uuid
from tools.account.preflight import preflight, wanted_of

if TYPE_CHECKING:
    from tools.account.findings import Finding
    from tools.account.identity import Account

ARN = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/Shop"
STREAM = f"{ARN}/stream/2026-01-01T00:00:00.000"
NEWER = f"{ARN}/stream/2026-02-02T00:00:00.000"
CHECK = "source table"
[ORDERS] = TABLES
UNAUDITED = replace(ORDERS, entities=[replace(each, audited=False) for each in ORDERS.entities])


@pytest.fixture
def shop(aws: FakeAws) -> dict[str, Any]:
    """A table that fits the declaration; its description, for changes."""
    aws.parameters["/cdk-bootstrap/hnb659fds/version"] = "30"
    aws.tables["Shop"] = STREAM
    aws.expires_by["Shop"] = "expires_at"
    aws.described["Shop"] = {
        "TableStatus": "ACTIVE",
        "KeySchema": [
            {"AttributeName": "order_id", "KeyType": "RANGE"},
            {"AttributeName": "customer_id", "KeyType": "HASH"},
        ],
        "AttributeDefinitions": [
            {"AttributeName": "customer_id", "AttributeType": "S"},
            {"AttributeName": "order_id", "AttributeType": "S"},
        ],
        "StreamSpecification": {
            "StreamEnabled": True,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
        "ItemCount": 5000,
    }
    return aws.described["Shop"]


def look(account: Account, table: Any = ORDERS, **setting: Any) -> list[Finding]:
    tables = {table.name: {"arn": ARN, "stream_arn": STREAM, **setting}}
    environment = load({"environment": "sandbox", "source_tables": tables})
    findings = preflight(account, wanted_of(account, environment, [table]))
    return [each for each in findings if each.check == CHECK]


def test_a_table_that_fits(shop: dict[str, Any], account: Account) -> None:
    """The items that were there before are named with the command that brings them in."""
    [finding] = look(account)
    assert finding.level == "ok"
    assert finding.sentence == (
        "Table Shop is read by its stream, which has no record of items that did not change in the "
        "last 24 hours (about 5,000 items are in it): after the deploy, `cdc backfill "
        "--environment sandbox --stack cdc-sandbox-pipeline` brings them into the copies."
    )


class TestTheKeyOfTheTable:
    """Its stream is encrypted with it, and no alarm says that a mapping cannot read it."""

    KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"

    @pytest.fixture(autouse=True)
    def encrypted(self, shop: dict[str, Any], aws: FakeAws) -> None:
        shop["SSEDescription"] = {
            "Status": "ENABLED",
            "SSEType": "KMS",
            "KMSMasterKeyArn": self.KEY,
        }
        policy: dict[str, Any] = {"Statement": []}
        aws.keys[self.KEY] = {"KeyManager": "CUSTOMER", "KeyState": "Enabled", "Policy": policy}

    @pytest.mark.parametrize("named", [None, f"{KEY[:-1]}0"])
    def test_it_has_to_be_named(self, account: Account, named: str | None) -> None:
        [finding] = look(account, **({"key_arn": named} if named else {}))
        assert finding.level == "blocking"
        assert finding.sentence.startswith(
            f"Table Shop is encrypted with the customer's key {self.KEY}, and source_tables has "
            f"key_arn={named!r}: "
        )

    def test_it_is_named(self, account: Account) -> None:
        assert [each.level for each in look(account, key_arn=self.KEY)] == ["ok"]

    def test_the_key_of_the_environment_is_granted(self, account: Account) -> None:
        """As of a table that the app made, which was restored."""
        tables = {ORDERS.name: {"arn": ARN, "stream_arn": STREAM}}
        environment = load(
            {"environment": "sandbox", "source_tables": tables, "kms_key_arn": self.KEY}
        )
        findings = preflight(account, wanted_of(account, environment, TABLES))
        assert [each.level for each in findings if each.check == CHECK] == ["ok"]

    def test_aws_lets_every_role_use_its_own(self, account: Account, aws: FakeAws) -> None:
        aws.keys[self.KEY]["KeyManager"] = "AWS"
        assert [each.level for each in look(account)] == ["ok"]

    def test_one_that_may_not_be_described(self, account: Account, aws: FakeAws) -> None:
        aws.denied.add("kms:DescribeKey")
        [finding] = look(account)
        assert finding.level == "unknown"
        assert finding.sentence.endswith("could not be checked: allow kms:DescribeKey.")


KEYS = [{"AttributeName": "customer_id", "KeyType": "HASH"}]
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "updating": ({"TableStatus": "UPDATING"}, "Table Shop is UPDATING: wait until it is ACTIVE."),
    "other keys": (
        {"KeySchema": KEYS},
        "has the keys customer_id (S), and lambdas/domain declares customer_id (S), order_id (S)",
    ),
    "other types": (
        {
            "AttributeDefinitions": [
                {"AttributeName": "customer_id", "AttributeType": "S"},
                {"AttributeName": "order_id", "AttributeType": "N"},
            ]
        },
        "has the keys customer_id (S), order_id (N), and lambdas/domain declares",
    ),
    "no stream": (
        {"StreamSpecification": {"StreamEnabled": False}},
        "Table Shop has no stream: enable it (`aws dynamodb update-table --table-name Shop",
    ),
    "replaced stream": (
        {"LatestStreamArn": NEWER},
        f"was replaced: the current one is {NEWER}, and source_tables has {STREAM}",
    ),
    **{
        view: (
            {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": view}},
            f"has the view type {view}, whose records lack {lacking}",
        )
        for view, lacking in {
            "KEYS_ONLY": "the state after a change, so no copy can follow it",
            "OLD_IMAGE": "the state after a change, so no copy can follow it",
            "NEW_IMAGE": "the state before a change, which the change log keeps",
        }.items()
    },
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_table_that_does_not_fit(shop: dict[str, Any], account: Account, case: str) -> None:
    changes, says = REFUSED[case]
    shop |= changes
    [finding] = look(account)
    assert finding.level == "blocking"
    assert says in finding.sentence


def test_without_audit_new_images_are_enough(shop: dict[str, Any], account: Account) -> None:
    shop["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
    assert [each.level for each in look(account, UNAUDITED)] == ["ok"]


def test_notifications_need_old_images(shop: dict[str, Any], account: Account) -> None:
    entities = [replace(each, sinks={"notifications": str}) for each in UNAUDITED.entities]
    sending = replace(UNAUDITED, entities=entities)
    assert [each.level for each in look(account, sending)] == ["ok"]
    shop["StreamSpecification"] = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
    [finding] = look(account, sending)
    assert finding.level == "blocking"
    assert "the state before a change, which the notifications compare" in finding.sentence


def test_a_table_that_is_gone(aws: FakeAws, account: Account) -> None:
    [finding] = look(account)
    assert finding.level == "blocking"
    assert "There is no table Shop, which source_tables names for 'orders'" in finding.sentence


@pytest.mark.parametrize(("region", "number"), [("us-west-2", ACCOUNT), (REGION, "444455556666")])
def test_a_table_elsewhere(
    shop: dict[str, Any], aws: FakeAws, account: Account, region: str, number: str
) -> None:
    arn = f"arn:aws:dynamodb:{region}:{number}:table/Shop"
    [finding] = look(account, arn=arn, stream_arn=STREAM.replace(ARN, arn))
    assert finding.level == "blocking"
    assert f"is in account {number}, Region {region}" in finding.sentence
    assert "dynamodb:DescribeTable" not in aws.calls


class TestReaders:
    @pytest.mark.parametrize(
        ("names", "stated", "level", "says"),
        [
            (["one"], 0, "warning", "has 1 other readers (one), and source_tables says 0: set"),
            (["one", "two"], 1, "blocking", "has 2 other readers (one, two), and source_tables"),
            ([], 1, "ok", "have 0 readers of the stream of table Shop, and source_tables says 1"),
        ],
    )
    def test_they_are_counted(
        self,
        shop: dict[str, Any],
        aws: FakeAws,
        account: Account,
        names: list[str],
        stated: int,
        level: str,
        says: str,
    ) -> None:
        for name in names:
            aws.add_mapping(uuid(name), name, "Shop")
        first, *rest = look(account, readers=stated)
        assert (first.level, len(rest)) == (level, 1)
        assert says in first.sentence

    def test_as_many_as_stated_are_fine(
        self, shop: dict[str, Any], aws: FakeAws, account: Account
    ) -> None:
        """Those of our own stack are not other readers; a pipe is."""
        ours = ("AWS::Lambda::EventSourceMapping", uuid("ours"))
        aws.add(Stack("cdc-sandbox-pipeline", resources=[ours]))
        aws.add_mapping(uuid("ours"), "cdc-sandbox-audit", "Shop")
        aws.pipes["pipe"] = STREAM
        assert [each.level for each in look(account, readers=1)] == ["ok"]

    def test_a_global_table_serves_one(self, shop: dict[str, Any], account: Account) -> None:
        shop["Replicas"] = [{"RegionName": "eu-north-1"}]
        for stated in (0, 1):
            warning = look(account, readers=stated)[-2]
            assert warning.level == "warning"
            assert warning.sentence.endswith("set global_table to true.")
        assert [each.level for each in look(account, global_table=True)] == ["ok"]


def test_another_time_to_live(shop: dict[str, Any], aws: FakeAws, account: Account) -> None:
    aws.expires_by["Shop"] = "ttl"
    finding, _ = look(account)
    assert finding.level == "warning"
    assert "is by ttl, and lambdas/domain declares expires_by='expires_at'" in finding.sentence


def test_nothing_is_looked_up_without_an_existing_table(aws: FakeAws, account: Account) -> None:
    environment = load({"environment": "sandbox"})
    findings = preflight(account, wanted_of(account, environment, [ORDERS]))
    assert CHECK not in {each.check for each in findings}
    assert "dynamodb:DescribeTimeToLive" not in aws.calls
