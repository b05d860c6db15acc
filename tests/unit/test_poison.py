"""Every reader of orders refuses poison; a correction removes it; other orders stay the same."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError
from local.workload.life_cycle import life_cycle
from local.workload.purchases import SAMPLE, read_purchases
from pydantic import ValidationError

from lambdas.example_domain.order import Order, contributions, document
from local.workload.poison import CORRECTED_BY, DEFECTS, Defect, Poison, correct, corrections, main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

by_kind = pytest.mark.parametrize(
    "defect", DEFECTS, ids=lambda defect: defect.name.replace(" ", "-")
)


def placed(number: int = 0) -> dict[str, Any]:
    [*_, purchase] = read_purchases(SAMPLE, number + 1)
    order = life_cycle(purchase, 1)[0].after
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
        wrong = spoiled(defect, number)

        found = corrections(wrong)

        assert list(found) == [defect.name]
        assert {**wrong, **found[defect.name]} == placed(number)


def test_an_order_with_every_defect_is_corrected() -> None:
    order = placed(3)
    for defect in DEFECTS:
        if defect.name != "a total that is text":
            order |= defect.inject(order)
    order["total"] = f"{order['total']} USD"

    found = corrections(order)

    assert len(found) == len(DEFECTS)
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

    names = [defect.name for defect in poison.orders.values()]
    assert names == [defect.name for defect in (*DEFECTS, DEFECTS[0])]


def test_a_poisonous_order_is_placed_and_never_shipped() -> None:
    poison = Poison(seed=1)
    [purchase] = poison.hidden(read_purchases(SAMPLE), 1, 1)

    [step] = poison.story(purchase, 1)

    assert (step.operation, step.before) == ("put", None)
    assert step.after == spoiled(DEFECTS[0])


def test_a_healthy_order_lives_as_ever() -> None:
    [purchase] = read_purchases(SAMPLE, 1)

    assert Poison(seed=1).story(purchase, 1) == life_cycle(purchase, 1)


class Table:
    """Orders as a client sees them; those in `moving` are changed just before they are written."""

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


def test_a_correction_fixes_the_table_and_counts_defects() -> None:
    table = Table(*(spoiled(defect, number) for number, defect in enumerate(DEFECTS)), placed(20))
    client = cast("DynamoDBClient", table)

    done = correct(client, "orders")

    assert (done.read, done.changed_meanwhile) == (len(DEFECTS) + 1, 0)
    assert done.corrected == {defect.name: 1 for defect in DEFECTS}
    stamps = ("updated_by", "updated_at")
    for number, order in enumerate(list(table.orders.values())[:-1]):
        assert order["updated_by"] == CORRECTED_BY
        assert {**order, **{n: placed(number)[n] for n in stamps}} == placed(number)
    assert table.orders[placed(20)["order_id"]] == placed(20)


def test_a_second_correction_writes_nothing() -> None:
    table = Table(spoiled(DEFECTS[1]))
    client = cast("DynamoDBClient", table)

    correct(client, "orders")

    assert correct(client, "orders").corrected == {}
    assert table.writes == 1


def test_an_order_that_changes_meanwhile_is_left_as_it_is() -> None:
    wrong = spoiled(DEFECTS[2])
    table = Table(wrong)
    table.moving.add(wrong["order_id"])

    done = correct(cast("DynamoDBClient", table), "orders")

    assert (done.changed_meanwhile, done.corrected) == (1, {})
    assert wrong["status"] == "on hold"


def test_a_total_that_is_text_is_not_the_text_of_a_number() -> None:
    """Pydantic would take the text of a number; this is not one."""
    total = spoiled(DEFECTS[0])["total"]

    assert total.endswith(" USD")
    assert corrections(spoiled(DEFECTS[0])) == {
        DEFECTS[0].name: {"total": Decimal(total.removesuffix(" USD"))}
    }


@pytest.mark.parametrize("url", ["http://[::1", "http://127.0.0.1:99999", "http://a:secret@b"])
def test_a_malformed_endpoint_is_refused_with_a_sentence(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["correct", "--table", "orders", "--endpoint-url", url])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "--endpoint-url: " in said
    assert "secret" not in said
