"""The whole pipeline on a laptop: deploy, write real orders, wait, and prove every copy right.

    python -m local.demo [--orders FILE] [--limit N] [--search-url URL] [--keep]
                         [--chaos | --poison N] [--seed N]

Exit status: 0 only if every sink equals the table, 1 if one does not or something failed, 130 after
Ctrl-C. However it ends, no process and no temporary folder stays behind.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from botocore.exceptions import BotoCoreError, ClientError

from local import report as show
from local.console import DemoConsole
from local.deployed.pipeline import running_pipeline
from local.scenarios.fault_injection import Chaos, NoFaults, forgetfulness
from local.scenarios.phases import UNCHANGED_FOR, Traffic
from local.scenarios.poison_latency import Plan, take_turns
from local.scenarios.recovery import Recovery
from local.services.errors import EngineError
from local.verify import ReadError, compare, settle
from local.workload.poison import Poison
from local.workload.purchases import SAMPLE, PurchasesError, read_purchases, survey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from local.deployed.pipeline import Pipeline
    from local.scenarios.phases import Round
    from local.workload.purchases import Survey
    from local.workload.traffic import Written

SEED = 1
_ALL_GONE = "every engine is stopped and its folder removed."
ONE_BY_ONE = 20  # the last purchases, written at leisure: how long does a lone change take?


@dataclass(frozen=True, slots=True)
class Options:
    """What the person asked for."""

    orders: Path = SAMPLE
    limit: int | None = None
    search_url: str | None = None
    keep: bool = False
    chaos: bool = False
    seed: int = SEED
    poison: int = 0


def run_demo(
    options: Options,
    console: DemoConsole | None = None,
    before_comparison: Callable[[Pipeline, Written], None] = lambda pipeline, written: None,
) -> int:
    """Runs everything once and returns the exit status; what makes it impossible is raised.

    `before_comparison` is called when the sinks are quiet; tests damage them there.
    """
    console = console or DemoConsole()
    expected = survey(options.orders, options.limit)
    at_leisure = min(ONE_BY_ONE, expected.purchases // 10)
    plan = Plan.of(expected.purchases, options.poison, at_leisure) if options.poison else None
    poison = Poison(options.seed)
    purchases = read_purchases(options.orders, options.limit)
    faults = forgetfulness(options.seed) if options.chaos else ()
    with (
        running_pipeline(console, options.search_url, faults) as pipeline,
        _fault_injection(options, console, pipeline) as fault_injection,
    ):
        traffic = Traffic(console, pipeline, options.seed, fault_injection, poison)
        fault_injection.start()
        at_once = expected.purchases - at_leisure - (plan.purchases if plan else 0)
        pause = fault_injection.pause(at_once)
        fast = traffic.round(fault_injection.manner, purchases, at_once, pause=pause)
        fault_injection.second_wave()
        turns = plan and take_turns(traffic, pipeline, poison, plan, purchases)
        slow = traffic.round(
            "one by one", purchases, at_leisure, workers=1, open_orders=1, pause=0.25
        )
        before_comparison(pipeline, traffic.written)
        problems = fault_injection.account()
        if turns:
            show.turns(console, turns)
            problems += _heal(console, pipeline, poison, traffic.written)
        equal = _compare(console, pipeline, expected, traffic.written, fast, slow)
        if problems:
            console.line("\nWhat did not go as it should:", "bold red")
        for sentence in problems:
            console.line(sentence, "red")
        if options.keep:
            _hold(console, pipeline)
    return 0 if equal and not problems else 1


def _fault_injection(
    options: Options, console: DemoConsole, pipeline: Pipeline
) -> Chaos | NoFaults:
    return Chaos(pipeline, console, options.seed) if options.chaos else NoFaults()


def _heal(console: DemoConsole, pipeline: Pipeline, poison: Poison, written: Written) -> list[str]:
    recovery = Recovery(console, pipeline, poison, written)
    recovery.run()
    return recovery.problems


def _compare(
    console: DemoConsole,
    pipeline: Pipeline,
    expected: Survey,
    written: Written,
    fast: Round,
    slow: Round,
) -> bool:
    """Compares, prints all that there is to see, the verdict last, and returns the verdict."""
    with console.stage("Comparing every item with every sink") as stage:
        report = settle(
            lambda: compare(pipeline.copies, written.effective), unchanged_for=UNCHANGED_FOR
        )
        compared = sum(sink.compared for sink in report.sinks)
        stage.outcome = f"Compared: {compared:,} aggregates, documents and histories"
    show.comparison(console, report)
    show.lags(console, slow.lags, fast.lags, fast.how)
    show.numbers(console, fast.written, fast.seconds, report, expected)
    show.revenue(console, pipeline.copies.aggregates())
    show.where_to_look(console)
    return show.verdict(console, report, expected)


def _hold(console: DemoConsole, pipeline: Pipeline) -> None:
    """Keeps everything up until Ctrl-C, which is then no interruption."""
    try:
        show.how_to_query(console, pipeline)
        threading.Event().wait()
    except KeyboardInterrupt:
        console.line()


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    console = DemoConsole()
    with signals_unwind():
        try:
            return run_demo(options, console)
        except KeyboardInterrupt:
            console.line(f"Interrupted: {_ALL_GONE}")
            return 128 + signal.SIGINT
        except _Ended as ended:
            # After SIGHUP there may be no terminal to say it to.
            with suppress(OSError):
                console.line(f"{ended.sent.name}: {_ALL_GONE}", style="red")
            return 128 + ended.sent
        except (EngineError, PurchasesError, ReadError) as error:
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
    """Somebody sent a signal that ends the demo."""

    def __init__(self, sent: signal.Signals) -> None:
        super().__init__(sent)
        self.sent = sent


@contextmanager
def signals_unwind() -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or SIGHUP leaves every `with`; later ones cannot disturb that."""

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


_USAGE = """make demo [LIMIT=n] [ORDERS=file] [SEARCH_URL=url] [KEEP=1] [SEED=n]
                 [CHAOS=1 | POISON=n]"""


def _options(arguments: Sequence[str] | None) -> Options:
    """From flags, or from variables as `make` hands them on; each is called by its own name."""
    parser = argparse.ArgumentParser(
        prog="make demo",
        usage=_USAGE,
        description="Deploy the pipeline to this machine, write orders, and compare every sink.",
    )

    def given(name: str, kind: Callable[[str], Any], otherwise: Any) -> Any:
        text = os.environ.get(name)
        if not text:
            return otherwise
        try:
            return kind(text)
        except argparse.ArgumentTypeError as error:
            parser.error(f"{name}={text}: {error}")

    def switch(text: str) -> bool:
        return text != "0"

    parser.add_argument(
        "--orders",
        type=lambda text: Path(_text(text)),
        default=given("ORDERS", Path, SAMPLE),
        help="a file of purchases in the CDNOW format, plain or gzipped (ORDERS)",
    )
    parser.add_argument(
        "--limit",
        type=_positive,
        default=given("LIMIT", _positive, None),
        help="write only so many purchases (LIMIT)",
    )
    parser.add_argument(
        "--search-url",
        type=_text,
        default=given("SEARCH_URL", str, None),
        help="an OpenSearch that needs no sign-in, instead of starting one (SEARCH_URL)",
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        default=given("KEEP", switch, False),
        help="leave everything up until Ctrl-C, to be queried (KEEP=1)",
    )
    parser.add_argument(
        "--chaos",
        action="store_true",
        default=given("CHAOS", switch, False),
        help="kill, throttle, repeat and stop things meanwhile (CHAOS=1)",
    )
    parser.add_argument(
        "--poison",
        type=_positive,
        default=given("POISON", _positive, 0),
        help="hide so many orders that cannot be counted, mend and redrive them (POISON)",
    )
    parser.add_argument(
        "--seed",
        type=_positive,
        default=given("SEED", _positive, SEED),
        help="another course of orders, of chaos and of poison (SEED)",
    )
    found = parser.parse_args(arguments)
    if found.chaos and found.search_url:
        parser.error("CHAOS stops OpenSearch, which it does to its own only: leave SEARCH_URL out")
    if found.chaos and found.poison:
        parser.error("POISON measures what poison delays, which CHAOS would drown: choose one")
    return Options(**vars(found))


def _text(text: str) -> str:
    if not text.strip():
        message = "is empty: leave it out, or say what is meant"
        raise argparse.ArgumentTypeError(message)
    return text


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        message = f"expected a whole number of at least 1, found {text!r}"
        raise argparse.ArgumentTypeError(message)
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
