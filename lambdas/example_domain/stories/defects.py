"""Defects of orders: the table takes such an order, and no sum and no index can.

Each defect is a common mistake of programs: an export with the currency in the amount, a moment
without its zone. Audit takes such orders as they are; aggregation and search refuse them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dynamodb_streams_cdc.testing.stories import Poison

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdas.example_domain.stories.orders import Order

CORRECTED_BY = "support/correction"


@dataclass(frozen=True, slots=True)
class Defect:
    """One defect: its name, and the attributes that give an order the defect."""

    name: str
    inject: Callable[[Order], dict[str, Any]]


def _one_dollar_more(order: Order) -> dict[str, Any]:
    first, *others = order["lines"]
    return {"lines": [{**first, "amount": first["amount"] + 1}, *others]}


def _negative(order: Order) -> dict[str, Any]:
    first, *others = order["lines"]
    return {"lines": [{**first, "quantity": -first["quantity"]}, *others]}


DEFECTS = (
    Defect("a total that is text", lambda o: {"total": f"{o['total']} USD"}),
    Defect("lines that do not add up", _one_dollar_more),
    Defect("an unknown status", lambda o: {"status": "on hold"}),
    Defect("a moment without a zone", lambda o: {"placed_at": o["placed_at"].removesuffix("Z")}),
    Defect("a currency that is not a code", lambda o: {"currency": "US$"}),
    Defect("a negative quantity", _negative),
)


def poison_of(placed: Order, defect: Defect) -> Poison:
    """Return an order with the defect, and its correction by customer support."""
    corrected = {**placed, "updated_by": CORRECTED_BY}
    return Poison(defect.name, {**placed, **defect.inject(placed)}, corrected)
