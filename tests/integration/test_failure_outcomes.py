"""Results of a batch after an error of a real sink, through a whole processor.

A record that can never succeed becomes one dead letter; an outage writes none, however long it
lasts. What each error is for a port is in `test_failure_table` and `test_failure_table_aws`; what a
processor makes of it is in `tests/unit/test_stream_processor.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from dynamodb_streams_cdc import Aggregation, ChangeLog, Deadline, Search
from dynamodb_streams_cdc.aws.dynamodb.ledger import DynamoDbLedger
from dynamodb_streams_cdc.aws.dynamodb.log import DynamoDbLog
from dynamodb_streams_cdc.sinks.change_log import Inserted
from dynamodb_streams_cdc.sinks.documents import Upsert, Upserted
from dynamodb_streams_cdc.sinks.log_entries import Entry
from lambdas.example_domain.order import INDEX
from tests.contracts.index import ReadableIndex
from tests.factories import NOON, ManualClock, order, record
from tests.integration.clients import Invoked, invoke, sequence_number
from tests.integration.faulty_proxy import Exchange, FaultyProxy
from tests.integration.test_failure_table import (
    OUTAGES,
    Outage,
)
from tests.integration.test_failure_table_aws import Cancelled, Refusal, maps

BAD = "00042-1"
HOURS_LATER = NOON + 10 * 3600.0
SECONDS = 8.0
"""Seconds of an invocation that is going to meet an outage: enough for some retries."""

FOR_EVER = float("inf")


def batch(count: int = 100, **bad: Any) -> list[dict[str, Any]]:
    """Return records of new orders, one of which has the attributes `bad`."""
    numbers = [f"{number:05}-1" for number in range(1, count + 1)]
    return [
        record(sequence, None, order(number, **(bad if number == BAD else {})))
        for sequence, number in enumerate(numbers, 1)
    ]


def changed(placed: dict[str, Any]) -> dict[str, Any]:
    """Return the record of a later change of the order in another one."""
    image, number = placed["dynamodb"]["NewImage"], placed["dynamodb"]["SequenceNumber"]
    body = {**placed["dynamodb"], "OldImage": image, "SequenceNumber": f"9{number}"}
    return {**placed, "eventName": "MODIFY", "dynamodb": body}


def document(image: dict[str, Any]) -> dict[str, Any]:
    return {"placed_at": image["placed_at"], "note": image.get("note", "")}


def contributions(image: dict[str, Any]) -> dict[str, Any]:
    return {image.get("month", "month#1997-01"): {"revenue": image["total"]}}


def late() -> ManualClock:
    return ManualClock(HOURS_LATER)


def entries_of(log: DynamoDbLog) -> int:
    return len(log.client.scan(TableName=log.table, ConsistentRead=True)["Items"])


class IdsTooLong(ReadableIndex):
    """Gives one document an id of 513 bytes, which ours never have."""

    def upsert(self, upserts: Sequence[Upsert], deadline: Deadline) -> Sequence[Upserted]:
        bad = f"orders/S=00042/S={BAD}"
        long = [replace(u, item_id="x" * 513) if u.item_id == bad else u for u in upserts]
        return super().upsert(long, deadline)


class NestedTooDeep(DynamoDbLog):
    """Gives one entry an image of more levels than DynamoDB takes, which no item has."""

    def insert(self, entries: Sequence[Entry], deadline: Deadline) -> Sequence[Inserted]:
        deep = [{**e, "after": maps(33)} if BAD in e["item"]["S"] else e for e in entries]
        return super().insert(deep, deadline)


def test_an_id_that_fails_its_request_is_one_dead_letter(index: ReadableIndex) -> None:
    long = IdsTooLong(index.client, index.name, INDEX.properties, INDEX.settings)
    invoked = invoke(Search(long, document), batch())
    assert invoked == Invoked([], ["action_request_validation_exception"])
    assert len(index.search()) == 99


def test_an_entry_that_fails_its_request_is_one_dead_letter(log: DynamoDbLog) -> None:
    invoked = invoke(ChangeLog(NestedTooDeep(log.client, log.table)), batch())
    assert invoked == Invoked([], ["NestedTooDeep"])
    assert entries_of(log) == 99


def test_a_contribution_that_cannot_be_kept_is_one_dead_letter(ledger: DynamoDbLedger) -> None:
    invoked = invoke(Aggregation(ledger, contributions), batch(month="x" * 2049))
    assert invoked == Invoked([], ["KeyTooLong"])
    assert ledger.total("month#1997-01") == {"revenue": 99 * order()["total"]}


@pytest.mark.parametrize(("outage", "text"), OUTAGES)
def test_an_index_outage_makes_no_dead_letters(
    index: ReadableIndex, outage: Outage, text: str
) -> None:
    sink, placed = Search(index, document), batch(3)
    assert invoke(sink, placed, clock=late()) == Invoked([], [])
    records = [changed(each) for each in placed]
    with outage(index):
        invoked = invoke(sink, records, clock=late(), seconds=SECONDS)
        assert invoked == Invoked([sequence_number(records[0])], [])
    assert invoke(sink, records, clock=late()) == Invoked([], [])
    assert sum(item.startswith("orders/") for item in index.search()) == 3


THROTTLED = Refusal("ThrottlingException")


def test_an_outage_of_the_log_makes_no_dead_letter(
    log: DynamoDbLog, dynamodb_proxy: FaultyProxy
) -> None:
    records = batch(50)
    second = records[25]["eventID"]
    dynamodb_proxy.times(FOR_EVER, "BatchExecuteStatement", THROTTLED, carrying=second)
    invoked = invoke(ChangeLog(log), records, clock=late(), seconds=SECONDS)
    assert invoked == Invoked([sequence_number(records[25])], [])
    assert entries_of(log) == 25
    dynamodb_proxy.heal()
    assert invoke(ChangeLog(log), records[25:], clock=late()) == Invoked([], [])
    assert entries_of(log) == 50


@pytest.mark.parametrize("act", [THROTTLED, Cancelled("TransactionConflict")])
def test_an_outage_of_the_ledger_makes_no_dead_letter(
    ledger: DynamoDbLedger, dynamodb_proxy: FaultyProxy, act: Callable[[Exchange], None]
) -> None:
    sink, records = Aggregation(ledger, contributions), batch(5)
    dynamodb_proxy.times(FOR_EVER, "TransactWriteItems", act)
    invoked = invoke(sink, records, clock=late(), seconds=SECONDS)
    assert invoked == Invoked([sequence_number(records[0])], [])
    assert ledger.total("month#1997-01") == {}
    dynamodb_proxy.heal()
    assert invoke(sink, records, clock=late()) == Invoked([], [])
    assert ledger.total("month#1997-01") == {"revenue": 5 * order()["total"]}
