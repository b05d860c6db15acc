"""What the stacks set and what the library assumes stand in a relation."""

import pytest

from dynamodb_streams_cdc.aws.dynamodb.log import BATCH_STATEMENTS, PARALLEL
from dynamodb_streams_cdc.aws.dynamodb.reads import BATCH_GET_KEYS
from dynamodb_streams_cdc.deadline import RESERVE_SECONDS
from dynamodb_streams_cdc.names import FUNCTION_SECONDS
from dynamodb_streams_cdc.operations.aws.notifications import HIDDEN_SECONDS
from dynamodb_streams_cdc.operations.redrive import MOST_RECORDS
from dynamodb_streams_cdc.processor import YOUNG_SECONDS
from dynamodb_streams_cdc.sinks.base import LATE_SECONDS
from stacks.observability import LATE_AFTER
from tests.infrastructure.templates import Assembly, of_type, processors

STREAM_SECONDS = 24 * 3600
MAPPING = "AWS::Lambda::EventSourceMapping"


@pytest.fixture(params=["sandbox", "production"])
def assembly(request: pytest.FixtureRequest) -> Assembly:
    found: Assembly = request.getfixturevalue(request.param)
    return found


def test_function_timeouts_match_the_library(assembly: Assembly) -> None:
    for function in processors(assembly.pipeline).values():
        seconds = function["Properties"]["Timeout"]
        assert seconds == FUNCTION_SECONDS
        assert seconds > 2 * RESERVE_SECONDS
        assert seconds < HIDDEN_SECONDS


def test_records_are_given_up_while_the_stream_still_has_them(assembly: Assembly) -> None:
    """Lambda reads a record's batch from the stream when it writes it to the destination."""
    for mapping in of_type(assembly.pipeline, MAPPING).values():
        age = mapping["Properties"]["MaximumRecordAgeInSeconds"]
        assert age + 3600 <= STREAM_SECONDS
        assert YOUNG_SECONDS < LATE_AFTER.to_seconds() < age
        assert age < LATE_SECONDS, "or every record of a long outage is looked up in the table"


def test_a_batch_is_what_one_round_of_requests_takes(assembly: Assembly) -> None:
    for mapping in of_type(assembly.pipeline, MAPPING).values():
        size = mapping["Properties"]["BatchSize"]
        assert size <= BATCH_GET_KEYS
        assert size <= PARALLEL * BATCH_STATEMENTS
        assert size == MOST_RECORDS, "a replay is as large as what functions are sized for"
