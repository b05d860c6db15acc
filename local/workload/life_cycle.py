"""Life cycles of orders: one purchase and one seed always give the same writes.

Most orders are shipped, some refunded, some cancelled (the item is deleted). A few are amended
several times in quick succession, so that a batch holds many changes of one item, and a few writes
change nothing: DynamoDB writes no stream record for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from local.workload.purchases import Purchase

Order = dict[str, Any]

# Shares of all orders.
SENT_TWICE = 0.04
AMENDED = 0.04
LEFT_PLACED = 0.05
CANCELLED = 0.06
CANCELLED_TWICE = 0.02
SHIPPED_TWICE = 0.03
REFUNDED = 0.08

# The data set has the number of CDs, not their titles: these are made up.
TITLES = (
    "Ash and Amber", "Blue Harbour", "Cartographers", "Canción del Sur", "Dry Season",
    "Eleven Bridges", "Fieldnotes", "Glasshouse", "Half Past Winter", "Io", "July, Slowly",
    "Kitchen Radio", "Lanterns", "Minor Planets", "Nordlys", "Old Money, New Rain",
    "Paper Tigers / Live", "Quiet Machines", "Rooftops", "Salt", "Two #1 Hits", "Überfahrt",
    "Vanishing Points", "Weekday Saints", "夜の海", "Zero|One",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """One write: the item as it is before and after it, None where it does not exist.

    `quickly`: directly after the step before, without a write of another order in between.
    """

    operation: Literal["put", "update", "delete"]
    before: Order | None
    after: Order | None
    quickly: bool = False

    @property
    def effective(self) -> bool:
        return self.before != self.after


def life_cycle(purchase: Purchase, seed: int) -> list[Step]:
    """Return every write of one order, first to last; no order is placed twice."""
    order_id = f"{purchase.customer}-{purchase.number:04d}"
    random = Random(f"{seed}/{order_id}")
    placed_at = datetime.combine(purchase.day, time(), UTC)
    placed: Order = {
        "customer_id": purchase.customer,
        "order_id": order_id,
        "status": "placed",
        "placed_at": _iso(placed_at),
        "total": purchase.value,
        "currency": "USD",
        "lines": _lines(purchase, random),
        "updated_by": "checkout",
        "updated_at": _iso(placed_at),
    }
    steps = [Step("put", None, placed)]
    if random.random() < SENT_TWICE:
        steps.append(Step("put", placed, placed))
    if random.random() < AMENDED:
        steps += _amendments(placed, placed_at, random)
    _settle(steps, placed_at, random)
    return steps


def _settle(steps: list[Step], placed_at: datetime, random: Random) -> None:
    """Append the end of the order: nothing, shipping, a refund or a deletion."""
    placed, status = steps[-1].after, random.random()
    if placed is None or status < LEFT_PLACED:
        return
    if status < LEFT_PLACED + CANCELLED:
        steps.append(Step("delete", placed, None))
        if random.random() < CANCELLED_TWICE / CANCELLED:
            steps.append(Step("delete", None, None))
        return
    shipped = _changed(placed, placed_at + timedelta(hours=26), "warehouse", status="shipped")
    steps.append(Step("update", placed, shipped))
    if random.random() < SHIPPED_TWICE:
        steps.append(Step("update", shipped, shipped, quickly=True))
    if random.random() < REFUNDED:
        refunded = _changed(shipped, placed_at + timedelta(days=9), "support", status="refunded")
        steps.append(Step("update", shipped, refunded))


def _amendments(placed: Order, placed_at: datetime, random: Random) -> list[Step]:
    """Return two to six changes: one more CD, and back again, so that the order ends unchanged."""
    first = placed["lines"][0]
    price = (first["amount"] / first["quantity"]).quantize(Decimal("0.01"))
    more = {**first, "quantity": first["quantity"] + 1, "amount": first["amount"] + price}
    with_more = {"lines": [more, *placed["lines"][1:]], "total": placed["total"] + price}
    as_placed = {"lines": placed["lines"], "total": placed["total"]}
    steps, before = [], placed
    for minute in range(2 * random.randint(1, 3)):
        fields = as_placed if minute % 2 else with_more
        now = placed_at + timedelta(minutes=minute + 1)
        after = _changed(before, now, f"customer/{placed['customer_id']}", **fields)
        steps.append(Step("update", before, after, quickly=True))
        before = after
    return steps


def _changed(order: Order, now: datetime, actor: str, **fields: Any) -> Order:
    return {**order, **fields, "updated_by": actor, "updated_at": _iso(now)}


def _lines(purchase: Purchase, random: Random) -> list[dict[str, Any]]:
    """Return at most four lines, whose quantities and cents add up to the purchase exactly."""
    count = min(purchase.units, random.randint(1, 4))
    cuts = [0, *sorted(random.sample(range(1, purchase.units), count - 1)), purchase.units]
    cents = int(purchase.value * 100)
    return [
        {
            "title": random.choice(TITLES),
            "quantity": Decimal(end - start),
            "amount": Decimal(_share(cents, end, cuts[-1]) - _share(cents, start, cuts[-1])) / 100,
        }
        for start, end in pairwise(cuts)
    ]


def _share(cents: int, units: int, of_units: int) -> int:
    return cents * units // of_units


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
