"""What customers wrote is read where it is printed, and does nothing else."""

import json
import logging
from collections.abc import Sequence

import pytest

from dynamodb_streams_cdc import (
    Change,
    Deadline,
    Outcome,
    RetryableError,
    Search,
)
from dynamodb_streams_cdc.errors import visible
from dynamodb_streams_cdc.testing.memory import MemoryIndex
from tests.factories import order, record
from tests.unit.bench import Bench

ODD = {
    "C0": "\x00\x07\x08\x0b\x1b\r\x1f",
    "delete and C1": "\x7f\x80\x85\x9b\x9f",
    "embeddings and overrides": "\u202a\u202b\u202c\u202d\u202e",
    "isolates": "\u2066\u2067\u2068\u2069",
    "marks": "\u200e\u200f\u061c",
    "of no width": "\u200b\u2060\ufeff\u00ad",
    "separators": "\u2028\u2029",
    "tags": "\U000e0001\U000e0041",
    "halves": "\udfff\ud800",
    "nobody's": "\ue000\U0010ffff\uffff",
}
"""Unicode's report on bidirectional text names its marks: https://www.unicode.org/reports/tr9/."""


@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
def test_what_cannot_be_seen_is_escaped_as_json_does_it(text: str) -> None:
    shown = visible(f"a{text}b")
    assert shown.isascii()
    assert shown.isprintable()
    assert json.loads(f'"{shown}"') == f"a{text}b"


@pytest.mark.parametrize(
    "text", ["", "plain", "a\tb\nc", "é ß 漢字 עברית العربية", "1\u00a0000 €", "🛒", "\\u202e"]
)
def test_all_else_stays(text: str) -> None:
    assert visible(text) == text


class Refusing(Search):
    """A sink whose errors repeat what it was given, as those of some libraries do."""

    def __init__(self, error: type[Exception]) -> None:
        super().__init__(MemoryIndex(), dict)
        self.error = error

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Outcome:
        error = self.error
        return Outcome(failures={change: error(change.item_id) for change in changes})


@pytest.mark.parametrize("error", [ValueError, RetryableError])
def test_logs_command_no_terminal(error: type[Exception], caplog: pytest.LogCaptureFixture) -> None:
    odd = "".join(text for name, text in ODD.items() if name != "halves")
    bench = Bench(Refusing(error), options={"permanent": (ValueError,)})
    with caplog.at_level(logging.DEBUG):
        bench.run(record(1, None, order(f"{odd}-1")))
    assert caplog.records
    for each in caplog.records:
        added = {name for name in vars(each) if name not in vars(logging.makeLogRecord({}))}
        for text in (each.getMessage(), *(str(vars(each)[name]) for name in added)):
            assert visible(text) == text
