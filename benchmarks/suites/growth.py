"""Operations for each change after 1, 10 and 100 thousand changes, and the memory that is held.

The same thousand changes again and again, in another shop each time: whatever differs between the
first and the last thousand comes from how much there is already. Requests, bytes and units are
counted while the first, the tenth and the hundredth thousand are processed; memory blocks that
Python holds, after each of these.
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
"""How many times what it took at first a change may take in the end, and memory held as well."""

COUNTS = ("requests", "bytes", "write_units", "read_units")


@dataclass(frozen=True)
class Look:
    """One thousand changes: what a change took, and what was held after them.

    Attributes:
        number: of the thousand.
        counts: by name, for each change.
        blocks: memory blocks that Python holds.
    """

    number: int
    counts: dict[str, float]
    blocks: float


def run(options: Options) -> list[Row]:
    """Process that many changes with each sink."""
    thousands = max((options.changes or CHANGES) // THOUSAND, 2)
    rows: list[Row] = []
    with service.dynamodb_local() as engine:
        for name in NAMES:
            with counted(name, engine.url) as sink:
                rows += _rows(name, list(grow(sink, options.records, thousands)))
    return rows


def grow(sink: Counted, path: Path, thousands: int) -> Iterator[Look]:
    """Yield what the first, the tenth, the hundredth and the last thousand took.

    One thousand comes before the first, so that what is loaded once is there.
    """
    for number in range(thousands + 1):
        before = replace(sink.traffic)
        deliver(sink.function, batches(changes(path, THOUSAND, shop=f"{number:04}-")))
        if number in (1, 10, 100, thousands):
            counts = {
                name: (getattr(sink.traffic, name) - getattr(before, name)) / THOUSAND
                for name in COUNTS
            }
            gc.collect()
            yield Look(number, counts, float(sys.getallocatedblocks()))


def _rows(name: str, looks: list[Look]) -> Iterator[Row]:
    """Yield the last look beside the ones before: a ratio below 1 is growth."""
    *earlier, last = looks
    for look in earlier:
        peer = f"at {look.number * THOUSAND:,}"
        for count in COUNTS:
            if last.counts[count] or look.counts[count]:
                what, unit = f"{name}: {count.replace('_', ' ')}", "/change"
                ours, theirs = [last.counts[count]], [look.counts[count]]
                yield Row("growth", what, unit, ours, peer, theirs, at_least=1 / LEVEL)
        held = f"{name}: memory held"
        yield Row("growth", held, "blocks", [last.blocks], peer, [look.blocks], at_least=1 / LEVEL)
