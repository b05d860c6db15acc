"""Documents into a real OpenSearch: ours, the bulk helper, one request each, and the raw node.

Every variant (`benchmarks/peers/indexers.py`) gets the same stream records, a hundred in each
event, and an index of its own: first orders that are placed, then changes of the same orders, a
tenth of which are cancelled. Then the inserts are delivered once more, late, as by a retried batch
or a redrive. Ours and the peers are whole functions, from the event to the response. Variants take
turns at each event, in random order: a node is busy now and then with the writes of a second ago,
and that must not always hit the same variant.

Then the same with the items themselves as documents, as a script without a declaration would write
them, a hundred and a thousand in each event.

The index is compared with the last state of each order in the end, and the responses of the raw
node with the expected ones.
"""

import gc
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from opensearchpy import OpenSearch, helpers

from benchmarks.harness.records import BATCH, Record, batches, orders, record
from benchmarks.harness.rows import Options, Row, by_name, compare
from benchmarks.peers.indexers import (
    HELPER,
    ONE_EACH,
    RAW_SCRIPTED,
    Case,
    Event,
    Indexer,
    indexers,
    results,
)
from local.services.service import opensearch

CHANGES = 4_000
REPEATS = 5
CANCELLED_ONE_IN = 10
ITEMS: Mapping[str, Any] = {
    name: {"type": "keyword"} for name in ("customer_id", "order_id", "status")
}
CASES = (
    Case(),
    Case(dict, ITEMS, prefix="items: "),
    Case(dict, ITEMS, batch=1_000, prefix="items, 1,000 a request: "),
)
SEED = 1997

GOALS = {HELPER: 1.0, ONE_EACH: 20.0, RAW_SCRIPTED: 0.85}
OTHER_CASES = {HELPER: 1.0, RAW_SCRIPTED: 0.85}
INSERTS, UPDATES, REDELIVERED = PHASES = ("inserts", "updates", "redelivered inserts")

ANSWERED = {INSERTS: "created", UPDATES: "updated", REDELIVERED: "noop"}
"""Expected response of the raw node for every item."""


@dataclass(frozen=True)
class Work:
    """Events by phase, and how the orders end: `None` for one that was cancelled."""

    events: Mapping[str, Sequence[Event]]
    last: Mapping[str, str | None]


@dataclass(frozen=True)
class Result:
    """Result of one variant in one round.

    Attributes:
        speeds: documents per second by phase.
        stale: orders that the index shows in an earlier state after the late redelivery.
        resurrected: cancelled orders that it shows.
    """

    speeds: Mapping[str, float]
    stale: int
    resurrected: int


class Contestant:
    """A variant in one round, with an index of its own."""

    def __init__(self, name: str, indexer: Indexer, url: str, work: Work, batch: int) -> None:
        self._name = name
        self._index = uuid4().hex
        self._client = OpenSearch(url)
        numbers = spread(len(work.events[INSERTS]), indexer.batches)
        last = list(work.last.items())
        own = {number: last[number * batch : (number + 1) * batch] for number in numbers}
        self._last = dict(pair for of_event in own.values() for pair in of_event)
        self._sizes = {number: len(of_event) for number, of_event in own.items()}
        self._inputs = {phase: _inputs(indexer, work.events[phase], numbers) for phase in PHASES}
        self._write = indexer.open(self._index)
        self._seconds: dict[str, float] = defaultdict(float)

    def take_turn(self, phase: str, number: int) -> None:
        """Write an event, if it is one of this variant's."""
        if number not in self._inputs[phase]:
            return
        began = time.perf_counter()
        answer: Any = self._write(self._inputs[phase][number])
        self._seconds[phase] += time.perf_counter() - began
        if self._name == RAW_SCRIPTED:
            found = Counter(results(answer))
            expected = {ANSWERED[phase]: self._sizes[number]}
            assert found == expected, f"{self._name}, {phase}: {found}, not {expected}"

    def end(self) -> Result:
        """Compare the index and remove it."""
        stale, resurrected = self._differences()
        if self._name == RAW_SCRIPTED:  # or the measurement is wrong
            message = f"{self._name}: {stale} stale, {resurrected} resurrected"
            assert (stale, resurrected) == (0, 0), message
        self._client.indices.delete(index=f"{self._index}*")
        documents = len(self._last)
        speeds = {phase: documents / self._seconds[phase] for phase in PHASES}
        return Result(speeds, stale, resurrected)

    def _differences(self) -> tuple[int, int]:
        self._client.indices.refresh(index=self._index)
        query = {"_source": ["order_id", "status"]}
        hits = helpers.scan(self._client, index=self._index, query=query)
        sources = [hit["_source"] for hit in hits]
        found = {each["order_id"]: each["status"] for each in sources if "order_id" in each}
        missing = [name for name, status in self._last.items() if status and name not in found]
        assert not missing, f"{len(missing)} orders are not in the index"
        stale = sum(bool(self._last[name]) and self._last[name] != found[name] for name in found)
        return stale, sum(self._last[name] is None for name in found)


def run(options: Options) -> list[Row]:
    """Measure inserts, updates, and the errors after a late redelivery."""
    repeats = options.repeats or REPEATS
    draw = random.Random(SEED)
    rows: list[Row] = []
    with opensearch(sustained=True) as node:
        for case in CASES:
            work = prepared(options, case.batch)
            found: dict[str, list[Result]] = defaultdict(list)
            _round(node.url, work, draw, case)  # the node's first thousands are three times slower
            for _ in range(repeats):
                for name, result in _round(node.url, work, draw, case).items():
                    found[name].append(result)
            goals = OTHER_CASES if case.prefix else GOALS
            rows += [replace(row, name=case.prefix + row.name) for row in _rows(found, goals)]
    return rows


def spread(events: int, wanted: int | None) -> list[int]:
    """Return the numbers of so many events, at equal distances from the first on; `None`: all."""
    return list(range(0, events, max(events // (wanted or events), 1)))[:wanted]


def _inputs(indexer: Indexer, events: Sequence[Event], numbers: list[int]) -> dict[int, Any]:
    return dict(zip(numbers, indexer.inputs([events[each] for each in numbers]), strict=True))


def _round(url: str, work: Work, draw: random.Random, case: Case) -> dict[str, Result]:
    contestants = {
        name: Contestant(name, each, url, work, case.batch)
        for name, each in indexers(url, case).items()
    }
    gc.collect()
    for phase in PHASES:
        for number in range(len(work.events[phase])):
            for contestant in draw.sample(list(contestants.values()), len(contestants)):
                contestant.take_turn(phase, number)
    return {name: contestant.end() for name, contestant in contestants.items()}


def _rows(found: Mapping[str, Sequence[Result]], goals: Mapping[str, float]) -> Iterator[Row]:
    functions = {name: done for name, done in found.items() if name != RAW_SCRIPTED}
    for phase in (INSERTS, UPDATES):
        speeds = {name: [each.speeds[phase] for each in done] for name, done in found.items()}
        yield from compare("search", phase, "documents/s", speeds, better="more", goals=goals)
    for kind in ("stale", "resurrected"):
        wrong = by_name(functions, kind)
        yield from compare("search", f"{kind} in the end", "documents", wrong, at_most=0.0)


def prepared(options: Options, batch: int = BATCH) -> Work:
    """Return orders that are placed, then each shipped or cancelled."""
    inserts: list[Record] = []
    updates: list[Record] = []
    last: dict[str, str | None] = {}
    found = orders(options.records, options.changes or CHANGES)
    for number, placed in enumerate(found):
        cancelled = number % CANCELLED_ONE_IN == 0
        after = None if cancelled else {**placed, "status": "shipped", "updated_by": "warehouse"}
        inserts.append(record(None, placed))
        updates.append(record(placed, after))
        last[placed["order_id"]] = None if after is None else after["status"]
    first = batches(inserts, batch)
    return Work({INSERTS: first, UPDATES: batches(updates, batch), REDELIVERED: first}, last)
