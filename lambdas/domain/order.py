"""An order, as the table holds it."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Money = Annotated[Decimal, Field(max_digits=20, decimal_places=2, ge=0)]


class Line(BaseModel):
    """One line of an order."""

    model_config = ConfigDict(frozen=True)

    title: str
    quantity: Annotated[int, Field(ge=1)]
    amount: Money


class Order(BaseModel):
    """An order; attributes of the item that it does not know are let be."""

    model_config = ConfigDict(frozen=True)

    customer_id: str
    order_id: str
    status: Literal["placed", "shipped", "refunded"]
    placed_at: datetime
    total: Money
    currency: Literal["USD"]
    lines: tuple[Line, ...]
    updated_by: str | None = None

    @classmethod
    def of(cls, image: dict[str, Any]) -> Self:
        """Return the order that an image holds.

        Raises:
            pydantic.ValidationError: it holds none; permanent, until the item is changed.
        """
        return cls.model_validate(image)

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        lines = sum((line.amount for line in self.lines), Decimal(0))
        if lines != self.total:
            message = f"the lines add up to {lines}, the total says {self.total}"
            raise ValueError(message)
        return self

    @property
    def units(self) -> int:
        """How many things were ordered."""
        return sum(line.quantity for line in self.lines)
