"""`make bench-check` fails when a sink sends more than expected, or writes dead letters."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from benchmarks import check
from benchmarks.harness.records import batches, changes
from benchmarks.suites import sinks
from benchmarks.suites.sinks import NAMES, counted
from dynamodb_streams_cdc import Change, Deadline, Image, Outcome, PermanentError, Sink
from dynamodb_streams_cdc.control import backfill, verification
from lambdas.example_domain.stories.purchases import SAMPLE

EXPECTED = json.loads(check.EXPECTED.read_text("utf-8"))


@dataclass(frozen=True)
class OneByOne:
    """A sink that hands on one change at a time."""

    sink: Sink

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Outcome:
        outcome = Outcome()
        for change in changes:
            outcome += self.sink.apply([change], deadline)
        return outcome


@pytest.mark.parametrize("name", NAMES)
def test_one_request_per_record_is_red(name: str, dynamodb_local_url: str) -> None:
    events = batches(changes(SAMPLE, 100))
    with counted(name, dynamodb_local_url) as sink:
        together = check.figures_of(sink, events)
    with counted(name, dynamodb_local_url) as sink:
        wrapped = OneByOne(cast("Sink", sink.function.sink))
        one_by_one = replace(sink.function, sink=wrapped)
        each = check.figures_of(replace(sink, function=one_by_one), events)
    assert together["requests"] < 0.1
    more = {c.what for c in check.compare({name: each}, EXPECTED) if c.verdict == "more"}
    assert "requests" in more


def test_one_more_request_per_page_is_red(
    dynamodb_local_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "PAGE_ITEMS", verification.PAGE_ITEMS // 2)
    monkeypatch.setattr(backfill, "PAGE_ITEMS", backfill.PAGE_ITEMS // 2)
    found = check.operated("search", dynamodb_local_url)
    figures = {f"search, {work}": cost for work, cost in found.items()}
    more = {c.sink for c in check.compare(figures, EXPECTED) if c.verdict == "more"}
    assert more >= {"search, backfill", "search, verify"}


@pytest.mark.parametrize("work", [each for each in EXPECTED if each != "python"])
def test_one_more_request_per_batch_is_red(work: str) -> None:
    """A batch of the mapping has 100 changes, a page of an operator more."""
    figures = EXPECTED[work]
    more = {work: figures | {"requests": figures["requests"] + 2 / check.CHANGES}}
    [red] = [each for each in check.compare(more, EXPECTED) if each.verdict]
    assert (red.what, red.verdict) == ("requests", "more")


@pytest.mark.parametrize(
    ("factor", "code", "says"),
    [
        (1.0, 0, "No change costs more"),
        (1.01, 0, "No change costs more"),
        (0.95, 0, "No change costs more"),
        (1.2, 1, "costs more than expected"),
        (0.5, 1, "Less than expected"),
        (0.0, 1, "Less than expected"),
    ],
)
def test_a_difference_from_the_expected_cost_fails(
    factor: float,
    code: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = {
        sink: {
            what: figure * (min(factor, 1) if what == "requests" else factor)
            for what, figure in figures.items()
        }
        for sink, figures in EXPECTED.items()
        if sink != "python"
    }
    monkeypatch.setattr(check, "measure", lambda: found)
    assert check.main([]) == code
    assert says in capsys.readouterr().out


def test_calls_and_memory_may_fall() -> None:
    found = {
        sink: figures | {"calls": figures["calls"] / 2, "peak_bytes": figures["peak_bytes"] / 2}
        for sink, figures in EXPECTED.items()
        if sink != "python"
    }
    compared = list(check.compare(found, {**EXPECTED, "python": check.PYTHON}))
    assert {each.what for each in compared} == set(check.TOLERANCE)
    assert not any(each.verdict for each in compared)


@pytest.mark.parametrize("arguments", [[], ["--update"]])
def test_a_dead_letter_is_red(
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    def document(image: Image) -> dict[str, Any]:
        if image["status"] != "refunded":  # fewer than half: more would open the breaker
            return dict(image)
        message = "no such status"
        raise PermanentError(message, "UnknownStatus")

    monkeypatch.setattr(sinks, "document", document)
    monkeypatch.setattr(check, "NAMES", ("search",))
    monkeypatch.setattr(check, "CHANGES", 600)  # the first 500 have no refund
    monkeypatch.setattr(check, "EXPECTED", tmp_path / "expected.json")
    assert check.main(arguments) == 1
    said = capsys.readouterr().err
    assert re.match(r"search: \d+ changes became dead letters", said)
    assert "UnknownStatus: no such status" in said
    assert not check.EXPECTED.exists()
