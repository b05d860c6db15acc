"""The report that `cdc repair --from` reads: what is wrong with one, in a sentence."""

import json
import re
from typing import Any

import pytest

from dynamodb_streams_cdc.operations.errors import UsageError
from dynamodb_streams_cdc.operations.repair_differences import (
    FoundDifferences,
    read_differences,
)

STREAM = "arn:aws:dynamodb:eu-west-1:123456789012:table/orders/stream/2026-02-01T00:00:00.000"
SINKS = ("aggregation", "audit", "search")
DIFFERENCE: dict[str, Any] = {
    "sink": "aggregation",
    "kind": "missing",
    "item": "orders/S=1",
    "keys": {"id": {"S": "1"}},
    "store": 0,
    "token": "",
    "version": None,
    "detail": "",
    "delta": {"all": {"n": "1"}},
    "sums_agree": True,
}


def report(*differences: object, **others: object) -> str:
    named = {"stack": "shop", "stream": STREAM, "complete": True}
    return json.dumps({**named, "differences": differences, **others})


def read(text: str) -> FoundDifferences:
    return read_differences(text, "found.json", SINKS, "shop", STREAM)


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in DIFFERENCE.items() if key != name}


def test_a_report_is_read() -> None:
    unknown = {**without("delta"), "sums_agree": None}
    of_none = {**without("delta"), "keys": None, "version": "0/x/1", "kind": "resurrected"}
    found = read(report(DIFFERENCE, unknown, of_none))
    assert found == FoundDifferences([DIFFERENCE, unknown, of_none], complete=True)
    assert not read(report(complete=False)).complete


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is not JSON, or was cut"),
        (report(DIFFERENCE)[:-5], "it is not JSON, or was cut"),
        ("[" * 100_000, "it is not JSON, or was cut"),
        ("[]", "expected an object, got a list"),
        ("{}", "differences: expected a list, got nothing"),
        (report(stack=None), "stack: expected text, got nothing"),
        (report(complete=None), "complete: expected true or false, got nothing"),
        (report(DIFFERENCE, 7), "difference 2: expected an object, got an integer"),
        (report({**DIFFERENCE, "kind": "odd"}), "kind: expected one of missing, stale"),
        (report({**DIFFERENCE, "keys": "id=1"}), "difference 1: keys: got text"),
        (report({**DIFFERENCE, "sink": []}), "difference 1: sink: got a list"),
        (report(without("sums_agree")), "sums_agree is not true, false or null"),
        (report({**DIFFERENCE, "sums_agree": "yes"}), "sums_agree is not true, false or null"),
        *((report(without(name)), f"difference 1: it has no {name}") for name in [*DIFFERENCE][:8]),
    ],
)
def test_what_is_not_a_report_is_told_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)) as raised:
        read(text)
    assert str(raised.value).startswith("found.json is not a report of cdc verify (")
    assert str(raised.value).endswith("write one with cdc verify --json.")


@pytest.mark.parametrize(
    "other",
    [
        STREAM.replace("eu-west-1", "us-east-1"),
        STREAM.replace("123456789012", "999999999999"),
        STREAM.replace("2026-02-01", "2026-02-02"),
        STREAM.replace("table/orders", "table/customers"),
    ],
)
def test_a_report_of_another_stream_is_refused(other: str) -> None:
    """A stack of the same name may be in another Region or account."""
    with pytest.raises(UsageError, match=f"is about the stream {other}, and the source table has"):
        read(report(DIFFERENCE, stream=other))


def test_a_report_of_an_earlier_version_is_refused() -> None:
    with pytest.raises(UsageError, match=r"does not say which table it is about.*: verify again"):
        read(report(DIFFERENCE, stream=None))
