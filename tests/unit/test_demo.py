"""The demo: options, errors as sentences, and output."""

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

from dynamodb_streams_cdc.entities import Entity, Table, exactly
from dynamodb_streams_cdc.testing.stories import StoriesError, Story
from lambdas import example_domain
from local import demo, report
from local.console import DemoConsole
from local.items import NO_ENTITY
from local.scenarios.lag import Lag, LagSampler
from local.scenarios.phases import NO_REASON, refuse_full_disk
from local.scenarios.poison_latency import PoisonLatency, SinkLatency
from local.services.errors import ServiceError
from local.services.guarded import GuardedProcess
from local.verify import Comparison, Difference, ReadError, SinkComparison
from local.workload.stories import Survey
from local.workload.traffic import Finished, Written
from tests.example_domain.told import told, told_orders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from local.workload.stories import ItemStory

PROFILE = {"name": "Ada", "segment": "new", "since": "1997-01-01T00:00:00Z"}


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
        (ServiceError("Port 9201 is in use."), 1, "Port 9201 is in use."),
        (StoriesError("x, line 3: expected a date."), 1, "x, line 3: expected a date."),
        (ReadError("OpenSearch does not answer."), 1, "OpenSearch does not answer."),
        (OSError(errno.ENOSPC, "No space left", "/tmp/x"), 1, "The disk is full (/tmp/x)"),
        (
            PermissionError(errno.EACCES, "Permission denied", "build"),
            1,
            "Permission denied: build",
        ),
        (EndpointConnectionError(endpoint_url="http://x"), 1, "The AWS emulator failed: Could not"),
        (KeyboardInterrupt(), 130, "Interrupted: every service is stopped"),
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

    assert demo.main({}) == status
    assert capsys.readouterr().out.startswith(sentence)


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_stops_everything_and_says_so(
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

    assert demo.main({}) == status

    said = capsys.readouterr().out
    assert said == f"{sent.name}: every service is stopped and its folder removed.\n"
    assert unwound == [True]
    assert signal.getsignal(sent) is before


def test_a_hangup_ends_it_though_the_terminal_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(options: demo.Options, console: DemoConsole) -> int:
        os.kill(os.getpid(), signal.SIGHUP)
        return 0

    def gone(*_: object, **options: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(demo, "run_demo", run)
    monkeypatch.setattr(DemoConsole, "line", gone)
    assert demo.main({}) == 129


def test_options_are_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def run(options: demo.Options, console: DemoConsole) -> int:
        asked.append(options)
        return 0

    monkeypatch.setattr(demo, "run_demo", run)
    variables = {"DATA": "a.txt", "LIMIT": "7", "SEARCH_URL": "", "KEEP": "1", "POISON": "5"}
    chaos = {"CHAOS": "1", "SEED": "42", "KEEP": "0", "POISON": "0"}
    cluster = {"SEARCH_URL": "http://127.0.0.1:1/"}

    assert [demo.main(each) for each in ({}, variables, chaos, cluster)] == [0] * 4

    assert asked == [
        demo.Options(),
        demo.Options(Path("a.txt"), 7, None, keep=True, poison=5),
        demo.Options(chaos=True, seed=42),
        demo.Options(search_url="http://127.0.0.1:1"),
    ]


def test_flags_are_refused_with_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main({}, ["--limit", "7"]) == 2
    assert capsys.readouterr().out.startswith("usage: make demo [DATA=file] [LIMIT=n]")


@pytest.mark.parametrize(
    ("name", "texts", "expected"),
    [
        ("LIMIT", ["0", "-1", "ten", "1.5", "²"], "a whole number of at least 1"),
        ("POISON", ["-1", "none"], "a whole number of at least 0"),
        ("SEED", ["-1", "[bold]"], "a whole number of at least 1"),
        ("CHAOS", ["yes", "2"], "1 or 0"),
        ("KEEP", ["true", ":x:"], "1 or 0"),
        ("SEARCH_URL", ["foo", "127.0.0.1:9200", "ftp://h:1"], "a scheme, a host and a port"),
    ],
)
def test_a_wrong_option_is_named_before_a_service_starts(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    texts: Sequence[str],
    expected: str,
) -> None:
    monkeypatch.setattr(demo, "run_demo", None)
    for text in texts:
        assert demo.main({name: text}) == 2
        said = capsys.readouterr().out
        assert said.startswith(f"make demo: {name}={text}: expected {expected}")
        assert "usage: make demo" in said


def test_chaos_and_poison_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main({"CHAOS": "1", "POISON": "5"}) == 2
    assert "CHAOS would hide the delays that POISON measures" in capsys.readouterr().out


def play_the_example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "TABLES", example_domain.TABLES)
    monkeypatch.setattr(demo, "stories", example_domain.stories.stories)


def test_poison_without_stories_that_have_any_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def healthy(table: str, seed: int, data: Path | None) -> Iterator[Story]:
        return (Story([{"customer_id": "1", "order_id": "PROFILE", **PROFILE}]) for _ in range(1))

    play_the_example(monkeypatch)
    monkeypatch.setattr(demo, "stories", healthy)
    monkeypatch.setattr(demo, "running_pipeline", None)

    assert demo.main({"POISON": "1"}) == 1
    said = capsys.readouterr().out
    assert said.startswith("POISON=1: no story in lambdas/domain/stories.py has poison")
    assert said.count("\n") == 1
    assert "The stories are those" not in said

    assert demo.main({"POISON": "1", "LIMIT": "7"}) == 1
    assert capsys.readouterr().out.endswith("The stories are those of LIMIT=7.\n")


@pytest.mark.parametrize("poison", [6, 11, 10_000])
def test_too_much_poison_is_refused_before_a_service_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], poison: int
) -> None:
    monkeypatch.setattr(demo, "running_pipeline", None)
    play_the_example(monkeypatch)

    assert demo.main({"LIMIT": "10", "POISON": str(poison)}) == 1
    said = capsys.readouterr().out
    assert f"POISON={poison:,}: there are 10 stories" in said
    assert said.endswith("The stories are those of LIMIT=10.\n")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "The stories are those of DATA="),
        ("00001 19970101 one 11.77\n", "line 1: expected the number of CDs"),
    ],
)
def test_a_wrong_file_is_refused_before_a_service_starts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    sentence: str,
) -> None:
    monkeypatch.setattr(demo, "running_pipeline", None)
    play_the_example(monkeypatch)
    file = tmp_path / "purchases.txt"
    file.write_text(text)

    assert demo.main({"DATA": str(file)}) == 1
    said = capsys.readouterr().out
    assert sentence in said
    assert str(file) in said


def test_a_full_disk_is_named_as_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=4096))

    with pytest.raises(ServiceError, match=r"is full \(4,096 bytes left\)"):
        refuse_full_disk()


def sinks(*differences: Difference, compared: int = 3) -> tuple[SinkComparison, ...]:
    return (SinkComparison("aggregation", compared, "3 rows", differences),)


def test_the_verdict_is_the_last_line(console: DemoConsole) -> None:
    equal = Comparison(1, sinks())

    assert report.verdict(console, equal)
    assert printed(console).splitlines()[-1] == "every sink equals the table"


def test_the_verdict_leaves_out_a_sink_without_a_check(console: DemoConsole) -> None:
    rooms = Table("hotel", {"id": "S"}, (Entity("room", sinks={"board": dict, "mail": dict}),))
    guests = Table("guests", {"id": "S"}, (Entity("guest", sinks={"board": dict}),))
    assert report.verdict(console, Comparison(1, sinks()), [rooms, guests])
    last = printed(console).splitlines()[-1]
    assert last == "every compared sink equals the table; not compared: board, mail"


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (Comparison(1, sinks(compared=0)), "aggregation: nothing to compare"),
        (
            Comparison(1, sinks(Difference("aggregation", "different", "month", "revenue", 1, 2))),
            "month: revenue should be 1, is 2",
        ),
    ],
)
def test_a_difference_in_any_sink_prevents_the_verdict(
    console: DemoConsole, found: Comparison, sentence: str
) -> None:
    assert not report.verdict(console, found)
    assert sentence in printed(console)
    assert report.VERDICT not in printed(console)


def test_a_copy_that_was_never_made_is_not_without_stories(console: DemoConsole) -> None:
    missing = Difference("search", "missing", "00004", "", {"total": 1}, None)
    found = Comparison(1, (SinkComparison("search", 0, "0 fields", (missing,)),))

    assert not report.verdict(console, found)
    said = printed(console)
    assert "00004 is missing; should be" in said
    assert "nothing to compare" not in said


def latency(ratio: float) -> PoisonLatency:
    alone, together = Lag(100, 1.0, 2.0), Lag(90, 1.0, 2.0 * ratio)
    unknown = SinkLatency("search", alone, None)
    return PoisonLatency((SinkLatency("aggregation", alone, together), unknown), 50, 20, 0)


def test_a_delay_beyond_the_goal_is_printed(console: DemoConsole) -> None:
    report.poison_latency(console, latency(1.75))

    said = printed(console)
    assert "aggregation: p99 is 1.75 times as long; the goal is 1.5 at most" in said
    assert "search: too few items to measure a delay" in said
    assert "Batches in these phases: 50, of which 20 with poison; 0 delivered again." in said


def test_a_delay_within_the_goal_is_a_number_only(console: DemoConsole) -> None:
    report.poison_latency(console, latency(1.49))

    assert "1.49" in printed(console)
    assert "the goal" not in printed(console)


def test_poison_is_listed_by_defect_with_some_items(console: DemoConsole) -> None:
    stories = list(told_orders(8))
    items = {
        each.item: replace(each, poison=stories[0 if place < 6 else 1].poison)
        for place, each in enumerate(stories)
    }

    report.poison(console, items)

    names = [each.item for each in stories]
    heading, *lines = printed(console).splitlines()[1:]
    assert heading.startswith("Poison: 8 items")
    assert lines[0].split() == ["6", *["a", "total", "that", "is", "text"], *names[:5], "..."]
    assert lines[1].split() == ["2", *["lines", "that", "do", "not", "add", "up"], *names[6:]]


def test_many_differences_are_counted_and_some_printed(console: DemoConsole) -> None:
    many = [Difference("aggregation", "different", f"[m{n}]", "x", 1, 2) for n in range(25)]

    report.verdict(console, Comparison(1, sinks(*many)))

    assert "aggregation: 25 differences" in printed(console)
    assert "[m19]: x should be 1, is 2" in printed(console)
    assert "[m20]" not in printed(console)
    assert "... and 5 more" in printed(console)


def test_sums_of_the_largest_group_are_added_over_shards(console: DemoConsole) -> None:
    rows = [
        {"aggregate": "month#1997-01", "shard": Decimal(0), "revenue": Decimal("60.50")},
        {"aggregate": "month#1997-01", "shard": Decimal(1), "revenue": Decimal("39.50")},
        {
            "aggregate": "month#1997-02",
            "shard": Decimal(1),
            "revenue": Decimal("50"),
            "orders": Decimal(3),
        },
        {"aggregate": "status#placed", "shard": Decimal(1), "orders": Decimal(4)},
    ]

    report.sums(console, rows)

    title, january, february = printed(console).splitlines()[-3:]
    assert title == "Sums of revenue by month, read from the aggregates table"
    assert january.split()[:2] == ["1997-01", "100.00"]
    assert february.count("█") * 2 == january.count("█") > 0


def test_many_sums_are_cut_and_none_is_printed_without_rows(console: DemoConsole) -> None:
    report.sums(console, [])
    assert printed(console) == ""

    report.sums(console, [{"aggregate": f"n#{n:02}", "shard": 0, "x": 1} for n in range(25)])

    assert len(printed(console).splitlines()) == 1 + 1 + 20 + 1
    assert printed(console).splitlines()[-1].strip() == "... and 5 more"


def test_the_transcript_on_the_page_ends_as_a_run_does(console: DemoConsole) -> None:
    report.where_to_look(console)

    page = (Path(__file__).parents[2] / "docs" / "tutorial" / "demo.md").read_text()
    assert f"{printed(console)}\nevery sink equals the table\n```" in page


def test_the_comparison_names_sinks_entities_and_several_tables(console: DemoConsole) -> None:
    def found(*tables: str) -> Comparison:
        return Comparison(
            5, tuple(SinkComparison("search", 3, "9 fields", (), t, "room", "docs") for t in tables)
        )

    report.comparison(console, found("rooms"))
    assert "rooms" not in printed(console)
    report.comparison(console, found("rooms", "guests"))

    for part in ("5 items in the table", "search", "room", "3 docs", "9 fields", "guests"):
        assert part in printed(console)


def test_numbers_name_the_stories_of_each_entity(console: DemoConsole) -> None:
    survey = Survey(3, {("rooms", "room"): 2, ("guests", "guest"): 1}, [False] * 3)

    report.numbers(console, Written(3, 7, 1, {"a": 6}, 2.0), 3.0, survey)

    assert "3 stories: 2 of rooms room, 1 of guests guest" in printed(console)
    assert "7 writes in 2.0 s (4/s): 6 changes, 1 without effect" in printed(console)
    assert "6 changes in every sink after 3.0 s (2/s)" in printed(console)


def test_stories_that_show_nothing_are_named(console: DemoConsole) -> None:
    entities = (Entity("room", {"id": exactly("R")}), Entity("guest", {"id": exactly("G")}))
    table = Table("hotel", {"id": "S"}, entities)
    everything = {("hotel", "room"): 2, ("hotel", "guest"): 1}
    report.not_compared(console, [table], Survey(3, everything, [False] * 3))
    assert printed(console) == ""

    some = {("hotel", "room"): 2, ("hotel", NO_ENTITY): 1}
    report.not_compared(console, [table], Survey(3, some, [False] * 3))
    assert "1 stories of hotel are of no entity" in printed(console)
    assert "guest of hotel is not compared: no story is of it." in printed(console)


@pytest.mark.parametrize("odd", ["root:x:0:0", ":x:", "[bold]x[/]", "[/]", "[red", "a\\[b]"])
def test_echoed_text_is_not_read_as_markup(console: DemoConsole, odd: str) -> None:
    console.line(f"ORDERS={odd}: no file", "red")
    with console.stage("Waiting") as stage:
        stage.outcome = f"Found {odd}"
    report.sums(console, [{"aggregate": f"month#{odd}", "revenue": Decimal(1)}])
    assert [line.count(odd) for line in printed(console).splitlines() if odd in line] == [1, 1, 1]


def test_control_characters_of_echoed_text_are_escaped(console: DemoConsole) -> None:
    console.line("\x1b[2J\u202e")
    with console.stage("Waiting") as stage:
        stage.outcome = "\x1b[2J\u202e"
    report.sums(console, [{"aggregate": "month#\x1b[2J\u202e", "revenue": Decimal(1)}])
    assert printed(console).count("\\u001b[2J\\u202e") == 3
    assert not {"\x1b", "\u202e"} & {*printed(console)}


def test_a_stage_in_a_log_has_a_first_and_a_last_line(console: DemoConsole) -> None:
    with console.stage("Working") as stage:
        stage.say("[still] at it")
        stage.outcome = "Worked [well]"

    assert printed(console).splitlines()[0] == "Working ..."
    assert "Worked [well]" in printed(console).splitlines()[1]


class Probe:
    """A sink that tells the last state from earlier ones if there are some."""

    def __init__(self, error: Exception | None = None) -> None:
        self.seen: list[str] = []
        self._error = error

    def follows(self, story: ItemStory) -> bool:
        return story.last is not None and story.last not in story.states[:-1]

    def shown(self, finished: Sequence[Finished]) -> set[str]:
        if self._error is not None:
            raise self._error
        self.seen += [each.item for each in finished]
        return {each.item for each in finished}


def test_lags_are_measured_on_items_with_a_distinct_end() -> None:
    probe, offered, turn = Probe(), list[str](), 0

    with LagSampler({"audit": probe}, every=2) as sampler:
        for story in told(60):
            sampler.offer(Finished(story, 0.0))
            turn += 1
            if turn >= 2 and probe.follows(story):
                offered.append(story.item)
                turn = 0
        sampler.finish(10)

    lag = sampler.lags()["audit"]
    assert lag.samples == len(probe.seen) == len(offered) > 20
    assert sorted(probe.seen) == sorted(offered)
    assert lag.p99 >= lag.p50 > 0


def test_the_error_of_a_probe_is_raised_again() -> None:
    with LagSampler({"audit": Probe(ReadError("gone"))}, every=1) as sampler:
        for story in told(5):
            sampler.offer(Finished(story, 0.0))
        sampler.finish(10)

    with pytest.raises(ReadError, match="gone"):
        sampler.lags()


def test_the_reason_for_no_progress_is_not_lost_among_metrics(tmp_path: Path) -> None:
    process = GuardedProcess()
    process.folder = tmp_path
    reason = "13 of 18 records are not done: No handler for type [keywrod]"
    noise = [
        "2026-11-30 12:39:12 INFO [lambda] Lambda cdc-local-Audit output:",
        '{"_aws": {"Timestamp": 1796042352898, "CloudWatchMetrics": []}}',
    ]
    process.log.write_text("\n".join([reason, *noise, reason, *noise * 20]))
    assert process.tail(without=NO_REASON) == reason


def test_the_reason_of_now_stays_if_it_was_the_first_one_too(tmp_path: Path) -> None:
    process = GuardedProcess()
    process.folder = tmp_path
    lines = ["Traceback (most recent call last):", "RetryableError: the sink is gone"]
    others = [f"Delivery {n} is slow" for n in range(100)]
    process.log.write_text("\n".join([*lines, *others, *lines]))
    assert process.tail(without=NO_REASON).splitlines()[-2:] == lines
