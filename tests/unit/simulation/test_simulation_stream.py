"""The simulated table and its stream keep the rules of DynamoDB's, one test for each."""

import itertools
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from dynamodb_streams_cdc import Change, ChangeKind, Source
from dynamodb_streams_cdc.esm import Engine
from dynamodb_streams_cdc.testing import Lab
from dynamodb_streams_cdc.testing.simulation import (
    SimulatedStream,
    SimulatedTable,
    Simulation,
    generate,
)
from dynamodb_streams_cdc.testing.simulation.schedule import FIRST_SEQUENCE_NUMBERS
from dynamodb_streams_cdc.testing.simulation.stream import FIRST_SEQUENCE_NUMBER, Shard
from dynamodb_streams_cdc.testing.simulation.table import size_of
from tests.factories import NOON, TTL_IDENTITY
from tests.unit.labs import DAY, succeed

SOURCE = Source("items")
Record = Mapping[str, Any]


def table(view_type: str = "NEW_AND_OLD_IMAGES", **options: Any) -> SimulatedTable:
    made = SimulatedTable("t", options.pop("keys", ("id",)))
    made.enable_stream(NOON, view_type=view_type, **options)
    return made


def stream_of(made: SimulatedTable) -> SimulatedStream:
    assert made.stream is not None
    return made.stream


def only_shard(made: SimulatedTable) -> Shard:
    [shard] = stream_of(made).shards.values()
    return shard


def filled(count: int, **options: Any) -> SimulatedTable:
    """Return a table to which so many items were written at noon."""
    made = table(**options)
    for value in range(count):
        made.put({"id": str(value)}, NOON)
    return made


def calls_of(method: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the shards for which an engine is told something, as they come."""
    told: list[str] = []
    tell = getattr(Engine, method)

    def noted(engine: Engine, shard_id: str) -> None:
        told.append(shard_id)
        tell(engine, shard_id)

    monkeypatch.setattr(Engine, method, noted)
    return told


def lab_that_fails_until(moment: float) -> Lab:
    lab = Lab(BatchSize=1_000)

    @lab.function
    def handler(event: Any, context: Any) -> None:
        if lab.clock.now() < moment:
            message = "not yet"
            raise ValueError(message)

    return lab


def records(stream: SimulatedStream) -> list[Record]:
    """Return all records, shard by shard, parents before children."""
    return [record for shard in stream.shards.values() for record in shard.records]


def number(record: Record) -> int:
    return int(record["dynamodb"]["SequenceNumber"])


def test_rule_01_a_record_has_the_envelope_that_lambda_delivers() -> None:
    made = table()
    made.put({"id": "1", "data": b"foobar"}, NOON)
    made.put({"id": "1", "data": b"barfoo"}, NOON)
    made.delete({"id": "1"}, NOON)
    insert, modify, remove = records(stream_of(made))
    envelope = "eventID eventName eventVersion eventSource awsRegion dynamodb eventSourceARN"
    body = "ApproximateCreationDateTime Keys NewImage OldImage SequenceNumber SizeBytes"
    assert list(insert) == envelope.split()
    assert list(modify["dynamodb"]) == [*body.split(), "StreamViewType"]
    assert (insert["eventVersion"], insert["eventSource"]) == ("1.1", "aws:dynamodb")
    assert isinstance(insert["dynamodb"]["ApproximateCreationDateTime"], float)
    assert insert["dynamodb"]["NewImage"]["data"] == {"B": "Zm9vYmFy"}
    assert "OldImage" not in insert["dynamodb"]
    assert "NewImage" not in remove["dynamodb"]
    assert "shardId" not in insert
    assert [r["eventName"] for r in (insert, modify, remove)] == ["INSERT", "MODIFY", "REMOVE"]


@pytest.mark.parametrize(
    ("view_type", "images"),
    [
        ("KEYS_ONLY", set()),
        ("NEW_IMAGE", {"NewImage"}),
        ("OLD_IMAGE", {"OldImage"}),
        ("NEW_AND_OLD_IMAGES", {"NewImage", "OldImage"}),
    ],
)
def test_rule_01_a_record_carries_the_images_of_its_view_type(
    view_type: str, images: set[str]
) -> None:
    made = table(view_type)
    made.put({"id": "1", "n": 1}, NOON)
    made.put({"id": "1", "n": 2}, NOON)
    body = records(stream_of(made))[1]["dynamodb"]
    assert body.keys() & {"NewImage", "OldImage"} == images
    assert body["StreamViewType"] == view_type


@pytest.mark.parametrize(
    ("item", "observed"),
    [
        ({"id": "id_value"}, 20),
        ({"id": "id_value_1"}, 24),
        ({"id": "id_value", "id2": "new_value"}, 32),  # observed, but of which item is not known
        ({"id": "id_value_1", "numericFilter": 42}, 39),
        ({"id": "id_value_1", "presentKey": "presentValue"}, 46),
        ({"my_partition_key": "testId5", "should_fail": True}, 58),
        ({"my_partition_key": "hello world", "binary_key": b"foobar"}, 70),
    ],
)
def test_rule_01_the_size_is_that_of_keys_and_images(item: dict[str, Any], observed: int) -> None:
    made = table(keys=(next(iter(item)),))
    made.put(item, NOON)
    assert records(stream_of(made))[0]["dynamodb"]["SizeBytes"] == observed


def test_rule_01_the_size_counts_both_images() -> None:
    made = table()
    made.put({"id": "id_value"}, NOON)
    made.put({"id": "id_value", "id2": "id2_new_value"}, NOON)
    assert records(stream_of(made))[1]["dynamodb"]["SizeBytes"] == 46


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"S": "é"}, 2),
        ({"N": "0"}, 1),
        ({"N": "1"}, 2),
        ({"N": "-123"}, 3),
        ({"N": "100000"}, 2),
        ({"N": "0.05"}, 2),
        ({"N": "12.5"}, 3),
        ({"B": "Zm9vYmFy"}, 6),
        ({"BOOL": False}, 1),
        ({"NULL": True}, 1),
        ({"SS": ["a", "bc"]}, 3),
        ({"NS": ["1", "23"]}, 4),
        ({"BS": ["Zm9v", "Zg=="]}, 4),
        ({"L": [{"S": "a"}, {"N": "1"}]}, 8),
        ({"M": {"ab": {"S": "c"}}}, 7),
    ],
)
def test_rule_01_the_size_of_a_value(value: dict[str, Any], size: int) -> None:
    assert size_of({"x": value}) == 1 + size


def test_rule_02_event_ids_are_unique_and_stable() -> None:
    lab = Lab(succeed)
    lab.redeliver()
    lab.put({"id": "1"}, {"id": "2"}, {"id": "3"})
    lab.run()
    first, again = (
        [record["eventID"] for record in delivery.records] for delivery in lab.deliveries
    )
    assert again == first
    assert len(set(first)) == 3
    assert all(re.fullmatch("[0-9a-f]{32}", event_id) for event_id in first)


@pytest.mark.parametrize("first", FIRST_SEQUENCE_NUMBERS)
def test_rule_03_sequence_numbers_have_21_to_40_digits_and_grow(first: int) -> None:
    made = table(first_sequence_number=first)
    for value in range(20):
        made.put({"id": "1", "n": value}, NOON)
    texts = [r["dynamodb"]["SequenceNumber"] for r in records(stream_of(made))]
    assert all(21 <= len(text) <= 40 for text in texts)
    assert texts == sorted(texts, key=int)
    assert len(set(texts)) == 20
    assert (texts == sorted(texts)) is (first == FIRST_SEQUENCE_NUMBER)


def test_rule_04_the_time_is_rounded_down_to_the_second() -> None:
    made = table()
    made.put({"id": "1", "n": 1}, NOON + 0.1)
    made.put({"id": "1", "n": 2}, NOON + 0.999)
    made.put({"id": "1", "n": 3}, NOON + 1.0)
    times = [r["dynamodb"]["ApproximateCreationDateTime"] for r in records(stream_of(made))]
    assert times == [NOON, NOON, NOON + 1]


def test_rule_05_a_stream_has_each_change_once_in_item_order() -> None:
    for seed in range(25):
        simulation = Simulation(generate(seed), lambda virtual_clock: [])
        simulation.run()
        found: dict[str, list[Any]] = {}
        for stream in simulation.table.streams:
            for record in sorted(records(stream), key=number):
                change = Change.from_record(record, SOURCE)
                found.setdefault(simulation.table.key_of(change.keys), []).append(change.new_image)
        assert found == simulation.table.history


def test_rule_06_a_write_that_changes_nothing_makes_no_record() -> None:
    made = table()
    assert made.put({"id": "1", "n": Decimal("1.0")}, NOON)
    assert not made.put({"id": "1", "n": Decimal(1)}, NOON)
    assert not made.delete({"id": "2"}, NOON)
    assert len(records(stream_of(made))) == 1
    assert made.put({"id": "1", "n": True}, NOON)


def test_rule_01_numbers_are_delivered_as_they_are_stored() -> None:
    made = table()
    made.put({"id": "1", "n": Decimal("1E+2"), "more": {Decimal("0.50")}, "N": "text"}, NOON)
    image = records(stream_of(made))[0]["dynamodb"]["NewImage"]
    assert image == {
        "id": {"S": "1"},
        "n": {"N": "100"},
        "more": {"NS": ["0.5"]},
        "N": {"S": "text"},
    }


def test_rule_07_an_item_stays_in_the_shard_of_its_partition() -> None:
    made = table(partitions=4)
    for value in range(40):
        made.put({"id": str(value % 10), "n": value}, NOON)
    homes: dict[str, set[str]] = {}
    for shard in stream_of(made).shards.values():
        for record in shard.records:
            homes.setdefault(str(record["dynamodb"]["Keys"]), set()).add(shard.shard_id)
    assert len(homes) == 10
    assert all(len(shards) == 1 for shards in homes.values())
    assert len(set().union(*homes.values())) > 1


def test_rule_07_shards_split_in_two_and_rotate_into_one() -> None:
    stream = stream_of(table())
    [root] = stream.shards
    stream.split()
    _, left, right = stream.shards.values()
    assert (left.parent, right.parent) == (root, root)
    stream.rotate()
    youngest = list(stream.shards.values())[3:]
    assert [shard.parent for shard in youngest] == [left.shard_id, right.shard_id]
    described = [shard.description() for shard in stream.shards.values()]
    closed = ["EndingSequenceNumber" in each["SequenceNumberRange"] for each in described]
    assert closed == [True, True, True, False, False]
    assert "ParentShardId" not in described[0]
    assert all(re.fullmatch(r"shardId-\d{20}-[0-9a-f]{8}", each["ShardId"]) for each in described)


def test_rule_07_parent_records_precede_those_of_children() -> None:
    lab = Lab(succeed, BatchSize=1)
    lab.throttle(3)
    lab.put({"id": "1", "n": 1})
    lab.split_shards()
    lab.put({"id": "1", "n": 2})
    lab.rotate_shards()
    lab.put({"id": "1", "n": 3})
    lab.run()
    images = [delivery.records[0]["dynamodb"]["NewImage"]["n"] for delivery in lab.deliveries]
    assert images == [{"N": "1"}, {"N": "2"}, {"N": "3"}]


def test_rule_08_a_read_brings_a_thousand_records_or_a_megabyte() -> None:
    found, closed = only_shard(filled(1_200)).read(0, 1_000)
    assert (len(found), closed) == (1_000, False)
    made = table("NEW_IMAGE")
    for value in range(4):
        made.put({"id": str(value), "text": "x" * 300_000}, NOON)
    shard = only_shard(made)
    assert [len(shard.read(position, 1_000)[0]) for position in range(4)] == [3, 3, 2, 1]


def test_rule_08_a_record_larger_than_a_read_comes_alone() -> None:
    made = table()
    for text in ("x", "y", "z"):
        made.put({"id": "1", "text": text * 390_000}, NOON)
    shard = only_shard(made)
    assert [len(shard.read(position, 1_000)[0]) for position in range(3)] == [1, 1, 1]


def test_rule_08_reads_begin_at_the_places_that_iterators_name() -> None:
    made = table()
    for value in range(3):
        made.put({"id": "1", "n": value}, NOON)
    shard = only_shard(made)
    second = shard.numbers[1]
    places = ["TRIM_HORIZON", f"AT_SEQUENCE_NUMBER:{second}", str(second), "LATEST"]
    assert [shard.position(place) for place in places] == [0, 1, 2, 3]


def test_rule_08_the_last_records_tell_the_end_of_a_shard() -> None:
    made = filled(2)
    shard = only_shard(made)
    stream_of(made).rotate()
    assert [shard.read(0, 1)[1], shard.read(1, 1)[1], shard.read(2, 1)] == [False, True, ([], True)]


def test_rule_08_an_iterator_is_good_for_a_quarter_of_an_hour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A mapping that has a thousand records in hand does not read on; then its iterator is old."""
    expired = calls_of("iterator_expired", monkeypatch)
    lab = lab_that_fails_until(NOON + 16 * 60)
    lab.put(*({"id": str(value)} for value in range(1_100)))
    lab.run()
    done = [change for d in lab.deliveries if d.error is None for change in d.changes]
    assert done == [f"INSERT {value}" for value in range(1_100)]
    assert len(expired) == 1


def test_rule_09_a_stream_forgets_after_a_day() -> None:
    made = table()
    made.put({"id": "1"}, NOON)
    made.put({"id": "2"}, NOON + 10)
    stream = stream_of(made)
    stream.rotate()
    made.put({"id": "3"}, NOON + 20)
    held = []
    for moment in (0, 0.5, 10.5, 20, 20.5):
        stream.trim(NOON + DAY + moment)
        held.append((len(records(stream)), len(stream.shards)))
    assert held == [(3, 2), (2, 2), (1, 1), (1, 1), (0, 1)]


def test_rule_09_a_mapping_goes_on_with_what_is_left() -> None:
    lab = Lab(succeed, StartingPosition="TRIM_HORIZON")
    lab.disable()
    lab.put({"id": "1"})
    lab.wait(12 * 3600)
    lab.put({"id": "2"})
    lab.wait(13 * 3600)
    lab.enable()
    lab.run()
    assert lab.delivered == [["INSERT 2"]]


def test_rule_09_a_mapping_is_told_that_its_place_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand records in hand, the iterator behind them: and then the day is over."""
    told = calls_of("trimmed", monkeypatch)
    lab = lab_that_fails_until(NOON + DAY)
    lab.disable()
    lab.put(*({"id": str(value)} for value in range(1_100)))
    lab.wait(DAY - 600)
    lab.put({"id": "late"})
    lab.enable()
    lab.run()
    assert len(told) == 1
    assert [d.changes for d in lab.deliveries if d.error is None] == [["INSERT late"]]


def test_rule_09_a_disabled_stream_is_readable_for_a_day() -> None:
    lab = Lab(succeed)
    lab.throttle(4)
    lab.put({"id": "1"})
    lab.replace_stream()
    lab.put({"id": "2"})
    lab.run()
    labels = {r["eventSourceARN"] for d in lab.deliveries for r in d.records}
    assert sorted(lab.delivered) == [["INSERT 1"], ["INSERT 2"]]
    assert len(labels) == 2


def test_rule_09_writes_without_a_stream_are_not_recorded() -> None:
    made = table()
    first = stream_of(made)
    made.disable_stream()
    assert made.put({"id": "1"}, NOON)
    second = made.enable_stream(NOON + 60)
    assert made.put({"id": "2"}, NOON + 61)
    assert (len(records(first)), len(records(second))) == (0, 1)
    assert first.arn < second.arn
    assert (first.label, second.label) == ("2024-05-01T12:00:00.000", "2024-05-01T12:01:00.000")


def test_rule_10_only_an_expiry_has_the_service_identity() -> None:
    made = table()
    made.put({"id": "1"}, NOON)
    made.delete({"id": "1"}, NOON, expired=True)
    made.put({"id": "1"}, NOON)
    made.delete({"id": "1"}, NOON)
    insert, expiry, _, delete = records(stream_of(made))
    assert expiry["userIdentity"] == TTL_IDENTITY
    assert "userIdentity" not in insert
    assert "userIdentity" not in delete
    change = Change.from_record(expiry, SOURCE)
    assert (change.kind, change.expired) == (ChangeKind.REMOVE, True)


def test_rule_11_a_transaction_may_be_delivered_in_parts() -> None:
    lab = Lab(succeed, partitions=4)
    lab.put(*({"id": str(value)} for value in range(8)))
    lab.run()
    assert len(lab.deliveries) > 1
    assert sorted(itertools.chain(*lab.delivered)) == [f"INSERT {value}" for value in range(8)]
