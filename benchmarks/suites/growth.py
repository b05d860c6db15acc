"""Operations for each change after 1, 10 and 100 thousand changes, and the memory in use.

The same thousand changes are processed again and again, each time for another shop: a difference
between the first and the last thousand comes from the amount of stored data. Requests, bytes and
units are counted during the first, the tenth and the hundredth thousand, and Python's memory blocks
after each of them.
"""

import gc
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.harness.delivery import deliver
from benchmarks.harness.records import batches, changes
from benchmarks.harness.rows import Options, Row
from benchmarks.suites.sinks import NAMES, Counted, counted
from local.services import service

CHANGES = 100_000
THOUSAND = 1_000
LEVEL = 1.02
"""Largest ratio of the last to the first figures: operations for each change, and memory."""

MEMORY = "memory held"


@dataclass(frozen=True)
class Sample:
    """One thousand changes: what each took, and the memory blocks in use after them.

    Attributes:
        number: of the thousand.
        figures: by name.
    """

    number: int
    figures: dict[str, float]


def run(options: Options) -> list[Row]:
    """Process that many changes with each sink."""
    thousands = max((options.changes or CHANGES) // THOUSAND, 2)
    rows: list[Row] = []
    with service.dynamodb_local(sustained=True) as dynamodb:
        for name in NAMES:
            with counted(name, dynamodb.url) as sink:
                rows += _rows(name, list(grow(sink, options.records, thousands)))
    return rows


def grow(sink: Counted, path: Path, thousands: int) -> Iterator[Sample]:
    """Yield samples of the first, the tenth, the hundredth and the last thousand.

    One more thousand comes before the first, to warm up.
    """
    for number in range(thousands + 1):
        before = replace(sink.traffic)
        deliver(sink.function, batches(changes(path, THOUSAND, shop=f"{number:04}-")))
        if number in (1, 10, 100, thousands):
            counts = {n: each / THOUSAND for n, each in sink.traffic.since(before).items()}
            gc.collect()
            yield Sample(number, counts | {MEMORY: float(sys.getallocatedblocks())})


def _rows(name: str, samples: list[Sample]) -> Iterator[Row]:
    """Compare the last sample with the earlier ones: a ratio below 1 is growth."""
    *earlier, last = samples
    for sample in earlier:
        peer = f"at {sample.number * THOUSAND:,}"
        for figure, now in last.figures.items():
            then = sample.figures[figure]
            if now or then:
                what = f"{name}: {figure.replace('_', ' ')}"
                unit = "blocks" if figure == MEMORY else "/change"
                yield Row("growth", what, unit, [now], peer, [then], at_least=1 / LEVEL)
