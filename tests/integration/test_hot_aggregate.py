"""Concurrent lanes that add to one aggregate end exact, however many transactions conflict.

Each lane is a thread with a processor and a client of its own, as concurrent invocations of one
function are; its orders are its own, the aggregate is shared. DynamoDB Local refuses no
transaction, so a proxy before it does, in DynamoDB's words:

    injected     one transaction in five is refused
    overlapping  a transaction is refused if another one is writing one of its rows, as on AWS
"""

import json
import random
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import uuid4

from dynamodb_streams_cdc import Aggregation, Change, Deadline, Image, Processor
from dynamodb_streams_cdc.aws.dynamodb.ledger import DynamoDbLedger
from dynamodb_streams_cdc.deadline import SystemClock
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters
from local.deployed.deployment import session
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
        exchange.pass_on(answer)
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


@dataclass
class Run:
    """A finished run: transactions that were sent and refused, and the state that they left."""

    sent: int
    refused: int
    lanes: list[Lane]
    ledger: DynamoDbLedger
    dead_letters: MemoryDeadLetters

    def check(self) -> None:
        """Compare the sum and every row of the ledger with the orders.

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


def run(url: str, conflicts: str, *, lanes: int, changes: int, shards: int) -> Run:
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
        with ThreadPoolExecutor(lanes) as pool:
            list(pool.map(_deliver, processors, work))
        sent = proxy.operations.count("TransactWriteItems")
    return Run(sent, refusals.refused, work, ledger, dead_letters)


def _processor(
    proxy: FaultyProxy, ledger: DynamoDbLedger, dead_letters: MemoryDeadLetters
) -> Processor:
    own = DynamoDbLedger(
        clients.dynamodb(proxy.url, 30.0), ledger.table, ledger.aggregates, ledger.shards
    )
    return Processor("aggregation", SOURCE, Aggregation(own, contributions), dead_letters)


def _deliver(processor: Processor, lane: Lane) -> None:
    """Deliver a lane's records as a mapping does."""
    place = {r["dynamodb"]["SequenceNumber"]: n for n, r in enumerate(lane.records)}
    done = 0
    while done < len(lane.records):
        batch = lane.records[done : done + BATCH]
        answer = processor({"Records": batch}, FakeContext(SystemClock(), SECONDS))
        failures = answer["batchItemFailures"]
        done = place[failures[0]["itemIdentifier"]] if failures else done + len(batch)


def test_a_hot_aggregate_is_exact_despite_conflicts(dynamodb_local_url: str) -> None:
    done = run(dynamodb_local_url, "injected", lanes=8, changes=10_000, shards=8)
    assert sum(len(lane.records) for lane in done.lanes) == 10_000
    assert done.refused >= 0.1 * done.sent
    done.check()
    rows = done.ledger.client.scan(TableName=done.ledger.aggregates, ConsistentRead=True)["Items"]
    assert sum(int(row["revision"]["N"]) for row in rows) == done.sent - done.refused


def test_transactions_that_overlap_on_one_row_are_exact(dynamodb_local_url: str) -> None:
    done = run(dynamodb_local_url, "overlapping", lanes=4, changes=1_000, shards=1)
    assert done.refused > 0
    done.check()
