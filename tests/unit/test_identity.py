"""Different keys never share an identity; equal keys always do."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from dynamodb_streams_cdc import MalformedRecord, deserialize_item
from dynamodb_streams_cdc.identity import (
    MAX_ITEM_ID_BYTES,
    Key,
    canonical_number,
    check_version,
    floor_of,
    item_id,
    keys_of,
    stream_label,
    version_of,
)

KEYS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
    st.binary(max_size=200),
    st.decimals(allow_nan=False, allow_infinity=False, places=10),
)


@given(st.tuples(KEYS, KEYS), st.tuples(KEYS, KEYS))
@example(("a|b", "c"), ("a", "b|c"))
@example(("a/S=b", "c"), ("a", "b/S=c"))
@example(("a%2Fb", "c"), ("a/b", "c"))
@example(("1", "x"), (Decimal(1), "x"))
@example(("x" * 600, "y"), ("x" * 601, "y"))
def test_different_keys_have_different_identities(
    one: tuple[Key, Key], other: tuple[Key, Key]
) -> None:
    assume(one != other)
    assert item_id("t", {"a": one[0], "b": one[1]}) != item_id("t", {"a": other[0], "b": other[1]})


@given(KEYS, KEYS)
def test_identities_fit_where_they_are_used(hash_key: Key, sort_key: Key) -> None:
    identity = item_id("orders", {"a": hash_key, "b": sort_key})
    assert len(identity.encode()) <= MAX_ITEM_ID_BYTES


def test_the_same_number_has_one_identity() -> None:
    texts = ["1", "1.0", "1E0", "0.1E1", "10E-1"]
    assert {canonical_number(Decimal(text)) for text in texts} == {"1"}
    assert {canonical_number(Decimal(text)) for text in ("0", "-0", "0E9")} == {"0"}


def test_numbers_of_38_digits_are_kept_exactly() -> None:
    digits = "12345678901234567890123456789012345678"
    assert canonical_number(Decimal(digits)) == digits
    assert canonical_number(Decimal(f"-{digits}E-60")) == f"-{digits}E-60"


def test_identity_depends_on_the_table_not_on_order() -> None:
    assert item_id("t", {"a": "1", "b": "2"}) == item_id("t", {"b": "2", "a": "1"})
    assert item_id("t", {"a": "1"}) != item_id("u", {"a": "1"})


@given(KEYS)
def test_an_identity_has_the_keys_that_it_was_made_of(key: Key) -> None:
    kind = {str: "S", Decimal: "N", bytes: "B"}[type(key)]
    assume(key not in ("", b"") and len(identity := item_id("t", {"a": key})) <= MAX_ITEM_ID_BYTES)
    found = keys_of(identity, {"a": kind})
    assert found is not None
    keys: dict[str, Any] = deserialize_item(found)
    assert item_id("t", keys) == identity


@pytest.mark.parametrize(
    "component",
    [
        *("S=a%2fb", "S=%41", "S=", f"S={'a' * MAX_ITEM_ID_BYTES}"),
        *("N=1.0", "N=01", "N=abc", "N=NaN", "N=1E999", "N=", "B=YQ", "B=!", "B="),
    ],
)
def test_an_identity_of_another_form_has_no_keys(component: str) -> None:
    assert keys_of(f"t/{component}", {"a": component[0]}) is None


def test_keys_of_no_key_type_are_refused() -> None:
    with pytest.raises(MalformedRecord, match=r"Keys\.a must be a string, number or binary"):
        item_id("t", {"a": None})  # type: ignore[dict-item]
    with pytest.raises(MalformedRecord, match="at least one key"):
        item_id("t", {})


LABEL = "2024-05-01T12:00:00.000"


def test_the_floor_is_between_two_streams() -> None:
    floor = floor_of("0001", LABEL)
    assert floor < version_of("0001", LABEL, "1")
    assert floor > version_of("0001", "2024-05-01T11:59:59.999", "9" * 40)
    assert floor_of("0002", "2000-01-01T00:00:00.000") > version_of("0001", LABEL, "9" * 40)


def test_a_version_of_another_form_is_refused() -> None:
    assert check_version(floor_of("0001", LABEL)) == floor_of("0001", LABEL)
    with pytest.raises(MalformedRecord, match="<epoch>/<stream label>/<40 digits>"):
        check_version("7")


@pytest.mark.parametrize(
    ("label", "one_form"),
    [
        ("2015-06-27T00:48:05", "2015-06-27T00:48:05.000"),
        ("2015-06-27T00:48:05.1", "2015-06-27T00:48:05.100"),
        ("2015-06-27T00:48:05.899", "2015-06-27T00:48:05.899"),
        ("2015-06-27T00:48:05.899000", "2015-06-27T00:48:05.899"),
        ("2015-06-27T00:48:05.899120", "2015-06-27T00:48:05.89912"),
    ],
)
def test_a_stream_label_has_one_form(label: str, one_form: str) -> None:
    found = stream_label(f"arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/{label}")
    assert found == one_form
    assert check_version(floor_of("0001", found))


@pytest.mark.parametrize("label", ["2015-06-27T00:48:05Z", "2015-06-27T00:48:05+00:00", "05.000"])
def test_a_stream_label_of_another_form_is_refused(label: str) -> None:
    with pytest.raises(MalformedRecord, match="eventSourceARN must end in /stream/<label>"):
        stream_label(f"arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/{label}")


@pytest.mark.parametrize("label", ["2015-06-27T00:48:05", "2015-06-27T00:48:05.8990"])
def test_a_version_with_a_label_of_another_form_is_refused(label: str) -> None:
    with pytest.raises(MalformedRecord):
        check_version(f"0001/{label}/{'1'.zfill(40)}")


@given(st.lists(st.tuples(st.integers(0, 999_999_999), st.integers(0, 9)), min_size=2, max_size=6))
def test_versions_order_as_the_moments_of_their_streams(moments: list[tuple[int, int]]) -> None:
    """For every width of the fractions."""

    def version(nanoseconds: int, digits: int) -> tuple[Decimal, str]:
        fraction = f"{nanoseconds:09}"[:digits]
        label = f"2015-06-27T00:48:05{'.' if fraction else ''}{fraction}"
        found = stream_label(f"arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/{label}")
        return Decimal(f"0.{fraction or '0'}"), version_of("0001", found, "1")

    by_moment = sorted(version(*moment) for moment in moments)
    assert [text for _, text in by_moment] == sorted(text for _, text in by_moment)
    assert len({text for _, text in by_moment}) == len({moment for moment, _ in by_moment})
