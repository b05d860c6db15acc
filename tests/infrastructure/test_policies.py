"""What AWS services do for the pipeline is allowed, and forbidden actions are not."""

from copy import deepcopy
from typing import Any

import pytest

from tests.infrastructure.deployment import Deployment, context_of
from tests.infrastructure.policies import (
    ACCOUNT,
    Context,
    Decision,
    NotUnderstoodError,
    Request,
    decide,
)
from tests.infrastructure.templates import Assembly, of_type, processors, statements
from tools import permissions

ROLE = f"arn:aws:iam::{ACCOUNT}:role/function"
OTHER_ACCOUNT = "444455556666"


@pytest.fixture(params=["sandbox", "production", "everything"])
def deployment(request: pytest.FixtureRequest) -> Deployment:
    assembly: Assembly = request.getfixturevalue(request.param)
    return Deployment(assembly)


def function(deployment: Deployment, processor: str) -> dict[str, Any]:
    found = processors(deployment.assembly.pipeline)[processor]["Properties"]
    names = ("Role", "Environment", "LoggingConfig")
    return {name: deployment.value("pipeline", found[name]) for name in names}


def mappings(deployment: Deployment) -> dict[str, dict[str, Any]]:
    """The mappings by the role of the function that they invoke."""
    resources = deployment.assembly.pipeline["Resources"]
    found = {}
    for each in of_type(deployment.assembly.pipeline, "AWS::Lambda::EventSourceMapping").values():
        mapping = deployment.value("pipeline", each["Properties"])
        # An alias is the function's name, a colon and its own.
        function = resources[mapping["FunctionName"].partition(":")[0]]["Properties"]
        found[deployment.value("pipeline", function["Role"])] = mapping
    return found


class TestServices:
    def test_lambda_reads_the_stream_with_the_role(self, deployment: Deployment) -> None:
        for role, mapping in mappings(deployment).items():
            for action in ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"):
                request = Request(role, f"dynamodb:{action}", mapping["EventSourceArn"])
                assert deployment.decide(request).allowed, request

    def test_lambda_puts_what_it_gives_up(self, deployment: Deployment) -> None:
        """With the role, without If-None-Match, under a key that Lambda makes up."""
        for role, mapping in mappings(deployment).items():
            bucket = mapping["DestinationConfig"]["OnFailure"]["Destination"]
            key = "aws/lambda/uuid/shardId-1/2026/11/28/2026-11-28T00.00.00-uuid"
            put = Request(role, "s3:PutObject", f"{bucket}/{key}", context_of("s3:PutObject"))
            assert deployment.decide(put).allowed
            any_object = Request(role, "s3:PutObject", f"{bucket}/any", put.context)
            assert deployment.decide(any_object).allowed, "checked when the mapping is made"
            assert deployment.decide(
                Request(role, "s3:ListBucket", bucket, context_of("s3:ListBucket"))
            ).allowed

    def test_nothing_given_up_goes_to_another_account(self, deployment: Deployment) -> None:
        for role, mapping in mappings(deployment).items():
            bucket = mapping["DestinationConfig"]["OnFailure"]["Destination"]
            context = {**context_of("s3:PutObject"), "s3:resourceaccount": OTHER_ACCOUNT}
            put = Request(role, "s3:PutObject", f"{bucket}/aws/lambda/x", context)
            assert not deployment.decide(put).allowed

    def test_lambda_writes_the_functions_logs(self, deployment: Deployment) -> None:
        for processor in processors(deployment.assembly.pipeline):
            found = function(deployment, processor)
            group = found["LoggingConfig"]["LogGroup"]
            stream = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:{group}:log-stream:x"
            for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
                assert deployment.decide(Request(found["Role"], action, stream)).allowed

    def test_event_bridge_sends_to_the_queues(self, deployment: Deployment) -> None:
        template = deployment.assembly.pipeline
        for name, rule in of_type(template, "AWS::Events::Rule").items():
            arn = deployment.value("pipeline", {"Fn::GetAtt": [name, "Arn"]})
            for target in rule["Properties"].get("Targets", []):
                queue = deployment.value("pipeline", target["Arn"])
                if ":sqs:" not in queue:
                    continue
                context = {**context_of("sqs:SendMessage"), "aws:sourcearn": arn}
                request = Request("events.amazonaws.com", "sqs:SendMessage", queue, context)
                assert deployment.decide(request).allowed
                for wrong in (
                    {**context, "aws:sourcearn": f"{arn}-other"},
                    {**context, "aws:securetransport": "false"},
                ):
                    request = Request("events.amazonaws.com", "sqs:SendMessage", queue, wrong)
                    assert not deployment.decide(request).allowed

    def test_cloudwatch_publishes_alarms_of_this_account(self, production: Assembly) -> None:
        deployment = Deployment(production)
        for name in of_type(production.pipeline, "AWS::SNS::Topic"):
            topic = deployment.value("pipeline", {"Ref": name})
            context = {**context_of("sns:Publish"), "aws:sourceaccount": ACCOUNT}
            publish = Request("cloudwatch.amazonaws.com", "sns:Publish", topic, context)
            assert deployment.decide(publish).allowed
            foreign = {**context, "aws:sourceaccount": OTHER_ACCOUNT}
            refused = Request("cloudwatch.amazonaws.com", "sns:Publish", topic, foreign)
            assert not deployment.decide(refused).allowed


class TestRefusals:
    @pytest.mark.parametrize(
        ("processor", "bucket", "prefix"),
        [
            ("audit", "DEAD_LETTER_BUCKET", "dead-letters/audit/"),
            ("aggregation", "DEAD_LETTER_BUCKET", "dead-letters/aggregation/"),
            ("audit", "LARGE_IMAGES_BUCKET", "an item/"),
        ],
    )
    def test_what_is_written_once_is_not_overwritten(
        self, deployment: Deployment, processor: str, bucket: str, prefix: str
    ) -> None:
        found = function(deployment, processor)
        name = found["Environment"]["Variables"][bucket]
        arn = deployment.arn("s3:PutObject", f"{name}/{prefix}key")
        once = context_of("s3:PutObject", headers={"If-None-Match": "*"})
        assert deployment.decide(Request(found["Role"], "s3:PutObject", arn, once)).allowed
        over = context_of("s3:PutObject")
        decision = deployment.decide(Request(found["Role"], "s3:PutObject", arn, over))
        assert decision.because.endswith("AreWrittenOnce")

    def test_plain_http_and_old_tls_are_refused_by_every_bucket(
        self, deployment: Deployment
    ) -> None:
        administrator = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
        for name in of_type(deployment.assembly.pipeline, "AWS::S3::Bucket"):
            bucket = deployment.value("pipeline", {"Fn::GetAtt": [name, "Arn"]})
            for action, resource in (("s3:GetObject", f"{bucket}/x"), ("s3:ListBucket", bucket)):
                good = context_of(action)

                def decision(context: Context, action: str = action, on: str = resource) -> bool:
                    request = Request(ROLE, action, on, context)
                    return deployment.decide(request, [administrator]).allowed

                assert decision(good)
                assert not decision({**good, "aws:securetransport": "false"})
                assert not decision({**good, "s3:tlsversion": "1.1"})

    def test_a_domain_asks_for_both_policies(self, deployment: Deployment) -> None:
        bulk = f"{deployment.domain_arn}/orders-write/_bulk"
        role = function(deployment, "search")["Role"]
        assert deployment.decide(Request(role, "es:ESHttpPost", bulk)).allowed
        for principal, resource in (
            (function(deployment, "audit")["Role"], bulk),
            (role.replace(ACCOUNT, OTHER_ACCOUNT), bulk),
            (role, f"{deployment.domain_arn}/_bulk"),
            (role, f"{deployment.domain_arn}/other/_bulk"),
        ):
            request = Request(principal, "es:ESHttpPost", resource)
            assert not deployment.decide(request).allowed, request


def allow(**more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::b/*", **more}


PUT = Request(ROLE, "s3:PutObject", "arn:aws:s3:::b/k", {"aws:securetransport": "true"})


class TestPage:
    """docs/reference/permissions.md is the table of grants: a changed grant is a changed line."""

    def test_the_page_shows_every_grant(self, production: Assembly, everything: Assembly) -> None:
        shown = permissions.page(production.templates, everything.templates)
        assert shown == permissions.PAGE.read_text(), "python -m tools.template_pages"

    def test_a_boundary_can_be_made_from_the_page(
        self, production: Assembly, everything: Assembly
    ) -> None:
        """It bounds every role, and the settings that it comes with add permissions to them."""
        shown = permissions.page(production.templates, everything.templates)
        for _, action, _ in statements(everything.pipeline):
            assert f"`{action}`" in shown
        assert "AWS::IAM::Role" not in str(everything.search)
        settings = ("kms_key_arn", "former_key_arns", "release", "tracing", "vpc_id")
        kinds = {"`release`, `snap_start`", *(f"`{name}`" for name in settings)}
        added = shown.partition(permissions.ADDED_HEAD)[2].splitlines()
        assert {row.split(" | ")[0].removeprefix("| ") for row in added[3:]} == kinds
        assert "AWSCodeDeployRoleForLambdaLimited" in shown

    def test_a_sandbox_grants_nothing_else(self, sandbox: Assembly) -> None:
        shown = set(permissions.PAGE.read_text().splitlines())
        assert set(permissions.page(sandbox.templates).splitlines()) <= shown

    @pytest.mark.parametrize(
        "change",
        [
            {"Action": ["s3:PutObject", "s3:DeleteObject"]},
            {"Resource": "*"},
            {"Effect": "Deny"},
            {"Condition": {"StringEquals": {"s3:ResourceAccount": OTHER_ACCOUNT}}},
        ],
        ids=str,
    )
    def test_a_changed_grant_changes_the_page(
        self, production: Assembly, change: dict[str, Any]
    ) -> None:
        template = deepcopy(dict(production.pipeline))
        policy = next(iter(of_type(template, "AWS::IAM::Policy").values()))["Properties"]
        (statement, *_) = [
            each
            for each in policy["PolicyDocument"]["Statement"]
            if each["Action"] == "s3:PutObject"
        ]
        statement.update(change)
        changed = permissions.page({**production.templates, "pipeline": template})
        assert changed != permissions.PAGE.read_text()


class TestEvaluation:
    """The evaluation itself, on IAM's documented rules."""

    @pytest.mark.parametrize(
        ("statements", "allowed"),
        [
            ([], False),
            ([allow()], True),
            ([allow(Action="S3:putobject")], True),
            ([allow(Action=["s3:GetObject", "s3:Put*"])], True),
            ([allow(Action="s3:GetObject")], False),
            ([allow(Resource="arn:aws:s3:::b")], False),
            ([allow(Resource="arn:aws:s3:::b/?")], True),
            ([allow(Resource="arn:aws:s3:::b/[k]")], False),
            ([allow(Resource="arn:aws:s3:::B/*")], False),
            ([allow(), allow(Effect="Deny")], False),
            ([allow(Effect="Deny"), allow()], False),
            ([allow(), allow(Effect="Deny", Action="s3:GetObject")], True),
            ([allow(Principal="*")], True),
            ([allow(Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"})], True),
            ([allow(Principal={"AWS": f"arn:aws:iam::{OTHER_ACCOUNT}:root"})], False),
            ([allow(Principal={"Service": "events.amazonaws.com"})], False),
            ([allow(Condition={"Bool": {"aws:SecureTransport": "true"}})], True),
            ([allow(Condition={"Bool": {"aws:SecureTransport": "false"}})], False),
            ([allow(Condition={"Bool": {"aws:MultiFactorAuthPresent": "false"}})], False),
            ([allow(Condition={"ForAllValues:StringLike": {"aws:SecureTransport": "t*"}})], True),
            ([allow(Condition={"ForAllValues:StringLike": {"aws:SecureTransport": "f*"}})], False),
            ([allow(Condition={"ForAllValues:StringLike": {"s3:if-none-match": "f*"}})], True),
            ([allow(Condition={"Null": {"s3:if-none-match": "true"}})], True),
            ([allow(Condition={"Null": {"s3:if-none-match": "false"}})], False),
            ([allow(Condition={"Null": {"AWS:securetransport": "false"}})], True),
            ([allow(Condition={"NumericLessThan": {"s3:TlsVersion": "1.2"}})], False),
            ([allow(Condition={"StringEquals": {"aws:SecureTransport": ["a", "true"]}})], True),
            (
                [
                    allow(
                        Condition={
                            "Null": {"s3:if-none-match": "true"},
                            "Bool": {"aws:SecureTransport": "false"},
                        }
                    )
                ],
                False,
            ),
        ],
        ids=str,
    )
    def test_statements_decide(self, statements: list[dict[str, Any]], allowed: bool) -> None:
        assert decide(PUT, [{"Statement": statements}]).allowed is allowed

    def test_numbers_are_compared_as_numbers(self) -> None:
        deny = allow(Effect="Deny", Condition={"NumericLessThan": {"s3:TlsVersion": "1.2"}})
        policy = {"Statement": [allow(), deny]}
        for version, allowed in (("1.0", False), ("1.1", False), ("1.2", True), ("1.3", True)):
            request = Request(ROLE, PUT.action, PUT.resource, {"s3:tlsversion": version})
            assert decide(request, [policy]).allowed is allowed

    @pytest.mark.parametrize(
        "statement",
        [
            allow(NotAction="s3:GetObject"),
            allow(Effect="allow"),
            allow(Principal={"Federated": "x"}),
            allow(Condition={"StringNotLike": {"aws:PrincipalArn": "x"}}),
            allow(Condition={"ForAnyValue:StringEquals": {"aws:TagKeys": "x"}}),
        ],
        ids=str,
    )
    def test_what_is_not_known_is_an_error(self, statement: dict[str, Any]) -> None:
        with pytest.raises(NotUnderstoodError):
            decide(PUT, [{"Statement": [statement]}])

    def test_a_denial_names_its_statement(self) -> None:
        deny = allow(Effect="Deny", Sid="Never")
        assert decide(PUT, [{"Statement": [deny]}]) == Decision(False, "denied by Never")
