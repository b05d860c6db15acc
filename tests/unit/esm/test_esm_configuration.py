"""A mapping's settings: defaults, ranges, and what AWS says to a value outside of them."""

from typing import Any

import pytest

from dynamodb_streams_cdc.esm import (
    ConfigurationError,
    Destination,
    DestinationKind,
    MappingConfiguration,
    StartingPosition,
)
from tests.unit.esm.driver import (
    BUCKET,
    QUEUE,
    START,
    TOPIC,
    description,
    drive,
    filtered_by,
    ignore,
    on_failure,
    raising,
    records,
)

read = MappingConfiguration.from_description


def test_rule_15_the_defaults_are_those_of_a_new_mapping() -> None:
    mapping = read(description())

    assert mapping.starting_position is StartingPosition.TRIM_HORIZON
    assert mapping.batch_size == 100
    assert mapping.maximum_batching_window == 0
    assert mapping.parallelization_factor == 1
    assert mapping.bisect_batch_on_function_error is False
    assert mapping.maximum_retry_attempts == -1
    assert mapping.maximum_record_age == -1
    assert mapping.tumbling_window == 0
    assert mapping.report_batch_item_failures is False
    assert not mapping.filters
    assert mapping.destination is None
    assert mapping.event_count_metrics is False


def test_rule_15_an_api_description_is_read_in_full() -> None:
    mapping = read(
        description(
            StartingPosition="LATEST",
            BatchSize=10_000,
            MaximumBatchingWindowInSeconds=300,
            ParallelizationFactor=10,
            BisectBatchOnFunctionError=True,
            MaximumRetryAttempts=10_000,
            MaximumRecordAgeInSeconds=604_800,
            TumblingWindowInSeconds=0,
            FunctionResponseTypes=["ReportBatchItemFailures"],
            FilterCriteria={"Filters": [{"Pattern": '{"eventName": ["INSERT"]}'}]},
            MetricsConfig={"Metrics": ["EventCount"]},
            StartingPositionTimestamp=None,
            **on_failure(BUCKET),
        )
    )

    assert mapping.starting_position is StartingPosition.LATEST
    assert (mapping.batch_size, mapping.maximum_batching_window) == (10_000, 300)
    assert (mapping.parallelization_factor, mapping.maximum_retry_attempts) == (10, 10_000)
    assert mapping.maximum_record_age == 604_800
    assert mapping.bisect_batch_on_function_error
    assert mapping.report_batch_item_failures
    assert mapping.filters.patterns == ('{"eventName": ["INSERT"]}',)
    assert mapping.event_count_metrics
    assert mapping.destination == Destination(BUCKET, DestinationKind.S3)


@pytest.mark.parametrize(
    ("name", "value", "documented"),
    [
        ("BatchSize", 0, "1 to 10000 (Member must have value greater than or equal to 1)"),
        ("BatchSize", 10_001, "1 to 10000 (Member must have value less than or equal to 10000)"),
        ("BatchSize", "100", "an integer from 1 to 10000"),
        ("BatchSize", True, "an integer from 1 to 10000"),
        ("MaximumBatchingWindowInSeconds", -1, "0 to 300"),
        ("MaximumBatchingWindowInSeconds", 301, "0 to 300"),
        ("ParallelizationFactor", 0, "1 to 10"),
        ("ParallelizationFactor", 11, "1 to 10"),
        ("MaximumRetryAttempts", -2, "-1 to 10000"),
        ("MaximumRetryAttempts", 10_001, "-1 to 10000"),
        ("MaximumRecordAgeInSeconds", -2, "-1 to 604800"),
        ("MaximumRecordAgeInSeconds", 604_801, "-1 to 604800"),
        ("MaximumRecordAgeInSeconds", 0, "-1, or 60 to 604800"),
        ("MaximumRecordAgeInSeconds", 59, "-1, or 60 to 604800"),
        ("TumblingWindowInSeconds", -1, "0 to 900"),
        ("TumblingWindowInSeconds", 901, "0 to 900"),
        ("FunctionResponseTypes", ["ReportEverything"], "at most one, ReportBatchItemFailures"),
        ("FunctionResponseTypes", ["ReportBatchItemFailures"] * 2, "at most one"),
        ("BisectBatchOnFunctionError", "true", "true or false"),
        ("StartingPosition", None, "TRIM_HORIZON or LATEST, required"),
        ("StartingPosition", "AT_TIMESTAMP", "TRIM_HORIZON or LATEST"),
        ("EventSourceArn", "arn:aws:kinesis:us-east-1:1:stream/s", "DynamoDB"),
        ("DestinationConfig", [], "an object"),
    ],
)
def test_rule_15_a_value_out_of_range_is_refused_by_name(
    name: str, value: Any, documented: str
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        read(description(**{name: value}))

    assert refusal.value.parameter == name
    assert refusal.value.value == value
    assert documented in str(refusal.value)
    assert repr(value) in str(refusal.value)


def test_rule_15_the_error_is_the_one_of_the_api() -> None:
    with pytest.raises(ConfigurationError, match=r"^ValidationException: BatchSize is 0") as first:
        read(description(BatchSize=0))
    with pytest.raises(ConfigurationError) as second:
        read(description(MaximumRecordAgeInSeconds=30))

    assert first.value.code == "ValidationException"
    assert second.value.code == "InvalidParameterValueException"


def test_rule_15_a_batch_size_over_10_needs_no_batching_window() -> None:
    assert read(description(BatchSize=100, MaximumBatchingWindowInSeconds=0)).batch_size == 100


@pytest.mark.parametrize(
    "arn",
    [
        f"{QUEUE}.fifo",
        f"{TOPIC}.fifo",
        "arn:aws:lambda:us-east-1:1:function:f",
        "dead_letters",
        f"{BUCKET}/prefix",
        f"{BUCKET}/*",
        "arn:aws:s3:us-east-1:000000000000:accesspoint/dead-letters",
        "arn:aws:s3:::Dead letters",
        "arn:aws:sqs:::dead-letters",
        f"{TOPIC}:0b8a7a4e-5a0c-5d0e-9b7e-3f1d6f1f5e11",
        "https://sqs.us-east-1.amazonaws.com/000000000000/dead-letters",
    ],
)
def test_rule_15_a_destination_is_a_queue_topic_or_bucket(arn: str) -> None:
    with pytest.raises(ConfigurationError, match="standard SQS queue") as refusal:
        read(description(**on_failure(arn)))

    assert refusal.value.parameter == "DestinationConfig.OnFailure.Destination"


def test_rule_15_five_filters_are_the_quota_and_ten_the_most() -> None:
    pattern = '{"eventName": ["INSERT"]}'

    assert len(read(description(**filtered_by(*[pattern] * 5))).filters.patterns) == 5
    with pytest.raises(ConfigurationError, match="6 filters, the quota is 5"):
        read(description(**filtered_by(*[pattern] * 6)))
    assert read(description(**filtered_by(*[pattern] * 10)), filter_quota=10).filters
    with pytest.raises(ConfigurationError, match="11 filters, the quota is 10"):
        read(description(**filtered_by(*[pattern] * 11)), filter_quota=99)


def test_rule_16_the_last_result_is_worded_as_the_api_words_it() -> None:
    untouched = drive(description(), ignore, [])
    fine = drive(description(), ignore, records(1))
    failed = drive(description(MaximumRetryAttempts=0), raising(), records(1))

    assert untouched.engine.last_processing_result == "No records processed"
    assert fine.engine.last_processing_result == "OK"
    assert failed.engine.last_processing_result == "PROBLEM: Function call failed"


def test_rule_16_a_bad_pattern_is_refused_as_by_the_api() -> None:
    expected = "InvalidParameterValueException.*Invalid filter pattern definition\\."
    with pytest.raises(ConfigurationError, match=expected):
        read(description(**filtered_by("single-string")))


def test_a_mapping_without_a_uuid_has_one_that_stays() -> None:
    bare = {"StartingPosition": "TRIM_HORIZON"}

    assert read(bare).uuid == read(bare).uuid
    assert read(bare).uuid != read(bare | {"FunctionArn": "arn:other"}).uuid


def test_state_and_dates_say_nothing_of_the_behaviour() -> None:
    assert read(description(State="Disabled", LastModified=START)) == read(description())


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"OnSuccess": {"Destination": QUEUE}}, "a success is not reported"),
        ({"OnSucess": {"Destination": QUEUE}}, "OnFailure alone"),
        ({"OnFailure": QUEUE}, "an ARN"),
        ({"OnFailure": {"Arn": QUEUE}}, "an ARN"),
    ],
)
def test_a_stream_has_a_destination_on_failure_and_no_other(
    config: dict[str, Any], problem: str
) -> None:
    """https://docs.aws.amazon.com/lambda/latest/api/API_DestinationConfig.html: OnSuccess is
    "not supported in CreateEventSourceMapping or UpdateEventSourceMapping requests"."""
    with pytest.raises(ConfigurationError, match=problem):
        read(description(DestinationConfig=config))


def test_empty_destinations_as_a_description_has_them_are_none() -> None:
    assert (
        read(description(DestinationConfig={"OnFailure": {}, "OnSuccess": {}})).destination is None
    )
    gov = "arn:aws-us-gov:sqs:us-gov-west-1:000000000000:dead-letters"
    found = read(description(**on_failure(gov))).destination
    assert found == Destination(gov, DestinationKind.SQS)


@pytest.mark.parametrize("metrics", [["EventCounts"], ["ErrorCount"], "EventCount"])
def test_metrics_that_a_stream_does_not_have_are_refused(metrics: object) -> None:
    with pytest.raises(ConfigurationError, match="at most one, EventCount"):
        read(description(MetricsConfig={"Metrics": metrics}))
