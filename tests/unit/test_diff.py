"""The law of differences, and how they read."""

from copy import deepcopy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_streams_cdc import diff
from dynamodb_streams_cdc.diff import MISSING, Difference, patch

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=3),
    st.integers(-3, 3).map(Decimal),
    st.binary(max_size=2),
    st.sets(st.sampled_from("abc"), min_size=1),
)
NAMES = st.sampled_from(["a", "b", "c.d", ""])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4)
)
IMAGES = st.dictionaries(NAMES, VALUES, max_size=4)


@given(IMAGES, IMAGES)
def test_the_difference_applied_to_the_one_gives_the_other(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    kept = deepcopy(before)
    result = patch(before, diff(before, after))
    assert result == after
    assert diff(result, after) == []
    assert before == kept


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {"a": None}, ["a: MISSING -> None"]),
        ({"a": [1, 2, 3]}, {"a": [1]}, ["a[1]: 2 -> MISSING", "a[2]: 3 -> MISSING"]),
        ({"a": {"b": [{"c": 1}]}}, {"a": {"b": [{"c": 2}]}}, ["a.b[0].c: 1 -> 2"]),
        ({"a": {"x"}}, {"a": ["x"]}, ["a: {'x'} -> ['x']"]),
        ({"a": Decimal("1.0")}, {"a": Decimal(1)}, []),
    ],
)
def test_differences_read_as_people_write_paths(
    before: dict[str, Any], after: dict[str, Any], expected: list[str]
) -> None:
    assert [str(difference) for difference in diff(before, after)] == expected


def test_a_value_of_another_type_is_another_value() -> None:
    assert diff({"a": Decimal(1)}, {"a": True}) == [Difference(("a",), Decimal(1), True)]


def test_a_path_that_leads_nowhere_is_an_error() -> None:
    with pytest.raises(LookupError):
        patch({}, [Difference(("a", "b"), 1, MISSING)])
