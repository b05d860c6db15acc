"""The demo's manners: options, sentences instead of tracebacks, and what it prints."""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import EndpointConnectionError
from rich.console import Console

from local import demo, report
from local.console import DemoConsole
from local.scenarios.lag import Lag, LagSampler
from local.scenarios.phases import refuse_full_disk
from local.scenarios.poison_latency import Influence, Turns
from local.services.errors import EngineError
from local.verify import Difference, Inserts, ReadError, Report, SinkReport
from local.workload.life_cycle import life_cycle
from local.workload.poison import KINDS
from local.workload.purchases import SAMPLE, PurchasesError, Survey, read_purchases, survey
from local.workload.traffic import Finished

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from local.workload.traffic import Key

EXPECTED = Survey(1, 1, Decimal("9.50"), *(survey(SAMPLE, 1).first,) * 2)


@pytest.fixture(autouse=True)
def no_options(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ORDERS", "LIMIT", "SEARCH_URL", "KEEP", "CHAOS", "POISON", "SEED"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def console() -> DemoConsole:
    return DemoConsole(Console(file=io.StringIO(), highlight=False))


def printed(console: DemoConsole) -> str:
    assert isinstance(console.console.file, io.StringIO)
    return console.console.file.getvalue()


def ending_in(error: BaseException) -> Callable[[demo.Options, DemoConsole], int]:
    def run(options: demo.Options, console: DemoConsole) -> int:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (EngineError("Port 9201 is in use."), 1, "Port 9201 is in use."),
        (PurchasesError("x, line 3: expected a date."), 1, "x, line 3: expected a date."),
        (ReadError("OpenSearch does not answer."), 1, "OpenSearch does not answer."),
        (OSError(errno.ENOSPC, "No space left", "/tmp/x"), 1, "The disk is full (/tmp/x)"),
        (
            PermissionError(errno.EACCES, "Permission denied", "build"),
            1,
            "Permission denied: build",
        ),
        (EndpointConnectionError(endpoint_url="http://x"), 1, "The AWS emulator failed: Could not"),
        (KeyboardInterrupt(), 130, "Interrupted: every engine is stopped"),
    ],
)
def test_a_failure_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    sentence: str,
) -> None:
    monkeypatch.setattr(demo, "run_demo", ending_in(error))

    assert demo.main([]) == status
    assert capsys.readouterr().out.startswith(sentence)


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_polite_end_unwinds(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sent: signal.Signals,
    status: int,
) -> None:
    unwound = []

    def run(options: demo.Options, console: DemoConsole) -> int:
        try:
            os.kill(os.getpid(), sent)
            return 0
        finally:
            # A second one, while everything is being stopped, changes nothing.
            os.kill(os.getpid(), sent)
            unwound.append(True)

    monkeypatch.setattr(demo, "run_demo", run)
    before = signal.getsignal(sent)

    assert demo.main([]) == status

    said = capsys.readouterr().out
    assert said == f"{sent.name}: every engine is stopped and its folder removed.\n"
    assert unwound == [True]
    assert signal.getsignal(sent) is before


def test_a_hangup_that_takes_the_terminal_away_still_ends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(options: demo.Options, console: DemoConsole) -> int:
        os.kill(os.getpid(), signal.SIGHUP)
        return 0

    def gone(*_: object, **options: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(demo, "run_demo", run)
    monkeypatch.setattr(DemoConsole, "line", gone)
    assert demo.main([]) == 129


def test_options_come_from_the_environment_or_from_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def run(options: demo.Options, console: DemoConsole) -> int:
        asked.append(options)
        return 0

    monkeypatch.setattr(demo, "run_demo", run)
    for name, value in {"ORDERS": "a.txt", "LIMIT": "7", "SEARCH_URL": "", "KEEP": "1"}.items():
        monkeypatch.setenv(name, value)

    demo.main([])
    demo.main(["--orders", "b.txt", "--limit", "8", "--search-url", "http://127.0.0.1:1"])
    monkeypatch.setenv("POISON", "5")
    demo.main([])
    demo.main(["--poison", "6"])

    asked_of_make = demo.Options(Path("a.txt"), 7, None, keep=True)
    assert asked == [
        asked_of_make,
        demo.Options(Path("b.txt"), 8, "http://127.0.0.1:1", keep=True),
        replace(asked_of_make, poison=5),
        replace(asked_of_make, poison=6),
    ]


@pytest.mark.parametrize("name", ["LIMIT", "POISON", "SEED"])
@pytest.mark.parametrize("text", ["0", "-1", "ten", "1.5", "²"])
def test_a_number_that_is_none_is_called_as_make_calls_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, text: str
) -> None:
    monkeypatch.setenv(name, text)

    with pytest.raises(SystemExit) as ended:
        demo.main([])

    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert f"{name}={text}: expected a whole number of at least 1, found {text!r}" in said
    assert "--" not in said


def test_a_flag_is_called_as_it_was_typed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        demo.main(["--poison", "none"])

    assert "argument --poison: expected a whole number" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--orders", "--search-url", "--limit", "--poison", "--seed"])
def test_an_empty_value_is_refused(capsys: pytest.CaptureFixture[str], flag: str) -> None:
    with pytest.raises(SystemExit) as ended:
        demo.main([flag, ""])

    assert ended.value.code == 2
    assert f"argument {flag}: " in capsys.readouterr().err


def test_chaos_and_poison_are_two_demos(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHAOS", "1")
    monkeypatch.setenv("POISON", "5")

    with pytest.raises(SystemExit):
        demo.main([])

    [*_, said] = capsys.readouterr().err.splitlines()
    assert said.startswith("make demo: error: POISON measures what poison delays")


@pytest.mark.parametrize("poison", [6, 11, 10_000])
def test_more_poison_than_health_stops_before_anything_is_started(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], poison: int
) -> None:
    monkeypatch.setattr(demo, "running_pipeline", None)

    assert demo.main(["--limit", "10", "--poison", str(poison)]) == 1
    assert f"POISON={poison:,}: there are 10 purchases" in capsys.readouterr().out


def test_a_malformed_file_stops_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "running_pipeline", None)
    file = tmp_path / "purchases.txt"
    file.write_text("00001 19970101 one 11.77\n")

    assert demo.main(["--orders", str(file)]) == 1
    assert "line 1: expected the number of CDs" in capsys.readouterr().out


def test_a_disk_that_filled_up_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=4096))

    with pytest.raises(EngineError, match=r"is full \(4,096 bytes left\)"):
        refuse_full_disk()


def sinks(*differences: Difference, compared: int = 3) -> tuple[SinkReport, ...]:
    return (SinkReport("aggregates", compared, "3 rows", differences),)


def test_the_verdict_is_the_last_line(console: DemoConsole) -> None:
    equal = Report(1, sinks(), Inserts(1, Decimal("9.50")))

    assert report.verdict(console, equal, EXPECTED)
    assert printed(console).splitlines()[-1] == "every sink equals the table"


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (Report(1, sinks(), Inserts(1, Decimal("9.49"))), "read back from the audit log are not"),
        (Report(1, sinks(compared=0), Inserts(1, Decimal("9.50"))), "nothing was there to compare"),
        (
            Report(
                1,
                sinks(Difference("aggregates", "different", "month", "revenue", 1, 2)),
                Inserts(1, Decimal("9.50")),
            ),
            "month: revenue should be 1, is 2",
        ),
    ],
)
def test_a_difference_anywhere_is_no_verdict(
    console: DemoConsole, found: Report, sentence: str
) -> None:
    assert not report.verdict(console, found, EXPECTED)
    assert sentence in printed(console)
    assert report.VERDICT not in printed(console)


def turned(ratio: float) -> Turns:
    alone, beside = Lag(100, 1.0, 2.0), Lag(90, 1.0, 2.0 * ratio)
    unknown = Influence("search index", alone, None)
    return Turns((Influence("aggregates", alone, beside), unknown), 50, 20, 0)


def test_a_delay_beyond_the_goal_is_said(console: DemoConsole) -> None:
    report.turns(console, turned(1.75))

    said = printed(console)
    assert "aggregates: the goal is at most 1.5 times as long; 1.75 were measured" in said
    assert "search index: too few orders to tell a delay" in said
    assert "Batches in these rounds: 50, of which 20 with poison; 0 delivered again." in said


def test_a_delay_within_the_goal_is_a_number(console: DemoConsole) -> None:
    report.turns(console, turned(1.49))

    assert "1.49" in printed(console)
    assert "the goal" not in printed(console)


def test_poison_is_listed_by_kind_with_some_of_its_orders(console: DemoConsole) -> None:
    orders = {("1", f"1-000{n}"): KINDS[n // 6] for n in range(8)}

    report.poison(console, orders)

    heading, first, second = printed(console).splitlines()[1:]
    assert heading.startswith("Hidden: 8 orders")
    assert first.split() == ["6", *KINDS[0].name.split(), *(f"1-000{n}" for n in range(5)), "..."]
    assert second.split() == ["2", *KINDS[1].name.split(), "1-0006", "1-0007"]


def test_many_differences_are_counted_and_the_first_ones_shown(console: DemoConsole) -> None:
    many = [Difference("aggregates", "different", f"[m{n}]", "x", 1, 2) for n in range(25)]

    report.verdict(console, Report(1, sinks(*many), Inserts()), EXPECTED)

    assert "aggregates: 25 differences" in printed(console)
    assert "[m19]: x should be 1, is 2" in printed(console)
    assert "[m20]" not in printed(console)
    assert "... and 5 more" in printed(console)


def test_revenue_is_summed_over_shards(console: DemoConsole) -> None:
    rows = [
        {"aggregate": "month#1997-01", "shard": Decimal(0), "revenue": Decimal("60.50")},
        {"aggregate": "month#1997-01", "shard": Decimal(1), "revenue": Decimal("39.50")},
        {"aggregate": "month#1997-02", "shard": Decimal(1), "revenue": Decimal("50")},
        {"aggregate": "status#placed", "shard": Decimal(1), "orders": Decimal(4)},
    ]

    report.revenue(console, rows)

    january, february = printed(console).splitlines()[-2:]
    assert january.split()[:2] == ["1997-01", "100.00"]
    assert february.count("█") * 2 == january.count("█") > 0


@pytest.mark.parametrize("odd", ["root:x:0:0", "[bold]x[/]", "[/]", "[red", "a\\[b]"])
def test_what_is_echoed_is_no_markup(console: DemoConsole, odd: str) -> None:
    console.line(f"ORDERS={odd}: no file", "red")
    with console.stage("Waiting") as stage:
        stage.outcome = f"Found {odd}"
    report.revenue(console, [{"aggregate": f"month#{odd}", "revenue": Decimal(1)}])
    assert [line.count(odd) for line in printed(console).splitlines() if odd in line] == [1, 1, 1]


def test_what_is_echoed_commands_no_terminal(console: DemoConsole) -> None:
    console.line("\x1b[2J\u202e")
    with console.stage("Waiting") as stage:
        stage.outcome = "\x1b[2J\u202e"
    report.revenue(console, [{"aggregate": "month#\x1b[2J\u202e", "revenue": Decimal(1)}])
    assert printed(console).count("\\u001b[2J\\u202e") == 3
    assert not {"\x1b", "\u202e"} & {*printed(console)}


def test_a_stage_in_a_log_is_a_line_at_its_begin_and_one_at_its_end(console: DemoConsole) -> None:
    with console.stage("Working") as stage:
        stage.say("[still] at it")
        stage.outcome = "Worked [well]"

    assert printed(console).splitlines()[0] == "Working ..."
    assert "Worked [well]" in printed(console).splitlines()[1]


def test_lags_are_measured_on_orders_whose_last_state_is_their_own() -> None:
    seen: list[Key] = []

    def look(orders: Sequence[Finished]) -> set[Key]:
        seen.extend(each.key for each in orders)
        return {each.key for each in orders}

    with LagSampler({"audit log": look}, every=2) as sampler:
        offered = 0
        for purchase in read_purchases(SAMPLE, 40):
            steps = life_cycle(purchase, 1)
            sampler.offer(Finished((purchase.customer, str(purchase.number)), steps, 0.0))
            last = steps[-1].after
            offered += last is not None and last["status"] != "placed"
        sampler.finish(10)

    lag = sampler.lags()["audit log"]
    assert lag.samples == len(seen) == offered // 2
    assert lag.p99 >= lag.p50 > 0


def test_a_look_that_fails_is_not_swallowed() -> None:
    def look(orders: Sequence[Finished]) -> set[Key]:
        msg = "gone"
        raise ReadError(msg)

    with LagSampler({"audit log": look}, every=1) as sampler:
        for purchase in read_purchases(SAMPLE, 5):
            sampler.offer(Finished((purchase.customer, "1"), life_cycle(purchase, 1), 0.0))
        sampler.finish(10)

    with pytest.raises(ReadError, match="gone"):
        sampler.lags()
