"""Poison: orders that the table takes but that cannot be counted or indexed; and their correction.

    python -m local.workload.poison correct --table NAME --endpoint-url URL

corrects them in the table, from their own attributes, and leaves every other order alone. It may be
stopped and run again at any moment.

Each defect is a common mistake of programs: an export with the currency in the amount, a moment
without its zone. Audit takes such orders as they are; aggregation and search refuse them.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import BotoCoreError, ClientError

from dynamodb_streams_cdc.operations.endpoint import problem_of
from local.deployed.deployment import session
from local.workload.life_cycle import Order, Step, life_cycle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient

    from local.workload.purchases import Purchase
    from local.workload.traffic import Key

    Fields = dict[str, Any]

CORRECTED_BY = "support/correction"
_STATUSES = ("placed", "shipped", "refunded")
_KEYS = ("customer_id", "order_id")


@dataclass(frozen=True, slots=True)
class Defect:
    """One defect of an order.

    Attributes:
        name: as the demo prints it.
        inject: returns the attributes that give an order the defect.
        correct: returns the attributes that remove it; none where the order does not have it.
    """

    name: str
    inject: Callable[[Order], Fields]
    correct: Callable[[Order], Fields]


def _text_to_number(order: Order) -> Fields:
    total = order["total"]
    return {"total": Decimal(total.removesuffix(" USD"))} if isinstance(total, str) else {}


def _one_dollar_more(order: Order) -> Fields:
    first, *others = order["lines"]
    return {"lines": [{**first, "amount": first["amount"] + 1}, *others]}


def _add_up(order: Order) -> Fields:
    first, *others = order["lines"]
    amount = order["total"] - sum(line["amount"] for line in others)
    return {"lines": [{**first, "amount": amount}, *others]} if amount != first["amount"] else {}


def _negative(order: Order) -> Fields:
    first, *others = order["lines"]
    return {"lines": [{**first, "quantity": -first["quantity"]}, *others]}


def _positive(order: Order) -> Fields:
    lines = [{**line, "quantity": abs(line["quantity"])} for line in order["lines"]]
    return {"lines": lines} if lines != order["lines"] else {}


DEFECTS = (
    Defect("a total that is text", lambda o: {"total": f"{o['total']} USD"}, _text_to_number),
    Defect("lines that do not add up", _one_dollar_more, _add_up),
    Defect(
        "an unknown status",
        lambda o: {"status": "on hold"},
        lambda o: {"status": "placed"} if o["status"] not in _STATUSES else {},
    ),
    Defect(
        "a moment without a zone",
        lambda o: {"placed_at": o["placed_at"].removesuffix("Z")},
        lambda o: {} if o["placed_at"].endswith("Z") else {"placed_at": f"{o['placed_at']}Z"},
    ),
    Defect(
        "a currency that is not a code",
        lambda o: {"currency": "US$"},
        lambda o: {"currency": "USD"} if o["currency"] != "USD" else {},
    ),
    Defect("a negative quantity", _negative, _positive),
)


def corrections(order: Order) -> dict[str, Fields]:
    """Return the attributes that correct an order, by name of its defects."""
    found = {}
    for defect in DEFECTS:
        fields = defect.correct(order)
        if fields:
            found[defect.name] = fields
            order = {**order, **fields}
    return found


class Poison:
    """The poison of one run: `orders` maps each poisonous order to its defect."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.orders: dict[Key, Defect] = {}

    def hidden(
        self, purchases: Iterator[Purchase], count: int, poisonous: int
    ) -> Iterator[Purchase]:
        """Yield the next `count` purchases, of which `poisonous`, spread evenly, become poison."""
        random = Random(f"{self._seed}/poison/{len(self.orders)}")
        places = {
            random.randrange(count * number // poisonous, count * (number + 1) // poisonous)
            for number in range(poisonous)
        }
        for place in range(count):
            purchase = next(purchases, None)
            if purchase is None:
                return
            if place in places:
                key = (purchase.customer, f"{purchase.customer}-{purchase.number:04d}")
                self.orders[key] = DEFECTS[len(self.orders) % len(DEFECTS)]
            yield purchase

    def story(self, purchase: Purchase, seed: int) -> list[Step]:
        """Return the life cycle of a purchase; a poisonous one is only placed."""
        steps = life_cycle(purchase, seed)
        placed = steps[0].after
        assert placed is not None
        defect = self.orders.get((placed["customer_id"], placed["order_id"]))
        if defect is None:
            return steps
        return [Step("put", None, {**placed, **defect.inject(placed)})]


@dataclass(slots=True)
class Correction:
    """Counts of a correction: orders read, defects corrected by name, orders changed meanwhile."""

    read: int = 0
    changed_meanwhile: int = 0
    corrected: Counter[str] = field(default_factory=Counter)


def correct(client: DynamoDBClient, table: str) -> Correction:
    """Correct every order that needs it, unless it was changed after it was read."""
    decode = TypeDeserializer().deserialize
    done = Correction()
    pages = client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    for page in pages:
        for item in page["Items"]:
            done.read += 1
            order = {name: decode(value) for name, value in item.items()}
            wrong = corrections(order)
            if not wrong:
                continue
            fields = {name: value for each in wrong.values() for name, value in each.items()}
            if _write(client, table, order, fields):
                done.corrected.update(wrong.keys())
            else:
                done.changed_meanwhile += 1
    return done


def _write(client: DynamoDBClient, table: str, order: Order, fields: Fields) -> bool:
    encode = TypeSerializer().serialize
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    changed = {**fields, "updated_by": CORRECTED_BY, "updated_at": now}
    values = {f":{name}": encode(value) for name, value in changed.items()}
    try:
        client.update_item(
            TableName=table,
            Key={name: encode(order[name]) for name in _KEYS},
            UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in changed),
            ConditionExpression="#updated_at = :seen AND #updated_by = :by",
            ExpressionAttributeNames={f"#{name}": name for name in changed},
            ExpressionAttributeValues={
                **values,
                ":seen": encode(order["updated_at"]),
                ":by": encode(order["updated_by"]),
            },
        )
    except client.exceptions.ConditionalCheckFailedException:
        return False
    return True


def _endpoint(url: str) -> str:
    if problem := problem_of(url):
        raise argparse.ArgumentTypeError(problem)
    return url


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m local.workload.poison", description="Correct the poison orders of a table."
    )
    parser.add_argument("command", choices=["correct"])
    parser.add_argument("--table", required=True, help="name of the orders table")
    parser.add_argument("--endpoint-url", required=True, type=_endpoint, help="URL of the emulator")
    options = parser.parse_args(arguments)
    try:
        with closing(session(options.endpoint_url).client("dynamodb")) as client:
            done = correct(client, options.table)
    except (BotoCoreError, ClientError) as error:
        print(f"Cannot correct {options.table}: {error}", file=sys.stderr)
        return 1
    print(f"{done.read:,} orders read, {done.corrected.total():,} defects corrected")
    for name, count in sorted(done.corrected.items()):
        print(f"  {count:>4,}  {name}")
    if done.changed_meanwhile:
        changed = f"{done.changed_meanwhile:,} orders"
        print(f"{changed} were changed meanwhile: run it again.", file=sys.stderr)
    return 1 if done.changed_meanwhile else 0


if __name__ == "__main__":
    sys.exit(main())
