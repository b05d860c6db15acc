"""docs/explanation/patterns.md: aggregation, sync, audit, event sourcing, fan-out."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from dynamodb_streams_cdc import (
    Aggregation,
    Change,
    ChangeKind,
    ChangeLog,
    Contribution,
    Image,
    LambdaContext,
    PermanentError,
    Processor,
    Search,
    Source,
    deserialize_item,
)
from dynamodb_streams_cdc.sinks.change_log import replay
from dynamodb_streams_cdc.sinks.log_entries import change_from_entry, change_from_log_record
from dynamodb_streams_cdc.testing import Lab, LabFactory
from dynamodb_streams_cdc.testing.memory import (
    MemoryDeadLetters,
    MemoryIndex,
    MemoryLedger,
    MemoryLog,
)

pytest_plugins = ["dynamodb_streams_cdc.testing.fixtures"]

Event = Mapping[str, Any]

ORDERS = Source("orders")
REPORTING = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}


# Aggregation


class Totals:
    """Sums by status, to which amounts are added."""

    def __init__(self) -> None:
        self.sums: Counter[str] = Counter()

    def add(self, status: str, amount: int) -> None:
        self.sums[status] += amount


def add_new_minus_old(totals: Totals, event: Event, context: LambdaContext) -> None:
    for record in event["Records"]:
        change = Change.from_record(record, ORDERS)
        if change.new_image:
            totals.add(change.new_image["status"], int(change.new_image["total"]))
        if change.old_image:
            totals.add(change.old_image["status"], -int(change.old_image["total"]))


def test_a_redelivered_difference_is_added_twice(stream_lab: LabFactory) -> None:
    lab = stream_lab()
    totals = Totals()
    lab.function(partial(add_new_minus_old, lab.faulty(totals)))

    lab.redeliver()
    lab.put({"id": "1001", "status": "placed", "total": 30})
    lab.run()

    assert totals.sums == {"placed": 60}


def contributions(order: Image) -> Contribution:
    return {f"status#{order['status']}": {"orders": 1, "revenue": order["total"]}}


def summing(lab: Lab, ledger: MemoryLedger) -> None:
    sink = Aggregation(lab.faulty(ledger), contributions)
    lab.function(Processor("sums", ORDERS, sink, MemoryDeadLetters(), clock=lab.clock))


def test_a_redelivered_contribution_is_counted_once(stream_lab: LabFactory) -> None:
    lab = stream_lab(**REPORTING)
    ledger = MemoryLedger()
    summing(lab, ledger)

    lab.redeliver()
    lab.put({"id": "1001", "status": "placed", "total": 30})
    lab.run()

    assert ledger.total("status#placed") == {"orders": 1, "revenue": 30}


def test_a_retry_after_the_transaction_counts_nothing(stream_lab: LabFactory) -> None:
    lab = stream_lab(**REPORTING)
    ledger = MemoryLedger()
    summing(lab, ledger)

    lab.crash_after("commit")
    lab.put({"id": "1001", "status": "placed", "total": 30})
    lab.put({"id": "1001", "status": "shipped", "total": 30})
    lab.run()

    assert ledger.total("status#placed") == {}
    assert ledger.total("status#shipped") == {"orders": 1, "revenue": 30}


# Sync


def document(order: Image) -> dict[str, Any]:
    if not isinstance(order["total"], Decimal):
        message = f"the total is not a number: {order['total']!r}"
        raise PermanentError(message, "BadTotal")
    return {"status": order["status"], "total": order["total"]}


def searching(lab: Lab, index: MemoryIndex, dead_letters: MemoryDeadLetters) -> None:
    sink = Search(lab.faulty(index), document)
    lab.function(Processor("search", ORDERS, sink, lab.faulty(dead_letters), clock=lab.clock))


def test_a_late_batch_does_not_restore_a_deleted_item(stream_lab: LabFactory) -> None:
    lab = stream_lab(**REPORTING)
    index = MemoryIndex()
    searching(lab, index, MemoryDeadLetters())

    lab.put({"id": "1001", "status": "placed", "total": 30})
    lab.run()
    lab.delete({"id": "1001"})
    lab.run()
    lab.deliver_again(lab.deliveries[0])

    assert index.search() == {}


class Mirror:
    """A copy without versions: it takes the latest delivery."""

    def __init__(self) -> None:
        self.rows: dict[str, Image] = {}

    def write(self, name: str, image: Image) -> None:
        self.rows[name] = image

    def delete(self, name: str) -> None:
        self.rows.pop(name, None)


def mirror(copy: Mirror, event: Event, context: LambdaContext) -> None:
    for record in event["Records"]:
        change = Change.from_record(record, ORDERS)
        if change.new_image:
            copy.write(change.item_id, change.new_image)
        else:
            copy.delete(change.item_id)


def test_without_versions_a_late_batch_restores_an_item(stream_lab: LabFactory) -> None:
    lab = stream_lab()
    copy = Mirror()
    lab.function(partial(mirror, lab.faulty(copy)))

    lab.put({"id": "1001", "status": "placed", "total": 30})
    lab.run()
    lab.delete({"id": "1001"})
    lab.run()
    lab.deliver_again(lab.deliveries[0])

    assert "orders/S=1001" in copy.rows


def test_an_outage_makes_no_dead_letters(stream_lab: LabFactory) -> None:
    lab = stream_lab(**REPORTING)
    index, dead_letters = MemoryIndex(), MemoryDeadLetters()
    searching(lab, index, dead_letters)

    lab.fail_sink(seconds=90)
    lab.put({"id": "1001", "status": "placed", "total": 30})
    lab.run()

    assert index.search() == {"orders/S=1001": {"status": "placed", "total": 30}}
    assert not dead_letters.dead_letters
    assert not lab.dead_letters


def test_an_invalid_document_blocks_no_other_item(stream_lab: LabFactory) -> None:
    lab = stream_lab(**REPORTING)
    index, dead_letters = MemoryIndex(), MemoryDeadLetters()
    searching(lab, index, dead_letters)

    lab.put({"id": "1001", "status": "placed", "total": 30})
    lab.put({"id": "1002", "status": "placed", "total": "thirty"})
    lab.put({"id": "1003", "status": "placed", "total": 20})
    lab.run()

    assert list(index.search()) == ["orders/S=1001", "orders/S=1003"]
    assert [dead_letter.reason for dead_letter in dead_letters.dead_letters.values()] == [
        "BadTotal"
    ]


# Audit


def auditing(lab: Lab, log: MemoryLog) -> None:
    source = Source("orders", actor_attribute="by")
    sink = ChangeLog(lab.faulty(log))
    lab.function(Processor("audit", source, sink, MemoryDeadLetters(), clock=lab.clock))


def test_a_log_has_each_change_once(stream_lab: LabFactory) -> None:
    lab = stream_lab(**REPORTING)
    log = MemoryLog()
    auditing(lab, log)

    lab.crash_after("insert")
    lab.put({"id": "1001", "status": "placed", "by": "shop"})
    lab.put({"id": "1001", "status": "refunded", "by": "ann"})
    lab.expire({"id": "1001"})
    lab.run()

    history = ChangeLog(log).history("orders/S=1001")
    assert [(change.kind, change.actor) for change in history] == [
        ("INSERT", "shop"),
        ("MODIFY", "ann"),
        ("REMOVE", "dynamodb.amazonaws.com"),
    ]


def test_a_history_is_in_order_of_versions(stream_lab: LabFactory) -> None:
    lab = stream_lab(BatchSize=1, **REPORTING)
    log = MemoryLog()
    auditing(lab, log)

    lab.put({"id": "1001", "status": "placed"})
    lab.put({"id": "1001", "status": "shipped"})
    lab.run()
    first_come = dict(log.entries)
    log.entries.clear()
    for delivery in reversed(lab.deliveries[:2]):
        lab.deliver_again(delivery)

    assert list(log.entries) == list(reversed(first_come))
    history = ChangeLog(log).history("orders/S=1001")
    assert [change.new_image["status"] for change in history if change.new_image] == [
        "placed",
        "shipped",
    ]


# Event sourcing


def orders_of_a_day(lab: Lab, log: MemoryLog) -> None:
    auditing(lab, log)
    lab.put({"id": "1001", "status": "placed", "total": 30})
    lab.put({"id": "1002", "status": "placed", "total": 20})
    lab.run()
    lab.wait(3600)
    lab.put({"id": "1001", "status": "refunded", "total": 30})
    lab.delete({"id": "1002"})
    lab.run()


def test_the_log_returns_an_item_at_a_past_time(stream_lab: LabFactory) -> None:
    lab = stream_lab(**REPORTING)
    log = MemoryLog()
    orders_of_a_day(lab, log)

    noon = datetime(2024, 5, 1, 12, tzinfo=UTC)
    at = partial(ChangeLog(log).state_at, "orders/S=1001")
    assert at(noon - timedelta(seconds=1)) is None
    assert (at(noon) or {})["status"] == "placed"
    assert (at(noon + timedelta(hours=2)) or {})["status"] == "refunded"


def test_a_log_in_order_of_writing_ends_wrong(stream_lab: LabFactory) -> None:
    lab = stream_lab(BatchSize=1, **REPORTING)
    log = MemoryLog()
    auditing(lab, log)

    lab.put({"id": "1001", "status": "placed"}, {"id": "1001", "status": "shipped"})
    lab.run()
    log.entries.clear()  # the table of the log is lost, and the dead letters of both are redriven
    for delivery in reversed(lab.deliveries[:2]):
        lab.deliver_again(delivery)

    as_written = [change_from_entry(entry) for entry in log.entries.values()]
    assert (as_written[-1].new_image or {})["status"] == "placed"
    assert (replay(as_written) or {})["status"] == "shipped"


def refunds(changes: Iterable[Change]) -> int:
    """A projection invented after the orders were placed."""
    return sum(
        int(change.new_image["total"])
        for change in changes
        if change.kind is ChangeKind.MODIFY
        and change.old_image
        and change.new_image
        and (change.old_image["status"], change.new_image["status"]) == ("placed", "refunded")
    )


def test_a_new_projection_folds_the_whole_history(stream_lab: LabFactory) -> None:
    lab = stream_lab(**REPORTING)
    log = MemoryLog()
    orders_of_a_day(lab, log)

    history = [change_from_entry(entry) for entry in log.entries.values()]
    assert refunds(history) == 30
    by_item = {item: ChangeLog(log).history(item) for item, _ in log.entries}
    assert {item: (replay(of) or {}).get("status") for item, of in by_item.items()} == {
        "orders/S=1001": "refunded",
        "orders/S=1002": None,
    }


# Fan-out


def follow(lab: Lab, index: MemoryIndex) -> None:
    """Let search follow the change log: its entries are the items of the lab's table."""
    sink, read = Search(lab.faulty(index), document), change_from_log_record
    lab.function(Processor("search", ORDERS, sink, MemoryDeadLetters(), read=read, clock=lab.clock))


def test_search_converges_on_entries_in_any_order(
    stream_lab: LabFactory,
) -> None:
    log, index = MemoryLog(), MemoryIndex()
    orders_of_a_day(stream_lab(**REPORTING), log)

    lab = stream_lab(keys=("item", "version"), view_type="NEW_IMAGE", **REPORTING)
    follow(lab, index)
    for _, entry in sorted(log.entries.items(), reverse=True):
        lab.put(deserialize_item(entry, "entry"))
    lab.run()

    assert [kind_of(record) for record in lab.deliveries[0].records] == [
        "REMOVE",
        "INSERT",
        "MODIFY",
        "INSERT",
    ]
    assert index.search() == {"orders/S=1001": {"status": "refunded", "total": 30}}


def kind_of(record: Event) -> str:
    """Return what the entry in a record of the log tells of."""
    return str(record["dynamodb"]["NewImage"]["kind"]["S"])


def both(totals: Totals, copy: Mirror, event: Event, context: LambdaContext) -> None:
    for record in event["Records"]:
        change = Change.from_record(record, ORDERS)
        if change.new_image:
            totals.add(change.new_image["status"], 1)
            copy.write(change.item_id, change.new_image)


def test_a_failed_effect_repeats_the_one_before(stream_lab: LabFactory) -> None:
    lab = stream_lab()
    totals, copy = Totals(), Mirror()
    lab.function(partial(both, lab.faulty(totals), lab.faulty(copy)))

    lab.crash_before("write")
    lab.put({"id": "1001", "status": "placed"})
    lab.run()

    assert totals.sums == {"placed": 2}
