"""Runs the whole pipeline on a laptop: deploys it, writes stories, and compares every sink.

    make demo [DATA=file] [LIMIT=n] [SEARCH_URL=url] [KEEP=1] [CHAOS=1 | POISON=n] [SEED=n]

The options are environment variables, which `make` passes on. The exit status is 0 only if every
sink equals the table, 1 if one differs or something failed, 2 for a wrong option, 130 after Ctrl-C.
However it ends, no process and no temporary folder is left.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from dynamodb_streams_cdc.testing.stories import StoriesError
from local import report as show
from local.console import DemoConsole
from local.declaration import TABLES, stories
from local.deployed.pipeline import running_pipeline
from local.scenarios.fault_injection import FaultInjection, NoFaults, poller_faults
from local.scenarios.phases import AT_MOST, UNCHANGED_FOR, Traffic
from local.scenarios.poison_latency import PhasePlan, measure_poison_latency
from local.scenarios.recovery import Recovery
from local.services.errors import ServiceError
from local.services.search_cluster import checked_url
from local.verify import ReadError, compare, settle
from local.workload.poison import Poison
from local.workload.stories import TooFewStories, read_stories, survey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType

    from local.deployed.pipeline import Pipeline
    from local.scenarios.phases import Phase
    from local.workload.stories import ItemStory, Survey
    from local.workload.traffic import Written

_T = TypeVar("_T")
_D = TypeVar("_D")

USAGE = (
    "usage: make demo [DATA=file] [LIMIT=n] [SEARCH_URL=url] [KEEP=1] [SEED=n] [CHAOS=1 | POISON=n]"
)
_ALL_GONE = "every service is stopped and its folder removed."
ONE_BY_ONE = 20  # the last stories, written one by one, to measure the lag of a single change


class OptionsError(Exception):
    """An option is wrong; the message is a sentence that names it."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a demo.

    Attributes:
        data: file that the stories are made from; None for the one that they choose.
        limit: number of stories to write; None for all.
        search_url: of an OpenSearch without sign-in; None to start one.
        keep: whether everything stays up until Ctrl-C.
        chaos: whether faults are injected.
        poison: number of items that some sink cannot apply.
        seed: decides on stories, faults and poison.
    """

    data: Path | None = None
    limit: int | None = None
    search_url: str | None = None
    keep: bool = False
    chaos: bool = False
    poison: int = 0
    seed: int = 1

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Options:
        """Return the options in environment variables; an empty one counts as missing.

        Raises:
            OptionsError: One is wrong, or two exclude each other.
        """

        def given(name: str, parse: Callable[[str], _T], default: _D) -> _T | _D:
            text = variables.get(name)
            if not text:
                return default
            try:
                return parse(text)
            except ValueError as error:
                message = f"{name}={text}: {error}"
                raise OptionsError(message) from error

        found = cls(
            data=given("DATA", Path, None),
            limit=given("LIMIT", _whole, None),
            search_url=given("SEARCH_URL", checked_url, None),
            keep=given("KEEP", _switch, False),
            chaos=given("CHAOS", _switch, False),
            poison=given("POISON", partial(_whole, least=0), 0),
            seed=given("SEED", _whole, 1),
        )
        if found.chaos and found.search_url:
            message = "CHAOS stops OpenSearch, and only its own: leave SEARCH_URL out."
            raise OptionsError(message)
        if found.chaos and found.poison:
            message = "CHAOS would hide the delays that POISON measures: choose one."
            raise OptionsError(message)
        return found


def _whole(text: str, least: int = 1) -> int:
    if not (text.isascii() and text.isdigit() and int(text) >= least):
        message = f"expected a whole number of at least {least}"
        raise ValueError(message)
    return int(text)


def _switch(text: str) -> bool:
    if text not in ("0", "1"):
        message = "expected 1 or 0"
        raise ValueError(message)
    return text == "1"


def run_demo(
    options: Options,
    console: DemoConsole | None = None,
    before_comparison: Callable[[Pipeline, Written], None] = lambda pipeline, written: None,
) -> int:
    """Run the demo and return the exit status.

    `before_comparison` is called when the sinks have all changes; tests damage them there.

    Raises:
        ServiceError, StoriesError, ReadError: The demo cannot run.
    """
    console = console or DemoConsole()
    try:
        expected = survey(_stories(options), options.limit)
        one_by_one = min(ONE_BY_ONE, expected.stories // 10)
        plan = PhasePlan.of(expected, options.poison, one_by_one) if options.poison else None
    except TooFewStories as error:
        given = [f"LIMIT={options.limit}"] * bool(options.limit)
        given += [f"DATA={options.data}"] * bool(options.data)
        if not given:
            raise
        message = f"{error} The stories are those of {' and '.join(given)}."
        raise TooFewStories(message) from error
    poison = Poison(options.seed)
    told = islice(_stories(options), options.limit)
    faults = poller_faults(options.seed) if options.chaos else ()
    with (
        running_pipeline(console, options.search_url, faults) as pipeline,
        _fault_injection(options, console, pipeline) as fault_injection,
    ):
        traffic = Traffic(console, pipeline, options.seed, fault_injection, poison)
        fault_injection.start()
        at_once = expected.stories - one_by_one - (plan.stories if plan else 0)
        pause = fault_injection.pause(at_once)
        fast = traffic.run(fault_injection.pace, told, at_once, pause=pause)
        fault_injection.second_wave()
        latency = plan and measure_poison_latency(traffic, pipeline, poison, plan, told)
        slow = traffic.run("one by one", told, one_by_one, workers=1, open_stories=1, pause=0.25)
        before_comparison(pipeline, traffic.written)
        problems = fault_injection.report()
        if latency:
            show.poison_latency(console, latency)
            recovery = Recovery(console, pipeline, poison, traffic.written, _words(options))
            recovery.run()
            problems += recovery.problems
        equal = _compare(console, pipeline, expected, traffic.written, fast, slow)
        if problems:
            console.line("\nFailed expectations:", "bold red")
        for sentence in problems:
            console.line(sentence, "red")
        if options.keep:
            _hold(console, pipeline)
    return 0 if equal and not problems else 1


def _stories(options: Options) -> Iterator[ItemStory]:
    return read_stories(TABLES, stories, options.seed, options.data)


def _words(options: Options) -> list[str]:
    """Return the options of the command that corrects poison, where they are not its defaults."""
    seed = ["--seed", str(options.seed)] if options.seed != Options().seed else []
    limit = ["--limit", str(options.limit)] if options.limit else []
    return [*seed, *(["--data", str(options.data)] if options.data else []), *limit]


def _fault_injection(
    options: Options, console: DemoConsole, pipeline: Pipeline
) -> FaultInjection | NoFaults:
    return FaultInjection(pipeline, console, options.seed) if options.chaos else NoFaults()


def _compare(
    console: DemoConsole,
    pipeline: Pipeline,
    expected: Survey,
    written: Written,
    fast: Phase,
    slow: Phase,
) -> bool:
    """Compare, print the results, and return the verdict, which is printed last."""
    with console.stage("Comparing every item with every sink") as stage:
        found = settle(
            lambda: compare(pipeline.tables, written.effective),
            unchanged_for=UNCHANGED_FOR,
            at_most=AT_MOST,
        )
        compared = sum(sink.compared for sink in found.sinks)
        stage.outcome = f"Compared: {compared:,} rows, aggregates, documents and histories"
    show.comparison(console, found)
    show.lags(console, slow.lags, fast.lags, fast.how)
    show.numbers(console, fast.written, fast.seconds, expected)
    show.sums(console, (row for copies in pipeline.tables for row in copies.aggregates()))
    tables = [copies.table for copies in pipeline.tables]
    show.not_compared(console, tables, expected)
    show.where_to_look(console)
    return show.verdict(console, found, tables)


def _hold(console: DemoConsole, pipeline: Pipeline) -> None:
    """Keep everything up until Ctrl-C, which then does not count as an interruption."""
    try:
        show.how_to_query(console, pipeline)
        threading.Event().wait()
    except KeyboardInterrupt:
        console.line()


def main(variables: Mapping[str, str] = os.environ, arguments: Sequence[str] = ()) -> int:
    """Run the demo that the variables describe; return the exit status."""
    console = DemoConsole()
    if arguments:
        console.line(USAGE)
        return 2
    with signals_unwind():
        try:
            return run_demo(Options.of(variables), console)
        except OptionsError as error:
            console.line(f"make demo: {error}\n{USAGE}", style="red")
            return 2
        except KeyboardInterrupt:
            console.line(f"Interrupted: {_ALL_GONE}")
            return 128 + signal.SIGINT
        except _Ended as ended:
            # After SIGHUP the terminal may be gone.
            with suppress(OSError):
                console.line(f"{ended.sent.name}: {_ALL_GONE}", style="red")
            return 128 + ended.sent
        except (ServiceError, StoriesError, ReadError) as error:
            console.line(str(error), style="red")
        except (BotoCoreError, ClientError) as error:
            console.line(f"The AWS emulator failed: {error}", style="red")
        except OSError as error:
            console.line(_sentence(error), style="red")
    return 1


def _sentence(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return f"The disk is full ({error.filename or 'no file named'}): free some space."
    return f"{error.strerror or error}: {error.filename or 'no file named'}."


class _Ended(BaseException):
    """A signal ends the demo."""

    def __init__(self, sent: signal.Signals) -> None:
        super().__init__(sent)
        self.sent = sent


@contextmanager
def signals_unwind() -> Iterator[None]:
    """Leave every `with` after the first Ctrl-C, SIGTERM or SIGHUP; ignore later ones."""

    def unwind(number: int, frame: FrameType | None) -> NoReturn:
        for each in handled:
            signal.signal(each, signal.SIG_IGN)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise _Ended(signal.Signals(number))

    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(each, unwind) for each in handled]
    try:
        yield
    finally:
        for each, handler in zip(handled, before, strict=True):
            signal.signal(each, handler)


if __name__ == "__main__":
    sys.exit(main(arguments=sys.argv[1:]))
