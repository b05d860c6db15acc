"""Orders that the table takes and that can neither be counted nor indexed, and their mending.

    python -m local.workload.poison mend --table NAME --endpoint-url URL

corrects them in the table, by what they say themselves, and leaves every other order alone. It may
be stopped and run again at any moment.

Each kind is a mistake that programs make: an export with the currency in the amount, a moment that
lost its zone. The audit log takes such orders as they are; whoever reads an order refuses them.
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

MENDER = "support/mend"
_STATUSES = ("placed", "shipped", "refunded")
_KEYS = ("customer_id", "order_id")


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to be wrong; `spoiled` and `mended` return the attributes that become others.

    `mended` returns none where nothing of this kind is wrong.
    """

    name: str
    spoiled: Callable[[Order], Fields]
    mended: Callable[[Order], Fields]


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


KINDS = (
    Kind("a total that is text", lambda o: {"total": f"{o['total']} USD"}, _text_to_number),
    Kind("lines that do not add up", _one_dollar_more, _add_up),
    Kind(
        "an unknown status",
        lambda o: {"status": "on hold"},
        lambda o: {"status": "placed"} if o["status"] not in _STATUSES else {},
    ),
    Kind(
        "a moment without a zone",
        lambda o: {"placed_at": o["placed_at"].removesuffix("Z")},
        lambda o: {} if o["placed_at"].endswith("Z") else {"placed_at": f"{o['placed_at']}Z"},
    ),
    Kind(
        "a currency that is no code",
        lambda o: {"currency": "US$"},
        lambda o: {"currency": "USD"} if o["currency"] != "USD" else {},
    ),
    Kind("a negative quantity", _negative, _positive),
)


def corrections(order: Order) -> dict[str, Fields]:
    """What is wrong with an order, by kind, and the attributes that put it right."""
    found = {}
    for kind in KINDS:
        fields = kind.mended(order)
        if fields:
            found[kind.name] = fields
            order = {**order, **fields}
    return found


class Poison:
    """The poison of one run: `orders` names each that was hidden, and its kind."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.orders: dict[Key, Kind] = {}

    def hidden(
        self, purchases: Iterator[Purchase], count: int, poisonous: int
    ) -> Iterator[Purchase]:
        """The next `count` purchases, of which `poisonous` become poison: spread, not in a row."""
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
                self.orders[key] = KINDS[len(self.orders) % len(KINDS)]
            yield purchase

    def story(self, purchase: Purchase, seed: int) -> list[Step]:
        """The life cycle of a purchase; that of a poisonous one ends before anybody ships it."""
        steps = life_cycle(purchase, seed)
        placed = steps[0].after
        assert placed is not None
        kind = self.orders.get((placed["customer_id"], placed["order_id"]))
        if kind is None:
            return steps
        return [Step("put", None, {**placed, **kind.spoiled(placed)})]


@dataclass(slots=True)
class Mending:
    """What became of the orders of a table: looked at, corrected by kind, moved meanwhile."""

    looked_at: int = 0
    moved: int = 0
    corrected: Counter[str] = field(default_factory=Counter)


def mend(client: DynamoDBClient, table: str) -> Mending:
    """Corrects every order that needs it, unless somebody changed it since it was read."""
    decode = TypeDeserializer().deserialize
    mending = Mending()
    pages = client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    for page in pages:
        for item in page["Items"]:
            mending.looked_at += 1
            order = {name: decode(value) for name, value in item.items()}
            wrong = corrections(order)
            if not wrong:
                continue
            fields = {name: value for each in wrong.values() for name, value in each.items()}
            if _write(client, table, order, fields):
                mending.corrected.update(wrong.keys())
            else:
                mending.moved += 1
    return mending


def _write(client: DynamoDBClient, table: str, order: Order, fields: Fields) -> bool:
    encode = TypeSerializer().serialize
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    changed = {**fields, "updated_by": MENDER, "updated_at": now}
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
        prog="python -m local.workload.poison", description="Mend the orders that no reader takes."
    )
    commands = parser.add_subparsers(required=True, metavar="mend")
    mending = commands.add_parser("mend", help="correct them in the table")
    mending.add_argument("--table", required=True, help="the orders table")
    mending.add_argument("--endpoint-url", required=True, type=_endpoint, help="of the emulator")
    options = parser.parse_args(arguments)
    try:
        with closing(session(options.endpoint_url).client("dynamodb")) as client:
            done = mend(client, options.table)
    except (BotoCoreError, ClientError) as error:
        print(f"Cannot mend {options.table}: {error}", file=sys.stderr)
        return 1
    print(f"{done.looked_at:,} orders looked at, {done.corrected.total():,} mistakes corrected")
    for name, count in sorted(done.corrected.items()):
        print(f"  {count:>4,}  {name}")
    if done.moved:
        print(f"{done.moved:,} were changed meanwhile: run it again.", file=sys.stderr)
    return 1 if done.moved else 0


if __name__ == "__main__":
    sys.exit(main())
