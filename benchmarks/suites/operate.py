"""What an operator does with a whole table: verify, backfill, rebuild.

Each is compared with its own requests, sent once more by as many threads on the same clients, with
the responses dropped: all of them for a verification and a rebuild, those of the sinks for a
backfill. The two take turns. Then the time of an item in a table of a tenth of the size is
compared with that in the whole one; each work has a process of its own, whose memory is measured.
The functions run in the operator's process, so that is the memory of both.
"""

import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path

from benchmarks.harness.operated import KEYS, WORKERS, Operated, send
from benchmarks.harness.rows import OURS, Options, Row, compare, turns
from dynamodb_streams_cdc.operations.backfill import Backfill
from dynamodb_streams_cdc.operations.jobs import Job
from dynamodb_streams_cdc.operations.rebuild_aggregation import RebuildAggregation
from dynamodb_streams_cdc.operations.rebuild_search import RebuildSearch
from dynamodb_streams_cdc.operations.verify import Verify
from local.services import service

ITEMS = 100_000
COMPARED = 10_000
REPEATS = 3
NEEDED = ("aggregation", "search")

RAW = "same requests"
VERIFIED, WRITTEN = 0.5, 0.7
"""Goals: shares of the speed of the requests alone."""

LEVEL = 1.1
"""Largest ratio of the times of an item."""

MEGABYTES = 300.0


def run(options: Options) -> list[Row]:
    """Compare with the requests alone, then the sizes."""
    whole = options.changes or ITEMS
    repeats = options.repeats or REPEATS
    rows: list[Row] = []
    with (
        jobs(),
        service.dynamodb_local(sustained=True) as dynamodb,
        service.opensearch(sustained=True) as node,
    ):
        urls = (dynamodb.url, node.url)
        few = min(COMPARED, whole)
        stores = Operated("few", *urls)
        stores.fill(options.records, few)
        for sink in NEEDED:
            rows += _compared(stores, sink, few, repeats)
        tenth = Operated("tenth", *urls)
        tenth.fill(options.records, whole // 10)
        all_of_it = Operated("whole", *urls)
        all_of_it.fill(options.records, whole)
        most = 0.0
        for sink in NEEDED:
            for name in ("backfill", "verify"):
                tenths, found = _taken(name, sink, urls, repeats)
                rows += _sizes(f"{name} {sink}", tenths, found, whole)
                most = max(most, found.megabytes)
        rows.append(Row("operate", f"memory at {whole:,}", "MB", [most], at_most=MEGABYTES))
    return rows


@contextmanager
def jobs() -> Iterator[None]:
    """Keep jobs in a folder of their own."""
    with tempfile.TemporaryDirectory(prefix="cdc-bench-") as folder:
        before = os.environ.get("CDC_JOBS")
        os.environ["CDC_JOBS"] = folder
        yield
        if before is None:
            del os.environ["CDC_JOBS"]
        else:
            os.environ["CDC_JOBS"] = before


# Work


def backfill(stores: Operated, sink: str) -> None:
    """Fill a sink, which is empty."""
    job = Job("backfill", {}, temporary=True)
    report = Backfill(stores, stores.stream, KEYS, [sink], job, workers=WORKERS).run()
    job.close()
    assert report.complete, report.problems or report.failures[:3]
    assert report.held[sink] == 0, report


def verify(stores: Operated, sink: str) -> None:
    """Verify a sink, which is right."""
    job = Job("verify", {}, temporary=True)
    report = Verify(stores, KEYS, {sink: sink}, job, workers=WORKERS, settle=0).run()
    job.close()
    assert report.complete, report
    assert not report.moving, report


def rebuild(stores: Operated, sink: str) -> None:
    """Rebuild a sink, which is right."""
    clock = stores.clock
    if sink == "search":
        work = RebuildSearch(stores, sink, stores.name, stores.stream, KEYS, settle=0, clock=clock)
        assert work.run().complete, work.report
        return
    sums = RebuildAggregation(stores, sink, stores.stream, KEYS, clock=clock)
    assert sums.run(lambda generation: Job(f"sums-{generation}", {})).complete, sums.report


Work = Callable[[Operated, str], None]
WORK: Mapping[str, Work] = {"backfill": backfill, "verify": verify, "rebuild": rebuild}


# Turns with the requests alone


def _compared(stores: Operated, sink: str, items: int, repeats: int) -> Iterator[Row]:
    yield from _turns("backfill", stores, sink, items, repeats, partial(_empty, stores, sink))
    yield from _turns("verify", stores, sink, items, repeats, lambda: None)
    before = _before_a_rebuild(stores, sink)
    yield from _turns("rebuild", stores, sink, items, repeats, before)


def _empty(stores: Operated, sink: str) -> None:
    if sink == "search":
        stores.empty("index")
        # The requests alone find it: the operator's make it at the first of them.
        stores.invoke(sink, {"operation": "verify", "of": "copies", "limit": 1, "Records": []})
    else:
        stores.empty("ledger")


def _before_a_rebuild(stores: Operated, sink: str) -> Callable[[], None]:
    """Return what makes everything as it was before a rebuild, with a new index or generation."""
    if sink == "search":

        def undo() -> None:
            work = RebuildSearch(stores, sink, stores.name, stores.stream, KEYS, clock=stores.clock)
            status = work.status()
            if status["second"] is not None and status["second"] < status["live"]:
                work.rollback()
            if status["second"] is not None:
                work.abandon()
            work._step("begin")

        return undo
    saved = stores.saved()

    def restore() -> None:
        stores.restore(saved)
        RebuildAggregation(stores, sink, stores.stream, KEYS, clock=stores.clock)._step("begin")

    return restore


def _turns(
    name: str,
    stores: Operated,
    sink: str,
    items: int,
    repeats: int,
    prepare: Callable[[], object],
) -> Iterator[Row]:
    prepare()
    work = partial(WORK[name], stores, sink)
    requests = stores.recorded(work, source=name != "backfill")

    def speed(of: Callable[[], object]) -> float:
        prepare()
        begun = time.perf_counter()
        of()
        return items / (time.perf_counter() - begun)

    speeds = turns({OURS: lambda: speed(work), RAW: lambda: speed(lambda: send(requests))}, repeats)
    goal = VERIFIED if name == "verify" else WRITTEN
    what = f"{name} {sink}"
    yield from compare("operate", what, "items/s", speeds, better="more", goals={RAW: goal})


# Sizes


@dataclass(frozen=True)
class Taken:
    """What a work took.

    Attributes:
        seconds: from its begin to its end.
        computed: seconds of the operator's processor, functions included, engines not.
        megabytes: the most memory that the process had.
    """

    seconds: float
    computed: float
    megabytes: float


def _taken(name: str, sink: str, urls: tuple[str, str], repeats: int) -> tuple[list[Taken], Taken]:
    """Return what a work takes with a tenth of the items, and with all."""
    times = 1 if name == "backfill" else repeats
    tenths = [_in_a_process(name, sink, "tenth", urls) for _ in range(times)]
    return tenths, _in_a_process(name, sink, "whole", urls)


def _sizes(what: str, tenths: Sequence[Taken], found: Taken, whole: int) -> Iterator[Row]:
    for figure, of in (("in all", attrgetter("seconds")), ("computed", attrgetter("computed"))):
        small = statistics.median(of(each) for each in tenths) / (whole // 10)
        yield Row(
            "operate",
            f"{what}: at {whole:,}, {figure}",
            "us/item",
            [1e6 * of(found) / whole],
            f"at {whole // 10:,}",
            [1e6 * small],
            at_least=1 / LEVEL,
        )


def _in_a_process(name: str, sink: str, size: str, urls: tuple[str, str]) -> Taken:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(measured, name, sink, size, urls).result()


def measured(name: str, sink: str, size: str, urls: tuple[str, str]) -> Taken:
    """Do a work in this process; return what it took."""
    stores = Operated(size, *urls)
    begun, computed = time.perf_counter(), time.process_time()
    WORK[name](stores, sink)
    return Taken(time.perf_counter() - begun, time.process_time() - computed, _megabytes())


def _megabytes() -> float:
    """Return the most memory that this process had; `getrusage` has its parent's as well."""
    status = Path("/proc/self/status")
    lines = status.read_text("utf-8").splitlines() if status.exists() else []
    kilobytes = (int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return next(kilobytes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024
