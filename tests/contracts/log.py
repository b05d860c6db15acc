"""What every log must do; run against the one in memory and the one on DynamoDB."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from dynamodb_streams_cdc import ChangeLog, Deadline
from dynamodb_streams_cdc.errors import DeadlineExceeded, MalformedRecord
from dynamodb_streams_cdc.sinks.change_log import LogStore
from dynamodb_streams_cdc.sinks.comparison import Segment
from dynamodb_streams_cdc.sinks.log_entries import ENTRY_LEVELS, entry_of
from dynamodb_streams_cdc.testing.memory import MemoryImageStore
from tests.factories import NOON, change, deadline, order

PLACED, SHIPPED = order(), order(status="shipped")
ITEM = "orders/S=00004/S=00004-0001"


class LogContract:
    """For a class with a fixture `log`."""

    def test_entries_are_there_once_and_in_the_order_of_versions(self, log: LogStore) -> None:
        first, second = change(9, None, PLACED), change(10, PLACED, SHIPPED)
        assert log.insert([entry_of(second)], deadline()) == [True]
        assert log.insert([entry_of(first), entry_of(second)], deadline()) == [True, False]
        assert [entry["version"]["S"] for entry in log.read(ITEM)] == [
            first.version,
            second.version,
        ]
        assert list(log.read("orders/S=unknown")) == []

    def test_an_entry_that_is_there_stays_as_it_is(self, log: LogStore) -> None:
        log.insert([entry_of(change(1, None, PLACED))], deadline())
        log.insert([entry_of(change(1, None, order(total="99.99")))], deadline())
        assert ChangeLog(log).history(ITEM)[0].new_image == PLACED

    def test_more_entries_than_one_request_takes(self, log: LogStore) -> None:
        entries = [entry_of(change(number, None, PLACED)) for number in range(1, 61)]
        log.insert([entries[30]], deadline())
        results = log.insert(entries, deadline())
        assert results == [number != 30 for number in range(60)]
        assert len(list(log.read(ITEM))) == 60

    def test_an_entry_of_another_writer_is_named(self, log: LogStore) -> None:
        strange = {"item": {"S": ITEM}, "version": {"S": "mine"}, "kind": {"N": "1"}}
        log.insert([entry_of(change(1, None, PLACED)), strange], deadline())
        with pytest.raises(MalformedRecord, match=f"entry mine of {ITEM}"):
            ChangeLog(log).history(ITEM)
        page = ChangeLog(log).copies(Segment(), None, 10, deadline())
        assert page.live == [ITEM]

    def test_every_type_of_value_survives(self, log: LogStore) -> None:
        item = order(
            blob=b"\x00\xff",
            blobs={b"", b"\x01"},
            numbers={Decimal(1), Decimal("1E-130")},
            nothing=None,
            nested={"list": [True, {"deep": b"x"}], "emoji": "😀|#/%"},
            digits=Decimal("12345678901234567890123456789012345678"),
        )
        log.insert([entry_of(change(1, PLACED, item, userIdentity=None))], deadline())
        [read] = ChangeLog(log).history(ITEM)
        assert (read.old_image, read.new_image) == (PLACED, item)
        assert read.actor == "shop"
        assert read.time == datetime.fromtimestamp(NOON + 1, UTC)

    def test_without_time_nothing_is_written(self, log: LogStore) -> None:
        [result] = log.insert([entry_of(change(1, None, PLACED))], deadline(0))
        assert isinstance(result, DeadlineExceeded)
        assert list(log.read(ITEM)) == []

    def test_an_item_of_150_kb_with_both_images(self, log: LogStore) -> None:
        before, after = order(note="x" * 150_000), order(note="y" * 150_000)
        assert log.insert([entry_of(change(2, before, after))], Deadline()) == [True]
        assert ChangeLog(log).history(ITEM)[0].new_image == after

    def test_large_images_are_kept_apart_from_their_entry(self, log: LogStore) -> None:
        """An item has 400 KB at most, and a change has two images."""
        audit = ChangeLog(log, MemoryImageStore())
        before = order(notes="é" * 100_000, blob=b"\xff" * 90_000)
        after = order(notes="x" * 390_000, tags={"a", "b"})
        changes = [change(1, None, before), change(2, before, after), change(3, after, None)]
        assert audit.apply(changes, deadline()).applied == 3
        assert audit.apply(changes, deadline()).stale == 3
        history = audit.history(ITEM)
        assert [(each.old_image, each.new_image) for each in history] == [
            (None, before),
            (before, after),
            (after, None),
        ]
        assert history[1].diff() == changes[1].diff()
        assert all(len(str(entry)) < 1_000 for entry in log.read(ITEM))

    @pytest.mark.parametrize("levels", [29, 30, 31])
    def test_images_that_are_nested_as_deep_as_may_be(self, log: LogStore, levels: int) -> None:
        image_store = MemoryImageStore()
        deep = order(deep=nested(levels), text='{"M": ' * 40)
        outcome = ChangeLog(log, image_store).apply([change(1, None, deep)], deadline())
        assert (outcome.applied, outcome.failures) == (1, {})
        assert ChangeLog(log, image_store).history(ITEM)[0].new_image == deep
        assert bool(image_store.objects) is (levels > ENTRY_LEVELS)


def nested(levels: int) -> object:
    value: object = "bottom"
    for level in range(levels):
        value = [value] if level % 2 else {"inner": value}
    return value
