"""The examples of docs/how-to/check-your-consumer.md, each in the one place where it is run."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from dynamodb_streams_cdc import Aggregation, Image, LambdaContext, Processor, Source
from dynamodb_streams_cdc.sinks.contributions import Contribution
from dynamodb_streams_cdc.testing import Diverged, Items, Trial, check_convergence
from dynamodb_streams_cdc.testing.memory import MemoryLedger


class Table(dict[str, Any]):
    """Stands for the database that holds the copy."""

    def put_if_newer(self, name: str, version: str, amount: Any) -> None:
        if name not in self or self[name]["version"] < version:
            self[name] = {"version": version, "amount": amount}


def overwrite(table: Table, event: Mapping[str, Any], context: LambdaContext) -> None:
    for record in event["Records"]:
        name = record["dynamodb"]["Keys"]["id"]["S"]
        if record["eventName"] == "REMOVE":
            table.pop(name, None)
        else:
            table[name] = {"amount": int(record["dynamodb"]["NewImage"]["amount"]["N"])}


def amounts(items: Items) -> dict[str, Any]:
    return {item["id"]: item["amount"] for item in items}


def rows(table: Table) -> dict[str, Any]:
    return {name: row["amount"] for name, row in table.items() if row["amount"] is not None}


def check(handler: Any) -> None:
    def make(trial: Trial) -> Any:
        table = Table()
        port = trial.faulty(table)
        return partial(handler, port), lambda: rows(table)

    check_convergence(make, wanted=amounts, schedules=50)


def keep_the_newest(table: Table, event: Mapping[str, Any], context: LambdaContext) -> None:
    for record in event["Records"]:
        name = record["dynamodb"]["Keys"]["id"]["S"]
        label = record["eventSourceARN"].rpartition("/")[2]
        version = f"{label}/{record['dynamodb']['SequenceNumber']:0>40}"
        image = record["dynamodb"].get("NewImage")
        table.put_if_newer(name, version, int(image["amount"]["N"]) if image else None)


def test_the_copy_converges() -> None:
    check(keep_the_newest)


def failure() -> None:
    """Print what the check of the broken function says."""
    try:
        check(overwrite)
    except Diverged as error:
        print(error)


def test_the_broken_function_is_found() -> None:
    with pytest.raises(Diverged, match="write only what is newer than the version"):
        check(overwrite)


def test_a_table_of_names_converges(copies: Any) -> None:
    def note(event: Mapping[str, Any], context: LambdaContext) -> None:
        for record in event["Records"]:
            copies.put_item(Item={"id": record["dynamodb"]["Keys"]["id"]["S"]})

    def make(trial: Trial) -> Any:
        for row in copies.scan()["Items"]:
            copies.delete_item(Key=row)
        trial.faulty(copies)
        return note, lambda: {row["id"] for row in copies.scan()["Items"]}

    check_convergence(make, wanted=lambda items: set(items.history), schedules=5)


def total(item: Image) -> Contribution:
    if "poison" in item:
        message = "not an order"
        raise ValueError(message)
    return {item["status"]: {"total": item["total"]}} if "total" in item else {}


def order_or_customer(number: int, group: int, amount: int) -> Image:
    key = {"owner": f"customer-{number % 2}", "number": number}
    if number < 2:
        return {**key, "name": f"name {amount}"}
    return {**key, "status": f"status {group}", "total": amount}


def test_the_totals_converge() -> None:
    def make(trial: Trial) -> Any:
        ledger = MemoryLedger()
        handler = Processor(
            "totals",
            Source("store"),
            Aggregation(trial.faulty(ledger), total),
            trial.dead_letters,
            permanent=(ValueError,),
            clock=trial.clock,
            source_table=trial.source_table,
        )
        return handler, lambda: {
            name: sums["total"] for name, sums in ledger.totals.items() if sums
        }

    def wanted(items: Items) -> dict[str, Any]:
        orders = [item for item in items if "total" in item]
        return {
            status: sum(order["total"] for order in orders if order["status"] == status)
            for status in {order["status"] for order in orders}
        }

    check_convergence(
        make,
        wanted=wanted,
        item=order_or_customer,
        keys={"owner": "S", "number": "N"},
        poison=lambda item: {**item, "poison": True},
        schedules=15,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
