"""Computes the expected state of the sinks from the orders and customers alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from decimal import Context, Decimal, localcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

Order = dict[str, Any]
Aggregates = dict[str, dict[str, Decimal]]
Contribution = Mapping[str, Mapping[str, Decimal]]

PROFILE = "PROFILE"
"""Sort key of a customer's item."""
# Wide enough that no sum is ever rounded: DynamoDB numbers have 38 digits.
_EXACT = Context(prec=100)


def item_of(customer_id: str, order_id: str) -> str:
    """Return the identity of an order in every sink; the sample's keys need no escapes."""
    return f"orders/S={customer_id}/S={order_id}"


def aggregates_of(orders: Iterable[Order]) -> Aggregates:
    """Return every aggregate over all orders, without measures that are zero.

    An order whose total is not a number adds nothing.
    """
    rows: list[tuple[str, Mapping[str, Decimal]]] = []
    for order in orders:
        if order["order_id"] == PROFILE:
            rows.append((f"segment#{order['segment']}", {"customers": Decimal(1)}))
            continue
        total, zero = order["total"], Decimal(0)
        if not isinstance(total, Decimal):
            continue
        refunded = order["status"] == "refunded"
        month = {
            "orders": Decimal(1),
            "units": _units(order),
            "revenue": zero if refunded else total,
            "refunds": total if refunded else zero,
        }
        rows.append((f"month#{order['placed_at'][:7]}", month))
        rows.append((f"status#{order['status']}", {"orders": Decimal(1)}))
    return sum_of(rows)


def sum_of(rows: Iterable[tuple[str, Mapping[str, Decimal | int]]]) -> Aggregates:
    """Add measures up by aggregate, exactly; zero is the same as absent."""
    sums: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    with localcontext(_EXACT):
        for aggregate, measures in rows:
            for measure, amount in measures.items():
                sums[aggregate][measure] += amount
    without_zeros = (
        (aggregate, {measure: amount for measure, amount in measures.items() if amount})
        for aggregate, measures in sums.items()
    )
    return {aggregate: measures for aggregate, measures in without_zeros if measures}


def document_of(order: Order) -> dict[str, Any]:
    """Return the search document of an order or customer, numbers as numbers."""
    if order["order_id"] == PROFILE:
        return {name: order[name] for name in ("customer_id", "name", "segment", "since")}
    return {
        "customer_id": order["customer_id"],
        "order_id": order["order_id"],
        "status": order["status"],
        "placed_at": order["placed_at"],
        "total": order["total"],
        "currency": order["currency"],
        "units": _units(order),
        "titles": sorted({line["title"] for line in order["lines"]}),
        "updated_by": order["updated_by"],
    }


def _units(order: Order) -> Decimal:
    return sum((line["quantity"] for line in order["lines"]), Decimal(0))
