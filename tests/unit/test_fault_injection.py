"""The chaos report counts effects in the trace of the poller, and nothing else."""

from __future__ import annotations

import io
import os
import subprocess
from contextlib import contextmanager
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from rich.console import Console

from dynamodb_streams_cdc.esm import Invoke
from dynamodb_streams_cdc.esm.poller.runner import (
    ConnectionLost,
    FunctionFailed,
    FunctionReturned,
    NotInvoked,
)
from local import demo
from local.console import DemoConsole
from local.demo import Options, run_demo
from local.deployed.trace import TraceReader, TraceWriter
from local.scenarios import fault_injection
from local.scenarios.chaos_report import InjectedFaults, Observed, show
from local.scenarios.fault_injection import FaultInjection, NoFaults
from local.verify import ReadError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dynamodb_streams_cdc.esm.poller.runner import InvocationOutcome

SEEN = Observed(
    died=1,
    throttled=1,
    redelivered=1,
    retries=1,
    outage=20.0,
    restarts=1,
    cut_off=0,
    lost=0,
    rewinds=0,
)


class Traced:
    """A trace that a test writes and reads."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "trace.jsonl"
        self.writer = TraceWriter(self.path)
        self.reader = TraceReader(self.path)

    def begin(self, *numbers: int, function: str = "audit") -> str:
        records = [{"dynamodb": {"SequenceNumber": str(number)}} for number in numbers]
        return self.writer.begin(function, Invoke(1, {"Records": records}, "shard", 0, 1))

    def call(self, *numbers: int, answer: InvocationOutcome, function: str = "audit") -> None:
        self.writer.end(self.begin(*numbers, function=function), answer)

    def read(self) -> TraceReader:
        self.reader.read()
        return self.reader


@pytest.fixture
def trace(tmp_path: Path) -> Iterator[Traced]:
    made = Traced(tmp_path)
    yield made
    made.writer.close()


def test_calls_are_counted_by_outcome(trace: Traced) -> None:
    answers: list[InvocationOutcome] = [
        FunctionReturned({"batchItemFailures": []}),
        FunctionReturned(None),
        FunctionReturned({"batchItemFailures": [{"itemIdentifier": "1"}]}),
        FunctionFailed("Runtime.HandlerError: Worker process died"),
        FunctionFailed("RuntimeError: Worker process exited immediately. stderr: "),
        FunctionFailed("KeyError: total"),
        NotInvoked("An error occurred (TooManyRequestsException) when calling Invoke"),
        NotInvoked("connection refused"),
        ConnectionLost(),
    ]
    for answer in answers:
        trace.call(1, answer=answer)
    trace.begin(1)
    trace.writer.rewound("mapping")
    found = trace.read()
    assert dict(found.outcomes()) == {
        "done": 2,
        "reported": 1,
        "died": 2,
        "failed": 1,
        "throttled": 1,
        "not invoked": 1,
        "lost": 1,
        "cut off": 1,
    }
    assert found.rewinds == 1


def test_only_processed_records_count_as_redelivered(trace: Traced) -> None:
    trace.call(1, 2, answer=FunctionFailed("Worker process died"))
    trace.call(1, 2, answer=NotInvoked("TooManyRequestsException"))
    trace.call(1, 2, answer=FunctionReturned(None))
    assert trace.read().redelivered == 0
    trace.call(1, 2, answer=FunctionReturned(None), function="search")
    trace.call(2, 3, answer=NotInvoked("TooManyRequestsException"))
    assert trace.read().redelivered == 0
    trace.call(2, 3, answer=ConnectionLost())
    assert trace.read().redelivered == 1
    trace.begin(1, 2, 3)
    assert trace.read().redelivered == 4


def test_a_retry_is_a_call_with_records_that_failed(trace: Traced) -> None:
    trace.call(1, 2, 3, answer=FunctionFailed("KeyError"))
    trace.call(1, 2, 3, answer=FunctionReturned(None), function="search")
    trace.call(4, answer=NotInvoked("TooManyRequestsException"))
    trace.call(4, answer=FunctionReturned(None))
    assert trace.read().retries == 0
    trace.call(1, 2, answer=FunctionReturned(None))
    trace.call(3, answer=FunctionReturned(None))
    trace.call(3, answer=FunctionReturned(None))
    assert trace.read().retries == 2


def test_calls_under_way_are_those_of_the_living_process(trace: Traced) -> None:
    ended, waiting = trace.begin(1), trace.begin(2, function="search")
    trace.writer.end(ended, FunctionReturned(None))
    assert waiting
    assert [call.function for call in trace.read().under_way(os.getpid())] == ["search"]
    assert trace.read().under_way(os.getpid() + 1) == []


def test_a_line_that_is_still_being_written_is_read_later(trace: Traced) -> None:
    call = trace.begin(1)
    whole = trace.path.read_bytes()
    trace.path.write_bytes(whole[:20])
    assert trace.read().calls == {}
    trace.path.write_bytes(whole)
    assert list(trace.read().calls) == [call]
    assert list(trace.read().calls) == [call]


@pytest.mark.parametrize(
    "name", ["died", "throttled", "redelivered", "retries", "outage", "restarts"]
)
def test_an_effect_that_was_not_observed_is_a_problem(name: str) -> None:
    assert SEEN.missing == []
    zero: Any = {name: 0}
    assert len(replace(SEEN, **zero).missing) == 1


def test_effects_that_depend_on_chance_may_be_zero() -> None:
    required = {"died", "throttled", "redelivered", "retries", "outage", "restarts"}
    chance = {field.name for field in fields(Observed)} - required
    assert replace(SEEN, **dict.fromkeys(chance, 0)).missing == []


def test_the_chaos_report_shows_each_count() -> None:
    output = io.StringIO()
    console = DemoConsole(Console(file=output, width=160))
    observed = replace(SEEN, died=7, redelivered=1234, cut_off=5)
    show(console, InjectedFaults(kills=9, restarts=1, back_after=29.4), observed)
    shown = output.getvalue()
    for part in ("7", "9 workers killed", "1,234", "answered again after 29", "5 invocations"):
        assert part in shown


class Down:
    """A probe of a sink that does not answer."""

    def follows(self, story: Any) -> bool:
        return True

    def shown(self, finished: Any) -> set[str]:
        message = "OpenSearch does not answer."
        raise ReadError(message)


def test_a_sink_that_is_down_is_tolerated_under_chaos_only() -> None:
    patient = FaultInjection.tolerant(cast("FaultInjection", None), {"search": Down()})["search"]
    assert patient.follows(cast("Any", None))
    assert patient.shown([]) == set()
    strict = NoFaults().tolerant({"search": Down()})["search"]
    with pytest.raises(ReadError):
        strict.shown([])


def test_workers_belong_to_one_function_and_one_emulator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listing = "\n".join(
        [
            "  101     7 python -u /tmp/x/ministack-lambda-audit-abc1/_worker.py",
            "  102     7 python -u /tmp/x/ministack-lambda-audit-two-abc1/_worker.py",
            "  103     8 python -u /tmp/x/ministack-lambda-audit-abc1/_worker.py",
            "  104     7 python -u /tmp/x/ministack-lambda-search-abc1/_worker.py",
            "  105     7 tail -f /tmp/x/ministack-lambda-audit-abc1/log",
            "  106     7",
        ]
    )
    answer = SimpleNamespace(stdout=listing)
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: answer)
    assert fault_injection._workers(7, "audit") == [101]
    assert fault_injection._workers(7, "search") == [104]


def test_chaos_needs_an_opensearch_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main({"CHAOS": "1", "SEARCH_URL": "http://127.0.0.1:9200"}) == 2
    assert "leave SEARCH_URL out" in capsys.readouterr().out


class Unseen(NoFaults):
    def report(self) -> list[str]:
        return ["No invocation was retried."]


@pytest.mark.parametrize(("faults", "status"), [(NoFaults(), 0), (Unseen(), 1)])
def test_an_effect_that_was_not_observed_fails_the_demo(
    monkeypatch: pytest.MonkeyPatch, faults: NoFaults, status: int
) -> None:
    @contextmanager
    def pipeline(*arguments: object) -> Iterator[None]:
        yield

    traffic = SimpleNamespace(run=lambda *arguments, **options: None, written=None)
    monkeypatch.setattr(demo, "running_pipeline", pipeline)
    monkeypatch.setattr(demo, "Traffic", lambda *arguments: traffic)
    monkeypatch.setattr(demo, "_fault_injection", lambda *arguments: faults)
    monkeypatch.setattr(demo, "_compare", lambda *arguments: True)
    output = io.StringIO()
    found = run_demo(Options(limit=20, chaos=True), DemoConsole(Console(file=output)))
    assert found == status
    assert ("No invocation was retried." in output.getvalue()) == bool(status)
