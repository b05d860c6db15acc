"""docs/explanation/mistakes.md: the four classic mistakes, each failing in a lab and then fixed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dynamodb_streams_cdc import (
    Aggregation,
    Change,
    ChangeHandlers,
    Contribution,
    Deadline,
    Image,
    LambdaContext,
    Outcome,
    PermanentError,
    Processor,
    Source,
)
from dynamodb_streams_cdc.idempotency import Once
from dynamodb_streams_cdc.testing import Lab, LabFactory
from dynamodb_streams_cdc.testing.memory import (
    MemoryDeadLetters,
    MemoryIdempotencyStore,
    MemoryLedger,
)

pytest_plugins = ["dynamodb_streams_cdc.testing.fixtures"]

Event = Mapping[str, Any]

ORDERS = Source("orders")
REPORTING = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}


def changes(event: Event) -> list[Change]:
    return [Change.from_record(record, ORDERS) for record in event["Records"]]


# No partial failures


@dataclass
class Carrier:
    """Collects parcels, from addresses that it knows."""

    collected: list[str] = field(default_factory=list)

    def collect(self, order: str, address: str) -> None:
        if address == "?":
            message = f"no address: {order}"
            raise PermanentError(message, "NoAddress")
        self.collected.append(order)


def all_or_nothing(carrier: Carrier, event: Event, context: LambdaContext) -> None:
    for change in changes(event):
        order = change.new_image or {}
        carrier.collect(order["id"], order["address"])


def one_by_one(carrier: Carrier) -> ChangeHandlers:
    handlers = ChangeHandlers()

    @handlers.on_insert
    def collect(change: Change) -> None:
        order = change.new_image or {}
        carrier.collect(order["id"], order["address"])

    return handlers


def three_orders(lab: Lab) -> None:
    lab.put({"id": "1001", "address": "1 High St"}, {"id": "1002", "address": "?"})
    lab.put({"id": "1003", "address": "3 High St"})
    lab.run()


def test_one_bad_address_repeats_and_loses_the_others(stream_lab: LabFactory) -> None:
    lab = stream_lab(MaximumRetryAttempts=3)
    carrier = Carrier()
    lab.function(partial(all_or_nothing, lab.faulty(carrier)))
    three_orders(lab)

    assert carrier.collected == ["1001", "1001", "1001", "1001"]
    assert [dead_letter.changes for dead_letter in lab.dead_letters] == [
        ["INSERT 1001", "INSERT 1002", "INSERT 1003"]
    ]


def test_with_partial_failures_only_the_bad_one_fails(stream_lab: LabFactory) -> None:
    lab = stream_lab(**REPORTING)
    carrier, dead_letters = Carrier(), MemoryDeadLetters()
    handlers = one_by_one(lab.faulty(carrier))
    lab.function(Processor("parcels", ORDERS, handlers, lab.faulty(dead_letters), clock=lab.clock))
    three_orders(lab)

    assert carrier.collected == ["1001", "1003"]
    assert [dead_letter.reason for dead_letter in dead_letters.dead_letters.values()] == [
        "NoAddress"
    ]


# No idempotency


@dataclass
class Points(MemoryIdempotencyStore):
    """A customer's points, and the markers of the orders."""

    points: Counter[str] = field(default_factory=Counter)

    def give(self, customer: str, points: int) -> None:
        self.points[customer] += points


def give_points(points: Points, event: Event, context: LambdaContext) -> None:
    for change in changes(event):
        order = change.new_image or {}
        points.give(order["customer"], int(order["total"]))


def give_points_once(once: Once, points: Points, event: Event, context: LambdaContext) -> None:
    for change in changes(event):
        order = change.new_image or {}
        give = partial(points.give, order["customer"], int(order["total"]))
        once.run(change, give)


def one_order_delivered_twice(lab: Lab) -> None:
    lab.redeliver()
    lab.put({"id": "1001", "customer": "ann", "total": 30})
    lab.run()


def test_without_a_marker_points_are_given_twice(stream_lab: LabFactory) -> None:
    lab = stream_lab()
    points = Points()
    lab.function(partial(give_points, lab.faulty(points)))
    one_order_delivered_twice(lab)

    assert points.points == {"ann": 60}


def test_with_a_marker_points_are_given_once(stream_lab: LabFactory) -> None:
    lab = stream_lab()
    points = Points()
    port = lab.faulty(points)
    lab.function(partial(give_points_once, Once(port, "points"), port))
    one_order_delivered_twice(lab)

    assert points.points == {"ann": 30}


# The wrong view type


@dataclass
class Counts:
    """How many orders there are in each status."""

    orders: Counter[str] = field(default_factory=Counter)

    def count(self, status: str, number: int) -> None:
        self.orders[status] += number


def count_by_status(counts: Counts, event: Event, context: LambdaContext) -> None:
    for record in event["Records"]:
        body = record["dynamodb"]
        if "NewImage" in body:
            counts.count(body["NewImage"]["status"]["S"], 1)
        if "OldImage" in body:
            counts.count(body["OldImage"]["status"]["S"], -1)


def an_order_is_shipped(lab: Lab) -> None:
    lab.put({"id": "1001", "status": "placed"})
    lab.put({"id": "1001", "status": "shipped"})
    lab.run()


def test_new_image_alone_never_subtracts(stream_lab: LabFactory) -> None:
    lab = stream_lab(view_type="NEW_IMAGE")
    counts = Counts()
    lab.function(partial(count_by_status, lab.faulty(counts)))
    an_order_is_shipped(lab)

    assert counts.orders == {"placed": 1, "shipped": 1}


def test_old_and_new_image_subtract(stream_lab: LabFactory) -> None:
    lab = stream_lab(view_type="NEW_AND_OLD_IMAGES")
    counts = Counts()
    lab.function(partial(count_by_status, lab.faulty(counts)))
    an_order_is_shipped(lab)

    assert +counts.orders == {"shipped": 1}


def status_of(order: Image) -> Contribution:
    return {order["status"]: {"orders": 1}}


def test_a_ledger_subtracts_without_an_old_image(stream_lab: LabFactory) -> None:
    lab = stream_lab(view_type="NEW_IMAGE", **REPORTING)
    ledger = MemoryLedger()
    sink = Aggregation(lab.faulty(ledger), status_of)
    lab.function(Processor("counts", ORDERS, sink, MemoryDeadLetters(), clock=lab.clock))
    lab.redeliver()
    an_order_is_shipped(lab)

    assert ledger.total("placed") == {}
    assert ledger.total("shipped") == {"orders": 1}


# Slow synchronous calls


@dataclass
class Partner:
    """Takes orders, one or many in a call."""

    taken: Counter[str] = field(default_factory=Counter)

    def take(self, *orders: str) -> None:
        self.taken.update(orders)


def call_for_each(partner: Partner, event: Event, context: LambdaContext) -> None:
    for change in changes(event):
        partner.take(change.keys["id"])


@dataclass
class Together:
    """A sink that makes one call of a batch."""

    partner: Partner

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Outcome:
        deadline.check()
        self.partner.take(*(change.keys["id"] for change in changes))
        return Outcome(applied=len(changes))


def forty_orders(lab: Lab) -> None:
    lab.slow_sink(seconds=86_400, per_call=2)
    lab.put(*({"id": f"{number}"} for number in range(1, 41)))
    lab.run()


def test_slow_calls_never_fit_the_timeout(stream_lab: LabFactory) -> None:
    lab = stream_lab(timeout=30, MaximumRetryAttempts=1)
    partner = Partner()
    lab.function(partial(call_for_each, lab.faulty(partner)))
    forty_orders(lab)

    assert partner.taken["1"] == 2
    assert partner.taken["40"] == 0
    assert [len(dead_letter.changes) for dead_letter in lab.dead_letters] == [40]


def test_one_call_per_batch_fits_the_timeout(stream_lab: LabFactory) -> None:
    lab = stream_lab(timeout=30, **REPORTING)
    partner = Partner()
    sink = Together(lab.faulty(partner))
    lab.function(Processor("partner", ORDERS, sink, MemoryDeadLetters(), clock=lab.clock))
    forty_orders(lab)

    assert partner.taken == Counter(f"{number}" for number in range(1, 41))
    assert len(lab.deliveries) == 1


def test_a_function_that_stops_in_time_finishes(stream_lab: LabFactory) -> None:
    lab = stream_lab(timeout=30, **REPORTING)
    partner = Partner()
    port, handlers = lab.faulty(partner), ChangeHandlers()

    @handlers.on_insert
    def take(change: Change) -> None:
        port.take(change.keys["id"])

    lab.function(Processor("partner", ORDERS, handlers, MemoryDeadLetters(), clock=lab.clock))
    forty_orders(lab)

    assert partner.taken == Counter(f"{number}" for number in range(1, 41))
    assert lab.dead_letters == []
