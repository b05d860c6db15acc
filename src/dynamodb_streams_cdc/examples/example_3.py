"""Example 3: several functions follow one order, and some of them fail.

    python -m dynamodb_streams_cdc.examples.example_3

Sums and an audit log follow the table; mail and search follow the log. Then a mail server refuses
mails, no retry can count one of the orders, and a function works in four lanes.
"""

import json
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

from dynamodb_streams_cdc import (
    Aggregation,
    Change,
    ChangeHandlers,
    ChangeLog,
    Contribution,
    IdempotencyStore,
    Image,
    LambdaContext,
    Once,
    PermanentError,
    Processor,
    Search,
    Sink,
    Source,
    deserialize_item,
)
from dynamodb_streams_cdc.examples import story
from dynamodb_streams_cdc.examples.surroundings import Deployed, Event, Forgetful, Mail
from dynamodb_streams_cdc.operations.dead_letter_store import DeployedNames
from dynamodb_streams_cdc.operations.redrive import Redrive, Result
from dynamodb_streams_cdc.sinks.log_entries import change_from_log_record
from dynamodb_streams_cdc.testing import Lab
from dynamodb_streams_cdc.testing.memory import (
    MemoryDeadLetterStore,
    MemoryIdempotencyStore,
    MemoryIndex,
    MemoryLedger,
    MemoryLog,
)

ORDERS = Source("orders", actor_attribute="updated_by")
REPORTING = ["ReportBatchItemFailures"]


def order(order_id: str, status: str = "placed", total: object = Decimal("29.33")) -> Image:
    """Return an order, as the application writes it."""
    return {"order_id": order_id, "status": status, "total": total, "updated_by": "shop"}


# The functions that follow the orders


def contributions(order: Image) -> Contribution:
    """Return the share of an order in the sums."""
    if not isinstance(order["total"], Decimal):
        message = f"the total of an order is a number, got {order['total']!r}"
        raise PermanentError(message, "BadTotal")
    return {f"status#{order['status']}": {"orders": 1, "total": order["total"]}}


def document(order: Image) -> Image:
    """Return the search document of an order."""
    return {"status": order["status"], "total": order["total"]}


def mails(mail: Mail, store: IdempotencyStore) -> ChangeHandlers:
    """Return handlers that tell a customer, once, of each step of an order."""
    handlers = ChangeHandlers()
    once = Once(store, "mail")

    @handlers.on_insert
    @handlers.on_modify
    def tell(change: Change) -> None:
        order = change.new_image or {}
        once.run(change, partial(mail.send, order["order_id"], order["status"]))

    return handlers


# One life, four functions


@dataclass
class Shop:
    """The orders table, its change log, and the functions that follow them.

    No more than two functions should read a stream
    (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html). So sums and
    audit read the table's stream; mail and search read the log's: each change is an INSERT there.
    """

    mail: Mail = field(default_factory=Mail)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    log: MemoryLog = field(default_factory=MemoryLog)
    index: MemoryIndex = field(default_factory=MemoryIndex)
    dead_letters: MemoryDeadLetterStore = field(default_factory=MemoryDeadLetterStore)

    def __post_init__(self) -> None:
        self._orders = [
            self._table_reader("sums", Aggregation(self.ledger, contributions)),
            self._table_reader("audit", ChangeLog(self.log)),
        ]
        self._log_readers = [
            self._log_reader("mail", mails(self.mail, MemoryIdempotencyStore())),
            self._log_reader("search", Search(self.index, document)),
        ]

    def put(self, order: Image) -> None:
        """Write an order, and run every function."""
        for lab in self._orders:
            lab.put(order)
        self._run()

    def delete(self, order_id: str) -> None:
        """Delete an order, and run every function."""
        for lab in self._orders:
            lab.delete({"order_id": order_id})
        self._run()

    def _run(self) -> None:
        for lab in self._orders:
            lab.run()
        for lab in self._log_readers:
            lab.put(*map(deserialize_item, self.log.entries.values()))  # those that are new
            lab.run()

    def _table_reader(self, name: str, sink: Sink) -> Lab:
        lab = Lab(keys=["order_id"], FunctionResponseTypes=REPORTING)
        lab.function(Processor(name, ORDERS, sink, self.dead_letters, clock=lab.clock))
        return lab

    def _log_reader(self, name: str, sink: Sink) -> Lab:
        lab = Lab(keys=["item", "version"], view_type="NEW_IMAGE", FunctionResponseTypes=REPORTING)
        read = change_from_log_record
        lab.function(Processor(name, ORDERS, sink, self.dead_letters, read=read, clock=lab.clock))
        return lab


# A failure that passes


@dataclass
class Invocation:
    """The changes, the mails and the answer of one invocation."""

    changes: list[str]
    sent: list[str]
    answer: Any


def refused_for_a_while(
    store: IdempotencyStore, identifier: str = "SequenceNumber"
) -> list[Invocation]:
    """Let the mail server refuse order 1002 twice, and say which record failed by `identifier`."""
    mail = Mail(refuses={"1002": 2})
    lab = Lab(keys=["order_id"], FunctionResponseTypes=REPORTING)
    process = Processor(
        "mail", ORDERS, mails(mail, store), MemoryDeadLetterStore(), clock=lab.clock
    )
    sent: list[list[str]] = []

    @lab.function
    def handler(event: Event, context: LambdaContext) -> Any:
        before = len(mail.sent)
        answer = process(event, context)
        sent.append(mail.sent[before:])
        return answer if identifier == "SequenceNumber" else by_event_id(event, answer)

    lab.put(order("1001"), order("1002"), order("1003"), order("1002", "shipped"))
    lab.run()
    return [
        Invocation(delivery.changes, mails, delivery.answer)
        for delivery, mails in zip(lab.deliveries, sent, strict=True)
    ]


def by_event_id(event: Event, answer: Any) -> Any:
    """Return an answer that names records by their event id, which Lambda does not know."""
    ids = {record["dynamodb"]["SequenceNumber"]: record["eventID"] for record in event["Records"]}
    failures = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
    return {"batchItemFailures": [{"itemIdentifier": ids[number]} for number in failures]}


# A failure that does not pass


class Counting:
    """The function that keeps the sums, its dead letters, and their redrive."""

    def __init__(self) -> None:
        self.ledger, self.dead_letters = MemoryLedger(), MemoryDeadLetterStore()
        self.lab = Lab(keys=["order_id"], FunctionResponseTypes=REPORTING)
        sums = Aggregation(self.ledger, contributions)
        processor = Processor("sums", ORDERS, sums, self.dead_letters, clock=self.lab.clock)
        self.lab.function(processor)
        functions, names = Deployed({"sums": processor}), DeployedNames({"orders-sums": "sums"})
        self._redrive = Redrive(self.dead_letters, functions, names, self.lab.clock)

    def put(self, *orders: Image) -> None:
        """Write orders, and have them counted."""
        self.lab.put(*orders)
        self.lab.run()

    def redrive(self) -> list[Result]:
        """Let every dead letter go through the function again."""
        return list(self._redrive.run([stored.key for stored in self.dead_letters.dead_letters()]))


# Lanes


def in_lanes() -> tuple[Lab, list[str]]:
    """Let a function with four lanes follow six orders, one of which fails for a while."""
    mail = Mail(refuses={"1004": 3})
    lab = Lab(keys=["order_id"], ParallelizationFactor=4, FunctionResponseTypes=REPORTING)
    handlers = mails(mail, MemoryIdempotencyStore())
    lab.function(Processor("mail", ORDERS, handlers, MemoryDeadLetterStore(), clock=lab.clock))
    for status in ("placed", "shipped"):
        lab.put(*(order(str(number), status) for number in range(1001, 1007)))
    lab.run()
    return lab, mail.sent


# The story


def main() -> None:
    """Print the example."""
    story.begin("Example 3: one order's life, and what it sets in motion")
    _tell_a_life()
    _tell_a_passing_failure()
    _tell_a_lasting_failure()
    _tell_lanes()
    story.say("Next: a search index and a replay of the log, written by you: make exercise-2")


def _tell_a_life() -> None:
    shop = Shop()
    shop.put(order("1001"))
    placed = _copies(shop)
    shop.put(order("1001", "shipped"))
    shipped = _copies(shop)
    shop.delete("1001")
    story.section("1. Four functions follow one order")
    story.say(
        "The table's stream has two readers, and should have no more, since beyond two AWS may "
        "throttle: one keeps sums, one the audit log. Mail and search read the stream of the log, "
        "to which every change comes as an INSERT."
    )
    story.table(
        ("order 1001 is", "mails sent", "sums", "log entries", "search finds"),
        [("placed", *placed), ("shipped", *shipped), ("deleted", *_copies(shop))],
    )
    story.say("Each function fails alone, and begins again where it was. The mails are sent by:")
    story.code(mails)


def _copies(shop: Shop) -> tuple[str, str, str, str]:
    """Return the state of the four copies."""
    return (
        ", ".join(shop.mail.sent),
        _amounts(shop.ledger),
        str(len(shop.log.entries)),
        ", ".join(f"{found['status']} {found['total']}" for found in shop.index.search().values())
        or "nothing",
    )


def _amounts(ledger: MemoryLedger) -> str:
    sums = sorted((name, each["total"]) for name, each in ledger.totals.items() if each)
    return ", ".join(f"{name} {total}" for name, total in sums) or "nothing"


def _tell_a_passing_failure() -> None:
    story.section("2. A failure that passes")
    story.say(
        "Three orders are placed, and the second is shipped at once. The mail server refuses the "
        "customer of 1002 twice. What the function gets, sends, and answers:"
    )
    story.table(
        ("invoked with", "mails sent", "itemIdentifier"),
        (
            (", ".join(each.changes), ", ".join(each.sent) or "none", _identifier(each))
            for each in refused_for_a_while(MemoryIdempotencyStore())
        ),
    )
    story.say(
        "1003 did not have to wait for 1002. The shipping of 1002 did: it was held back, so that "
        "it does not overtake. The answer is the sequence number of the first record that is not "
        "done; Lambda goes on from there, and Once keeps those from a second mail that had theirs. "
        "With the event id in its place, or without Once:"
    )
    story.table(
        ("itemIdentifier", "markers", "records delivered", "mails sent", "twice or more"),
        (
            (identifier, word, *_counts(refused_for_a_while(store(), identifier)))
            for identifier in ("SequenceNumber", "eventID")
            for word, store in (("Once", MemoryIdempotencyStore), ("none", Forgetful))
        ),
    )
    story.say(
        "An event id is not a sequence number of the batch. AWS documents that an empty or null "
        "identifier fails the whole batch, and says nothing of other strings; the engine takes "
        "this one as a failure too, and sends everything again. (Once means at least once: a crash "
        "between a mail and its marker repeats the mail. What must not happen twice takes the "
        "event id along, as an idempotency key for the system that does it.)"
    )


def _identifier(invocation: Invocation) -> str:
    failures = invocation.answer["batchItemFailures"]
    return f"..{failures[0]['itemIdentifier'][-9:]}" if failures else "none"


def _counts(invocations: list[Invocation]) -> tuple[int, int, int]:
    """Return how many records were delivered, mails sent, and mails sent more than once."""
    records = sum(len(each.changes) for each in invocations)
    sent = [mail for each in invocations for mail in each.sent]
    return records, len(sent), sum(sent.count(mail) > 1 for mail in set(sent))


def _tell_a_lasting_failure() -> None:
    counting = Counting()
    story.section("3. A failure that does not pass")
    story.say(
        "Three orders are counted, and the total of the second is text. No retry can help, so "
        "contributions raises PermanentError; the processor writes a dead letter and goes on."
    )
    counting.put(order("1001"), order("1002", total="29,33"), order("1003"))
    [dead_letter] = map(json.loads, counting.dead_letters.objects.values())
    story.facts([("sums", _amounts(counting.ledger)), *dead_letter["dead_letter"].items()])
    story.say(
        "The dead letter's payload is the record itself, which the stream forgets after a day:"
    )
    story.data(json.loads(dead_letter["payload"])["Records"][0]["dynamodb"]["NewImage"])
    steps = [("redriven at once", *_redriven(counting))]
    counting.put(order("1002", "shipped"))
    steps.append(("the order is fixed, and shipped", "", "", _amounts(counting.ledger)))
    steps.append(("redriven again", *_redriven(counting)))
    story.say("A redrive sends the dead letter through the deployed function once more:")
    story.table(("", "dead letter", "changes", "sums"), steps)
    story.say(
        "At first it fails again, and is kept. Once the order is fixed, its dead letter is stale: "
        "the version in the ledger is greater. It is archived, and what is newer stays. On AWS: "
        "cdc dead-letters list, cdc redrive."
    )


def _redriven(counting: Counting) -> tuple[str, str, str]:
    """Redrive; return the status of the dead letter, of its change, and the sums afterwards."""
    [result] = counting.redrive()
    applied = f"{result.applied} applied, {result.stale} out of date"
    return result.status, applied, _amounts(counting.ledger)


def _tell_lanes() -> None:
    lab, sent = in_lanes()
    lanes = sorted({delivery.lane for delivery in lab.deliveries})
    story.section("4. Order across lanes")
    story.say(
        "With ParallelizationFactor=4, up to four invocations work on one shard at once. Six "
        "orders are placed, then shipped; the mail server refuses 1004 three times."
    )
    story.table(
        ("lane", "invocations", "orders"),
        (
            (lane, sum(delivery.lane == lane for delivery in lab.deliveries), _orders(lab, lane))
            for lane in lanes
        ),
    )
    story.say("The mails, in the order in which they were sent:")
    story.show("\n".join(", ".join(sent[start : start + 6]) for start in range(0, len(sent), 6)))
    story.say(
        "An item is always in the same lane, so its changes stay in order; and no change waited "
        "for 1004, not even in its own lane. Across lanes, as across shards, there is no order."
    )


def _orders(lab: Lab, lane: int) -> str:
    changes = [c for each in lab.deliveries if each.lane == lane for c in each.changes]
    return ", ".join(sorted({change.split()[1] for change in changes}))


if __name__ == "__main__":
    story.tell(main)
