"""The properties of the pipeline that the data's safety rests on."""

from collections import Counter

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam

from stacks.constructs.change_feed import ChangeFeed, TooManyReadersError
from stacks.constructs.change_table import ChangeTable
from stacks.errors import SynthError
from tests.infrastructure.templates import Assembly, allowed, flat, of_type, only, processors

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

    def test_search_reads_the_change_log_and_only_what_was_added_to_it(
        self, assembly: Assembly
    ) -> None:
        mapping = only(assembly.pipeline, MAPPING, "Search")["Properties"]
        assert flat(mapping["EventSourceArn"]).startswith("ChangeLog")
        assert mapping["FilterCriteria"] == {"Filters": [{"Pattern": '{"eventName":["INSERT"]}'}]}

    @pytest.mark.parametrize(("global_table", "served"), [(False, 2), (True, 1)])
    def test_one_reader_too_many_stops_synth_and_says_what_to_do(
        self, global_table: bool, served: int
    ) -> None:
        feed, role = _feed(global_table=global_table)
        for number in range(served):
            feed.add_reader(f"reader-{number}", role)
        with pytest.raises(
            TooManyReadersError,
            match=r"one-too-many cannot read the stream of Stack/Orders: .* Kinesis",
        ):
            feed.add_reader("one-too-many", role)

    def test_a_table_without_a_stream_feeds_nobody(self) -> None:
        with pytest.raises(SynthError, match="Stack/Orders has no stream"):
            _feed(stream=None)


class TestMappings:
    def test_nothing_is_skipped_dropped_or_stuck(self, assembly: Assembly) -> None:
        for mapping in of_type(assembly.pipeline, MAPPING).values():
            settings = mapping["Properties"]
            destination = settings["DestinationConfig"]["OnFailure"]["Destination"]
            assert flat(destination).startswith("DeadLettersBucket")
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


class TestLeastPrivilege:
    def test_the_audit_log_is_append_only_because_nobody_may_do_more(
        self, assembly: Assembly
    ) -> None:
        table = _table(assembly, "ChangeLog")
        for processor in processors(assembly.pipeline):
            actions = {a for a, r in allowed(assembly.pipeline, processor) if r == f"{table}.Arn"}
            assert actions == ({"dynamodb:PartiQLInsert"} if processor == "audit" else set())

    def test_aggregation_reads_and_writes_its_two_tables_only(self, assembly: Assembly) -> None:
        ledger, aggregates = _table(assembly, "Idempotency"), _table(assembly, "Aggregates")
        on_tables = {
            (action, resource)
            for action, resource in allowed(assembly.pipeline, "aggregation")
            if action.startswith("dynamodb:") and action not in READ_A_STREAM
        }
        assert on_tables == {
            ("dynamodb:BatchGetItem", f"{ledger}.Arn"),
            ("dynamodb:PutItem", f"{ledger}.Arn"),
            ("dynamodb:UpdateItem", f"{aggregates}.Arn"),
        }

    def test_only_search_reaches_the_domain_and_only_its_index(self, sandbox: Assembly) -> None:
        reached = {
            processor: {
                resource.partition("/")[2]
                for action, resource in allowed(sandbox.pipeline, processor)
                if action.startswith("es:")
            }
            for processor in processors(sandbox.pipeline)
        }
        assert reached == {
            "aggregation": set(),
            "audit": set(),
            "search": {"orders-v1", "orders-write/_bulk"},
        }

    def test_no_function_reads_a_letter_or_writes_another_s(self, assembly: Assembly) -> None:
        for processor in processors(assembly.pipeline):
            on_letters = {
                (action, resource.partition("/")[2])
                for action, resource in allowed(assembly.pipeline, processor)
                if action.startswith("s3:")
            }
            assert on_letters == {
                ("s3:ListBucket", ""),
                ("s3:PutObject", "aws/lambda/*"),
                ("s3:PutObject", f"letters/{processor}/*"),
            }

    def test_no_function_touches_the_source_table(self, assembly: Assembly) -> None:
        table = _table(assembly, "Orders")
        for processor in processors(assembly.pipeline):
            resources = {resource for _, resource in allowed(assembly.pipeline, processor)}
            assert f"{table}.Arn" not in resources


class TestDeadLetters:
    def test_a_letter_rings_the_queue_of_its_processor_alone(self, assembly: Assembly) -> None:
        for processor in processors(assembly.pipeline):
            id = processor.capitalize()
            rule = only(assembly.pipeline, "AWS::Events::Rule", id)["Properties"]
            keys = rule["EventPattern"]["detail"]["object"]["key"]
            own, given_up = (flat(key["prefix"]) for key in keys)
            assert own == f"letters/{processor}/"
            assert given_up.startswith(f"aws/lambda/{id}Mapping")
            assert given_up.endswith("/")
            (target,) = rule["Targets"]
            assert flat(target["Arn"]).startswith(f"{id}LettersQueue")

    def test_letters_outlive_the_queue_s_pointers(self, assembly: Assembly) -> None:
        bucket = only(assembly.pipeline, "AWS::S3::Bucket")["Properties"]
        (rule,) = bucket["LifecycleConfiguration"]["Rules"]
        for queue in of_type(assembly.pipeline, "AWS::SQS::Queue").values():
            pointer_days = queue["Properties"]["MessageRetentionPeriod"] / 86_400
            assert rule["ExpirationInDays"] > pointer_days

    def test_a_letter_cannot_be_overwritten(self, assembly: Assembly) -> None:
        policy = only(assembly.pipeline, "AWS::S3::BucketPolicy")["Properties"]["PolicyDocument"]
        (refusal,) = [s for s in policy["Statement"] if s.get("Sid") == "LettersAreWrittenOnce"]
        assert refusal["Effect"] == "Deny"
        assert refusal["Condition"]["Null"] == {"s3:if-none-match": "true"}

    @pytest.mark.parametrize(
        "kind", ["AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"]
    )
    def test_nothing_is_said_in_clear(self, production: Assembly, kind: str) -> None:
        stack = production.observability if "SNS" in kind else production.pipeline
        for policy in of_type(stack, kind).values():
            assert any(
                statement["Effect"] == "Deny"
                and statement["Condition"].get("Bool") == {"aws:SecureTransport": "false"}
                for statement in policy["Properties"]["PolicyDocument"]["Statement"]
            )


def _table(assembly: Assembly, prefix: str) -> str:
    (name,) = [n for n in of_type(assembly.pipeline, TABLE) if n.startswith(prefix)]
    return name


def _feed(
    *,
    stream: dynamodb.StreamViewType | None = dynamodb.StreamViewType.NEW_AND_OLD_IMAGES,
    global_table: bool = False,
) -> tuple[ChangeFeed, iam.Role]:
    stack = Stack(App(), "Stack")
    table = ChangeTable(
        stack, "Orders", partition_key="id", stream=stream, holds_truth=True, keep=False
    )
    role = iam.Role(stack, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    return ChangeFeed(table, kind="table", global_table=global_table), role
