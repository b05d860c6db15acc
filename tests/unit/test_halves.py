"""Bisection finds every item at fault, and asks for no half twice."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_streams_cdc.guards.halves import halves, in_halves


@given(st.sets(st.integers(0, 19)))
def test_halves_narrow_down_to_the_items_at_fault(poison: set[int]) -> None:
    def run(items: Sequence[int]) -> list[str]:
        if poison & set(items):
            raise ValueError
        return ["done"] * len(items)

    def failed(items: Sequence[int], error: Exception) -> list[str] | None:
        return None if len(items) > 1 else ["failed"]

    results = [each for part in in_halves(run, range(20), failed) for each in part]
    assert results == ["failed" if n in poison else "done" for n in range(20)]


def test_the_error_of_a_single_item_is_raised() -> None:
    def run(items: Sequence[int]) -> None:
        raise KeyError(items[0])

    with pytest.raises(KeyError, match="0"):
        in_halves(run, range(4), lambda *_: None)


def test_other_errors_are_raised_at_once() -> None:
    asked: list[int] = []

    def run(items: Sequence[int]) -> None:
        asked.append(len(items))
        message = "no disk"
        raise OSError(message)

    with pytest.raises(OSError, match="no disk"):
        in_halves(run, range(4), lambda *_: None, catches=KeyError)
    assert asked == [4]


def test_the_first_half_is_the_longer_one() -> None:
    assert halves([1, 2, 3]) == ([1, 2], [3])
