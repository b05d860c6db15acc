"""Sample events: what is made can be read, and what cannot be read fails a test."""

import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from dynamodb_streams_cdc import Change, ChangeHandlers, Source
from dynamodb_streams_cdc.processor import Processor
from dynamodb_streams_cdc.testing import (
    UnreadableEvent,
    WriteRefused,
    invoke,
    sample_event,
    sample_record,
)
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters

PUBLISHED: dict[str, Any] = {
    "eventID": "1",
    "eventVersion": "1.0",
    "eventName": "INSERT",
    "eventSource": "aws:dynamodb",
    "awsRegion": "us-east-1",
    "dynamodb": {
        "Keys": {"Id": {"N": "101"}},
        "NewImage": {"Message": {"S": "New item!"}, "Id": {"N": "101"}},
        "SequenceNumber": "111",
        "SizeBytes": 26,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    },
    "eventSourceARN": "stream-ARN",
}
"""In the form of the guide's sample, which others have copied: a placeholder, and no time.
https://docs.aws.amazon.com/lambda/latest/dg/with-ddb-example.html"""


def handler_of(seen: list[str]) -> Processor:
    handlers = ChangeHandlers()

    @handlers.on_insert
    def note(change: Change) -> None:
        seen.append(change.keys["id"])

    return Processor("sample", Source("orders"), handlers, MemoryDeadLetters())


def test_an_event_of_items_reaches_the_handler() -> None:
    seen: list[str] = []
    event = sample_event({"id": "1", "total": Decimal("1.50")}, {"id": "2"})
    assert invoke(handler_of(seen), event) == {"batchItemFailures": []}
    assert seen == ["1", "2"]
    assert event["Records"][0]["dynamodb"]["NewImage"]["total"] == {"N": "1.5"}


def test_records_are_of_every_kind_and_in_order() -> None:
    old, new = {"id": "1", "status": "placed"}, {"id": "1", "status": "shipped"}
    records = [
        sample_record(old),
        sample_record(new, old),
        sample_record(old=new, expired=True),
    ]
    changes = [Change.from_record(record, Source("orders")) for record in records]
    assert [change.kind for change in changes] == ["INSERT", "MODIFY", "REMOVE"]
    assert changes[1].old_image == old
    assert changes[2].expired
    assert sorted(change.version for change in changes) == [change.version for change in changes]
    assert len({record["eventID"] for record in records}) == 3


def test_a_sample_is_as_old_as_it_says() -> None:
    def age(record: Mapping[str, Any]) -> float:
        return time.time() - float(record["dynamodb"]["ApproximateCreationDateTime"])

    assert -1 < age(sample_record({"id": "1"})) < 60
    assert 3600 <= age(sample_record({"id": "1"}, age=3600)) < 3660


def test_keys_table_and_view_type_are_given() -> None:
    record = sample_record(
        {"customer": "4", "order": 7},
        keys={"customer": "S", "order": "N"},
        table="orders-1A",
        view_type="KEYS_ONLY",
    )
    assert record["dynamodb"]["Keys"] == {"customer": {"S": "4"}, "order": {"N": "7"}}
    assert "NewImage" not in record["dynamodb"]
    assert ":table/orders-1A/stream/" in record["eventSourceARN"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "give the item after it, before it, or both"),
        ({"new": {"id": "1"}, "old": {"id": "2"}}, "different keys"),
        ({"new": {"id": "1"}, "old": {"id": "1"}}, "nothing changes"),
    ],
)
def test_what_makes_no_record_is_refused(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        sample_record(**arguments)


def test_an_item_that_dynamodb_refuses_is_not_a_sample() -> None:
    with pytest.raises(WriteRefused, match="empty string"):
        sample_event({"id": ""})


def test_keys_of_other_names_are_asked_for() -> None:
    item = {"customer_id": "7", "order_id": "1"}
    with pytest.raises(WriteRefused, match="the table's key is id: give `keys` if it is another"):
        sample_event(item)
    [record] = sample_event(item, keys=("customer_id", "order_id"))["Records"]
    assert record["dynamodb"]["Keys"] == {"customer_id": {"S": "7"}, "order_id": {"S": "1"}}


def test_the_last_event_of_a_window_has_no_records() -> None:
    event = {"Records": [], "isFinalInvokeForWindow": True, "state": {"sum": 3}}
    assert invoke(lambda event, context: event["state"], event) == {"sum": 3}


def without_time(arn: str) -> dict[str, Any]:
    return {**PUBLISHED, "eventSourceARN": arn}


@pytest.mark.parametrize(
    ("event", "why"),
    [
        ({"Records": [PUBLISHED]}, "eventSourceARN|ApproximateCreationDateTime"),
        ({"Records": [without_time("eventsource_arn")] * 2}, "no record of this event can be read"),
        ({"Records": [{}]}, "no record of this event can be read"),
        ({"Records": []}, "with a record or more"),
        ({}, "with a record or more"),
        ({"records": [1]}, "with a record or more"),
    ],
)
def test_an_event_of_which_nothing_can_be_read_fails_the_test(
    event: dict[str, Any], why: str
) -> None:
    called: list[Any] = []
    with pytest.raises(UnreadableEvent, match=why):
        invoke(lambda event, context: called.append(event), event)
    assert called == []


def test_one_record_that_can_be_read_is_enough() -> None:
    event = sample_event({"id": "1"})
    event["Records"].append({})
    assert invoke(lambda event, context: len(event["Records"]), event) == 2


def test_a_function_gets_a_copy_and_a_whole_context() -> None:
    event = sample_event({"id": "1"})

    def handler(given: Any, context: Any) -> Any:
        given.clear()
        return context.function_name, context.memory_limit_in_mb

    assert invoke(handler, event, timeout=3) == ("sample", "128")
    assert len(event["Records"]) == 1
    assert (
        0 < invoke(lambda event, context: context.get_remaining_time_in_millis(), event) <= 60_000
    )


def test_a_response_that_lambda_cannot_write_is_refused() -> None:
    with pytest.raises(TypeError, match="MarshalError: Object of type set is not JSON"):
        invoke(lambda event, context: {1}, sample_event({"id": "1"}))
