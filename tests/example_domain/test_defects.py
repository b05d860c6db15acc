"""Every reader of orders refuses each defect, and takes the correction."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from lambdas.example_domain.order import Order, contributions, document
from lambdas.example_domain.stories.defects import CORRECTED_BY, DEFECTS, Defect, poison_of
from lambdas.example_domain.stories.orders import life_cycle
from lambdas.example_domain.stories.purchases import SAMPLE, read_purchases

if TYPE_CHECKING:
    from collections.abc import Callable

by_kind = pytest.mark.parametrize(
    "defect", DEFECTS, ids=lambda defect: defect.name.replace(" ", "-")
)


def placed(number: int = 0) -> dict[str, Any]:
    [*_, purchase] = read_purchases(SAMPLE, number + 1)
    order = life_cycle(purchase, 1)[0]
    assert order is not None
    return order


def spoiled(defect: Defect, number: int = 0) -> dict[str, Any]:
    order = placed(number)
    return {**order, **defect.inject(order)}


@by_kind
@pytest.mark.parametrize("reader", [contributions, document])
def test_every_reader_refuses_poison(
    defect: Defect, reader: Callable[[dict[str, Any]], object]
) -> None:
    for number in range(40):
        assert reader(placed(number))
        with pytest.raises(ValidationError):
            reader(spoiled(defect, number))


@by_kind
def test_a_correction_removes_the_defect(defect: Defect) -> None:
    for number in range(40):
        poison = poison_of(placed(number), defect)

        assert poison.defect == defect.name
        assert poison.state == spoiled(defect, number)
        assert poison.correction == {**placed(number), "updated_by": CORRECTED_BY}
        Order.of(dict(poison.correction))


def test_a_total_that_is_text_is_not_the_text_of_a_number() -> None:
    """Pydantic would take the text of a number; this is not one."""
    total = spoiled(DEFECTS[0])["total"]

    assert total.endswith(" USD")
    assert Decimal(total.removesuffix(" USD")) == placed()["total"]
