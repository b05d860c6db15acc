"""Compares the cost of a change with `expected.json`; fails if it differs.

    python -m benchmarks.check [--update]

Costs are requests, bytes, capacity units, calls of functions and memory, not times: they do not
depend on the load of the machine. Each sink is as deployed and gets the same five hundred changes
twice; the second time, all of them are stale. Then a table of as many items is backfilled, verified
in both directions, and repaired without a difference.

More than expected, beyond a tolerance (2 % of bytes and units, 10 % of calls, 25 % of memory), is a
regression; so is one more request for each batch or page. A tenth less of requests, bytes or units
fails as well until `--update` writes it down: either work is left out, or the old figure would hide
the next regression. Calls and memory may fall to a tenth; they differ between versions of Python,
and are compared only under the version of `expected.json`. A dead letter fails, too: its change
would cost nothing.
"""

import argparse
import json
import platform
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from benchmarks.harness.delivery import deliver
from benchmarks.harness.meter import COUNTS
from benchmarks.harness.operated import KEYS
from benchmarks.harness.records import BATCH, batches, changes, orders
from benchmarks.harness.rows import figure
from benchmarks.suites.sinks import NAMES, Counted, DeadLettersWritten, counted
from dynamodb_streams_cdc.deserializer import serialize_item
from dynamodb_streams_cdc.operations.repair import AT_ONCE as REPAIRED
from lambdas.example_domain.stories.purchases import SAMPLE
from local.services import service
from local.services.errors import ServiceError

EXPECTED = Path(__file__).with_name("expected.json")
CHANGES = 500
PYTHON = ".".join(platform.python_version_tuple()[:2])

INSIDE = ("calls", "peak_bytes")
REQUESTS = 1.5 / CHANGES
"""Requests for each change that may be more than expected: one in all, which was retried. A work
has two pages or more."""

TOLERANCE = {**dict.fromkeys(COUNTS, 1.02), "calls": 1.1, "peak_bytes": 1.25}
"""Largest ratio to the expected figure, but that of requests. The peak depends on the requests that
are in memory at the same time."""

LEAST = {**dict.fromkeys(COUNTS, 0.9), **dict.fromkeys(INSIDE, 0.1)}
"""Smallest ratio to the expected figure."""

Work = Callable[[], object]
Figures = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Compared:
    """One figure for each change, and the expected one."""

    sink: str
    what: str
    found: float
    expected: float

    @property
    def verdict(self) -> Literal["", "more", "less"]:
        """Direction of the difference; empty if it is tolerated."""
        most = self.expected * TOLERANCE[self.what]
        if self.found > (self.expected + REQUESTS if self.what == "requests" else most):
            return "more"
        return "less" if self.found < self.expected * LEAST[self.what] else ""


def main(arguments: list[str] | None = None) -> int:
    """Print the comparison; return 1 if a figure differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.check", description=__doc__)
    parser.add_argument(
        "--update", action="store_true", help="write the measured figures to expected.json"
    )
    update = parser.parse_args(arguments).update
    try:
        found = measure()
    except (ServiceError, DeadLettersWritten) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if update:
        EXPECTED.write_text(json.dumps({"python": PYTHON, **found}, indent=2) + "\n", "utf-8")
        return 0
    compared = list(compare(found, json.loads(EXPECTED.read_text("utf-8"))))
    print_compared(compared)
    return 1 if any(each.verdict for each in compared) else 0


def measure() -> dict[str, dict[str, float]]:
    """Return the cost of a change by sink, when it is new and when it is delivered again.

    Raises:
        DeadLettersWritten: a sink did not take every change.
    """
    figures: dict[str, dict[str, float]] = {}
    events = batches(changes(SAMPLE, CHANGES))
    with service.dynamodb_local() as dynamodb:
        for name in NAMES:
            with counted(name, dynamodb.url) as sink:
                deliver(sink.function, batches(changes(SAMPLE, BATCH, shop="warm-up/")))
                figures[name] = figures_of(sink, events)
                figures[f"{name}, again"] = figures_of(sink, events)
            for work, cost in operated(name, dynamodb.url).items():
                figures[f"{name}, {work}"] = cost
    return figures


def operated(name: str, url: str) -> dict[str, dict[str, float]]:
    """Return the cost of an item of the table by what an operator does."""
    items = orders(SAMPLE, CHANGES)
    keys = [{"Keys": serialize_item({key: item[key] for key in KEYS})} for item in items]
    with counted(name, url) as sink:
        for start in range(0, CHANGES, 25):
            sink.fill(items[start : start + 25])

        def verify() -> None:
            for of in ("table", "copies", "sums"):
                sink.operate("verify", of=of)

        def repair() -> None:
            for start in range(0, CHANGES, REPAIRED):
                sink.operate("repair", Records=keys[start : start + REPAIRED])

        works: dict[str, Sequence[Work]] = {
            "backfill": [partial(sink.operate, "backfill")],
            "verify": [verify],
        }
        if name != "audit":  # a log has nothing to repair
            works["repair"] = [repair]
        return {work: cost_of(sink, parts, CHANGES) for work, parts in works.items()}


def figures_of(sink: Counted, events: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the cost of each change of these batches."""
    number = sum(len(event["Records"]) for event in events)
    return cost_of(sink, [partial(deliver, sink.function, [event]) for event in events], number)


def cost_of(sink: Counted, works: Iterable[Work], number: int) -> dict[str, float]:
    """Return the cost of works for each of so many changes or items; memory is that of a work."""
    before = replace(sink.traffic)
    calls, peaks = count(), 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        if event in ("call", "c_call"):
            next(calls)

    tracemalloc.start()
    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        for work in works:
            held, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            work()
            peaks += tracemalloc.get_traced_memory()[1] - held
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        tracemalloc.stop()
    found = sink.traffic.since(before) | {"calls": next(calls), "peak_bytes": peaks}
    return {name: round(total / number, 4) for name, total in found.items()}


def compare(found: Figures, expected: Mapping[str, Any]) -> Iterator[Compared]:
    """Yield every figure that can be compared."""
    kinds = (*COUNTS, *INSIDE) if expected["python"] == PYTHON else COUNTS
    for sink, figures in found.items():
        for what in kinds:
            yield Compared(sink, what, figures[what], expected[sink][what])


def print_compared(compared: list[Compared]) -> None:
    table = Table("", "for each change or item", "found", "expected", "", box=None)
    for each in compared:
        figures = (figure(each.found), figure(each.expected))
        verdict = f"[bold red]{each.verdict}[/]" if each.verdict else ""
        table.add_row(each.sink, each.what, *figures, verdict)
    console = Console(width=None if sys.stdout.isatty() else 100)
    console.print(table)
    verdicts = {each.verdict for each in compared}
    if "more" in verdicts:
        console.print("A change costs more than expected.")
    if "less" in verdicts:
        console.print("Less than expected: it is better, or work is left out.")
    if verdicts - {""}:
        console.print("If that is intended: python -m benchmarks.check --update")
    else:
        allowed = ", ".join(
            f"{what} {factor - 1:.0%}" for what, factor in TOLERANCE.items() if what != "requests"
        )
        console.print(f"No change costs more than expected. Tolerated: {allowed}.")
    if not any(each.what in INSIDE for each in compared):
        console.print(f"Calls and memory of expected.json are of another Python than {PYTHON}.")


if __name__ == "__main__":
    sys.exit(main())
