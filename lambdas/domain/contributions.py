"""The contribution of an order to the sums."""

from decimal import Decimal

from dynamodb_streams_cdc import Contribution, Expiry, Image
from lambdas.domain.order import Order

EXPIRY = Expiry.DROP
"""Sums cover the orders in the table; an order that expires leaves them. Use `Expiry.KEEP` to keep
expired orders in the sums."""


def contributions(image: Image) -> Contribution:
    """Return an order's part in its month and in its status. Pure: it sees the order alone."""
    order = Order.of(image)
    refunded = order.status == "refunded"
    return {
        f"month#{order.placed_at:%Y-%m}": {
            "orders": 1,
            "units": order.units,
            "revenue": Decimal(0) if refunded else order.total,
            "refunds": order.total if refunded else Decimal(0),
        },
        f"status#{order.status}": {"orders": 1},
    }
