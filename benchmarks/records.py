"""Changes of orders, made from real purchases: what every variant of a benchmark is given.

Each purchase becomes an order with its life (`local.life_cycle`): placed, mostly shipped, some
amended, refunded or cancelled. The changes stand in the order of their time, as in a stream, so an
order and its shipment, a day later, lie hundreds of changes apart. Where more are wanted than the
file's purchases make, they are made again, by other customers.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from typing import Any

from local.life_cycle import Order, Step, life_cycle
from local.purchases import Purchase, read_purchases
from tests.factories import record

SEED = 1997
BATCH = 100
"""Records of an invocation: the mapping's default, and what most consumers run with."""

Record = dict[str, Any]


def orders(path: Path, number: int) -> list[Order]:
    """Return so many orders as they are when they are placed.

    Raises:
        PurchasesError: the file holds no purchases.
    """
    lives = (life_cycle(purchase, SEED) for purchase in _purchases(path))
    return [placed for life in islice(lives, number) if (placed := life[0].after) is not None]


def changes(path: Path, number: int) -> list[Record]:
    """Return the first so many of `stream`."""
    return list(islice(stream(path), number))


def stream(path: Path) -> Iterator[Record]:
    """Yield stream records without end, in the order of time, as Lambda delivers them.

    They are parsed from JSON: no two share an object. All were recorded a moment ago, as far as a
    processor can tell: one that is old it would also repair.

    Raises:
        PurchasesError: the file holds no purchases.
    """
    now = float(int(time.time()))
    for number, step in enumerate(_steps(path), start=1):
        yield json.loads(json.dumps(record(number, step.before, step.after, timestamp=now)))


def batches(records: list[Record], size: int = BATCH) -> list[dict[str, Any]]:
    """Return the records as events of invocations."""
    return [{"Records": records[start : start + size]} for start in range(0, len(records), size)]


def _purchases(path: Path) -> Iterator[Purchase]:
    """Yield the purchases of the file, then the same by other customers, without end."""
    for copy in count():
        for purchase in read_purchases(path):
            yield replace(purchase, customer=f"{copy or ''}{purchase.customer}")


def _steps(path: Path) -> Iterator[Step]:
    of_the_file = sum(1 for _ in read_purchases(path))
    purchases = _purchases(path)
    while True:
        lives = [life_cycle(purchase, SEED) for purchase in islice(purchases, of_the_file)]
        timed = [of_life for life in lives for of_life in _timed(life)]
        yield from (step for _, step in sorted(timed, key=lambda pair: pair[0]))


def _timed(life: list[Step]) -> Iterator[tuple[datetime, Step]]:
    """Yield the effective steps with their time; a cancellation comes an hour after the rest."""
    moment = datetime.min.replace(tzinfo=UTC)
    for step in life:
        if step.after is not None:
            moment = datetime.fromisoformat(step.after["updated_at"])
        elif step.before is not None:
            moment += timedelta(hours=1)
        if step.effective:
            yield moment, step
