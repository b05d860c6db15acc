"""The filter tester and the converter of the page."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamodb_streams_cdc.deserializer import base64_text, deserialize_item, serialize_item
from playground.lab.filters import EXAMPLES, examples
from tests.unit.playground.asked import ask

RECORD = json.dumps({"eventName": "INSERT", "dynamodb": {"Keys": {"id": {"S": "1"}}}})


def ask_filter(pattern: str, record: str) -> Any:
    return ask("filter", {"pattern": pattern, "record": record})


def test_each_example_says_what_its_title_says() -> None:
    found = {
        each["title"]: ask_filter(each["pattern"], each["record"])["ok"]["records"][0]["matches"][0]
        for each in examples()
    }
    assert {title: each["matches"] for title, each in found.items()} == {
        "By key (AWS's guide)": True,
        "By attribute (AWS's guide)": True,
        "Two attributes": False,
        "An attribute exists": True,
        "Inserts only": False,
        "Without the type": False,
        "Numeric on a number": False,
        "Became shipped": True,
    }
    assert len(found) == len(EXAMPLES)


def test_each_record_of_an_event_is_tested_with_each_filter() -> None:
    filters = {"Filters": [{"Pattern": '{"eventName": ["INSERT"]}'}, {"Pattern": '{"a": ["b"]}'}]}
    event = {"Records": [json.loads(RECORD), {**json.loads(RECORD), "eventName": "REMOVE"}]}
    found = ask_filter(json.dumps(filters), json.dumps(event))["ok"]
    assert [[m["matches"] for m in each["matches"]] for each in found["records"]] == [
        [True, False],
        [False, False],
    ]
    assert found["patterns"][1]["warnings"] != []


@pytest.mark.parametrize(
    ("pattern", "record", "part", "told"),
    [
        ("", RECORD, "pattern", "AWS refuses the pattern: not JSON"),
        ('{"eventName": "INSERT"}', RECORD, "pattern", "must be an object or a list, at eventName"),
        ('{"a": [' + '"x",' * 3000 + '"x"]}', RECORD, "pattern", "at most 4096"),
        ('{"Filters": []}', RECORD, "pattern", "every record matches"),
        ('{"Filters": [{"Pattern": 3}]}', RECORD, "pattern", "must be a string"),
        ("[" * 100_000, RECORD, "pattern", "at most 4096"),
        ('{"a": ["b"]}', "{", "record", "not JSON"),
        ('{"a": ["b"]}', "[" * 100_000, "record", "not JSON"),
        ('{"a": ["b"]}', "3", "record", "not a stream record"),
        ('{"a": ["b"]}', '{"Records": []}', "record", "not a stream record"),
        ('{"a": ["b"]}', "x" * 1_000_001, "record", "at most a megabyte"),
    ],
)
def test_a_pattern_or_record_that_is_none_is_refused(
    pattern: str, record: str, part: str, told: str
) -> None:
    error = ask_filter(pattern, record)["error"]
    assert error["part"] == part
    assert told in error["message"]


def test_odd_records_are_tested_all_the_same() -> None:
    for record in ('{"dynamodb": 3}', '{"dynamodb": {"Keys": {"id": 4}}}', '{"dynamodb": null}'):
        assert ask_filter('{"dynamodb": {"Keys": {"id": {"S": ["1"]}}}}', record)["ok"]["records"]


NUMBERS = st.decimals(-(10**25), 10**25, places=9, allow_nan=False)
VALUES = st.text(max_size=5) | NUMBERS | st.booleans() | st.none() | st.binary(max_size=4)
ITEMS = st.dictionaries(
    st.text(min_size=1, max_size=5),
    VALUES | st.lists(VALUES, max_size=3) | st.sets(NUMBERS, min_size=1, max_size=3),
    max_size=5,
)


def converted(what: str, text: str) -> str:
    found: str = ask(what, {"text": text})["ok"]["text"]
    return found


@given(item=ITEMS)
@settings(max_examples=100, deadline=None)
def test_plain_json_has_every_digit_of_an_item(item: dict[str, Any]) -> None:
    typed = json.dumps(serialize_item(item), default=base64_text)
    plain = json.loads(converted("plain", typed), parse_float=str, parse_int=str)
    assert set(plain) == set(item)
    again = json.loads(converted("typed", converted("plain", typed)))
    numbers = {name for name, value in serialize_item(item).items() if "N" in value}
    before, after = deserialize_item(json.loads(typed)), deserialize_item(again)
    assert {name: before[name] for name in numbers} == {name: after[name] for name in numbers}


def test_a_record_and_an_event_are_converted_within() -> None:
    record = {"eventName": "INSERT", "dynamodb": {"NewImage": {"n": {"N": "1.50"}}, "SizeBytes": 4}}
    assert json.loads(converted("plain", json.dumps({"Records": [record]}))) == {
        "Records": [{"eventName": "INSERT", "dynamodb": {"NewImage": {"n": 1.5}, "SizeBytes": 4}}]
    }


def test_lines_of_an_export_are_converted_one_by_one() -> None:
    text = '{"Item":{"id":{"S":"1"}}}\n{"Item":{"id":{"S":"2"}}}\n'
    assert converted("plain", text) == '{"Item": {"id": "1"}}\n{"Item": {"id": "2"}}'


def test_an_attribute_named_item_is_an_attribute() -> None:
    assert converted("plain", '{"Item": {"S": "x"}}') == '{\n  "Item": "x"\n}'


@pytest.mark.parametrize(
    ("what", "text", "told"),
    [
        ("plain", "", "not JSON"),
        ("plain", "3", "plain value"),
        ("plain", '{"id": "1"}', "not DynamoDB JSON: id"),
        ("plain", '{"id": {"N": "one"}}', "N must be a decimal number"),
        ("plain", '{"id": {"S": "1"}}\n{"id": ', "line 2 is not JSON"),
        ("plain", '{"dynamodb": 3}', "must be an object"),
        ("plain", "x" * 1_000_001, "at most a megabyte"),
        ("typed", "[1]", "an item is an object"),
        ("typed", '{"": 1}', "name"),
        ("typed", '{"n": NaN}', "NaN is not a number"),
        ("typed", '{"n": 1e999}', "n:"),
        ("typed", '{"a":' * 40 + "1" + "}" * 40, "32"),
    ],
)
def test_text_that_cannot_be_converted_is_refused(what: str, text: str, told: str) -> None:
    assert told in ask(what, {"text": text})["error"]["message"]
