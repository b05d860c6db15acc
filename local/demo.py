"""The whole pipeline on a laptop: deploy, write real orders, wait, and prove every copy right.

    python -m local.demo [--orders FILE] [--limit N] [--search-url URL] [--keep]
                         [--chaos] [--seed N]

Exit status: 0 only if every sink equals the table, 1 if one does not or something failed, 130 after
Ctrl-C. However it ends, no process and no temporary folder stays behind.
"""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from botocore.exceptions import BotoCoreError, ClientError

from local import report as show
from local.chaos import Calm, Chaos, forgetfulness
from local.errors import EngineError
from local.lag import LagSampler
from local.looks import looks_at
from local.pipeline import running_pipeline
from local.purchases import SAMPLE, PurchasesError, read_purchases, survey
from local.screen import Screen
from local.traffic import Writer, Written
from local.verify import Progress, ReadError, compare, settle, wait_for_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType

    from local.lag import Lag
    from local.pipeline import Pipeline
    from local.purchases import Purchase, Survey

SEED = 1
PATIENCE = 30.0  # seconds without any movement until waiting is given up
UNCHANGED_FOR = 5.0  # seconds that a difference has to stay to be believed
ONE_BY_ONE = 20  # the last purchases, written at leisure: how long does a lone change take?
_LAG_SAMPLES = 200
_LAST_BYTES = 10_000_000  # of disk; engines refuse to write before the very last one


@dataclass(frozen=True, slots=True)
class Options:
    """What the person asked for."""

    orders: Path = SAMPLE
    limit: int | None = None
    search_url: str | None = None
    keep: bool = False
    chaos: bool = False
    seed: int = SEED


@dataclass(frozen=True, slots=True)
class Round:
    """One round of traffic: what was written, and how long until all of it was in every sink."""

    how: str
    written: Written
    seconds: float
    lags: Mapping[str, Lag]


def run_demo(
    options: Options,
    screen: Screen | None = None,
    before_comparison: Callable[[Pipeline, Written], None] = lambda pipeline, written: None,
) -> int:
    """Runs everything once and returns the exit status; what makes it impossible is raised.

    `before_comparison` is called when the sinks are quiet; tests damage them there.
    """
    screen = screen or Screen()
    expected = survey(options.orders, options.limit)
    at_leisure = min(ONE_BY_ONE, expected.purchases // 10)
    purchases = read_purchases(options.orders, options.limit)
    faults = forgetfulness(options.seed) if options.chaos else ()
    with (
        running_pipeline(screen, options.search_url, faults) as pipeline,
        _unrest(options, screen, pipeline) as unrest,
    ):
        traffic = _Traffic(screen, pipeline, options.seed, unrest)
        unrest.storm()
        at_once = expected.purchases - at_leisure
        pause = unrest.pause(at_once)
        fast = traffic.round(unrest.manner, purchases, at_once, pause=pause)
        unrest.aftermath()
        slow = traffic.round(
            "one by one", purchases, at_leisure, workers=1, open_orders=1, pause=0.25
        )
        before_comparison(pipeline, traffic.written)
        unseen = unrest.account()
        equal = _compare(screen, pipeline, expected, fast, slow)
        for sentence in unseen:
            screen.line(sentence, "bold red")
        if options.keep:
            _hold(screen, pipeline)
    return 0 if equal and not unseen else 1


def _unrest(options: Options, screen: Screen, pipeline: Pipeline) -> Chaos | Calm:
    return Chaos(pipeline, screen, options.seed) if options.chaos else Calm()


class _Traffic:
    """Rounds of writing and waiting; `written` is the sum of them."""

    def __init__(self, screen: Screen, pipeline: Pipeline, seed: int, unrest: Chaos | Calm) -> None:
        self.written = Written()
        self._seed = seed
        self._unrest = unrest
        self._screen = screen
        self._pipeline = pipeline
        ledger = pipeline.outputs["IdempotencyTableName"]
        self._looks = unrest.patient(looks_at(pipeline.client, ledger, pipeline.copies))

    def round(self, how: str, purchases: Iterator[Purchase], count: int, **options: Any) -> Round:
        """Writes the next `count` and returns when they arrived, or when nothing moves any more."""
        began = time.monotonic()
        with LagSampler(self._looks, every=max(1, count // _LAG_SAMPLES)) as sampler:
            with self._screen.stage(f"Writing orders {how}") as stage:
                writer = Writer(
                    self._pipeline.client,
                    self._pipeline.outputs["OrdersTableName"],
                    seed=self._seed,
                    on_finished=sampler.offer,
                    **options,
                )
                written = writer.run(
                    islice(purchases, count),
                    lambda begun: stage.say(f"{begun:,} of {count:,} purchases"),
                )
                self.written += written
                stage.outcome = f"Orders written {how}: {written.purchases:,} purchases,"
                stage.outcome += f" {written.writes:,} writes"
            self._unrest.wait()
            with self._screen.stage("Waiting until the sinks are quiet") as stage:
                arrived = self._wait(stage.say)
                seconds = time.monotonic() - began
                stage.outcome = "The sinks are quiet" if arrived else "The sinks have stopped short"
                sampler.finish(UNCHANGED_FOR)
        return Round(how, written, seconds, sampler.lags())

    def _wait(self, say: Callable[[str], None]) -> bool:
        live = self.written.purchases - self.written.deletes
        target = Progress(aggregated=live, documents=live, entries=self.written.changes)
        arrived = wait_for_progress(
            self._pipeline.copies.progress,
            target,
            patience=PATIENCE,
            report=lambda now: say(
                f"of {live:,} orders {now.aggregated:,} aggregated, {now.documents:,} indexed;"
                f" of {target.entries:,} changes {now.entries:,} logged"
            ),
        )
        if not arrived:
            _refuse_full_disk()
            self._screen.line(f"Nothing has moved for {PATIENCE:.0f} s. The emulator's log ends:")
            self._screen.line(self._pipeline.aws.tail(), style="dim")
            self._screen.line("The log of the runner of the mappings ends:")
            self._screen.line(self._pipeline.live.tail(), style="dim")
        return arrived


def _refuse_full_disk() -> None:
    """Thousands of differences would say less than the one reason for all of them."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < _LAST_BYTES:
        message = (
            f"The disk that holds {folder} is full ({free:,} bytes left): the engines stopped."
        )
        raise EngineError(message)


def _compare(
    screen: Screen, pipeline: Pipeline, expected: Survey, fast: Round, slow: Round
) -> bool:
    """Compares, prints all that there is to see, the verdict last, and returns the verdict."""
    written = fast.written + slow.written
    with screen.stage("Comparing every item with every sink") as stage:
        report = settle(
            lambda: compare(pipeline.copies, written.effective), unchanged_for=UNCHANGED_FOR
        )
        compared = sum(sink.compared for sink in report.sinks)
        stage.outcome = f"Compared: {compared:,} aggregates, documents and histories"
    show.comparison(screen, report)
    show.lags(screen, slow.lags, fast.lags, fast.how)
    show.numbers(screen, fast.written, fast.seconds, report, expected)
    show.revenue(screen, pipeline.copies.aggregates())
    show.where_to_look(screen)
    return show.verdict(screen, report, expected)


def _hold(screen: Screen, pipeline: Pipeline) -> None:
    """Keeps everything up until Ctrl-C, which is then no interruption."""
    show.how_to_query(screen, pipeline)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        screen.line()


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    screen = Screen()
    with _signals_unwind():
        try:
            return run_demo(options, screen)
        except KeyboardInterrupt:
            screen.line("Interrupted: every engine is stopped and its folder removed.")
            return 128 + signal.SIGINT
        except (EngineError, PurchasesError, ReadError) as error:
            screen.line(str(error), style="red")
        except (BotoCoreError, ClientError) as error:
            screen.line(f"The AWS emulator failed: {error}", style="red")
        except OSError as error:
            screen.line(_sentence(error), style="red")
    return 1


def _sentence(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return f"The disk is full ({error.filename or 'no file named'}): free some space."
    return f"{error.strerror or error}: {error.filename or 'no file named'}."


@contextmanager
def _signals_unwind() -> Iterator[None]:
    """The first Ctrl-C, SIGTERM or SIGHUP leaves every `with`; later ones cannot disturb that."""

    def unwind(number: int, frame: FrameType | None) -> NoReturn:
        for each in handled:
            signal.signal(each, signal.SIG_IGN)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(each, unwind) for each in handled]
    try:
        yield
    finally:
        for each, handler in zip(handled, before, strict=True):
            signal.signal(each, handler)


def _options(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="make demo",
        description="Deploy the pipeline to this machine, write orders, and compare every sink.",
    )
    environment = {
        name: os.environ.get(name) or None for name in ("ORDERS", "LIMIT", "SEARCH_URL", "SEED")
    }
    parser.add_argument(
        "--orders",
        type=Path,
        default=environment["ORDERS"] or SAMPLE,
        help="a file of purchases in the CDNOW format, plain or gzipped (ORDERS)",
    )
    parser.add_argument(
        "--limit",
        type=_positive,
        default=environment["LIMIT"],
        help="write only so many purchases (LIMIT)",
    )
    parser.add_argument(
        "--search-url",
        default=environment["SEARCH_URL"],
        help="an OpenSearch that needs no sign-in, instead of starting one (SEARCH_URL)",
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        default=os.environ.get("KEEP", "") not in ("", "0"),
        help="leave everything up until Ctrl-C, to be queried (KEEP=1)",
    )
    parser.add_argument(
        "--chaos",
        action="store_true",
        default=os.environ.get("CHAOS", "") not in ("", "0"),
        help="kill, throttle, repeat and stop things meanwhile (CHAOS=1)",
    )
    parser.add_argument(
        "--seed",
        type=_positive,
        default=environment["SEED"] or SEED,
        help="another course of orders and of chaos (SEED)",
    )
    found = parser.parse_args(arguments)
    if found.chaos and found.search_url:
        parser.error("CHAOS stops OpenSearch, which it does to its own only: leave SEARCH_URL out")
    return Options(**vars(found))


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        message = f"expected a whole number of at least 1, found {text!r}"
        raise argparse.ArgumentTypeError(message)
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
