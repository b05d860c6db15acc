"""The properties of the pipeline that the data's safety rests on."""

import math
from collections import Counter
from typing import Any

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam

from stacks import byte_code
from stacks.constructs.change_feed import ChangeFeed, TooManyReadersError
from stacks.constructs.change_table import ChangeTable
from stacks.errors import SynthError
from tests.infrastructure.templates import (
    Assembly,
    allowed,
    flat,
    of_type,
    only,
    processors,
    statements,
)

MAPPING = "AWS::Lambda::EventSourceMapping"
TABLE = "AWS::DynamoDB::GlobalTable"
READ_A_STREAM = {
    "dynamodb:DescribeStream",
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
    "dynamodb:ListStreams",
}


@pytest.fixture(params=["sandbox", "production", "local"])
def assembly(request: pytest.FixtureRequest) -> Assembly:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Assembly)
    return found


class TestReaders:
    def test_no_stream_has_more_readers_than_dynamodb_serves(self, assembly: Assembly) -> None:
        mappings = of_type(assembly.pipeline, MAPPING).values()
        readers = Counter(flat(m["Properties"]["EventSourceArn"]) for m in mappings)
        assert sorted(readers.values()) == [1, 2]

    def test_search_reads_inserts_of_the_change_log_only(self, assembly: Assembly) -> None:
        mapping = only(assembly.pipeline, MAPPING, "Search")["Properties"]
        assert flat(mapping["EventSourceArn"]).startswith("ChangeLog")
        assert mapping["FilterCriteria"] == {"Filters": [{"Pattern": '{"eventName":["INSERT"]}'}]}

    @pytest.mark.parametrize("served", [2, 1])
    def test_one_reader_too_many_stops_synth_and_says_what_to_do(self, served: int) -> None:
        feed, role = _feed(readers=served)
        for number in range(served):
            feed.add_reader(f"reader-{number}", role)
        with pytest.raises(
            TooManyReadersError,
            match=r"one-too-many cannot read the stream of Stack/Orders: .* Kinesis",
        ):
            feed.add_reader("one-too-many", role)

    def test_a_table_without_a_stream_is_refused(self) -> None:
        with pytest.raises(SynthError, match="Stack/Orders has no stream"):
            _feed(stream=None)


class TestMappings:
    def test_nothing_is_skipped_dropped_or_stuck(self, assembly: Assembly) -> None:
        for mapping in of_type(assembly.pipeline, MAPPING).values():
            settings = mapping["Properties"]
            destination = settings["DestinationConfig"]["OnFailure"]["Destination"]
            assert flat(destination) == f"{_bucket(assembly, 'DeadLettersOnFailure')}.Arn"
            assert {
                "StartingPosition": "TRIM_HORIZON",
                "FunctionResponseTypes": ["ReportBatchItemFailures"],
                "BisectBatchOnFunctionError": True,
                "MaximumRetryAttempts": -1,
                # 20 of the stream's 24 hours: time is left to write what is given up.
                "MaximumRecordAgeInSeconds": 72_000,
                "MetricsConfig": {"Metrics": ["EventCount"]},
                "BatchSize": 100,
                "MaximumBatchingWindowInSeconds": 1,
            }.items() <= settings.items()


READS = ("GetItem", "BatchGetItem", "Scan")


class TestLeastPrivilege:
    def test_permissions_make_the_audit_log_append_only(self, assembly: Assembly) -> None:
        table = _table(assembly, "ChangeLog")
        for processor in processors(assembly.pipeline):
            actions = {a for a, r in allowed(assembly.pipeline, processor) if r == f"{table}.Arn"}
            reads = {"dynamodb:Query", "dynamodb:Scan"}
            adds = {"dynamodb:PartiQLInsert", *reads}
            assert actions == (adds if processor == "audit" else set())

    def test_no_function_reads_a_dead_letter_or_writes_another_s(self, assembly: Assembly) -> None:
        for processor in processors(assembly.pipeline):
            on_dead_letters = {
                (action, resource)
                for action, resource in allowed(assembly.pipeline, processor)
                if action.startswith("s3:") and resource.startswith("DeadLetters")
            }
            own = _bucket(assembly, "DeadLettersBucket")
            given_up = _bucket(assembly, "DeadLettersOnFailure")
            assert on_dead_letters == {
                ("s3:PutObject", f"{own}.Arn/dead-letters/{processor}/*"),
                ("s3:ListBucket", f"{given_up}.Arn"),
                ("s3:PutObject", f"{given_up}.Arn/*"),
            }

    def test_functions_do_not_write_the_source_table(self, assembly: Assembly) -> None:
        table = _table(assembly, "Orders")
        for processor in processors(assembly.pipeline):
            actions = {a for a, r in allowed(assembly.pipeline, processor) if r == f"{table}.Arn"}
            reads = READS[1:] if processor == "audit" else READS
            assert actions == {f"dynamodb:{action}" for action in reads}, processor

    def test_three_functions_may_use_large_images(self, assembly: Assembly) -> None:
        holders = {
            role.partition("Role")[0]
            for role, _, resource in statements(assembly.pipeline)
            if resource.startswith("LargeImages")
        }
        assert holders == {"Audit", "Erasure", "Search"}

    def test_only_the_erasure_may_delete(self, assembly: Assembly) -> None:
        """Or purge ledger rows of deleted items, documents and indexes; mappings are no data."""
        deletes = {
            (role.partition("Role")[0], action)
            for role, action, _ in statements(assembly.pipeline)
            if "delete" in action.lower() and not action.startswith("ec2:")
        }
        assert {(role, action) for role, action in deletes if role != "Erasure"} <= {
            *(("Search", "es:ESHttpDelete"), ("Aggregation", "dynamodb:DeleteItem"))
        }
        assert {action for role, action in deletes if role == "Erasure"} - {"es:ESHttpDelete"} == {
            *("dynamodb:DeleteItem", "s3:DeleteObject", "s3:DeleteObjectVersion")
        }

    def test_a_person_who_erases_may_invoke_that_function_alone(self, assembly: Assembly) -> None:
        policy = only(assembly.pipeline, "AWS::IAM::ManagedPolicy", "Erasure")["Properties"]
        invoked = [
            flat(statement["Resource"])
            for statement in policy["PolicyDocument"]["Statement"]
            if statement["Action"] == "lambda:InvokeFunction"
        ]
        assert [name.startswith("ErasureFunction") for name in invoked] == [True]
        operators = only(assembly.pipeline, "AWS::IAM::ManagedPolicy", "Operator")["Properties"]
        assert "ErasureFunction" not in str(operators)

    def test_roles_and_functions_are_for_services_of_this_account(self, assembly: Assembly) -> None:
        """A role is assumed by a service, and what invokes a function is one rule, not any."""
        template = assembly.pipeline
        for role in of_type(template, "AWS::IAM::Role").values():
            for statement in role["Properties"]["AssumeRolePolicyDocument"]["Statement"]:
                assert statement["Principal"].keys() == {"Service"}
                assert "*" not in flat(statement["Principal"]["Service"])
        kinds = {resource["Type"] for resource in template["Resources"].values()}
        assert "AWS::Lambda::Url" not in kinds
        for permission in of_type(template, "AWS::Lambda::Permission").values():
            rule, _, attribute = flat(permission["Properties"]["SourceArn"]).partition(".")
            assert (template["Resources"][rule]["Type"], attribute) == ("AWS::Events::Rule", "Arn")

    def test_the_operator_policy_is_attached_to_no_one(self, assembly: Assembly) -> None:
        policy = only(assembly.pipeline, "AWS::IAM::ManagedPolicy", "Operator")["Properties"]
        assert not {"Roles", "Users", "Groups"} & policy.keys()


class TestDeadLetters:
    def test_a_dead_letter_notifies_only_its_own_queue(self, assembly: Assembly) -> None:
        for processor in processors(assembly.pipeline):
            id = processor.capitalize()
            rule = only(assembly.pipeline, "AWS::Events::Rule", id)["Properties"]
            keys = rule["EventPattern"]["detail"]["object"]["key"]
            own, given_up = (flat(key["prefix"]) for key in keys)
            assert own == f"dead-letters/{processor}/"
            assert given_up.startswith(f"aws/lambda/{id}Mapping")
            assert given_up.endswith("/")
            assert not _matches(rule, f"archive/{own}an item/a version.json")
            assert not _matches(rule, f"archive/{given_up}shard/a batch")
            assert _matches(rule, f"{own}an item/a version.json")
            (target,) = rule["Targets"]
            assert flat(target["Arn"]).startswith(f"{id}DeadLettersQueue")

    @pytest.mark.parametrize("bucket", ["DeadLettersBucket", "DeadLettersOnFailure"])
    def test_dead_letters_outlive_the_queue_s_pointers(
        self, assembly: Assembly, bucket: str
    ) -> None:
        queues = of_type(assembly.pipeline, "AWS::SQS::Queue").values()
        pointer_days = max(q["Properties"]["MessageRetentionPeriod"] for q in queues) / 86_400
        for rule in _lifecycle(assembly, bucket):
            if rule.get("Prefix") != "archive/":
                assert rule.get("ExpirationInDays", math.inf) > pointer_days

    def test_large_images_live_as_long_as_the_log(self, assembly: Assembly) -> None:
        (rule,) = _lifecycle(assembly, "LargeImages")
        assert rule["Status"] == "Enabled"
        assert "ExpirationInDays" not in rule
        log, bucket = _table(assembly, "ChangeLog"), _bucket(assembly, "LargeImages")
        resources = assembly.pipeline["Resources"]
        assert resources[log]["DeletionPolicy"] == resources[bucket]["DeletionPolicy"]

    def test_no_bucket_is_open_or_in_clear(self, assembly: Assembly) -> None:
        for bucket in of_type(assembly.pipeline, "AWS::S3::Bucket").values():
            properties = bucket["Properties"]
            assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
            assert len(properties["PublicAccessBlockConfiguration"]) == 4
            assert properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
            rules = properties["LifecycleConfiguration"]["Rules"]
            assert {"DaysAfterInitiation": 1} in [
                rule.get("AbortIncompleteMultipartUpload") for rule in rules if "Prefix" not in rule
            ]


def _table(assembly: Assembly, prefix: str) -> str:
    (name,) = [n for n in of_type(assembly.pipeline, TABLE) if n.startswith(prefix)]
    return name


def _bucket(assembly: Assembly, prefix: str) -> str:
    (name,) = [n for n in of_type(assembly.pipeline, "AWS::S3::Bucket") if n.startswith(prefix)]
    return name


def _lifecycle(assembly: Assembly, prefix: str) -> list[dict[str, Any]]:
    bucket = only(assembly.pipeline, "AWS::S3::Bucket", prefix)
    rules: list[dict[str, Any]] = bucket["Properties"]["LifecycleConfiguration"]["Rules"]
    return rules


def _matches(rule: dict[str, Any], key: str) -> bool:
    """Whether a rule of EventBridge matches an object with that key."""
    wanted = rule["EventPattern"]["detail"]["object"]["key"]
    return any(key.startswith(flat(each["prefix"])) for each in wanted)


def _feed(
    *,
    stream: dynamodb.StreamViewType | None = dynamodb.StreamViewType.NEW_AND_OLD_IMAGES,
    readers: int = 2,
) -> tuple[ChangeFeed, iam.Role]:
    stack = Stack(App(), "Stack")
    table = ChangeTable(
        stack, "Orders", keys={"id": "S"}, stream=stream, recoverable=True, keep=False
    )
    role = iam.Role(stack, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    return ChangeFeed(table, kind="table", readers=readers), role


def test_functions_run_on_the_python_that_is_compiled_for(sandbox: Assembly) -> None:
    for function in processors(sandbox.pipeline).values():
        assert function["Properties"]["Runtime"] == f"python{byte_code.PYTHON}"
