"""The codec against boto3's, at its limits, and the exact words of its errors."""

import base64
import copy
import datetime
import json
import pickle
from collections import OrderedDict
from collections.abc import Callable
from decimal import Decimal, getcontext, localcontext
from types import MappingProxyType
from typing import Any

import pytest
from boto3.dynamodb.types import Binary, TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_streams_cdc.deserializer import (
    base64_text,
    deserialize,
    deserialize_item,
    serialize,
    serialize_item,
)
from dynamodb_streams_cdc.errors import MalformedRecord, MalformedValue

DIGITS = "a decimal number of at most 38 digits, written as a string"
MAGNITUDE = "zero or of a magnitude from 1E-130 to 9.99E+125"
VALUE = 'expected an attribute value such as {"S": "text"}'
KIND = "a type must be one of S, N, B, BOOL, NULL, SS, NS, BS, L, M"
DISTINCT = "a list of distinct"
LARGEST = "9.9999999999999999999999999999999999999E+125"


@st.composite
def decimals(draw: st.DrawFn) -> Decimal:
    """Numbers of up to 38 digits, the first at 10^-127 to 10^125: boto3 refuses some below."""
    digits = str(draw(st.integers(0, 10**38 - 1)))
    first = draw(st.integers(-127, 125))
    sign = draw(st.sampled_from(["", "-"]))
    return Decimal(f"{sign}{digits}E{first - len(digits) + 1}")


texts = st.text(max_size=8)
binaries = st.binary(max_size=8)
sets = st.sets(texts, min_size=1) | st.sets(decimals(), min_size=1) | st.sets(binaries, min_size=1)
values = st.recursive(
    texts | decimals() | binaries | st.booleans() | st.none() | sets,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
items = st.dictionaries(st.text(min_size=1, max_size=8), values, max_size=6)


def lists(depth: int) -> Any:
    value: object = "leaf"
    for _ in range(depth):
        value = [value]
    return value


def typed_lists(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {"S": "leaf"}
    for _ in range(depth):
        value = {"L": [value]}
    return value


def plain(value: Any) -> Any:
    """Return a value of boto3's with its `Binary` as bytes."""
    match value:
        case Binary():
            binary: Any = value
            return bytes(binary.value)
        case list():
            return [plain(element) for element in value]
        case set():
            return {plain(element) for element in value}
        case dict():
            return {name: plain(element) for name, element in value.items()}
    return value


def refusal(function: Callable[..., object], *arguments: Any) -> MalformedValue:
    """Return the error that a call raises."""
    with pytest.raises(MalformedValue) as caught:
        function(*arguments)
    return caught.value


class TestDecoding:
    @pytest.mark.parametrize(
        ("typed", "expected"),
        [
            ({"S": ""}, ""),
            ({"S": "naïve 🦜"}, "naïve 🦜"),
            ({"N": "-12.50"}, Decimal("-12.50")),
            ({"BOOL": True}, True),
            ({"BOOL": False}, False),
            ({"NULL": True}, None),
            ({"B": ""}, b""),
            ({"B": "AP/+"}, b"\x00\xff\xfe"),
            ({"B": b"AP/+"}, b"AP/+"),
            ({"B": bytearray(b"raw")}, b"raw"),
            ({"B": Binary(b"raw")}, b"raw"),
            ({"B": Binary(bytearray(b"raw"))}, b"raw"),
            ({"SS": ["b", "a"]}, {"a", "b"}),
            ({"NS": ["2", "1.5"]}, {Decimal(2), Decimal("1.5")}),
            ({"BS": ["AP/+", b"raw"]}, {b"\x00\xff\xfe", b"raw"}),
            ({"L": []}, []),
            ({"M": {}}, {}),
            ({"L": [{"M": {"a.b": {"L": [{"NULL": True}]}}}]}, [{"a.b": [None]}]),
        ],
    )
    def test_each_type(self, typed: dict[str, Any], expected: object) -> None:
        value = deserialize(typed)
        assert value == expected
        assert type(value) is type(expected)
        assert deserialize_item({"name": typed}) == {"name": expected}

    def test_mutable_binary_is_decoded_as_bytes(self) -> None:
        assert type(deserialize({"B": bytearray(b"raw")})) is bytes

    @given(items)
    def test_equals_boto3_for_every_item_that_boto3_writes(self, item: dict[str, Any]) -> None:
        typed = TypeSerializer().serialize(item)["M"]
        decode = TypeDeserializer().deserialize
        expected = {name: plain(decode(value)) for name, value in typed.items()}
        assert deserialize_item(typed) == expected == item

    @given(decimals())
    def test_a_number_is_the_one_boto3_reads_digit_for_digit(self, number: Decimal) -> None:
        typed: Any = {"N": str(number)}
        assert str(deserialize(typed)) == str(TypeDeserializer().deserialize(typed))

    def test_the_result_shares_no_container_with_the_input(self) -> None:
        typed = {"m": {"M": {}}, "l": {"L": []}}
        decoded: Any = deserialize_item(typed)
        decoded["m"]["new"] = 1
        decoded["l"].append(1)
        assert typed == {"m": {"M": {}}, "l": {"L": []}}

    def test_takes_any_mapping(self) -> None:
        typed = MappingProxyType({"m": OrderedDict(M=MappingProxyType({"s": {"S": "x"}}))})
        assert deserialize_item(typed) == {"m": {"s": "x"}}

    def test_subclasses_of_text_are_text(self) -> None:
        class Text(str):
            __slots__ = ()

        typed = {Text("s"): {"S": Text("x")}, "n": {"N": Text("1")}}
        assert deserialize_item(typed) == {"s": "x", "n": 1}


class TestNumbers:
    @pytest.mark.parametrize(
        "text",
        [
            "0",
            "-0",
            "1" * 38,
            "-" + "1" * 38,
            "0." + "1" * 38,
            LARGEST,
            "-" + LARGEST,
            "1E-130",
            "-1E-130",
            "1.2345678901234567890123456789012345678E-130",
            "0" * 100 + "7",
            "0." + "0" * 100 + "7",
            "7" + "0" * 100,
            "1." + "0" * 60,
            "0E-500",
            "0E+500",
        ],
    )
    def test_at_the_limits_is_exact(self, text: str) -> None:
        assert deserialize({"N": text}) == Decimal(text)
        assert deserialize(serialize(Decimal(text))) == Decimal(text)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("1" * 39, DIGITS),
            ("0." + "1" * 39, DIGITS),
            ("1" + "0" * 37 + ".5", DIGITS),
            ("1E+126", MAGNITUDE),
            ("-1E+126", MAGNITUDE),
            ("1E-131", MAGNITUDE),
            ("-1E-131", MAGNITUDE),
            ("9.9999999999999999999999999999999999999E-131", MAGNITUDE),
            ("1E+999999999999", MAGNITUDE),
        ],
    )
    def test_past_the_limits_is_refused_both_ways(self, text: str, expected: str) -> None:
        with pytest.raises(MalformedValue, match=r"^N must be ") as reading:
            deserialize({"N": text})
        assert expected in str(reading.value)
        with pytest.raises(MalformedValue, match=r"^a number must be ") as writing:
            serialize(Decimal(text))
        assert expected in str(writing.value)

    @pytest.mark.parametrize(
        "content",
        [
            *("", " ", "1 ", " 1", "1\n", "1_000", "12,3", "0x10", "--1", ".", "1e", "1E5.5", "١٢"),
            *("NaN", "-NaN", "NaN123", "sNaN", "Infinity", "-inf", "\ud800", "one"),
            *(1, 1.5, True, None, b"1", Decimal(1), ["1"], (0, (1,), 0)),
        ],
    )
    def test_a_bad_number_is_refused_alone_and_in_a_set(self, content: object) -> None:
        with pytest.raises(MalformedValue, match=f"^N must be {DIGITS}, got "):
            deserialize({"N": content})
        with pytest.raises(MalformedValue, match=rf"^\[1\]: N must be {DIGITS}, got "):
            deserialize({"NS": ["7", content]})

    def test_the_callers_decimal_context_changes_nothing(self) -> None:
        with localcontext() as context:
            context.prec = 3
            context.clear_traps()
            context.clear_flags()
            assert deserialize({"N": "1.23456789"}) == Decimal("1.23456789")
            with pytest.raises(MalformedValue):
                deserialize({"N": "12,3"})
            assert serialize(Decimal("1.23456789")) == {"N": "1.23456789"}
            assert not any(getcontext().flags.values())


class TestErrors:
    @pytest.mark.parametrize(
        ("typed", "message"),
        [
            (None, f"{VALUE}, got nothing"),
            ("S", f"{VALUE}, got text"),
            (b"S", f"{VALUE}, got bytes"),
            (["S"], f"{VALUE}, got a list"),
            ([0], f"{VALUE}, got a list"),
            ({}, "an attribute value must have exactly one type, got an object"),
            ({"S": "a", "N": "1"}, "an attribute value must have exactly one type, got an object"),
            ({"X": "a"}, f"{KIND} (here X), got text"),
            ({"s": "a"}, f"{KIND}, got text"),
            ({1: "a"}, f"{KIND}, got an integer"),
            ({"S": 5}, "S must be a string, got an integer"),
            ({"S": None}, "S must be a string, got nothing"),
            ({"S": b"x"}, "S must be a string, got bytes"),
            ({"N": "12,3"}, f"N must be {DIGITS}, got text"),
            ({"B": "QQ"}, "B must be base64 text or bytes, got text"),
            ({"B": "QQ==\n"}, r"B must be base64 text or bytes, got text"),
            ({"B": "QQ==QQ=="}, "B must be base64 text or bytes, got text"),
            ({"B": "Q-_="}, "B must be base64 text or bytes, got text"),
            ({"B": "é"}, "B must be base64 text or bytes, got text"),
            ({"B": 1}, "B must be base64 text or bytes, got an integer"),
            ({"B": None}, "B must be base64 text or bytes, got nothing"),
            ({"BOOL": "true"}, "BOOL must be true or false, got text"),
            ({"BOOL": 1}, "BOOL must be true or false, got an integer"),
            ({"NULL": False}, "NULL must be true, got true or false"),
            ({"NULL": 1}, "NULL must be true, got an integer"),
            ({"L": {}}, "L must be a list of attribute values, got an object"),
            ({"L": "text"}, "L must be a list of attribute values, got text"),
            ({"L": None}, "L must be a list of attribute values, got nothing"),
            ({"L": ["x"]}, f"[0]: {VALUE}, got text"),
            ({"M": []}, "M must be a map of attribute values, got a list"),
            ({"M": [["a", {"S": "x"}]]}, "M must be a map of attribute values, got a list"),
            ({"M": ""}, "M must be a map of attribute values, got text"),
            ({"M": {"a": None}}, f"a: {VALUE}, got nothing"),
            ({"SS": []}, f"SS must be {DISTINCT} strings, at least one, got a list"),
            ({"SS": ["a", "a"]}, f"SS must be {DISTINCT} strings, at least one, got a list"),
            ({"SS": "ab"}, f"SS must be {DISTINCT} strings, at least one, got text"),
            ({"SS": ["a", 1]}, "[1]: S must be a string, got an integer"),
            ({"SS": [["a"]]}, "[0]: S must be a string, got a list"),
            ({"NS": ["1", "1.0"]}, f"NS must be {DISTINCT} numbers, at least one, got a list"),
            ({"NS": ["1", "x"]}, f"[1]: N must be {DIGITS}, got text"),
            ({"BS": ["QQ==", b"A"]}, f"BS must be {DISTINCT} binaries, at least one, got a list"),
            ({"BS": ["QQ==", "?"]}, "[1]: B must be base64 text or bytes, got text"),
        ],
    )
    def test_says_what_is_wrong(self, typed: Any, message: str) -> None:
        error = refusal(deserialize, typed)
        assert str(error) == message
        assert error.__cause__ is None
        assert error.__suppress_context__

    @pytest.mark.parametrize(
        ("item", "root", "path"),
        [
            ({"price": {"N": "x"}}, "", "price"),
            ({"price": {"N": "x"}}, "NewImage", "NewImage.price"),
            ({"a": {"S": "x"}, "b": {"M": {"c": {"N": "x"}}}}, "Keys", "Keys.b.c"),
            ({"l": {"L": [{"S": ""}, {"L": [{"X": 1}]}]}}, "NewImage", "NewImage.l[1][0]"),
            ({"a.b": {"M": {"c d": {}}}}, "NewImage", 'NewImage["a.b"]["c d"]'),
            ({"[0]": {}}, "", '["[0]"]'),
            ({"": {}}, "OldImage", 'OldImage[""]'),
            ({"month#1997-01": {}}, "NewImage", "NewImage.month#1997-01"),
            ({"größe": {}}, "NewImage", "NewImage.größe"),
            ({"line\n": {}}, "NewImage", r'NewImage["line\n"]'),
            ({"nul\0": {}}, "NewImage", r'NewImage["nul\u0000"]'),
            ({"x" * 41: {}}, "NewImage", f'NewImage["{"x" * 39}…"]'),
        ],
    )
    def test_says_where(self, item: dict[str, Any], root: str, path: str) -> None:
        error = refusal(deserialize_item, item, root)
        assert error.path == path
        assert str(error).startswith(f"{path}: ")

    def test_the_example_of_the_documentation(self) -> None:
        line = {"M": {"title": {"S": "x"}, "price": {"N": "12,3"}}}
        good = {"M": {"title": {"S": "x"}, "price": {"N": "12.3"}}}
        error = refusal(deserialize_item, {"lines": {"L": [good, good, line]}}, "NewImage")
        assert str(error) == f"NewImage.lines[2].price: N must be {DIGITS}, got text"
        assert isinstance(error, MalformedRecord)
        assert isinstance(error, ValueError)

    def test_survives_pickling(self) -> None:
        with pytest.raises(MalformedValue) as caught:
            deserialize({"S": 5}, "NewImage.a")
        again = pickle.loads(pickle.dumps(caught.value))
        assert (str(again), again.path) == (
            "NewImage.a: S must be a string, got an integer",
            "NewImage.a",
        )

    @pytest.mark.parametrize("attributes", [None, [], "", "text", [["a", {"S": "x"}]], 5])
    def test_an_item_that_is_not_a_map(self, attributes: Any) -> None:
        error = refusal(deserialize_item, attributes, "NewImage")
        assert error.path == "NewImage"
        assert "expected a map of attribute values, got " in str(error)

    @pytest.mark.parametrize("tag", ["N", "B", "BOOL", "NULL", "L", "M", "NS", "SS", "GEO", "Jane"])
    def test_a_value_is_never_shown(self, tag: str) -> None:
        """Messages go into logs: they name the field and the rule."""
        for content in ("Jane Doe", ["Jane Doe", "Jane Doe"]):
            error = refusal(deserialize, {tag: content}, "NewImage.customer")
            assert str(error).startswith("NewImage.customer")
            assert "Jane" not in str(error)


class TestDepth:
    def test_the_32nd_level_is_the_last(self) -> None:
        assert deserialize(typed_lists(31)) == lists(31)
        assert deserialize_item({"a": typed_lists(31)}) == {"a": lists(31)}
        assert serialize(lists(31)) == typed_lists(31)
        assert serialize_item({"a": lists(31)}) == {"a": typed_lists(31)}

    @pytest.mark.parametrize("depth", [32, 33, 5000])
    def test_a_33rd_level_is_refused(self, depth: int) -> None:
        path = "NewImage.a" + "[0]" * 31
        reason = "must not be nested deeper than 32 levels, got "
        with pytest.raises(MalformedValue, match=reason) as reading:
            deserialize_item({"a": typed_lists(depth)}, "NewImage")
        assert reading.value.path == path
        with pytest.raises(MalformedValue, match=reason) as writing:
            serialize_item({"a": lists(depth)}, "NewImage")
        assert writing.value.path == path

    def test_maps_count_as_lists_do(self) -> None:
        value: dict[str, Any] = {"S": "leaf"}
        for _ in range(31):
            value = {"M": {"m": value}}
        deserialize(value)
        with pytest.raises(MalformedValue, match="32 levels"):
            deserialize({"M": {"m": value}})

    def test_a_container_that_holds_itself_ends_in_an_error(self) -> None:
        endless: list[object] = []
        endless.append(endless)
        with pytest.raises(MalformedValue, match="32 levels"):
            serialize(endless)


class TestEncoding:
    @pytest.mark.parametrize(
        ("value", "typed"),
        [
            ("", {"S": ""}),
            (7, {"N": "7"}),
            (Decimal("12.50"), {"N": "12.50"}),
            (10**125, {"N": "1.0000000000000000000000000000000000000E+125"}),
            (True, {"BOOL": True}),
            (False, {"BOOL": False}),
            (None, {"NULL": True}),
            (b"raw", {"B": b"raw"}),
            (bytearray(b"raw"), {"B": b"raw"}),
            (Binary(b"raw"), {"B": b"raw"}),
            ({"b", "a", "c"}, {"SS": ["a", "b", "c"]}),
            (frozenset({10, 9, Decimal("9.5")}), {"NS": ["9", "9.5", "10"]}),
            ({b"b", Binary(b"a")}, {"BS": [b"a", b"b"]}),
            ((1, "x"), {"L": [{"N": "1"}, {"S": "x"}]}),
            (MappingProxyType({"a": []}), {"M": {"a": {"L": []}}}),
        ],
    )
    def test_each_type(self, value: object, typed: dict[str, Any]) -> None:
        assert serialize(value) == typed
        assert serialize_item({"name": value}) == {"name": typed}

    @given(items)
    def test_any_item_comes_back_by_every_way(self, item: dict[str, Any]) -> None:
        typed: Any = serialize_item(item)
        before = copy.deepcopy(typed)
        event = json.loads(json.dumps(typed, default=base64_text))
        decode = TypeDeserializer().deserialize
        assert deserialize_item(typed) == item, "as an API client has it"
        assert typed == before, "the input is left as it was"
        assert deserialize_item(event) == item, "as a Lambda event has it"
        assert deserialize(serialize(item)) == item, "as a map"
        assert {name: plain(decode(value)) for name, value in typed.items()} == item, "by boto3"

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (1.5, "a float is not exact, use Decimal, got a float"),
            (float("nan"), "a float is not exact, use Decimal, got a float"),
            (Decimal("NaN"), f"a number must be {DIGITS}, got a decimal number"),
            (Decimal("sNaN"), f"a number must be {DIGITS}, got a decimal number"),
            (Decimal("-Infinity"), f"a number must be {DIGITS}, got a decimal number"),
            (10**126, f"a number must be {MAGNITUDE}, got an integer"),
            pytest.param(10**5000, f"a number must be {MAGNITUDE}, got an integer", id="huge"),
            (set(), "a set must hold only strings, only numbers or only binaries, got a set"),
            ({True}, "a set must hold only strings, only numbers or only binaries, got a set"),
            ({None}, "a set must hold only strings, only numbers or only binaries, got a set"),
            ({1.5}, "a float is not exact, use Decimal, got a float"),
            ({(1, 2)}, "DynamoDB cannot hold a tuple here, got a tuple"),
            (datetime.date(1997, 1, 1), "DynamoDB cannot hold a date here, got a date"),
            ({1: "a"}, "[1]: an attribute name must be a string, got an integer"),
            ({"a": [0, {"b": 1.5}]}, "a[1].b: a float is not exact, use Decimal, got a float"),
        ],
    )
    def test_says_what_is_wrong_and_where(self, value: object, message: str) -> None:
        assert str(refusal(serialize, value)) == message

    @pytest.mark.parametrize("mixed", [{1, "a"}, {b"a", "a"}, {True, 2}, {None, "a"}])
    def test_a_set_of_several_kinds_is_refused(self, mixed: set[object]) -> None:
        reason = "a: a set must hold only strings, only numbers or only binaries, got a set"
        with pytest.raises(MalformedValue, match=reason):
            serialize_item({"a": mixed})

    def test_the_path_begins_where_the_caller_says(self) -> None:
        assert refusal(serialize_item, {"a": [1.5]}, "after").path == "after.a[0]"
        assert refusal(serialize, 1.5, "after.a").path == "after.a"

    @given(binaries)
    def test_base64_text_is_what_lambda_delivers(self, content: bytes) -> None:
        text = base64_text(content)
        assert text == base64.b64encode(content).decode()
        assert deserialize({"B": text}) == content

    def test_base64_text_leaves_other_types_to_json(self) -> None:
        with pytest.raises(TypeError, match="expected bytes, got "):
            json.dumps({"at": datetime.date(1997, 1, 1)}, default=base64_text)


HALF = "x\ud800"
"""Half of a surrogate pair: JSON can spell it, UTF-8 and so DynamoDB cannot hold it."""


@pytest.mark.parametrize(
    ("typed", "where"),
    [
        ({"S": HALF}, "v"),
        ({"L": [{"S": "é"}, {"S": HALF}]}, "v[1]"),
        ({"M": {"a": {"S": HALF}}}, "v.a"),
        ({"SS": ["a", HALF]}, "v[1]"),
    ],
)
def test_text_that_no_utf_8_holds_is_malformed(typed: dict[str, Any], where: str) -> None:
    with pytest.raises(MalformedValue, match="UTF-8 can hold") as error:
        deserialize(typed, "v")
    assert error.value.path == where
    with pytest.raises(MalformedValue, match="UTF-8 can hold"):
        deserialize_item({"v": typed})


@pytest.mark.parametrize(
    ("value", "where"),
    [(HALF, "v"), (["é", HALF], "v[1]"), ({"a": HALF}, "v.a"), ({HALF}, "v")],
)
def test_text_that_no_utf_8_holds_is_not_written(value: object, where: str) -> None:
    with pytest.raises(MalformedValue, match="UTF-8 can hold") as error:
        serialize(value, "v")
    assert error.value.path == where


def test_names_are_non_empty_utf_8_text() -> None:
    with pytest.raises(MalformedValue, match="an attribute name must be text that UTF-8 can hold"):
        serialize_item({HALF: 1})
    with pytest.raises(MalformedValue, match="an attribute name must be text that UTF-8 can hold"):
        serialize({"a": {HALF: 1}})
    with pytest.raises(MalformedValue, match="must have at least one character"):
        serialize_item({"": 1})
    assert serialize({"": "", "é": "é\U0001f600"}) == {
        "M": {"": {"S": ""}, "é": {"S": "é\U0001f600"}}
    }
