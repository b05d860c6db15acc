"""An order, as the table holds it."""

from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, model_validator

ACTOR_ATTRIBUTE = "updated_by"
"""Attribute that names the writer of an order; the change log keeps it as the actor."""


def _in_utc(value: object) -> datetime:
    """Return the moment that an ISO 8601 text with an offset means; pydantic takes far more."""
    moment = None
    with suppress(ValueError):  # its message quotes the text
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    if moment is None or moment.tzinfo is None:
        message = "a moment is ISO 8601 text with an offset, such as 1997-01-01T00:00:00Z"
        raise ValueError(message)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        message = "the moment is in UTC outside the years 1 to 9999"
        raise ValueError(message) from None


Money = Annotated[Decimal, Field(max_digits=15, decimal_places=2, ge=0)]
"""Below 10^13: the index counts in cents, exactly up to 2^53 of them."""

Quantity = Annotated[int, Field(ge=1, le=10**9)]
Moment = Annotated[datetime, PlainValidator(_in_utc)]


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
