"""What the errors of an order tell."""

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from lambdas.example_domain.order import Order
from tests.factories import order

PRIVATE = "Jane Doe secret@example.com"
LINE = order()["lines"][0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((name, PRIVATE) for name in ("placed_at", "status", "total", "currency", "lines")),
        *((name, [PRIVATE]) for name in ("customer_id", "order_id", "updated_by", "placed_at")),
        ("lines", [{**LINE, "quantity": PRIVATE}]),
        ("lines", [{**LINE, "amount": PRIVATE}]),
        ("lines", [{**LINE, "title": [PRIVATE]}]),
    ],
)
def test_an_error_names_the_field_and_no_value(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        Order.of({**order(), field: value})
    assert field in str(caught.value)
    assert not any(part in str(caught.value) for part in PRIVATE.split())


def test_a_total_that_is_not_the_sum_is_not_told() -> None:
    with pytest.raises(ValidationError, match="total is not the sum") as caught:
        Order.of({**order(), "total": Decimal("1234.56")})
    assert "1234" not in str(caught.value)
    assert "29" not in str(caught.value)
