"""The canary has a reserved key and attribute, and the domain's functions never see it."""

from decimal import Decimal
from typing import Any

import pytest

from dynamodb_streams_cdc import deserialize_item
from dynamodb_streams_cdc.canary import canary_item, is_canary, unless_canary
from tests.factories import change, order


def test_its_keys_have_the_types_of_the_table() -> None:
    item = deserialize_item(canary_item({"tenant": "S", "number": "N", "digest": "B"}, 1_000.0))
    assert item == {
        "tenant": "cdc-canary",
        "number": Decimal(0),
        "digest": b"cdc-canary",
        "cdc-canary": Decimal(1000),
    }


def test_it_is_told_from_an_item_that_mentions_it() -> None:
    keys = {"customer_id": "S", "order_id": "S"}
    canary = deserialize_item(canary_item(keys, 1_000.0))
    assert is_canary(change(1, None, canary))
    assert is_canary(change(2, canary, None))
    assert not is_canary(change(1, None, order(title="cdc-canary")))


@pytest.mark.parametrize("instead", [None, {}])
def test_a_function_is_not_called_with_it(instead: Any) -> None:
    seen = []

    def function(image: dict[str, Any]) -> Any:
        seen.append(image)
        return "made"

    guarded = unless_canary(function, instead)
    assert guarded(deserialize_item(canary_item({"id": "S"}, 1.0))) == instead
    assert guarded(order()) == "made"
    assert seen == [order()]
