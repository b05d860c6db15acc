"""Example 2: sums over the items of a table, counted wrong and counted right.

    python -m dynamodb_streams_cdc.examples.example_2

Five functions keep the revenue of a month. Each gets the same deliveries: first every record once,
then with one thing that goes wrong. Four of them lose or double money; the fifth, `contributions`
with a ledger, is right each time.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

from dynamodb_streams_cdc import (
    Aggregation,
    Change,
    ChangeKind,
    Contribution,
    Image,
    LambdaContext,
    Processor,
    Source,
)
from dynamodb_streams_cdc.examples import story
from dynamodb_streams_cdc.metrics import Counts
from dynamodb_streams_cdc.sinks.ledger import LedgerRow
from dynamodb_streams_cdc.testing import Lab
from dynamodb_streams_cdc.testing.memory import (
    MemoryDeadLetters,
    MemoryIdempotencyStore,
    MemoryLedger,
)

Event: TypeAlias = Mapping[str, Any]
Revenue: TypeAlias = Callable[[], Decimal]

ORDERS = Source("orders")
MONTH = "month#2024-05"
MARKER_SECONDS = 24 * 3600


def order(order_id: str, total: str, status: str = "placed") -> Image:
    """Return an order of May, as the application writes it."""
    return {"order_id": order_id, "total": Decimal(total), "status": status, "month": "2024-05"}


# Right: the contribution of each order, and a ledger of them


def contributions(order: Image) -> Contribution:
    """Return the share of an order in the sums, as long as it is in this state."""
    revenue = Decimal(0) if order["status"] == "refunded" else order["total"]
    return {f"month#{order['month']}": {"orders": 1, "revenue": revenue}}


def count_with_ledger(lab: Lab) -> Revenue:
    """Let the library keep the sums: `contributions` is the only code to write."""
    ledger = MemoryLedger()  # on AWS: aws.dynamodb.ledger.DynamoDbLedger
    sums = Aggregation(lab.faulty(ledger), contributions)
    lab.function(Processor("sums", ORDERS, sums, MemoryDeadLetters(), clock=lab.clock))
    return lambda: ledger.total(MONTH).get("revenue", Decimal(0))


# Wrong, each in its own way


@dataclass
class Sum:
    """One number that can be added to, as with `UpdateItem ... ADD`."""

    total: Decimal = Decimal(0)

    def add(self, amount: Decimal) -> None:
        """Add an amount."""
        self.total += amount


def changes(event: Event) -> Iterator[Change]:
    """Yield the changes of a batch."""
    return (Change.from_record(record, ORDERS) for record in event["Records"])


def difference(change: Change) -> Decimal:
    """Return the amount that a change adds to the revenue: new minus old."""
    return _revenue(change.new_image) - _revenue(change.old_image)


def _revenue(order: Image | None) -> Decimal:
    return Decimal(0) if order is None or order["status"] == "refunded" else order["total"]


def count_events(lab: Lab) -> Revenue:
    """Wrong: add the total of each order that is placed, and look at nothing else."""
    revenue = Sum()
    row = lab.faulty(revenue)

    @lab.function
    def handler(event: Event, _context: LambdaContext) -> None:
        for change in changes(event):
            if change.kind is ChangeKind.INSERT:
                row.add(_revenue(change.new_image))

    return lambda: revenue.total


def add_new_minus_old(lab: Lab) -> Revenue:
    """Wrong: add the difference between the images, as often as it is delivered."""
    revenue = Sum()
    row = lab.faulty(revenue)

    @lab.function
    def handler(event: Event, _context: LambdaContext) -> None:
        for change in changes(event):
            row.add(difference(change))

    return lambda: revenue.total


def mark_then_add(lab: Lab) -> Revenue:
    """Wrong: write down that a change is counted, then count it."""
    revenue = Sum()
    row, store = lab.faulty(revenue), lab.faulty(MemoryIdempotencyStore())

    @lab.function
    def handler(event: Event, _context: LambdaContext) -> None:
        for change in changes(event):
            if not store.seen(change.event_id):
                store.mark(change.event_id, MARKER_SECONDS)
                row.add(difference(change))

    return lambda: revenue.total


def add_then_mark(lab: Lab) -> Revenue:
    """Wrong: count a change, then write down that it is counted."""
    revenue = Sum()
    row, store = lab.faulty(revenue), lab.faulty(MemoryIdempotencyStore())

    @lab.function
    def handler(event: Event, _context: LambdaContext) -> None:
        for change in changes(event):
            if not store.seen(change.event_id):
                row.add(difference(change))
                store.mark(change.event_id, MARKER_SECONDS)

    return lambda: revenue.total


# The same deliveries for each


@dataclass(frozen=True)
class Way:
    """A way to count: its name, its function, and the method of its first write."""

    name: str
    build: Callable[[Lab], Revenue]
    first_write: str


WAYS = (
    Way("add the total of each INSERT", count_events, "add"),
    Way("add new minus old", add_new_minus_old, "add"),
    Way("marker, then new minus old", mark_then_add, "mark"),
    Way("new minus old, then marker", add_then_mark, "add"),
    Way("contributions and a ledger", count_with_ledger, "commit"),
)

CALM = "every record once"
TWICE = "a batch twice"
CRASH = "a crash"
LATE = "an old batch late"
MISHAPS = (CALM, TWICE, CRASH, LATE)


@dataclass
class Run:
    """Result of one way to count, with one mishap.

    Attributes:
        revenue: the sum that was counted.
        delivered: the changes of each invocation.
        orders: the items of the table in the end.
    """

    revenue: Decimal
    delivered: list[list[str]]
    orders: list[Image]


def run(way: Way, mishap: str) -> Run:
    """Write some orders, and let them be counted while one thing goes wrong."""
    lab = Lab(keys=["order_id"], FunctionResponseTypes=["ReportBatchItemFailures"])
    revenue = way.build(lab)
    if mishap == TWICE:
        lab.redeliver()
    elif mishap == CRASH:
        lab.crash_after(way.first_write)
    orders = write(lab)
    if mishap == LATE:
        lab.deliver_again(lab.deliveries[0])
    return Run(revenue(), lab.delivered, orders)


def write(lab: Lab) -> list[Image]:
    """Place three orders; refund one, cancel one. Return the orders that are left."""
    kept, refunded = order("1001", "30.00"), order("1002", "20.00", "refunded")
    lab.put(kept, order("1002", "20.00"), order("1003", "15.00"))
    lab.run()
    lab.put(refunded)
    lab.delete({"order_id": "1003"})
    lab.run()
    return [kept, refunded]


def truth(orders: list[Image]) -> Decimal:
    """Return the revenue of the orders in the table."""
    return Decimal(sum(contributions(order)[MONTH]["revenue"] for order in orders))


@dataclass
class Tally:
    """`Metrics` that keeps the counts of each invocation."""

    counts: list[Counts] = field(default_factory=list)

    def emit(self, counts: Counts) -> None:
        """Keep the counts."""
        self.counts.append(counts)


def watch_the_ledger() -> tuple[MemoryLedger, list[Counts]]:
    """Return the ledger and the counts of each invocation, with the first batch twice."""
    ledger, tally = MemoryLedger(), Tally()
    lab = Lab(keys=["order_id"], FunctionResponseTypes=["ReportBatchItemFailures"])
    sums = Aggregation(ledger, contributions)
    dead_letters = MemoryDeadLetters()
    lab.function(Processor("sums", ORDERS, sums, dead_letters, metrics=tally, clock=lab.clock))
    lab.redeliver()
    write(lab)
    return ledger, tally.counts


# The story


def main() -> None:
    """Print the example."""
    calm = run(WAYS[0], CALM)
    story.begin("Example 2: counting wrong, and counting right")
    story.section("1. Five ways to keep a sum")
    story.say(
        "Three orders of May are placed, for 30.00, 20.00 and 15.00; then the second is refunded "
        f"and the third cancelled. The table now says {truth(calm.orders)}. A function that keeps "
        "the revenue of the month in a row of its own gets these changes, in two batches:"
    )
    story.show("\n".join(", ".join(batch) for batch in calm.delivered))
    story.say(
        "Lambda delivers at least once. So each way to count is tried four times: with every "
        "record delivered once; with the first batch delivered twice; with a function that dies "
        "right after the first thing that it writes, whereupon Lambda sends the batch again; and "
        "with the first batch coming again after all is done. What it says in the end:"
    )
    story.table(("", *MISHAPS), ((way.name, *(shown(way, m) for m in MISHAPS)) for way in WAYS))
    story.say(
        "The first misses what happens to an order after it was placed. The second adds every "
        "change, as often as it comes. The third and the fourth keep a marker, a row that says "
        "that a change is counted, which stops that. But marker and sum are two writes: a function "
        "that dies between them has lost an order, or counts it twice. (In one transaction, as the "
        "library's Once.transact writes them, they would do. What follows does more: it can be "
        "compared with the table, and repaired.)"
    )
    _tell_the_ledger()
    story.say(
        "Next: write such a function yourself, one that keeps a log. Open exercises/exercise_1.py: "
        "make exercise-1"
    )


def shown(way: Way, mishap: str) -> str:
    """Return the revenue by a way to count, with a mark if it is wrong."""
    result = run(way, mishap)
    return f"{result.revenue:.2f} {'' if result.revenue == truth(result.orders) else 'wrong'}"


def _tell_the_ledger() -> None:
    ledger, counts = watch_the_ledger()
    story.section("2. Why the last is right")
    story.say("It does not count events. It says what an order adds while it is as it is:")
    story.code(contributions)
    story.say(
        "Aggregation(ledger, contributions) keeps that next to the sums: of each order the version "
        "that it has seen, and what that version contributes."
    )
    story.table(
        ("item", "version", "contributes"),
        ((row.item_id, f"..{row.version[-9:]}", _amounts(row)) for row in ledger.rows.values()),
    )
    story.say(
        "A change counts only if its version is greater than the one in the ledger, and what it "
        "adds is its contribution less the one that is stored. Ledger row and sums are written in "
        "one transaction, so no function can die between them. With the first batch delivered "
        "twice, the invocations did this:"
    )
    story.table(
        ("invocation", "records", "counted", "seen before"),
        ((n, each.received, each.applied, each.stale) for n, each in enumerate(counts, 1)),
    )
    story.show(f"{MONTH}: {_measures(ledger.total(MONTH))}")


def _amounts(row: LedgerRow) -> str:
    if row.deleted:
        return "nothing: the order is gone"
    return "; ".join(f"{name}: {_measures(each)}" for name, each in row.contribution.items())


def _measures(measures: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {amount}" for name, amount in measures.items())


if __name__ == "__main__":
    story.tell(main)
