"""An explanation agrees with the filter, and names the first condition that fails."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamodb_streams_cdc.esm import FilterCriteria, InvalidFilterPattern
from dynamodb_streams_cdc.esm.explain import explain

RECORD = {
    "eventName": "MODIFY",
    "dynamodb": {
        "Keys": {"id": {"S": "7"}},
        "NewImage": {
            "status": {"S": "shipped"},
            "total": {"N": "5"},
            "lines": {"L": [{"M": {"a": {"S": "1"}}}, {"M": {"b": {"S": "2"}}}]},
        },
    },
}


def image(**attributes: Any) -> dict[str, Any]:
    return {"dynamodb": {"NewImage": attributes}}


@pytest.mark.parametrize(
    ("pattern", "path", "reason"),
    [
        (
            image(status={"S": ["placed", {"prefix": "pa"}]}),
            "dynamodb.NewImage.status.S",
            'the value is "shipped", and the pattern asks for "placed" or {"prefix": "pa"}',
        ),
        (
            image(status=["shipped"]),
            "dynamodb.NewImage.status",
            "an object is there, not a value: add one of S",
        ),
        (
            image(colour={"S": ["red"]}),
            "dynamodb.NewImage.colour.S",
            "dynamodb.NewImage has no colour, there is lines, status, total; "
            'the pattern asks for "red"',
        ),
        (
            image(status={"S": {"deep": ["x"]}}),
            "dynamodb.NewImage.status.S.deep",
            "dynamodb.NewImage.status.S is a value, with nothing below it",
        ),
        (
            {"eventName": ["MODIFY"], "$or": [{"eventID": ["1"]}, {"eventID": ["2"]}]},
            "$or",
            "none of the 2 alternatives at the record is met",
        ),
        (
            image(lines={"L": {"M": {"a": {"S": ["1"]}, "b": {"S": ["2"]}}}}),
            "dynamodb.NewImage.lines.L.M.b.S",
            "each condition is met, but not all of them by one element of a list",
        ),
    ],
)
def test_the_first_condition_that_fails_is_named(
    pattern: dict[str, Any], path: str, reason: str
) -> None:
    found = explain(json.dumps(pattern), RECORD)
    assert (found.matches, found.path, found.reason) == (False, path, reason)


def test_conditions_that_are_met_are_listed() -> None:
    pattern = {"eventName": ["MODIFY"], **image(status={"S": ["shipped"]})}
    found = explain(json.dumps(pattern), RECORD)
    assert (found.matches, found.reason) == (True, "")
    assert found.met == ("eventName", "dynamodb.NewImage.status.S")


def test_a_pattern_that_aws_refuses_is_refused() -> None:
    with pytest.raises(InvalidFilterPattern):
        explain('{"eventName": "MODIFY"}', RECORD)


LEAF = st.lists(
    st.sampled_from(["a", "b", {"exists": True}, {"exists": False}, {"prefix": "a"}]), min_size=1
)
PATTERNS = st.dictionaries(
    st.sampled_from(["x", "y"]),
    LEAF | st.dictionaries(st.sampled_from(["x", "y"]), LEAF, min_size=1),
    min_size=1,
)
VALUES = st.recursive(
    st.sampled_from(["a", "b"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["x", "y"]), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(pattern=PATTERNS, record=st.dictionaries(st.sampled_from(["x", "y"]), VALUES))
@settings(max_examples=300, deadline=None)
def test_an_explanation_agrees_with_the_filter(
    pattern: dict[str, Any], record: dict[str, Any]
) -> None:
    text = json.dumps(pattern)
    found = explain(text, record)
    assert found.matches == FilterCriteria((text,)).matches(record)
    assert bool(found.reason) != found.matches
