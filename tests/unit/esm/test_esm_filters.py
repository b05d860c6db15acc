"""Filter criteria: what matches, what AWS was seen to do, and what the linter says."""

import json
from typing import Any

import pytest

from dynamodb_streams_cdc.esm import FilterCriteria, InvalidFilterPattern, lint
from dynamodb_streams_cdc.esm.operators import Dialect
from tests.unit.esm.driver import (
    START,
    description,
    drive,
    filtered_by,
    having,
    ignore,
    on,
    record,
    records,
    sequence,
)


def matches(
    pattern: dict[str, Any], candidate: dict[str, Any], operators: Dialect = "lambda"
) -> bool:
    return FilterCriteria((json.dumps(pattern),), operators).matches(candidate)


def test_rule_23_the_iterator_passes_filtered_records() -> None:
    source = [record(n, name="MODIFY" if n % 2 else "INSERT") for n in range(1, 8)]

    settings = description(BatchSize=2, **filtered_by('{"eventName": ["INSERT"]}'))
    run = drive(settings, ignore, source)

    assert run.batches == [[2, 4], [6]]
    assert run.saved[-1][1] == sequence(7)


def test_rule_23_without_a_match_there_is_no_invocation() -> None:
    pattern = '{"eventName": ["REMOVE"]}'
    run = drive(description(**filtered_by(pattern)), ignore, records(5))

    assert run.batches == []
    assert [place for _, place in run.saved] == [sequence(5)]


def test_rule_23_filters_are_alternatives_and_keys_are_joined() -> None:
    either = FilterCriteria(('{"eventName": ["REMOVE"]}', json.dumps(on("v"))))
    both = {"eventName": ["REMOVE"]} | on("v")

    assert either.matches(having(S="v"))
    assert not either.matches(having(S="w"))
    assert not matches(both, having(S="v"))
    assert matches({"eventName": ["INSERT"]} | on("v"), having(S="v"))


@pytest.mark.parametrize(
    ("condition", "yes", "no"),
    [
        ("v", {"S": "v"}, {"S": "V"}),
        ("", {"S": ""}, {"S": " "}),
        ({"equals-ignore-case": "Ab"}, {"S": "aB"}, {"S": "a"}),
        ({"anything-but": "v"}, {"S": "w"}, {"S": "v"}),
        ({"anything-but": ["v", "w"]}, {"S": "x"}, {"S": "w"}),
        ({"anything-but": {"prefix": "v"}}, {"S": "wv"}, {"S": "vw"}),
        ({"anything-but": "v"}, {"S": "w"}, {"N": "1"}),
        ({"exists": True}, {"S": "v"}, {"N": "1"}),
        ({"exists": False}, {"N": "1"}, {"S": "v"}),
        ({"prefix": "us-1"}, {"S": "us-1-other"}, {"S": "other-us-1"}),
        ({"prefix": {"equals-ignore-case": "US"}}, {"S": "us-1"}, {"S": "eu-1"}),
        ({"suffix": ".png"}, {"S": "a.png"}, {"S": "a.png.txt"}),
        ({"suffix": {"equals-ignore-case": ".PNG"}}, {"S": "a.png"}, {"S": "a.txt"}),
    ],
)
def test_rule_24_the_grammar_is_that_of_eventbridge(
    condition: Any, yes: dict[str, Any], no: dict[str, Any]
) -> None:
    assert matches(on(condition), having(**yes), "eventbridge")
    assert not matches(on(condition), having(**no), "eventbridge")


def test_rule_24_null_and_or_are_part_of_it() -> None:
    choice = {"$or": [{"eventName": ["REMOVE"]}, on("v")]}

    assert matches({"userIdentity": [None]}, having(S="v") | {"userIdentity": None})
    assert not matches({"userIdentity": [None]}, having(S="v"))
    assert matches(choice, having(S="v"))
    assert not matches(choice, having(S="w"))


def test_rule_24_sets_lists_and_maps_match_by_any_element() -> None:
    nested = {"dynamodb": {"NewImage": {"k": {"L": {"M": {"title": {"S": ["CD"]}}}}}}}
    lines = [{"M": {"title": {"S": title}}} for title in ("LP", "CD")]

    assert matches(on("b", kind="SS"), having(SS=["a", "b"]))
    assert not matches(on("c", kind="SS"), having(SS=["a", "b"]))
    assert matches(nested, having(L=lines))
    assert not matches(nested, having(L=lines[:1]))


def test_rule_24_true_is_not_one() -> None:
    assert matches(on(True, kind="BOOL"), having(BOOL=True))
    assert not matches(on(1, kind="BOOL"), having(BOOL=True))


def test_rule_25_a_pattern_without_the_type_does_not_match() -> None:
    present = record(1, image={"presentKey": {"S": "presentValue"}})
    typed = {"dynamodb": {"NewImage": {"presentKey": {"S": ["presentValue"]}}}}
    untyped = {"dynamodb": {"NewImage": {"presentKey": ["presentValue"]}}}

    assert matches(typed, present)
    assert not matches(typed, record(2))
    assert not matches(untyped, present)


def test_rule_26_numeric_never_matches_a_number_of_an_item() -> None:
    above_100 = {"numeric": [">", 100]}
    observed = on(above_100, {"anything-but": "101"}, kind="N")

    assert [matches(observed, having(N=value)) for value in ("42", "101")] == [True, False]
    assert not matches(on(above_100, kind="N"), having(N="101"))
    assert matches(on("101", kind="N"), having(N="101"))


@pytest.mark.parametrize(
    ("comparison", "expected"),
    [
        ([">", 0], True),
        (["<", START], False),
        (["<=", START], True),
        (["=", START], True),
        ([">", START - 1, "<", START + 1], True),
        ([">", START, "<", START + 1], False),
    ],
)
def test_rule_26_numeric_works_on_the_creation_time(comparison: list[Any], expected: bool) -> None:
    pattern = {"dynamodb": {"ApproximateCreationDateTime": [{"numeric": comparison}]}}

    assert matches(pattern, record(1)) is expected


def test_rule_27_exists_above_a_leaf_sees_nothing() -> None:
    image = {"presentKey": {"S": "presentValue"}}
    trap = {"dynamodb": {"NewImage": {"presentKey": [{"exists": False}]}}}
    never = {"dynamodb": {"NewImage": {"presentKey": [{"exists": True}]}}}
    right = {"dynamodb": {"NewImage": {"presentKey": {"S": [{"exists": True}]}}}}
    pair = [record(1), record(2, image=image)]

    assert [matches(trap, candidate) for candidate in pair] == [True, True]
    assert [matches(never, candidate) for candidate in pair] == [False, False]
    assert [matches(right, candidate) for candidate in pair] == [False, True]


def test_rule_28_event_names_and_identities_can_be_filtered() -> None:
    names = {"eventName": ["INSERT", "MODIFY"]}
    expiry = {"userIdentity": {"type": ["Service"], "principalId": ["dynamodb.amazonaws.com"]}}
    identity = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    found = [matches(names, record(1, name=n)) for n in ("INSERT", "MODIFY", "REMOVE")]

    assert found == [True, True, False]
    assert matches(expiry, record(1, name="REMOVE") | {"userIdentity": identity})
    assert not matches(expiry, record(1, name="REMOVE"))


def test_rule_28_other_keys_draw_a_warning() -> None:
    assert lint('{"eventSource": ["aws:dynamodb"]}') == [
        "eventSource: only dynamodb, eventName, userIdentity are known to work for a DynamoDB "
        "stream"
    ]


def test_rule_29_of_a_key_that_stands_twice_the_last_counts() -> None:
    text = '{"eventName": ["REMOVE"], "eventName": ["INSERT"]}'

    assert FilterCriteria((text,)).matches(record(1))
    assert lint(text) == ['"eventName" stands 2 times in one object: only the last counts']


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("single-string", "not JSON"),
        ('[{"eventName": ["INSERT"=123}]', "not JSON"),
        ('"single-string"', "a JSON object is expected, not str"),
        ('[{"eventName": ["INSERT"]}]', "a JSON object is expected, not list"),
        ('{"eventName": "INSERT"}', "at eventName: a condition must be an object or a list"),
        ('{"eventName": []}', "at eventName: an empty list"),
        ('{"eventName": [{"begins": "I"}]}', r"at eventName\[0\].begins: unknown operator"),
        ('{"eventName": [["INSERT"]]}', r"at eventName\[0\]: a value, or an object"),
        ('{"eventName": [{"exists": 1}]}', "true or false"),
        ('{"eventName": [{"prefix": 1}]}', "a string is expected"),
        ('{"eventName": [{"suffix": 1}]}', "a string is expected"),
        ('{"eventName": [{"numeric": [">"]}]}', "one or two pairs"),
        ('{"eventName": [{"numeric": ["~", 1]}]}', "a comparison"),
        ('{"eventName": [{"numeric": [">", true]}]}', "a comparison"),
        ('{"eventName": [{"anything-but": {"exists": true}}]}', "one of equals-ignore-case, pre"),
        ('{"eventName": [{"anything-but": []}]}', "a string, a number or a list"),
        ('{"$or": {"eventName": ["INSERT"]}}', r"at \$or: \$or takes a list"),
        ('{"a":' * 69 + '["v"]' + "}" * 69, "nested deeper than 68 levels"),
        ("[" * 4000, "nested deeper than 68 levels"),
        (json.dumps({"eventName": ["I" * 4096]}), "characters, at most 4096"),
    ],
)
def test_rule_16_an_invalid_pattern_names_fault_and_place(text: str, problem: str) -> None:
    with pytest.raises(
        InvalidFilterPattern, match=f"^Invalid filter pattern definition.*{problem}"
    ):
        FilterCriteria((text,))


def test_a_pattern_of_4096_characters_and_68_levels_is_accepted() -> None:
    frame = len(json.dumps({"eventName": [""]}))

    assert FilterCriteria((json.dumps({"eventName": ["I" * (4096 - frame)]}),))
    assert FilterCriteria(('{"a":' * 68 + '["v"]' + "}" * 68,))


@pytest.mark.parametrize(
    ("pattern", "warning"),
    [
        (on({"numeric": [">", 100]}, kind="N"), "numeric never matches, the value is a string"),
        (on(101, kind="N"), "101 never matches, the value is a string"),
        (on("1.0", kind="N"), "'1.0' is not how DynamoDB writes a number"),
        (on("+1", kind="N"), "'+1' is not how DynamoDB writes a number"),
        (on({"anything-but": 5}, kind="N"), "anything-but 5 excludes nothing"),
        (on("true", kind="BOOL"), "'true' never matches, the value is true or false"),
        (on("v", kind="M"), "k.M: never matches, an object stands there"),
        (on("v", kind="T"), "never matches, the type of an attribute is one of"),
        ({"dynamodb": {"NewImage": {"k": ["v"]}}}, "never matches, the attribute's type is"),
        ({"dynamodb": {"NewImage": {"k": [{"exists": False}]}}}, "always matches"),
        ({"dynamodb": {"NewImage": {"k": [{"exists": True}]}}}, "never matches"),
        ({"dynamodb": {"NewImage": [{"exists": False}]}}, "NewImage: always matches"),
        ({"dynamodb": {"NewImages": {"k": {"S": ["v"]}}}}, "records have no such field"),
        ({"dynamodb": {"SizeBytes": {"N": ["1"]}}}, "never matches, a value stands there"),
        ({"dynamodb": {"SequenceNumber": [{"numeric": [">", 0]}]}}, "numeric never matches"),
        ({"dynamodb": ["v"]}, "dynamodb: never matches, an object stands there"),
        ({"dynamodb": {"NewImage": {"k": {"S": {"S": ["v"]}}}}}, "never matches, a value stands"),
        ({"dynamodb": {"NewImage": {"k": {"M": {"x": ["v"]}}}}}, "type is missing"),
        ({"dynamodb": {"NewImage": {"k": {"L": {"N": [1]}}}}}, "1 never matches"),
        ({"$or": [{"eventName": ["CREATE"]}, on("v")]}, "'CREATE' never matches"),
        ({"eventName": {"S": ["INSERT"]}}, "eventName: never matches, a string stands there"),
        ({"userIdentity": ["Service"]}, "userIdentity: never matches, an object stands there"),
    ],
)
def test_the_linter_finds_what_can_never_match_or_always_does(
    pattern: dict[str, Any], warning: str
) -> None:
    (found,) = lint(json.dumps(pattern))

    assert warning in found


@pytest.mark.parametrize(
    "pattern",
    [
        {"eventName": ["INSERT"]} | on("v", {"exists": True}, {"prefix": "x"}),
        on("1.5", "-20", "0", {"anything-but": "7"}, kind="N"),
        on(True, kind="BOOL"),
        {"dynamodb": {"ApproximateCreationDateTime": [{"numeric": [">", 0]}]}},
        {"dynamodb": {"OldImage": {"k": {"M": {"x": {"S": [{"exists": False}]}}}}}},
        {"userIdentity": {"type": ["Service"]}},
    ],
)
def test_the_linter_has_nothing_to_say_to_a_sound_pattern(pattern: dict[str, Any]) -> None:
    assert lint(json.dumps(pattern)) == []


def test_the_linter_refuses_what_aws_refuses() -> None:
    with pytest.raises(InvalidFilterPattern):
        lint("single-string")
