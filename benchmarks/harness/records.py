"""Changes of orders, made from real purchases: the input of every variant of a benchmark.

Each purchase becomes an order with its life cycle (lambdas/example_domain/stories): placed, usually
shipped, some amended, refunded or cancelled. Purchases are in the order of their days. The next
step of an order follows after `IN_FLIGHT` other orders, as in a busy shop, so a batch seldom has
two changes of one order: only those in quick succession. The repository's file has a tenth of the
data set's customers, so ten customers make each purchase; if more changes are needed, others make
them again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import count, islice, pairwise, zip_longest
from pathlib import Path
from typing import Any

from dynamodb_streams_cdc import Source
from dynamodb_streams_cdc.testing import sample_record
from lambdas.example_domain.stories.orders import AMENDED_BY, Order, life_cycle
from lambdas.example_domain.stories.purchases import Purchase, read_purchases, survey

SEED = 1997
SOURCE = Source("orders", actor_attribute="updated_by")
BATCH = 100
"""Records of an invocation: the mapping's default, and what most consumers run with."""

IN_FLIGHT = 250
"""Orders that are placed before the first of them is shipped."""

CUSTOMERS = 10
"""How many customers make each purchase of the file."""

Record = dict[str, Any]
Change = tuple[Order | None, Order | None]


def orders(path: Path, number: int) -> list[Order]:
    """Return so many orders as they are when they are placed.

    Raises:
        PurchasesError: the file cannot be read as purchases.
    """
    return list(islice(placed(path), number))


def placed(path: Path) -> Iterator[Order]:
    """Yield orders as they are when they are placed, without end.

    Raises:
        PurchasesError: the file cannot be read as purchases.
    """
    for purchase in _purchases(path):
        order = life_cycle(purchase, SEED)[0]
        assert order is not None
        yield order


def changes(path: Path, number: int, *, shop: str = "") -> list[Record]:
    """Return the first so many of `stream`."""
    return list(islice(stream(path, shop=shop), number))


def stream(path: Path, *, shop: str = "") -> Iterator[Record]:
    """Yield stream records without end, as Lambda delivers them.

    Another `shop` has the same orders of customers of its own: their names begin with it.

    No two share an object. All are new: a processor also repairs the item of an old one.

    Raises:
        PurchasesError: the file cannot be read as purchases.
    """
    for before, after in _changes(path):
        yield record(_in_shop(shop, before), _in_shop(shop, after))


def record(before: Order | None, after: Order | None) -> Record:
    """Return the stream record of a change, with a higher number than those made before."""
    return sample_record(after, before, keys=("customer_id", "order_id"), table="orders")


def batches(records: list[Record], size: int = BATCH) -> list[dict[str, Any]]:
    """Return the records as events of invocations."""
    return [{"Records": records[start : start + size]} for start in range(0, len(records), size)]


def _in_shop(shop: str, order: Order | None) -> Order | None:
    if order is None:
        return None
    return order | {name: shop + order[name] for name in ("customer_id", "order_id")}


def _purchases(path: Path) -> Iterator[Purchase]:
    """Yield the purchases of the file by day, then those of other customers, without end."""
    purchases = _by_day(path)
    for start in count(step=CUSTOMERS):
        for purchase in purchases:
            for copy in range(start, start + CUSTOMERS):
                yield replace(purchase, customer=f"{copy:02}{purchase.customer}")


@cache
def _by_day(path: Path) -> list[Purchase]:
    survey(path)  # raises for a file without purchases, which would be read again without end
    return sorted(read_purchases(path), key=lambda purchase: purchase.day)


def _changes(path: Path) -> Iterator[Change]:
    purchases = _purchases(path)
    while True:
        lives = [_visits(life_cycle(each, SEED)) for each in islice(purchases, IN_FLIGHT)]
        for at_one_time in zip_longest(*lives, fillvalue=()):
            for visit in at_one_time:
                yield from visit


def _visits(life: Sequence[Order | None]) -> list[list[Change]]:
    """Return the changes that have an effect; amendments, in quick succession, come together.

    A write without effect takes the place of a change, but for one that repeats a shipping at once.
    """
    visits: list[list[Change]] = []
    for before, after in pairwise((None, *life)):
        state = after or {"updated_by": "", "status": ""}
        repeated = before == after and state["status"] == "shipped"
        quickly = repeated or state["updated_by"].startswith(AMENDED_BY)
        if not (quickly and visits):
            visits.append([])
        if before != after:
            visits[-1].append((before, after))
    return visits
