"""Run the pipeline through schedules in virtual time: many of them, or one with its timeline.

    python tools/simulate.py [--schedules N] [--first SEED] [--jobs N] [--dead-letters]
    python tools/simulate.py --seed SEED [--dead-letters]

Exits with 1 if a copy does not equal the table in the end.
"""

import argparse
import logging
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from dynamodb_streams_cdc.testing.simulation import (
    FaultKind,
    Schedule,
    Simulation,
    generate,
    generate_dead_letters,
    generate_erasures,
    generate_operations,
)
from dynamodb_streams_cdc.testing.simulation.shrink import shrink

CHUNK = 100
SCHEDULES = 10_000
USAGE = "usage: make simulate [N=n | SEED=n] [DEAD_LETTERS=1] [OPERATIONS=1] [ERASURES=1]"
VARIABLES = {"--schedules": "N", "--seed": "SEED"}
"""The variables of make that become options."""
SHOWN = 20
"""How many failing seeds a summary names."""


@dataclass
class Summary:
    """Results of some schedules."""

    counts: Counter[str] = field(default_factory=Counter)
    struck: Counter[FaultKind] = field(default_factory=Counter)
    failing: list[int] = field(default_factory=list)
    options: str = ""

    @property
    def schedules(self) -> int:
        return self.counts["schedules"]

    def add(self, other: "Summary") -> None:
        self.counts += other.counts
        self.struck += other.struck
        self.failing += other.failing

    def lines(self, seconds: float) -> Iterator[str]:
        """Yield the summary, for a person."""
        yield f"{self.schedules:,} schedules in {seconds:.0f} s"
        yield f"{self.counts['writes']:,} writes, {self.counts['deliveries']:,} deliveries"
        yield f"{self.counts['dead_letters']:,} dead letters"
        yield "How many schedules each fault did strike in:"
        for kind in filter(self.struck.get, FaultKind):
            share = self.struck[kind] / max(1, self.schedules)
            yield f"  {kind:<28} {self.struck[kind]:>9,}  {share:6.1%}"
        if not self.failing:
            yield "In every one of them each copy equals the table."
            return
        seeds = sorted(self.failing)
        rest = f" and {len(seeds) - SHOWN} more" if len(seeds) > SHOWN else ""
        yield f"WRONG in {len(seeds)}: seeds {', '.join(map(str, seeds[:SHOWN]))}{rest}"
        yield f"make simulate {self.options}SEED={seeds[0]} shows what happened."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the arguments say; return 1 if anything ended wrong."""
    parser = argparse.ArgumentParser(
        prog="python tools/simulate.py", description=__doc__, exit_on_error=False
    )
    parser.add_argument("--schedules", type=_count, metavar="N", help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=_count, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--seed", type=_seed, help="run this one, and show what happens")
    parser.add_argument("--dead-letters", action="store_true", help="poison, redrives and purges")
    parser.add_argument("--operations", action="store_true", help="older items and backfills too")
    parser.add_argument("--erasures", action="store_true", help="erasures of deleted items too")
    try:
        options = parser.parse_args(arguments)
        if options.seed is not None and options.schedules is not None:
            message = "choose one: SEED prints one schedule, N is how many to simulate"
            raise argparse.ArgumentError(None, message)
    except argparse.ArgumentError as error:
        name = error.argument_name and f"{VARIABLES.get(error.argument_name, error.argument_name)}="
        print(f"make simulate: {name or ''}{error.message}\n{USAGE}")
        return 2
    _silence()
    make = generate_dead_letters if options.dead_letters else generate
    if options.operations:
        make = generate_operations
    if options.erasures:
        make = generate_erasures
    if options.seed is not None:
        return replay(make(options.seed))
    seeds = range(options.first, options.first + (options.schedules or SCHEDULES))
    try:
        return run_many(seeds, make, options.jobs)
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130


def replay(schedule: Schedule) -> int:
    """Print the timeline of a schedule and, if it fails, the shortest one that fails like it."""
    result = Simulation(schedule, timeline=True).run()
    print(result)
    if not result.problems:
        return 0
    shortest = shrink(schedule, fails)
    print("\nWithout what it takes no part of:\n")
    print(shortest)
    print(Simulation(shortest, timeline=True).run())
    return 1


def fails(schedule: Schedule) -> bool:
    """Whether a copy does not equal the table in the end."""
    return bool(Simulation(schedule).run().problems)


def run_many(seeds: range, make: Callable[[int], Schedule], jobs: int) -> int:
    """Run the schedules that `make` makes of the seeds in as many processes; sum them up."""
    started = time.monotonic()
    total = Summary(options=_OPTIONS[make])
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    # Workers inherit it: Ctrl-C is ours.
    on_interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    with multiprocessing.get_context("spawn").Pool(jobs, initializer=_work) as workers:
        signal.signal(signal.SIGINT, on_interrupt)
        for done in workers.imap_unordered(partial(run_some, make=make), chunks):
            total.add(done)
            _progress(total, len(seeds), time.monotonic() - started)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print("\n".join(total.lines(time.monotonic() - started)))
    return 1 if total.failing else 0


_OPTIONS: dict[Callable[[int], Schedule], str] = {
    generate: "",
    generate_dead_letters: "DEAD_LETTERS=1 ",
    generate_operations: "OPERATIONS=1 ",
    generate_erasures: "ERASURES=1 ",
}


def _work() -> None:
    """Prepare a worker: it ends with the process that started it, however that one ended."""
    _silence()
    starter = multiprocessing.parent_process()
    assert starter is not None

    def follow() -> None:
        starter.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def run_some(seeds: range, make: Callable[[int], Schedule]) -> Summary:
    summary = Summary()
    for seed in seeds:
        result = Simulation(make(seed)).run()
        summary.counts["schedules"] += 1
        for name in ("writes", "deliveries", "dead_letters"):
            summary.counts[name] += getattr(result, name)
        summary.struck.update(result.struck.keys())
        if result.problems:
            summary.failing.append(seed)
    return summary


def _silence() -> None:
    logging.disable(logging.CRITICAL)


def _progress(total: Summary, of: int, seconds: float) -> None:
    if sys.stderr.isatty():
        left = seconds / total.schedules * (of - total.schedules)
        text = f"\r{total.schedules:,} of {of:,}, {len(total.failing)} wrong, {left:.0f} s left   "
        print(text, end="", file=sys.stderr, flush=True)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text)):
        message = f"{text}: expected a whole number of at least 1"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _seed(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]+", text):
        message = f"{text}: expected a whole number"
        raise argparse.ArgumentTypeError(message)
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
