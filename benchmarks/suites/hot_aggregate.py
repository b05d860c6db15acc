"""Many lanes that add to one aggregate, on DynamoDB Local: what conflicts cost.

    python -m benchmarks.suites.hot_aggregate [--json] [--changes N] [--shards N]

Each lane is a thread with a processor and a client of its own, as concurrent invocations of one
function are; its orders are its own, the aggregate is everybody's. One lane runs first, then eight,
in the same run and with the same changes. DynamoDB Local refuses no transaction, so a proxy before
it does, in DynamoDB's words, before the transaction gets there:

    none         no transaction is refused
    injected     one in five is, whatever it writes
    overlapping  one is if it writes a row that another one is just writing, as DynamoDB decides

A conflict costs a pause and another transaction. Every run ends with the sum and the ledger exact,
or the benchmark fails.
"""

import argparse
import json
import random
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any
from uuid import uuid4

from dynamodb_streams_cdc import Aggregation, Change, Deadline, Image, Processor
from dynamodb_streams_cdc.aws.dynamodb.ledger import DynamoDbLedger
from dynamodb_streams_cdc.deadline import SystemClock
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters
from local.deployed.deployment import session
from local.services import engines
from tests.factories import SOURCE, FakeContext, order, record
from tests.integration import clients
from tests.integration.faulty_proxy import Exchange, FaultyProxy, faulty_proxy
from tests.lambdas.conftest import create_table

HOT = "month#1997-01"
STATES = 5
"""Changes of each order; more orders than a batch holds, so that none of them are coalesced."""

BATCH = 100
INJECTED = 0.2
SECONDS = 60.0


def contributions(image: Image) -> dict[str, dict[str, Any]]:
    """Return an order's part in the one aggregate that there is."""
    return {HOT: {"orders": 1, "revenue": image["total"]}}


@dataclass
class Lane:
    """The changes of some orders, in the order of their stream, and how those end."""

    number: int
    changes: int
    records: list[dict[str, Any]] = field(default_factory=list)
    orders: dict[str, dict[str, Any] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [f"{self.number:02}{n:05}-1" for n in range(self.changes // STATES)]
        for state in range(STATES):
            for n, name in enumerate(names):
                before = self.orders.get(name)
                total = f"{(7 * n + 13 * state) % 97}.{state}{n % 10}"
                gone = state == STATES - 1 and n % 3 == 0
                after = None if gone else order(name, total=total)
                sequence = 1_000_000 * (self.number + 1) + len(self.records)
                self.records.append(record(sequence, before, after))
                self.orders[name] = after

    def last(self) -> Iterator[Change]:
        """Return the last change of each order."""
        for delivered in self.records[-len(self.orders) :]:
            yield Change.from_record(delivered, SOURCE)


class Refusals:
    """A spoiler of transactions, and the count of those it refused."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.refused = 0
        self._random = random.Random(kind)
        self._writing: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, exchange: Exchange) -> bool:
        if exchange.operation != "TransactWriteItems":
            return False
        rows = [_row(action) for action in json.loads(exchange.body)["TransactItems"]]
        with self._lock:
            met = self._met(rows)
            self.refused += bool(met)
            if not met:
                self._writing.update(rows)
        if met:
            exchange.cancel(dict.fromkeys(met, "TransactionConflict"))
            return True
        try:
            answer = exchange.forward()
        finally:
            with self._lock:
                self._writing.difference_update(rows)
        exchange.reply(answer.status, answer.data, answer.headers.get("Content-Type", ""))
        return True

    def _met(self, rows: list[str]) -> list[int]:
        match self.kind:
            case "injected":
                return [len(rows) - 1] if self._random.random() < INJECTED else []
            case "overlapping":
                return [place for place, row in enumerate(rows) if row in self._writing]
        return []


def _row(action: Mapping[str, Any]) -> str:
    [(kind, body)] = action.items()
    key = body["Item"]["id"] if kind == "Put" else body["Key"]
    return f"{body['TableName']} {json.dumps(key, sort_keys=True)}"


@dataclass(frozen=True)
class Row:
    """What one run took."""

    lanes: int
    conflicts: str
    changes: int
    seconds: float
    per_second: float
    transactions: int
    refused: int
    invocations: int


@dataclass
class Run:
    """A finished run: its ledger can be looked at until its engine ends."""

    row: Row
    lanes: list[Lane]
    ledger: DynamoDbLedger
    dead_letters: MemoryDeadLetters

    def check(self) -> None:
        """Compare the sum, and every row of the ledger, with what the orders say.

        Raises:
            AssertionError: something was lost, or counted twice.
        """
        images = [image for lane in self.lanes for image in lane.orders.values() if image]
        expected = {"orders": Decimal(len(images)), "revenue": sum(i["total"] for i in images)}
        found = self.ledger.total(HOT)
        assert found == expected, f"the sum is {found}, not {expected}"
        for lane in self.lanes:
            rows = self.ledger.read([change.item_id for change in lane.last()], Deadline())
            for change in lane.last():
                row, image = rows[change.item_id], change.new_image
                assert row.version == change.version
                assert row.deleted == (image is None)
                assert row.contribution == (contributions(image) if image else {})
        assert self.dead_letters.dead_letters == {}


def run(url: str, lanes: int, changes: int, conflicts: str, shards: int) -> Run:
    """Let the lanes apply so many changes through a proxy before the DynamoDB at `url`."""
    direct = session(url).client("dynamodb")
    name = f"hot-{uuid4()}"
    create_table(direct, f"{name}-ledger", [("id", "S")])
    create_table(direct, f"{name}-sums", [("aggregate", "S"), ("shard", "N")])
    ledger = DynamoDbLedger(direct, f"{name}-ledger", f"{name}-sums", shards)
    work = [Lane(number, changes // lanes) for number in range(lanes)]
    dead_letters = MemoryDeadLetters()
    refusals = Refusals(conflicts)
    with faulty_proxy(url) as proxy:
        proxy.spoil = refusals
        processors = [_processor(proxy, ledger, dead_letters) for _ in work]
        invocations: list[int] = []
        threads = [
            threading.Thread(target=lambda p=p, w=w: invocations.append(_deliver(p, w)))
            for p, w in zip(processors, work, strict=True)
        ]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - began
        sent = proxy.operations.count("TransactWriteItems")
    count = sum(len(lane.records) for lane in work)
    row = Row(
        lanes=lanes,
        conflicts=conflicts,
        changes=count,
        seconds=seconds,
        per_second=count / seconds,
        transactions=sent,
        refused=refusals.refused,
        invocations=sum(invocations),
    )
    return Run(row, work, ledger, dead_letters)


def _processor(
    proxy: FaultyProxy, ledger: DynamoDbLedger, dead_letters: MemoryDeadLetters
) -> Processor:
    own = DynamoDbLedger(
        clients.dynamodb(proxy.url, 30.0), ledger.table, ledger.aggregates, ledger.shards
    )
    return Processor("aggregation", SOURCE, Aggregation(own, contributions), dead_letters)


def _deliver(processor: Processor, lane: Lane) -> int:
    """Deliver a lane's records as a mapping does; return how many invocations that took."""
    place = {r["dynamodb"]["SequenceNumber"]: n for n, r in enumerate(lane.records)}
    done = invocations = 0
    while done < len(lane.records):
        batch = lane.records[done : done + BATCH]
        answer = processor({"Records": batch}, FakeContext(SystemClock(), SECONDS))
        failures = answer["batchItemFailures"]
        done = place[failures[0]["itemIdentifier"]] if failures else done + len(batch)
        invocations += 1
    return invocations


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.suites.hot_aggregate", description=__doc__
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--changes", type=int, default=10_000, help="for each run")
    parser.add_argument("--shards", type=int, default=8, help="rows that the sum is spread over")
    arguments = parser.parse_args()
    rows: list[Row] = []
    with engines.dynamodb_local() as engine:
        run(engine.url, 2, 1_000, "none", arguments.shards)  # the engine's first requests are slow
        for conflicts in ("none", "injected", "overlapping"):
            for lanes in (1, 8):
                done = run(engine.url, lanes, arguments.changes, conflicts, arguments.shards)
                done.check()
                rows.append(done.row)
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        print_table(rows)


def print_table(rows: list[Row]) -> None:
    """Print one line for each run; the speed is also given in multiples of one lane's."""
    print(
        f"{'conflicts':<12} {'lanes':>5} {'changes':>8} {'seconds':>8} {'changes/s':>10} "
        f"{'x one lane':>10} {'transactions':>13} {'refused':>8} {'invocations':>12}"
    )
    for row in rows:
        one = next(r for r in rows if r.conflicts == row.conflicts and r.lanes == 1)
        print(
            f"{row.conflicts:<12} {row.lanes:>5} {row.changes:>8} {row.seconds:>8.1f} "
            f"{row.per_second:>10.0f} {row.per_second / one.per_second:>10.1f} "
            f"{row.transactions:>13} {row.refused:>8} {row.invocations:>12}"
        )


if __name__ == "__main__":
    main()
