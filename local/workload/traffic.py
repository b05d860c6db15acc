"""Writes orders to the table as an application does: several at a time, each one in order.

Writes are counted as they are acknowledged: audit must have one entry for each effective write of
an item. Purchases are read from their file as they are needed, so memory grows by one counter for
each order.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeSerializer

from local.workload.life_cycle import Order, Step, life_cycle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from local.workload.purchases import Purchase

Key = tuple[str, str]
WORKERS = 4
OPEN_ORDERS = 12
_PROGRESS_EVERY = 0.2  # seconds


@dataclass(slots=True)
class Written:
    """Acknowledged writes: `effective` counts the writes of each item that changed it."""

    purchases: int = 0
    writes: int = 0
    deletes: int = 0
    effective: dict[Key, int] = field(default_factory=dict)
    seconds: float = 0.0

    def __add__(self, other: Written) -> Written:
        """Return the sum of two counts of different orders."""
        return Written(
            self.purchases + other.purchases,
            self.writes + other.writes,
            self.deletes + other.deletes,
            {**self.effective, **other.effective},
            self.seconds + other.seconds,
        )

    @property
    def changes(self) -> int:
        return sum(self.effective.values())

    @property
    def without_effect(self) -> int:
        return self.writes - self.changes


@dataclass(frozen=True, slots=True)
class Finished:
    """An order whose last write was acknowledged, at `acknowledged` on `time.monotonic()`."""

    key: Key
    steps: list[Step]
    acknowledged: float


class Writer:
    """Writes the life cycles of purchases; one instance runs once.

    Each of the workers has `open_orders` life cycles under way at once, and rests for `pause`
    seconds after each write. `story` returns the life cycle of a purchase.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        table: str,
        *,
        seed: int,
        workers: int = WORKERS,
        open_orders: int = OPEN_ORDERS,
        pause: float = 0.0,
        story: Callable[[Purchase, int], list[Step]] = life_cycle,
        stop: threading.Event | None = None,
        on_finished: Callable[[Finished], None] = lambda finished: None,
    ) -> None:
        self._client = client
        self._table = table
        self._seed = seed
        self._workers = workers
        self._open_orders = open_orders
        self._pause = pause
        self._story = story
        self._stop = stop or threading.Event()
        self._on_finished = on_finished
        self._serialize = TypeSerializer().serialize
        self._taking = threading.Lock()
        self._parts = [Written() for _ in range(workers)]

    def run(
        self, purchases: Iterator[Purchase], progress: Callable[[int], None] = lambda orders: None
    ) -> Written:
        """Return when all is acknowledged, or soon after `stop` is set; raise a write's error.

        `progress` is called from this thread with the number of orders begun so far.
        """
        started = time.monotonic()
        with ThreadPoolExecutor(self._workers, thread_name_prefix="traffic") as pool:
            try:
                running = {
                    pool.submit(self._work, worker, purchases) for worker in range(self._workers)
                }
                while running:
                    done, running = wait(running, _PROGRESS_EVERY, return_when=FIRST_EXCEPTION)
                    for future in done:
                        future.result()
                    progress(sum(part.purchases for part in self._parts))
            except BaseException:
                self._stop.set()
                raise
        return self._sum(time.monotonic() - started)

    def _sum(self, seconds: float) -> Written:
        return sum(self._parts, Written(seconds=seconds))

    def _work(self, worker: int, purchases: Iterator[Purchase]) -> None:
        """Keep a few orders open and advance one of them at a time."""
        random = Random(f"{self._seed}/{worker}")
        written = self._parts[worker]
        opened: list[tuple[list[Step], deque[Step]]] = []
        exhausted = False
        while not self._stop.is_set():
            while not exhausted and len(opened) < self._open_orders:
                purchase = self._take(purchases)
                exhausted = purchase is None
                if purchase is not None:
                    steps = self._story(purchase, self._seed)
                    opened.append((steps, deque(steps)))
                    written.purchases += 1
            if not opened:
                return
            position = random.randrange(len(opened))
            steps, remaining = opened[position]
            self._advance(steps[0], remaining, written)
            if not remaining:
                opened[position] = opened[-1]
                opened.pop()
                self._on_finished(Finished(_key(steps[0]), steps, time.monotonic()))
            if self._pause:
                self._stop.wait(self._pause)

    def _take(self, purchases: Iterator[Purchase]) -> Purchase | None:
        with self._taking:
            return next(purchases, None)

    def _advance(self, first: Step, remaining: deque[Step], written: Written) -> None:
        """Perform the next step of an order, and those that follow it quickly."""
        key = _key(first)
        while remaining:
            step = remaining.popleft()
            self._perform(key, step)
            written.writes += 1
            if step.effective:
                written.effective[key] = written.effective.get(key, 0) + 1
                written.deletes += step.after is None
            if not (remaining and remaining[0].quickly):
                return

    def _perform(self, key: Key, step: Step) -> None:
        typed_key = {"customer_id": {"S": key[0]}, "order_id": {"S": key[1]}}
        if step.after is None:
            self._client.delete_item(TableName=self._table, Key=typed_key)
        elif step.operation == "put":
            self._client.put_item(TableName=self._table, Item=self._typed(step.after))
        else:
            # A write that changes nothing sets the same fields again.
            before = step.before if step.effective and step.before else {}
            changed = {
                name: value
                for name, value in step.after.items()
                if name not in ("customer_id", "order_id") and before.get(name) != value
            }
            self._client.update_item(
                TableName=self._table,
                Key=typed_key,
                UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in changed),
                ExpressionAttributeNames={f"#{name}": name for name in changed},
                ExpressionAttributeValues=self._typed(
                    {f":{name}": value for name, value in changed.items()}
                ),
            )

    def _typed(self, fields: Order) -> dict[str, Any]:
        return {name: self._serialize(value) for name, value in fields.items()}


def _key(first: Step) -> Key:
    if first.after is None:
        msg = "A life cycle begins by placing the order."
        raise ValueError(msg)
    return first.after["customer_id"], first.after["order_id"]
