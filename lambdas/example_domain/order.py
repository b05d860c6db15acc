"""Orders: the model, the sums, and the search document."""

from decimal import Decimal
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from dynamodb_streams_cdc import Contribution, Image
from dynamodb_streams_cdc.entities import Index
from lambdas.example_domain.values import INDEX_SETTINGS, Moment, Money, Quantity, iso


class Line(BaseModel):
    """One line of an order."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    title: str
    quantity: Quantity
    amount: Money


class Order(BaseModel):
    """An order; it ignores attributes that it does not know.

    Errors do not show values: they go into logs, and what people ordered does not.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    customer_id: str
    order_id: str
    status: Literal["placed", "shipped", "refunded"]
    placed_at: Moment
    total: Money
    currency: Literal["USD"]
    lines: tuple[Line, ...]
    updated_by: str | None = None

    @classmethod
    def of(cls, image: dict[str, Any]) -> Self:
        """Return the order of an image.

        Raises:
            pydantic.ValidationError: it is not an order; permanent, until the item is changed.
        """
        return cls.model_validate(image)

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        lines = sum((line.amount for line in self.lines), Decimal(0))
        if lines != self.total:
            message = "total is not the sum of the lines' amounts"
            raise ValueError(message)
        return self

    @property
    def units(self) -> int:
        """How many things were ordered."""
        return sum(line.quantity for line in self.lines)


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


INDEX = Index(
    name="orders",
    properties={
        "customer_id": {"type": "keyword"},
        "order_id": {"type": "keyword"},
        "status": {"type": "keyword"},
        "placed_at": {"type": "date"},
        "total": {"type": "scaled_float", "scaling_factor": 100},
        "currency": {"type": "keyword"},
        "units": {"type": "long"},
        "titles": {"type": "text"},
        "updated_by": {"type": "keyword"},
    },
    settings=INDEX_SETTINGS,
)
"""A changed type takes a new index: see docs/how-to/change-the-index-mapping.md."""


def document(image: Image) -> dict[str, Any]:
    """Return the document of an order. Pure: it sees the order alone."""
    order = Order.of(image)
    return {
        "customer_id": order.customer_id,
        "order_id": order.order_id,
        "status": order.status,
        "placed_at": iso(order.placed_at),
        "total": order.total,
        "currency": order.currency,
        "units": order.units,
        "titles": sorted({line.title for line in order.lines}),
        "updated_by": order.updated_by,
    }


def notice(image: Image) -> str | None:
    """Return the message about an order that is refunded; it names no person.

    No entity uses it: declare `sinks={"notifications": order.notice}` to send the messages.
    """
    order = Order.of(image)
    if order.status != "refunded":
        return None
    return f"Order {order.order_id} is refunded: {order.total} {order.currency}."
