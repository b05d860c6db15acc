"""docs/explanation/patterns.md: handlers, partial batch failures, idempotency."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dynamodb_streams_cdc import (
    Change,
    ChangeHandlers,
    LambdaContext,
    PermanentError,
    Processor,
    Source,
)
from dynamodb_streams_cdc.idempotency import Once
from dynamodb_streams_cdc.testing import LabFactory
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters, MemoryIdempotencyStore

pytest_plugins = ["dynamodb_streams_cdc.testing.fixtures"]

Event = Mapping[str, Any]

ORDERS = Source("orders")
REPORTING = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}


@dataclass
class Mail:
    """A mail server; it refuses some addresses, and how often it does so can be limited."""

    sent: list[str] = field(default_factory=list)
    refuses: Mapping[str, int] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def send(self, order: str, status: str) -> None:
        if self.refused.count(order) < self.refuses.get(order, 0):
            self.refused.append(order)
            raise ConnectionRefusedError(order)
        self.sent.append(f"{order} {status}")


ALWAYS = 1_000_000


# Handler


def mails(mail: Mail) -> ChangeHandlers:
    handlers = ChangeHandlers()

    @handlers.on_insert
    @handlers.on_modify
    def tell(change: Change) -> None:
        order = change.new_image or {}
        mail.send(order["id"], order["status"])

    return handlers


def naive(mail: Mail, event: Event, context: LambdaContext) -> None:
    for record in event["Records"]:
        change = Change.from_record(record, ORDERS)
        mail.send(change.keys["id"], "changed")


def test_an_exception_repeats_earlier_records(stream_lab: LabFactory) -> None:
    lab = stream_lab(MaximumRetryAttempts=2)
    mail = Mail(refuses={"1002": ALWAYS})
    lab.function(partial(naive, lab.faulty(mail)))

    lab.put({"id": "1001"}, {"id": "1002"})
    lab.run()

    assert mail.sent == ["1001 changed"] * 3
    assert lab.dead_letters[0].changes == ["INSERT 1001", "INSERT 1002"]


def test_a_failed_change_blocks_only_its_own_item(
    stream_lab: LabFactory,
) -> None:
    lab = stream_lab(**REPORTING)
    mail = Mail(refuses={"1001": 1})
    handlers = mails(lab.faulty(mail))
    lab.function(Processor("mails", ORDERS, handlers, MemoryDeadLetters(), clock=lab.clock))

    lab.put({"id": "1001", "status": "placed"}, {"id": "1001", "status": "shipped"})
    lab.put({"id": "1002", "status": "placed"})
    lab.run()

    assert mail.sent == ["1002 placed", "1001 placed", "1001 shipped", "1002 placed"]


def test_a_processor_reports_progress_before_the_timeout(stream_lab: LabFactory) -> None:
    lab = stream_lab(timeout=30, **REPORTING)
    mail = Mail()
    handlers = mails(lab.faulty(mail))
    lab.function(Processor("mails", ORDERS, handlers, MemoryDeadLetters(), clock=lab.clock))

    lab.slow_sink(seconds=600, per_call=8)
    lab.put(*({"id": f"100{n}", "status": "placed"} for n in range(5)))
    lab.run()

    assert len(mail.sent) == 5
    assert all(delivery.error is None for delivery in lab.deliveries)


# Partial batch failure


def ship(mail: Mail, event: Event, context: LambdaContext) -> dict[str, Any]:
    for record in event["Records"]:
        change = Change.from_record(record, ORDERS)
        try:
            mail.send(change.keys["id"], "shipped")
        except ConnectionRefusedError:
            return {"batchItemFailures": [{"itemIdentifier": change.sequence_number}]}
    return {"batchItemFailures": []}


def test_only_records_from_the_failure_on_come_again(stream_lab: LabFactory) -> None:
    lab = stream_lab(**REPORTING)
    mail = Mail(refuses={"1002": 1})
    lab.function(partial(ship, lab.faulty(mail)))

    lab.put({"id": "1001"}, {"id": "1002"}, {"id": "1003"})
    lab.run()

    assert mail.sent == ["1001 shipped", "1002 shipped", "1003 shipped"]


def ship_by_event_id(mail: Mail, event: Event, context: LambdaContext) -> dict[str, Any]:
    for record in event["Records"]:
        change = Change.from_record(record, ORDERS)
        try:
            mail.send(change.keys["id"], "shipped")
        except ConnectionRefusedError:
            return {"batchItemFailures": [{"itemIdentifier": change.event_id}]}
    return {"batchItemFailures": []}


def test_an_event_id_fails_the_whole_batch(stream_lab: LabFactory) -> None:
    lab = stream_lab(**REPORTING)
    mail = Mail(refuses={"1002": 1})
    lab.function(partial(ship_by_event_id, lab.faulty(mail)))

    lab.put({"id": "1001"}, {"id": "1002"})
    lab.run()

    assert mail.sent == ["1001 shipped", "1001 shipped", "1002 shipped"]


def test_without_the_setting_a_report_is_a_success(stream_lab: LabFactory) -> None:
    lab = stream_lab(FunctionResponseTypes=[])
    mail = Mail(refuses={"1002": ALWAYS})
    lab.function(partial(ship, lab.faulty(mail)))

    lab.put({"id": "1001"}, {"id": "1002"}, {"id": "1003"})
    lab.run()

    assert mail.sent == ["1001 shipped"]
    assert lab.dead_letters == []


def test_a_poison_record_takes_later_records_along(stream_lab: LabFactory) -> None:
    lab = stream_lab(MaximumRetryAttempts=1, **REPORTING)
    mail = Mail(refuses={"1002": ALWAYS})
    lab.function(partial(ship, lab.faulty(mail)))

    lab.put({"id": "1001"}, {"id": "1002"}, {"id": "1003"})
    lab.run()

    assert mail.sent == ["1001 shipped"]
    [dead_letter] = lab.dead_letters
    assert dead_letter.changes == ["INSERT 1002", "INSERT 1003"]


def picky(mail: Mail) -> ChangeHandlers:
    handlers = ChangeHandlers()

    @handlers.on_insert
    def tell(change: Change) -> None:
        if "@" not in change.keys["id"]:
            message = f"no address: {change.keys['id']}"
            raise PermanentError(message, "NoAddress")
        mail.send(change.keys["id"], "welcome")

    return handlers


def test_a_permanent_error_makes_a_dead_letter_at_once(stream_lab: LabFactory) -> None:
    lab = stream_lab(**REPORTING)
    mail, dead_letters = Mail(), MemoryDeadLetters()
    handlers = picky(lab.faulty(mail))
    lab.function(Processor("mails", ORDERS, handlers, lab.faulty(dead_letters), clock=lab.clock))

    lab.put({"id": "a@b"}, {"id": "unknown"}, {"id": "c@d"})
    lab.run()

    assert mail.sent == ["a@b welcome", "c@d welcome"]
    [dead_letter] = dead_letters.dead_letters.values()
    assert dead_letter.reason == "NoAddress"
    assert len(lab.deliveries) == 1


# Idempotency


@dataclass
class Bank(MemoryIdempotencyStore):
    """Charges cards, and keeps a marker of each charge."""

    charged: list[str] = field(default_factory=list)

    def charge(self, order: str) -> None:
        self.charged.append(order)

    def mark_with(self, key: str, keep_seconds: int, actions: Sequence[Mapping[str, Any]]) -> bool:
        done = super().mark_with(key, keep_seconds, actions)
        self.charged += [action["charge"] for action in actions if done]
        return done


def charge_once(once: Once, bank: Bank, event: Event, context: LambdaContext) -> None:
    for record in event["Records"]:
        change = Change.from_record(record, ORDERS)
        once.run(change, partial(bank.charge, change.keys["id"]))


def charge_in_transaction(once: Once, event: Event, context: LambdaContext) -> None:
    for record in event["Records"]:
        change = Change.from_record(record, ORDERS)
        once.transact(change, [{"charge": change.keys["id"]}])


def mark_then_charge(bank: Bank, event: Event, context: LambdaContext) -> None:
    for record in event["Records"]:
        change = Change.from_record(record, ORDERS)
        if not bank.seen(change.event_id):
            bank.mark(change.event_id, 86400)
            bank.charge(change.keys["id"])


def test_a_redelivery_is_skipped(stream_lab: LabFactory) -> None:
    lab = stream_lab()
    bank = Bank()
    port = lab.faulty(bank)
    lab.function(partial(charge_once, Once(port, "charge"), port))

    lab.redeliver()
    lab.put({"id": "1001"})
    lab.run()

    assert bank.charged == ["1001"]


def test_a_marker_before_the_effect_loses_it(stream_lab: LabFactory) -> None:
    lab = stream_lab()
    bank = Bank()
    lab.function(partial(mark_then_charge, lab.faulty(bank)))

    lab.crash_before("charge")
    lab.put({"id": "1001"})
    lab.run()

    assert bank.charged == []


def test_a_marker_after_the_effect_repeats_it(stream_lab: LabFactory) -> None:
    lab = stream_lab()
    bank = Bank()
    port = lab.faulty(bank)
    lab.function(partial(charge_once, Once(port, "charge"), port))

    lab.crash_before("mark")
    lab.put({"id": "1001"})
    lab.run()

    assert bank.charged == ["1001", "1001"]


def test_a_marker_in_the_transaction_runs_it_once(stream_lab: LabFactory) -> None:
    lab = stream_lab()
    bank = Bank()
    lab.function(partial(charge_in_transaction, Once(lab.faulty(bank), "charge")))

    lab.crash_before("mark_with")
    lab.crash_after("mark_with")
    lab.put({"id": "1001"})
    lab.run()

    assert len(lab.deliveries) == 3
    assert bank.charged == ["1001"]
