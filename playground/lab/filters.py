"""The tester of filters: whether each pattern matches a record, why not, and warnings."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from dynamodb_streams_cdc.esm import FilterCriteria, InvalidFilterPattern, lint
from dynamodb_streams_cdc.esm.explain import explain
from dynamodb_streams_cdc.esm.filters import FILTER_QUOTA, LARGEST_FILTER_QUOTA
from playground.lab.errors import Mistaken

LONGEST_RECORD = 1_000_000
"""Characters of a record."""


def tested(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return for each record whether a pattern matches, and for each pattern why, or why not.

    Raises:
        Mistaken: pattern or record cannot be read.
    """
    patterns = _patterns(str(given.get("pattern", "")))
    records = _records(str(given.get("record", "")))
    return {
        "patterns": [_about(pattern) for pattern in patterns],
        "records": [
            {
                "name": _name(record, number),
                "matches": [_explained(pattern, record) for pattern in patterns],
            }
            for number, record in enumerate(records, 1)
        ],
        "quota": (
            f"{len(patterns)} of {FILTER_QUOTA} filters; AWS raises the quota to "
            f"{LARGEST_FILTER_QUOTA} on request"
        ),
    }


def _patterns(text: str) -> list[str]:
    """Return the patterns of a text: one, or those of `{"Filters": [{"Pattern": ...}]}`."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None  # the pattern's own check says what is wrong, in AWS's words
    try:
        if isinstance(value, dict) and "Filters" in value:
            criteria = FilterCriteria.from_description(
                value, quota=LARGEST_FILTER_QUOTA, operators="eventbridge"
            )
            if not criteria.patterns:
                _refuse("there is no filter in it, so every record matches: write one", "pattern")
            return list(criteria.patterns)
        lint(text)
    except InvalidFilterPattern as error:
        message = f"AWS refuses the pattern: {error.problem}{error.where and f', at {error.where}'}"
        raise Mistaken(message, "pattern") from error
    return [text]


def _records(text: str) -> list[dict[str, Any]]:
    if len(text) > LONGEST_RECORD:
        _refuse(f"the record has {len(text):,} characters: give at most a megabyte", "record")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        message = f"the record is not JSON: {error}"
        raise Mistaken(message, "record", line) from error
    found = value.get("Records", [value]) if isinstance(value, dict) else value
    records = found if isinstance(found, list) else [found]
    if not records or not all(isinstance(each, dict) and "dynamodb" in each for each in records):
        message = (
            'that is not a stream record: give an object with "dynamodb", or an event\'s Records'
        )
        _refuse(message, "record")
    return records


def _about(pattern: str) -> dict[str, Any]:
    return {"text": pattern, "warnings": lint(pattern), "deployable": _lambda_refuses(pattern)}


def _lambda_refuses(pattern: str) -> str:
    """Return why Lambda's own table of operators does not have the pattern; empty if it has."""
    try:
        FilterCriteria((pattern,))
    except InvalidFilterPattern as error:
        return error.problem
    return ""


def _explained(pattern: str, record: Mapping[str, Any]) -> dict[str, Any]:
    found = explain(pattern, record)
    return {
        "matches": found.matches,
        "path": found.path,
        "reason": found.reason,
        "met": list(found.met),
    }


def _name(record: Mapping[str, Any], number: int) -> str:
    keys = record["dynamodb"].get("Keys", {}) if isinstance(record["dynamodb"], dict) else {}
    values = [str(text) for each in _maps(keys) for text in each.values()]
    return " ".join([f"Record {number}:", str(record.get("eventName", "")), "/".join(values)])


def _maps(keys: Any) -> Iterator[dict[str, Any]]:
    values = keys.values() if isinstance(keys, dict) else ()
    return (each for each in values if isinstance(each, dict))


def _refuse(message: str, part: str) -> NoReturn:
    raise Mistaken(message, part)


_GUIDE = {
    "eventID": "1",
    "eventName": "INSERT",
    "eventVersion": "1.0",
    "dynamodb": {
        "ApproximateCreationDateTime": 1678831218.0,
        "Keys": {"CustomerName": {"S": "AnyCompany Industries"}},
        "NewImage": {
            "AccountManager": {"S": "Pat Candella"},
            "PaymentTerms": {"S": "60 days"},
            "CustomerName": {"S": "AnyCompany Industries"},
        },
        "SequenceNumber": "111",
        "SizeBytes": 26,
        "StreamViewType": "NEW_IMAGE",
    },
}
"""The record of AWS's guide
(https://docs.aws.amazon.com/lambda/latest/dg/with-ddb-filtering.html)."""

_ORDER = {
    "eventID": "2",
    "eventName": "MODIFY",
    "dynamodb": {
        "Keys": {"id": {"S": "order-7"}},
        "NewImage": {"id": {"S": "order-7"}, "status": {"S": "shipped"}, "total": {"N": "120"}},
        "OldImage": {"id": {"S": "order-7"}, "status": {"S": "placed"}, "total": {"N": "120"}},
        "SequenceNumber": "800000000003126306281",
    },
}

_KEYS = {"CustomerName": {"S": ["AnyCompany Industries"]}}
_IMAGE = {"AccountManager": {"S": ["Pat Candella", "Shirley Rodriguez"]}}
_TERMS = {"PaymentTerms": {"S": [{"exists": True}]}}
_TOTAL = {"total": {"N": [{"numeric": [">", 100]}]}}
EXAMPLES = [
    (
        "By key (AWS's guide)",
        {"dynamodb": {"Keys": {"CustomerName": {"S": ["AnyCompany Industries"]}}}},
        _GUIDE,
    ),
    ("By attribute (AWS's guide)", {"dynamodb": {"NewImage": _IMAGE}}, _GUIDE),
    (
        "Two attributes",
        {"dynamodb": {"NewImage": {**_IMAGE, "PaymentTerms": {"S": ["30 days"]}}}},
        _GUIDE,
    ),
    (
        "An attribute exists",
        {"dynamodb": {"NewImage": {"PaymentTerms": {"S": [{"exists": True}]}}}},
        _GUIDE,
    ),
    ("Inserts only", {"eventName": ["INSERT"]}, _ORDER),
    ("Without the type", {"dynamodb": {"NewImage": {"status": ["shipped"]}}}, _ORDER),
    (
        "Numeric on a number",
        {"dynamodb": {"NewImage": {"total": {"N": [{"numeric": [">", 100]}]}}}},
        _ORDER,
    ),
    (
        "Became shipped",
        {
            "dynamodb": {
                "NewImage": {"status": {"S": ["shipped"]}},
                "OldImage": {"status": {"S": [{"anything-but": ["shipped"]}]}},
            }
        },
        _ORDER,
    ),
]
"""Patterns and records to begin with: those of AWS's guide, and those that surprise."""


def examples() -> list[dict[str, str]]:
    """Return the examples as the page shows them."""
    return [
        {
            "title": title,
            "pattern": json.dumps(pattern, indent=2),
            "record": json.dumps(record, indent=2),
        }
        for title, pattern, record in EXAMPLES
    ]
