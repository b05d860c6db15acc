"""The three sinks keep two entities right, under any faults and with poison."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from dynamodb_streams_cdc import Aggregation, ChangeLog, Processor, Search, Source
from dynamodb_streams_cdc.change import Image
from dynamodb_streams_cdc.identity import item_id
from dynamodb_streams_cdc.sinks.contributions import Contribution, add
from dynamodb_streams_cdc.sinks.documents import encoded
from dynamodb_streams_cdc.testing import Items, Trial, check_convergence
from dynamodb_streams_cdc.testing.memory import MemoryIndex, MemoryLedger, MemoryLog
from tests.schedules import schedules

STORE = Source("store")
KEYS = {"owner": "S", "number": "N"}


class PoisonError(Exception):
    """No retry helps."""


def order_or_customer(number: int, group: int, amount: int) -> Image:
    """Return an order, or of every third number a customer."""
    key = {"owner": f"customer-{number % 2}", "number": Decimal(number)}
    if number % 3 == 0:
        return {**key, "name": f"name {amount}"}
    return {**key, "status": f"status {group}", "total": Decimal(amount)}


def name_of(item: Image) -> str:
    return item_id(STORE.table, {name: item[name] for name in KEYS})


def contributions(item: Image) -> Contribution:
    if "poison" in item:
        raise PoisonError
    return {item["status"]: {"orders": 1, "total": item["total"]}} if "total" in item else {}


def document(item: Image) -> dict[str, Any]:
    if "poison" in item:
        raise PoisonError
    return {"name": item["name"]} if "name" in item else {"total": item["total"]}


def making(name: str, store: Any, sink: Callable[[Any], Any], read: Callable[[Any], Any]) -> Any:
    def make(trial: Trial) -> Any:
        kept = store()
        handler = Processor(
            name,
            STORE,
            sink(trial.faulty(kept)),
            trial.dead_letters,
            permanent=(PoisonError,),
            clock=trial.clock,
            source_table=trial.source_table,
        )
        return handler, lambda: read(kept)

    return make


def sums(ledger: MemoryLedger) -> Any:
    return add([ledger.totals])


def histories(log: MemoryLog) -> Any:
    found = ChangeLog(log)
    return {name: [c.new_image for c in found.history(name)] for name, _ in log.entries}


def written(items: Items) -> Any:
    return {
        name_of(next(filter(None, states))): states for states in items.history.values() if states
    }


SINKS = {
    "aggregation": (
        making("aggregation", MemoryLedger, lambda port: Aggregation(port, contributions), sums),
        lambda items: add(map(contributions, items)),
    ),
    "search": (
        making("search", MemoryIndex, lambda port: Search(port, document), MemoryIndex.search),
        lambda items: {name_of(item): encoded(document(item)) for item in items},
    ),
    "audit": (making("audit", MemoryLog, ChangeLog, histories), written),
}


@pytest.mark.parametrize("name", SINKS)
@pytest.mark.parametrize(
    "poison", [None, lambda item: {**item, "poison": True}], ids=["", "poison"]
)
def test_the_sink_converges(
    name: str, poison: Any, record_property: Callable[[str, object], None]
) -> None:
    make, wanted = SINKS[name]
    number = schedules(200 if poison is None else 80)
    record_property("schedules", number)
    check_convergence(
        make,
        wanted=wanted,
        item=order_or_customer,
        keys=KEYS,
        poison=poison,
        schedules=number,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
