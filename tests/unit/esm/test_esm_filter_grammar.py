"""Patterns that AWS refuses, each by a rule of the compiler of EventBridge's patterns.

https://github.com/aws/event-ruler/blob/main/src/main/software/amazon/event/ruler/JsonRuleCompiler.java;
its messages are next to the cases. Lambda's own table of operators is narrower:
https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html#filtering-syntax.
"""

import json
from typing import Any

import pytest

from dynamodb_streams_cdc.esm import (
    ConfigurationError,
    Engine,
    FilterCriteria,
    InvalidFilterPattern,
    MappingConfiguration,
    Policies,
    lint,
)
from tests.unit.esm.driver import description, filtered_by, having, on


def everything(pattern: object) -> FilterCriteria:
    text = pattern if isinstance(pattern, str) else json.dumps(pattern)
    return FilterCriteria((text,), "eventbridge")


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        # "There must have at least 2 Objects in $or relationship."
        ({"$or": [{"eventName": ["INSERT"]}]}, r"at \$or: .* at least two"),
        ({"$or": []}, r"at \$or: .* at least two"),
        ({"dynamodb": {"$or": [on("v")["dynamodb"]]}}, r"at dynamodb\.\$or: .* at least two"),
        # "... is Ruler reserved fieldName which cannot be used inside $or."
        (
            {"$or": [{"eventName": ["INSERT"]}, {"prefix": ["INSERT"]}]},
            r"at \$or\[1\]\.prefix: the name of an operator",
        ),
        # "Empty objects are not allowed"
        ({}, "an empty object"),
        ({"dynamodb": {}}, "at dynamodb: an empty object"),
        ({"dynamodb": {"NewImage": {}}}, r"at dynamodb\.NewImage: an empty object"),
        ({"$or": [{}, {"eventName": ["INSERT"]}]}, r"at \$or\[0\]: an empty object"),
        # "Value of anything-but must be an array or single string/number value."
        (on({"anything-but": True}, kind="BOOL"), "neither true, false nor null"),
        (on({"anything-but": None}), "neither true, false nor null"),
        # "Inside anything but list, start|null|boolean is not supported."
        (on({"anything-but": [True]}, kind="BOOL"), "neither true, false nor null"),
        (on({"anything-but": [None]}), "neither true, false nor null"),
        (on({"anything-but": [["v"]]}), "neither true, false nor null"),
        # "either all values are number or string, mixed type is not supported"
        (on({"anything-but": ["1", 2]}), "it is mixed"),
        (on({"anything-but": [2, "1"]}), "it is mixed"),
        # "Null prefix/suffix not allowed"
        (on({"anything-but": {"prefix": ""}}), r"anything-but\.prefix: an empty prefix"),
        (on({"anything-but": {"suffix": ""}}), r"anything-but\.suffix: an empty suffix"),
        (on({"anything-but": {"suffix": ["a", ""]}}), "an empty suffix"),
        (on({"anything-but": {"prefix": [1]}}), "a string is expected"),
        (on({"anything-but": {"prefix": []}}), "an empty list"),
        (on({"anything-but": {"cidr": "10.0.0.0/8"}}), "one of equals-ignore-case"),
        # "Cannot compare number"
        (on({"anything-but": 12345678901234567890}, kind="N"), "a double does not hold it"),
        (on({"numeric": ["=", 10**400]}), "a double does not hold it"),
        ('{"dynamodb": {"SizeBytes": [{"numeric": ["<", 1e999]}]}}', "a double does not hold it"),
        # "Too many elements in numeric expression", "Bad numeric range operator"
        (on({"numeric": ["=", 1, "=", 2]}), "a range is written from below"),
        (on({"numeric": ["<", 9, ">", 1]}), "a range is written from below"),
        (on({"numeric": [">", 1, ">", 2]}), "a range is written from below"),
        # "Bottom must be less than top"
        (on({"numeric": [">", 2, "<", 1]}), "must begin below its end"),
        (on({"numeric": [">=", 2, "<=", 2]}), "must begin below its end"),
        (on({"numeric": [["="], 1]}), "a comparison"),
        (on({"numeric": [1, "="]}), "a comparison"),
        # "Consecutive wildcard characters", "Invalid escape character"
        (on({"wildcard": "a**b"}), "two \\* in a row"),
        (on({"wildcard": "a\\b"}), "may only stand before"),
        (on({"wildcard": 1}), "a string is expected"),
        # "Malformed CIDR, one '/' required", "IPv4 mask bits must be < 32"
        (on({"cidr": "10.0.0.0"}), "10.0.0.0/24"),
        (on({"cidr": "10.0.0.0/32"}), "below 32 bits"),
        (on({"cidr": "10.0.0.0/255.0.0.0"}), "10.0.0.0/24"),
        (on({"exactly": 1}), "a string is expected"),
        # Jackson's parser takes JSON only.
        ('{"dynamodb": {"SizeBytes": [NaN]}}', "not JSON: NaN"),
        ('{"dynamodb": {"SizeBytes": [-Infinity]}}', "not JSON: -Infinity"),
    ],
)
def test_what_the_compiler_refuses_is_refused(pattern: object, problem: str) -> None:
    with pytest.raises(InvalidFilterPattern, match=problem):
        everything(pattern)


@pytest.mark.parametrize(
    ("pattern", "operator"),
    [
        (on({"wildcard": "a*"}), "wildcard"),
        (on({"cidr": "10.0.0.0/24"}), "cidr"),
        (on({"exactly": "a"}), "exactly"),
        (on({"anything-but": {"prefix": "a"}}), "anything-but with prefix"),
        (on({"anything-but": {"suffix": ["a", "b"]}}), "anything-but with suffix"),
        (on({"prefix": {"equals-ignore-case": "a"}}), "prefix with equals-ignore-case"),
        (on({"suffix": {"equals-ignore-case": "a"}}), "suffix with equals-ignore-case"),
    ],
)
def test_policy_filter_operators_that_lambda_does_not_list(
    pattern: dict[str, Any], operator: str
) -> None:
    settings = description(**filtered_by(json.dumps(pattern)))
    open_policy = Policies(filter_operators="eventbridge")

    with pytest.raises(
        ConfigurationError, match=f'takes {operator}, .*Policies.filter_operators="eventbridge"'
    ):
        Engine(settings)
    assert Engine(settings, policies=open_policy).configuration.filters
    assert MappingConfiguration.from_description(settings, filter_operators="eventbridge").filters
    [warning] = lint(json.dumps(pattern))
    assert f"does not list {operator}; EventBridge's does" in warning


@pytest.mark.parametrize(
    ("condition", "yes", "no"),
    [
        ({"wildcard": "a*c"}, ["abc", "ac", "a\nc"], ["abcd", "bac", "A-c"]),
        ({"wildcard": r"a\*c"}, ["a*c"], ["abc"]),
        ({"wildcard": r"a\\*"}, ["a\\", "a\\b"], ["ab"]),
        ({"wildcard": "."}, ["."], ["a"]),
        ({"cidr": "10.0.0.0/24"}, ["10.0.0.255"], ["10.0.1.0", "host", "::1"]),
        ({"cidr": "2001:db8::/32"}, ["2001:db8::1"], ["2001:db9::1"]),
        ({"exactly": "v"}, ["v"], ["V"]),
        ({"anything-but": {"prefix": ["a", "b"]}}, ["c"], ["ax", "bx"]),
        ({"anything-but": {"equals-ignore-case": ["A", "b"]}}, ["c"], ["a", "B"]),
        ({"anything-but": {"wildcard": "*/lib/*"}}, ["/bin/x"], ["/lib/x"]),
    ],
)
def test_what_eventbridge_adds_matches_as_there(
    condition: dict[str, Any], yes: list[str], no: list[str]
) -> None:
    criteria = everything(on(condition))

    assert [text for text in yes if not criteria.matches(having(S=text))] == []
    assert [text for text in no if criteria.matches(having(S=text))] == []


@pytest.mark.parametrize(
    ("elements", "absent"),
    [
        ([{"S": "a"}, {"N": "1"}], False),
        ([{"N": "1"}, {"S": "a"}], False),
        ([{"N": "1"}, {"N": "2"}], True),
        ([], True),
        ([{"L": [{"S": "a"}]}, {"N": "1"}], True),
    ],
)
def test_a_path_is_absent_only_from_the_whole_event(elements: list[Any], absent: bool) -> None:
    """The README of event-ruler: exists "works on the presence or absence of a field"."""
    pattern = {"dynamodb": {"NewImage": {"k": {"L": {"S": [{"exists": False}]}}}}}

    assert FilterCriteria((json.dumps(pattern),)).matches(having(L=elements)) is absent


def test_absence_with_or_and_values_reads_the_whole_event() -> None:
    nested = {"L": {"M": {"gone": {"S": [{"exists": False}, "yes"]}}}}
    pattern = {"dynamodb": {"NewImage": {"$or": [{"k": nested}, {"x": {"S": ["v"]}}]}}}
    criteria = FilterCriteria((json.dumps(pattern),))

    def lines(*titles: str | None) -> dict[str, Any]:
        return having(L=[{"M": {"gone": {"S": title}} if title else {}} for title in titles])

    assert criteria.matches(lines(None, None))
    assert criteria.matches(lines("yes", None))
    assert not criteria.matches(lines("no", None))
    assert not criteria.matches(lines(None, "no"))


@pytest.mark.parametrize(
    ("criteria", "problem"),
    [
        ({"Filters": {"Pattern": "{}"}}, "Filters must be a list"),
        ({"Filters": ["{}"]}, r"Filters\[0\]: Pattern must be a string"),
        ({"Filters": [{"Pattern": {}}]}, r"Filters\[0\]: Pattern must be a string"),
        (
            {"Filters": [{"eventName": ["INSERT"]}]},
            r"Filters\[0\]: unknown parameter 'eventName'; there is only Pattern",
        ),
        ({"Filters": [{"Pattern": '{"eventName": ["INSERT"]}', "Name": "x"}]}, "parameter 'Name'"),
        ({"Filters": [{}]}, r"Filters\[0\]: Pattern must be a string"),
        ({"Filter": [{"Pattern": '{"eventName": ["INSERT"]}'}]}, "there is only Filters"),
        ({"Pattern": '{"eventName": ["INSERT"]}'}, "there is only Filters"),
    ],
)
def test_criteria_of_another_form_are_refused(criteria: dict[str, Any], problem: str) -> None:
    """Botocore: Unknown parameter in FilterCriteria.Filters[0], must be one of: Pattern."""
    with pytest.raises(InvalidFilterPattern, match=problem):
        FilterCriteria.from_description(criteria)
    with pytest.raises(ConfigurationError, match="FilterCriteria"):
        Engine(description(FilterCriteria=criteria))
