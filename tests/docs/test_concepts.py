"""What docs/explanation/concepts.md says of streams and mappings, shown by the simulator."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from dynamodb_streams_cdc import Change, LambdaContext, MissingImage, Source
from dynamodb_streams_cdc.testing import Lab, LabFactory

pytest_plugins = ["dynamodb_streams_cdc.testing.fixtures"]

Event = Mapping[str, Any]

ORDERS = Source("orders")


def changes(lab: Lab) -> list[Change]:
    """Return the changes that a lab delivered, in order."""
    return [
        Change.from_record(record, ORDERS) for each in lab.deliveries for record in each.records
    ]


def ignore(event: Event, context: LambdaContext) -> None:
    """Do nothing, successfully."""


# Records


def a_record() -> None:
    lab = Lab(ignore)
    lab.put({"id": "1001", "status": "placed", "total": Decimal("29.33")})
    lab.put({"id": "1001", "status": "shipped", "total": Decimal("29.33")})
    lab.run()
    print(json.dumps(lab.deliveries[0].records[1], indent=2))


def test_a_write_that_changes_nothing_makes_no_record(stream_lab: LabFactory) -> None:
    lab = stream_lab(ignore)
    lab.put({"id": "1001", "status": "placed"})
    lab.put({"id": "1001", "status": "placed"})
    lab.delete({"id": "1002"})
    lab.run()
    assert lab.delivered == [["INSERT 1001"]]


def test_the_second_change_of_a_second_has_the_same_time(stream_lab: LabFactory) -> None:
    lab = stream_lab(ignore)
    lab.put({"id": "1001", "status": "placed"})
    lab.put({"id": "1001", "status": "shipped"})
    lab.run()
    placed, shipped = changes(lab)
    assert placed.timestamp == shipped.timestamp
    assert placed.version < shipped.version


# View types


def view_types() -> None:
    print(f"{'view type':<20}{'INSERT':<11}{'MODIFY':<17}REMOVE")
    for view_type in ("KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES"):
        lab = Lab(ignore, view_type=view_type)
        lab.put({"id": "1001", "status": "placed"}, {"id": "1001", "status": "shipped"})
        lab.delete({"id": "1001"})
        lab.run()
        insert, modify, remove = (_carried(record) for record in lab.deliveries[0].records)
        print(f"{view_type:<20}{insert:<11}{modify:<17}{remove}")


def _carried(record: Event) -> str:
    parts = {"Keys": "keys", "NewImage": "new", "OldImage": "old"}
    return ", ".join(word for name, word in parts.items() if name in record["dynamodb"])


def test_an_image_that_the_stream_lacks_raises(
    stream_lab: LabFactory,
) -> None:
    lab = stream_lab(ignore, view_type="NEW_IMAGE")
    lab.put({"id": "1001", "status": "placed"})
    lab.delete({"id": "1001"})
    lab.run()
    placed, removed = changes(lab)
    assert placed.new_image == {"id": "1001", "status": "placed"}
    assert removed.new_image is None
    with pytest.raises(MissingImage, match="It takes OLD_IMAGE or NEW_AND_OLD_IMAGES"):
        _ = removed.old_image


# Shards


def test_children_wait_for_their_parent(stream_lab: LabFactory) -> None:
    lab = stream_lab(BatchSize=1)

    @lab.function
    def slow(event: Event, context: LambdaContext) -> None:
        lab.clock.sleep(5)

    lab.put({"id": "1001", "status": "placed"}, {"id": "1002", "status": "placed"})
    lab.split_shards()
    lab.put({"id": "1001", "status": "shipped"}, {"id": "1002", "status": "shipped"})
    lab.run()

    parent, children = lab.deliveries[:2], lab.deliveries[2:]
    assert len({each.shard_id for each in parent}) == 1
    assert all(each.at >= parent[-1].at + 5 for each in children)
    assert {each.changes[0] for each in children} == {"MODIFY 1001", "MODIFY 1002"}


# Order


def test_order_is_kept_per_item_and_not_per_partition_key(stream_lab: LabFactory) -> None:
    lab = stream_lab(
        keys=("customer", "order"),
        ParallelizationFactor=10,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
    refused = 2

    @lab.function
    def ship(event: Event, context: LambdaContext) -> Any:
        nonlocal refused
        record = event["Records"][0]
        if record["dynamodb"]["Keys"]["order"] == {"S": "a"} and refused:
            refused -= 1
            failed = record["dynamodb"]["SequenceNumber"]
            return {"batchItemFailures": [{"itemIdentifier": failed}]}
        return {"batchItemFailures": []}

    lab.put({"customer": "7", "order": "a", "status": "placed"})
    lab.put({"customer": "7", "order": "a", "status": "shipped"})
    lab.put({"customer": "7", "order": "b", "status": "placed"})
    lab.run()

    assert lab.delivered == [["INSERT 7/b"], *[["INSERT 7/a", "MODIFY 7/a"]] * 3]


# Delivery


def test_a_finished_batch_may_come_again(stream_lab: LabFactory) -> None:
    lab = stream_lab(ignore)
    lab.redeliver()
    lab.put({"id": "1001", "status": "placed"}, {"id": "1002", "status": "placed"})
    lab.run()

    first, again = lab.deliveries
    assert first.changes == again.changes == ["INSERT 1001", "INSERT 1002"]
    assert [r["eventID"] for r in first.records] == [r["eventID"] for r in again.records]


# The mapping


def refuse_1003(event: Event, context: LambdaContext) -> None:
    for record in event["Records"]:
        if record["dynamodb"]["Keys"]["id"] == {"S": "1003"}:
            message = "1003 again"
            raise RuntimeError(message)


def test_a_failing_batch_is_halved_until_the_culprit_is_alone(stream_lab: LabFactory) -> None:
    lab = stream_lab(refuse_1003, BisectBatchOnFunctionError=True, MaximumRetryAttempts=1)
    lab.put({"id": "1001"}, {"id": "1002"}, {"id": "1003"}, {"id": "1004"})
    lab.run()

    [dead_letter] = lab.dead_letters
    assert dead_letter.changes == ["INSERT 1003"]
    assert dead_letter.condition == "RetryAttemptsExhausted"


def test_a_failing_batch_holds_its_shard_until_it_is_too_old(stream_lab: LabFactory) -> None:
    lab = stream_lab(refuse_1003, MaximumRecordAgeInSeconds=3600)
    began = lab.clock.now()
    lab.put({"id": "1003"})
    lab.wait(600)
    lab.put({"id": "1004"})
    lab.run()

    assert [each.changes for each in lab.deliveries[:2]] == [["INSERT 1003"], ["INSERT 1003"]]
    assert lab.delivered[-1] == ["INSERT 1004"]
    assert lab.deliveries[-1].at - began > 3600
    assert [dead_letter.condition for dead_letter in lab.dead_letters] == ["RecordAgeExceeded"]


def test_a_disabled_mapping_continues_where_it_stopped(stream_lab: LabFactory) -> None:
    lab = stream_lab(ignore)
    lab.put({"id": "1001"})
    lab.run()
    lab.disable()
    lab.put({"id": "1002"})
    lab.wait(3600)
    assert lab.delivered == [["INSERT 1001"]]
    lab.enable()
    lab.run()
    assert lab.delivered == [["INSERT 1001"], ["INSERT 1002"]]


def test_records_not_read_within_a_day_are_lost(stream_lab: LabFactory) -> None:
    lab = stream_lab(ignore)
    lab.disable()
    lab.put({"id": "1001"})
    lab.wait(25 * 3600)
    lab.put({"id": "1002"})
    lab.enable()
    lab.run()
    assert lab.delivered == [["INSERT 1002"]]
    assert lab.dead_letters == []


# Versions


def test_versions_compare_as_text_where_sequence_numbers_do_not(stream_lab: LabFactory) -> None:
    lab = stream_lab(ignore)
    lab.put({"id": "1001", "status": "placed"})
    lab.run()
    older = lab.deliveries[0].records[0]
    newer = {**older, "dynamodb": {**older["dynamodb"], "SequenceNumber": "1" + "0" * 21}}

    first, second = Change.from_record(older, ORDERS), Change.from_record(newer, ORDERS)
    assert first.sequence_number > second.sequence_number
    assert first.version < second.version


def test_a_new_stream_of_the_table_comes_after_the_old_one(stream_lab: LabFactory) -> None:
    lab = stream_lab(ignore)
    lab.put({"id": "1001", "status": "placed"})
    lab.run()
    lab.wait(60)
    lab.replace_stream()
    lab.put({"id": "1001", "status": "shipped"})
    lab.run()
    placed, shipped = changes(lab)
    assert placed.version < shipped.version
    assert placed.version.startswith("0001/2024-05-01T12:00:00.000/")
    assert shipped.version.startswith("0001/2024-05-01T12:01:10.000/")
