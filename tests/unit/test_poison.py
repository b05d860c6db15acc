"""Poison is refused by every reader of orders, mending undoes it, and neither touches the rest."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError
from pydantic import ValidationError

from lambdas.domain.contributions import contributions
from lambdas.domain.order import Order
from lambdas.domain.search_document import document
from local.workload.life_cycle import life_cycle
from local.workload.poison import KINDS, MENDER, Kind, Poison, corrections, main, mend
from local.workload.purchases import SAMPLE, read_purchases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

by_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name.replace(" ", "-"))


def placed(number: int = 0) -> dict[str, Any]:
    [*_, purchase] = read_purchases(SAMPLE, number + 1)
    order = life_cycle(purchase, 1)[0].after
    assert order is not None
    return order


def spoiled(kind: Kind, number: int = 0) -> dict[str, Any]:
    order = placed(number)
    return {**order, **kind.spoiled(order)}


@by_kind
@pytest.mark.parametrize("reader", [contributions, document])
def test_no_reader_takes_poison(kind: Kind, reader: Callable[[dict[str, Any]], object]) -> None:
    for number in range(40):
        assert reader(placed(number))
        with pytest.raises(ValidationError):
            reader(spoiled(kind, number))


@by_kind
def test_mending_undoes_what_spoiling_did(kind: Kind) -> None:
    for number in range(40):
        wrong = spoiled(kind, number)

        found = corrections(wrong)

        assert list(found) == [kind.name]
        assert {**wrong, **found[kind.name]} == placed(number)


def test_an_order_with_every_mistake_is_mended_too() -> None:
    order = placed(3)
    for kind in KINDS:
        if kind.name != "a total that is text":
            order |= kind.spoiled(order)
    order["total"] = f"{order['total']} USD"

    found = corrections(order)

    assert len(found) == len(KINDS)
    for fields in found.values():
        order |= fields
    assert order == placed(3)
    Order.of(order)


def test_right_orders_are_left_alone() -> None:
    for purchase in read_purchases(SAMPLE, 200):
        for step in life_cycle(purchase, 1):
            assert step.after is None or corrections(step.after) == {}


@pytest.mark.parametrize(("count", "poisonous"), [(10, 5), (96, 13), (3, 1), (4, 0), (5, 5)])
def test_poison_is_spread_over_a_round(count: int, poisonous: int) -> None:
    poison = Poison(seed=1)
    purchases = read_purchases(SAMPLE)

    taken = list(poison.hidden(purchases, count, poisonous))

    assert taken == list(read_purchases(SAMPLE, count))
    assert len(poison.orders) == poisonous
    keys = [(each.customer, f"{each.customer}-{each.number:04d}") for each in taken]
    places = [place for place, key in enumerate(keys) if key in poison.orders]
    for number, place in enumerate(places):
        assert count * number // poisonous <= place < count * (number + 1) // poisonous
    assert next(purchases) not in taken


def test_kinds_take_turns_over_all_rounds() -> None:
    poison, purchases = Poison(seed=1), read_purchases(SAMPLE)

    for poisonous in (4, 3):
        list(poison.hidden(purchases, 10, poisonous))

    names = [kind.name for kind in poison.orders.values()]
    assert names == [kind.name for kind in (*KINDS, KINDS[0])]


def test_a_poisonous_order_is_placed_and_never_shipped() -> None:
    poison = Poison(seed=1)
    [purchase] = poison.hidden(read_purchases(SAMPLE), 1, 1)

    [step] = poison.story(purchase, 1)

    assert (step.operation, step.before) == ("put", None)
    assert step.after == spoiled(KINDS[0])


def test_a_healthy_order_lives_as_ever() -> None:
    [purchase] = read_purchases(SAMPLE, 1)

    assert Poison(seed=1).story(purchase, 1) == life_cycle(purchase, 1)


class Table:
    """Orders as a client sees them; whoever is in `moving` is changed just before it is written."""

    class exceptions:
        ConditionalCheckFailedException = type("Conditional", (ClientError,), {})

    def __init__(self, *orders: dict[str, Any]) -> None:
        self.orders = {order["order_id"]: order for order in orders}
        self.moving: set[str] = set()
        self.writes = 0

    def get_paginator(self, operation: str) -> Table:
        assert operation == "scan"
        return self

    def paginate(self, *, TableName: str, ConsistentRead: bool) -> Iterator[dict[str, Any]]:
        assert (TableName, ConsistentRead) == ("orders", True)
        encode = TypeSerializer().serialize
        for order in list(self.orders.values()):
            yield {"Items": [{name: encode(value) for name, value in order.items()}]}

    def update_item(self, **request: Any) -> None:
        decode = TypeDeserializer().deserialize
        names = request["ExpressionAttributeNames"]
        values = {
            name: decode(value) for name, value in request["ExpressionAttributeValues"].items()
        }
        order = self.orders[request["Key"]["order_id"]["S"]]
        if order["order_id"] in self.moving:
            order["updated_by"] = "warehouse"
        assert request["ConditionExpression"] == "#updated_at = :seen AND #updated_by = :by"
        if (order["updated_at"], order["updated_by"]) != (values[":seen"], values[":by"]):
            raise self.exceptions.ConditionalCheckFailedException({}, "UpdateItem")
        self.writes += 1
        for part in request["UpdateExpression"].removeprefix("SET ").split(", "):
            name, value = part.split(" = ")
            order[names[name]] = values[value]


def test_mending_corrects_the_table_and_says_what() -> None:
    table = Table(*(spoiled(kind, number) for number, kind in enumerate(KINDS)), placed(20))
    client = cast("DynamoDBClient", table)

    done = mend(client, "orders")

    assert (done.looked_at, done.moved) == (len(KINDS) + 1, 0)
    assert done.corrected == {kind.name: 1 for kind in KINDS}
    stamps = ("updated_by", "updated_at")
    for number, order in enumerate(list(table.orders.values())[:-1]):
        assert order["updated_by"] == MENDER
        assert {**order, **{n: placed(number)[n] for n in stamps}} == placed(number)
    assert table.orders[placed(20)["order_id"]] == placed(20)


def test_mending_twice_writes_once() -> None:
    table = Table(spoiled(KINDS[1]))
    client = cast("DynamoDBClient", table)

    mend(client, "orders")

    assert mend(client, "orders").corrected == {}
    assert table.writes == 1


def test_an_order_that_somebody_changes_meanwhile_is_left_for_the_next_time() -> None:
    wrong = spoiled(KINDS[2])
    table = Table(wrong)
    table.moving.add(wrong["order_id"])

    done = mend(cast("DynamoDBClient", table), "orders")

    assert (done.moved, done.corrected) == (1, {})
    assert wrong["status"] == "on hold"


def test_totals_that_are_text_are_what_no_number_is() -> None:
    """Pydantic would take the text of a number; this is not one."""
    total = spoiled(KINDS[0])["total"]

    assert total.endswith(" USD")
    assert corrections(spoiled(KINDS[0])) == {
        KINDS[0].name: {"total": Decimal(total.removesuffix(" USD"))}
    }


@pytest.mark.parametrize("url", ["http://[::1", "http://127.0.0.1:99999", "http://a:secret@b"])
def test_an_endpoint_that_is_none_is_a_sentence(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["mend", "--table", "orders", "--endpoint-url", url])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "--endpoint-url: " in said
    assert "secret" not in said
