"""Customers: the model, the sums, and the search document."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from dynamodb_streams_cdc import Contribution, Image
from dynamodb_streams_cdc.entities import Index
from lambdas.example_domain.values import INDEX_SETTINGS, Moment, iso

PROFILE = "PROFILE"
"""The sort key of a customer's own item, next to the customer's orders."""


class Customer(BaseModel):
    """A customer; it ignores attributes that it does not know. Errors do not show values."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    customer_id: str
    name: str
    segment: Literal["new", "regular", "gold"]
    since: Moment
    updated_by: str | None = None

    @classmethod
    def of(cls, image: dict[str, Any]) -> Self:
        """Return the customer of an image.

        Raises:
            pydantic.ValidationError: it is not a customer; permanent, until the item is changed.
        """
        return cls.model_validate(image)


def contributions(image: Image) -> Contribution:
    """Return a customer's part in the segment's sum. Pure: it sees the customer alone."""
    return {f"segment#{Customer.of(image).segment}": {"customers": 1}}


INDEX = Index(
    name="customers",
    properties={
        "customer_id": {"type": "keyword"},
        "name": {"type": "text"},
        "segment": {"type": "keyword"},
        "since": {"type": "date"},
    },
    settings=INDEX_SETTINGS,
)


def document(image: Image) -> dict[str, Any]:
    """Return the document of a customer. Pure: it sees the customer alone."""
    customer = Customer.of(image)
    return {
        "customer_id": customer.customer_id,
        "name": customer.name,
        "segment": customer.segment,
        "since": iso(customer.since),
    }
