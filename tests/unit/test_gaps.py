"""Gaps in histories."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_streams_cdc import Change, RetryableError
from dynamodb_streams_cdc.operations.history import gaps
from dynamodb_streams_cdc.sinks.change_log import ChangeLog
from dynamodb_streams_cdc.sinks.comparison import DifferenceKind
from dynamodb_streams_cdc.sinks.log_entries import ENTRY_CHARACTERS
from dynamodb_streams_cdc.testing.memory import MemoryImageStore, MemoryLog
from tests.factories import change, deadline, order

PLACED, SHIPPED, REFUNDED = order(), order(status="shipped"), order(status="refunded", total="0")
WHOLE = [
    change(1, None, PLACED),
    change(2, PLACED, SHIPPED),
    change(3, SHIPPED, REFUNDED),
    change(4, REFUNDED, None),
    change(5, None, PLACED),
]


def without(*places: int) -> list[Change]:
    return [each for place, each in enumerate(WHOLE) if place not in places]


def test_a_complete_history_has_no_gaps() -> None:
    assert gaps(WHOLE) == []
    assert gaps([]) == []


def test_a_missing_beginning() -> None:
    [gap] = gaps(without(0))
    assert gap.after is None
    assert gap.before is WHOLE[1]
    assert {str(each.path[0]) for each in gap.differences} == set(PLACED)


def test_a_missing_change_in_the_middle() -> None:
    [gap] = gaps(without(2))
    assert (gap.after, gap.before) == (WHOLE[1], WHOLE[3])
    assert {each.path[0] for each in gap.differences} == {"lines", "status", "total"}


def test_a_missing_deletion() -> None:
    [gap] = gaps(without(3))
    assert (gap.after, gap.before) == (WHOLE[2], WHOLE[4])
    assert {str(each.path[0]) for each in gap.differences} == set(REFUNDED)


def test_a_missing_insertion() -> None:
    [gap] = gaps([WHOLE[0], change(9, PLACED, None), change(11, SHIPPED, None)])
    assert (gap.after is not None, gap.before.sequence_number[:2]) == (True, "11")


def test_adjacent_missing_changes_are_one_gap() -> None:
    assert len(gaps(without(1, 2))) == 1
    assert len(gaps(without(1, 3))) == 2


@given(st.sets(st.integers(0, 4)))
def test_any_missing_changes_are_found(missing: set[int]) -> None:
    left = without(*missing)
    states: list[Any] = [None, PLACED, SHIPPED, REFUNDED, None, PLACED]
    kept = [place for place in range(5) if place not in missing]
    ends = [0, *[place + 1 for place in kept]]
    expected = [
        WHOLE[place] for end, place in zip(ends, kept, strict=False) if states[end] != states[place]
    ]
    assert [gap.before for gap in gaps(left)] == expected


def test_large_images_are_compared() -> None:
    large, larger = (order(note=mark * ENTRY_CHARACTERS) for mark in "ab")
    log, image_store = MemoryLog(), MemoryImageStore()
    changes = [change(1, None, large), change(2, large, larger), change(3, larger, None)]
    audit = ChangeLog(log, image_store)
    assert audit.apply(changes, deadline()).applied == 3
    assert gaps(audit.history(changes[0].item_id)) == []
    del log.entries[changes[1].item_id, changes[1].version]
    [gap] = gaps(audit.history(changes[0].item_id))
    assert [each.path[0] for each in gap.differences] == ["note"]


def test_an_unreadable_image_is_an_error() -> None:
    class Out(MemoryImageStore):
        def read(self, name: str) -> str:
            raise RetryableError(name)

    log = MemoryLog()
    large = change(1, order(), order(note="x" * ENTRY_CHARACTERS))
    ChangeLog(log, MemoryImageStore()).apply([large], deadline())
    with pytest.raises(RetryableError):
        gaps(ChangeLog(log, Out()).history(large.item_id))


def test_an_entry_that_cannot_be_read_is_a_difference() -> None:
    """Its large image is gone, or another writer altered it; the others are compared."""
    images = [
        order("1-1", note="x" * ENTRY_CHARACTERS),
        order("2-1", note="altered"),
        order("3-1", note="small"),
    ]
    log, image_store = MemoryLog(), MemoryImageStore()
    audit = ChangeLog(log, image_store)
    changes = [change(number, None, image) for number, image in enumerate(images, 1)]
    audit.apply(changes, deadline())
    items = {each.item_id: image for each, image in zip(changes, images, strict=True)}
    assert list(audit.compare(items, deadline())) == []
    image_store.objects.clear()
    altered = log.entries[changes[1].item_id, changes[1].version]
    log.entries[changes[1].item_id, changes[1].version] = {**altered, "kind": {"S": "strange"}}
    found = [(each.item, each.kind, each.detail) for each in audit.compare(items, deadline())]
    assert found == [
        (changes[0].item_id, DifferenceKind.WRONG, "LargeImageGone"),
        (changes[1].item_id, DifferenceKind.WRONG, "MalformedRecord"),
    ]
