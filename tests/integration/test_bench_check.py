"""`make bench-check` turns red when a sink sends more than it did."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from benchmarks import check
from benchmarks.records import batches, changes
from benchmarks.sinks import NAMES, counted
from dynamodb_streams_cdc import Budget, Change, Outcome, Sink
from local.purchases import SAMPLE

EXPECTED = json.loads(check.EXPECTED.read_text("utf-8"))


@dataclass(frozen=True)
class OneByOne:
    """A sink that hands on one change at a time."""

    sink: Sink

    def apply(self, changes: Sequence[Change], budget: Budget) -> Outcome:
        outcome = Outcome()
        for change in changes:
            outcome += self.sink.apply([change], budget)
        return outcome


@pytest.mark.parametrize("name", NAMES)
def test_one_request_per_record_is_red(name: str, dynamodb_local_url: str) -> None:
    events = batches(changes(SAMPLE, 100))
    with counted(name, dynamodb_local_url) as sink:
        together = check.figures_of(sink, events)
    with counted(name, dynamodb_local_url) as sink:
        one_by_one = replace(sink.function, sink=OneByOne(sink.function.sink))
        each = check.figures_of(replace(sink, function=one_by_one), events)
    assert together["requests"] < 0.1
    worse = {c.what for c in check.compare({name: each}, EXPECTED) if c.worse}
    assert "requests" in worse


@pytest.mark.parametrize(("factor", "code"), [(1.0, 0), (1.01, 0), (0.9, 0), (1.2, 1), (0.0, 1)])
def test_more_than_is_written_down_or_nothing_is_an_exit_code(
    factor: float, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {
        sink: {what: factor * figure for what, figure in figures.items()}
        for sink, figures in EXPECTED.items()
        if sink != "python"
    }
    monkeypatch.setattr(check, "measure", lambda: found)
    assert check.main([]) == code
