"""Items that are read by their keys fit into a function's memory, small or large."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import pytest

from dynamodb_streams_cdc import Deadline
from dynamodb_streams_cdc.change import Attributes
from dynamodb_streams_cdc.control.slices import AT_FIRST, AT_MOST, HELD_BYTES, Slices

LARGEST = 400_000


class Table:
    """Items of a size; each tenth is not there."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = sizes
        self.requests: list[int] = []

    def read_many(self, keys: Sequence[Attributes], deadline: Deadline) -> list[Any]:
        self.requests.append(len(keys))
        return [self.item(int(each["id"]["N"])) for each in keys]

    def item(self, number: int) -> Any:
        size = self.sizes[number]
        return {"id": {"N": f"{number}"}, "text": {"S": "x" * size}} if size else None


def read(sizes: Sequence[int]) -> tuple[Table, Slices]:
    """Read items of these sizes; each has to come with its key, and in order."""
    table: Any = Table(sizes)
    slices = Slices(table, Deadline())
    keys: list[Attributes] = [{"id": {"N": f"{number}"}} for number in range(len(sizes))]
    pairs = [pair for some in slices.read(keys) for pair in some]
    assert [key for key, _ in pairs] == keys
    assert [item for _, item in pairs] == [table.item(number) for number in range(len(sizes))]
    return table, slices


def test_small_items_are_read_by_the_hundred() -> None:
    table, slices = read([50] * 500)
    assert table.requests == [AT_FIRST, 20, 40, 80, AT_MOST, AT_MOST, AT_MOST, 50]
    assert slices.units == 500


@pytest.mark.parametrize("sizes", [[LARGEST] * 60, [50] * 150 + [LARGEST // 2] * 60])
def test_few_large_items_are_held_at_one_time(sizes: list[int]) -> None:
    table, slices = read(sizes)
    ends = list(accumulate(table.requests))
    held = [sum(sizes[start:end]) for start, end in zip([0, *ends], ends, strict=False)]
    # A slice is as large as the one before it allows: the first of large items may be too large.
    assert sum(each > 1.1 * HELD_BYTES for each in held) <= 1
    assert max(held) <= 5 * HELD_BYTES
    assert slices.units == pytest.approx(sum(max(1, size / 4096) for size in sizes), rel=0.02)


def test_large_items_after_few_small_ones_are_not_read_at_once() -> None:
    table, _ = read([50] * AT_FIRST + [LARGEST] * 50)
    assert max(table.requests) == 2 * AT_FIRST


def test_items_that_are_gone_cost_a_unit() -> None:
    table, slices = read([0] * 25)
    assert slices.units == 25
    assert table.requests == [AT_FIRST, 15]


def test_nothing_is_read_of_no_keys() -> None:
    table, slices = read([])
    assert (table.requests, slices.units) == ([], 0)
