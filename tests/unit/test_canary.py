"""The canary has a reserved key and attribute, and the domain's functions never see it."""

from decimal import Decimal
from typing import Any

import pytest

from dynamodb_streams_cdc import Change, ChangeHandlers, deserialize_item
from dynamodb_streams_cdc.canary import canary_item, is_canary, unless_canary
from tests.factories import change, deadline, order


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
    assert is_canary(change(1, None, canary).keys)
    assert is_canary(change(2, canary, None).keys)
    assert not is_canary(change(1, None, order(title="cdc-canary")).keys)
    assert not is_canary(change(1, None, order(customer_id="cdc-canary")).keys)


def test_no_handler_is_called_with_it() -> None:
    handlers = ChangeHandlers()
    seen: list[Change] = []
    handlers.on_insert(seen.append)
    canary = change(
        1, None, deserialize_item(canary_item({"customer_id": "S", "order_id": "S"}, 1.0))
    )
    placed = change(2, None, order())
    assert handlers.apply([canary, placed], deadline()).applied == 2
    assert seen == [placed]


@pytest.mark.parametrize("instead", [None, {}])
def test_a_function_is_not_called_with_it(instead: Any) -> None:
    seen = []

    def function(image: dict[str, Any]) -> Any:
        seen.append(image)
        return "made"

    guarded = unless_canary(function, instead)
    assert guarded(deserialize_item(canary_item({"id": "S"}, 1.0))) == instead
    for item in (order(), {**order(), "cdc-canary": 1}, order(title="cdc-canary")):
        assert guarded(item) == "made"
    assert len(seen) == 3
