"""Life cycles of orders: one purchase and one seed always give the same states.

Most orders are shipped, some refunded, some cancelled (the item is deleted). A few are amended
several times, and a few writes change nothing: DynamoDB writes no stream record for them.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lambdas.example_domain.stories.purchases import Purchase

Order = dict[str, Any]

# Shares of all orders.
SENT_TWICE = 0.04
AMENDED = 0.04
LEFT_PLACED = 0.05
CANCELLED = 0.06
CANCELLED_TWICE = 0.02
SHIPPED_TWICE = 0.03
REFUNDED = 0.08

AMENDED_BY = "customer/"
"""Beginning of `updated_by` in the states of an amended order."""

# The data set has the number of CDs, not their titles: these are made up.
TITLES = (
    "Ash and Amber", "Blue Harbour", "Cartographers", "Canción del Sur", "Dry Season",
    "Eleven Bridges", "Fieldnotes", "Glasshouse", "Half Past Winter", "Io", "July, Slowly",
    "Kitchen Radio", "Lanterns", "Minor Planets", "Nordlys", "Old Money, New Rain",
    "Paper Tigers / Live", "Quiet Machines", "Rooftops", "Salt", "Two #1 Hits", "Überfahrt",
    "Vanishing Points", "Weekday Saints", "夜の海", "Zero|One",
)  # fmt: skip


def life_cycle(purchase: Purchase, seed: int) -> list[Order | None]:
    """Return the states of one order, first to last; no order is placed twice."""
    order_id = order_id_of(purchase)
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
    states: list[Order | None] = [placed]
    if random.random() < SENT_TWICE:
        states.append(placed)
    if random.random() < AMENDED:
        states += _amendments(placed, placed_at, random)
    _settle(states, placed_at, random)
    return states


def order_id_of(purchase: Purchase) -> str:
    """Return the sort key of a purchase's order."""
    return f"{purchase.customer}-{purchase.number:04d}"


def _settle(states: list[Order | None], placed_at: datetime, random: Random) -> None:
    """Append the end of the order: nothing, shipping, a refund or a deletion."""
    placed, status = states[-1], random.random()
    if placed is None or status < LEFT_PLACED:
        return
    if status < LEFT_PLACED + CANCELLED:
        states.append(None)
        if random.random() < CANCELLED_TWICE / CANCELLED:
            states.append(None)
        return
    shipped = _changed(placed, placed_at + timedelta(hours=26), "warehouse", status="shipped")
    states.append(shipped)
    if random.random() < SHIPPED_TWICE:
        states.append(shipped)
    if random.random() < REFUNDED:
        refunded = _changed(shipped, placed_at + timedelta(days=9), "support", status="refunded")
        states.append(refunded)


def _amendments(placed: Order, placed_at: datetime, random: Random) -> list[Order | None]:
    """Return two to six changes: one more CD, and back again, so that the order ends unchanged."""
    first = placed["lines"][0]
    price = (first["amount"] / first["quantity"]).quantize(Decimal("0.01"))
    more = {**first, "quantity": first["quantity"] + 1, "amount": first["amount"] + price}
    with_more = {"lines": [more, *placed["lines"][1:]], "total": placed["total"] + price}
    as_placed = {"lines": placed["lines"], "total": placed["total"]}
    states: list[Order | None] = []
    order = placed
    for minute in range(2 * random.randint(1, 3)):
        fields = as_placed if minute % 2 else with_more
        now = placed_at + timedelta(minutes=minute + 1)
        order = _changed(order, now, f"{AMENDED_BY}{placed['customer_id']}", **fields)
        states.append(order)
    return states


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
