"""A sink holds the items of the entities that use it, and nothing of any other item."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from dynamodb_streams_cdc import (
    Aggregation,
    Change,
    ChangeHandlers,
    Deadline,
    Expiry,
    Outcome,
    PermanentError,
    Processor,
    RetryableError,
    Search,
    Sink,
)
from dynamodb_streams_cdc.canary import canary_item, unless_canary
from dynamodb_streams_cdc.deserializer import deserialize_item
from dynamodb_streams_cdc.entities import (
    DeclarationError,
    Entity,
    Index,
    Table,
    exactly,
    starts_with,
)
from dynamodb_streams_cdc.metrics import Counts
from dynamodb_streams_cdc.sinks.base import TablePage
from dynamodb_streams_cdc.sinks.by_entity import ByEntity
from dynamodb_streams_cdc.testing.memory import (
    MemoryDeadLetters,
    MemoryIndex,
    MemoryLedger,
)
from tests.factories import NOON, SOURCE, TTL_IDENTITY, FakeContext, ManualClock, record

KEYS = ("pk", "sk")
ORDERS, CUSTOMERS = Index(name="orders"), Index(name="customers")


def item(sk: str, **others: Any) -> dict[str, Any]:
    return {"pk": "C#1", "sk": sk, **others}


def document(image: dict[str, Any]) -> dict[str, Any]:
    return {"name": image["name"]}


def table(unknown: Any = "ignore") -> Table:
    return Table(
        "things",
        keys={"pk": "S", "sk": "S"},
        entities=(
            Entity("order", {"sk": starts_with("ORDER#")}, document=document, index=ORDERS),
            Entity("customer", {"sk": exactly("PROFILE")}, document=document, index=CUSTOMERS),
            Entity("note", {"sk": starts_with("NOTE#")}),
        ),
        unknown=unknown,
    )


@dataclass
class Emitted:
    counts: list[Counts] = field(default_factory=list)

    def emit(self, counts: Counts) -> None:
        self.counts.append(counts)


@dataclass
class Deployed:
    """A search function of three entities, two of which have documents."""

    unknown: str = "ignore"
    source: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.orders, self.customers = MemoryIndex(), MemoryIndex()
        self.dead_letters, self.metrics = MemoryDeadLetters(), Emitted()
        sinks = {
            "order": Search(self.orders, unless_canary(document, None)),
            "customer": Search(self.customers, unless_canary(document, None)),
        }
        self.processor = Processor(
            "search",
            SOURCE,
            ByEntity(table(self.unknown), sinks),
            self.dead_letters,
            metrics=self.metrics,
            clock=ManualClock(),
            source_table=self,
        )

    def read(self, keys: Any) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.source.get(str(deserialize_item(keys)["sk"]))
        return found

    def deliver(self, *records: Any, **others: Any) -> Any:
        context = FakeContext(self.processor.clock)
        return self.processor({"Records": list(records), **others}, context)

    @property
    def counts(self) -> Counts:
        return self.metrics.counts[-1]


def a_record(sequence: int, before: Any, after: Any, **others: Any) -> dict[str, Any]:
    return record(sequence, before, after, keys=KEYS, **others)


def test_each_entity_has_an_index_of_its_own() -> None:
    deployed = Deployed()
    order, customer = item("ORDER#1", name="book"), item("PROFILE", name="Ada")
    deployed.deliver(a_record(1, None, order), a_record(2, None, customer))
    deployed.deliver(a_record(3, customer, None))
    assert [each["name"] for each in deployed.orders.search().values()] == ["book"]
    assert deployed.customers.search() == {}
    assert len(deployed.customers.documents) == 1, "a tombstone, in the customers' index"
    assert len(deployed.orders.documents) == 1


def test_a_sink_of_no_entity_is_refused() -> None:
    with pytest.raises(DeclarationError, match="no entity orders: give sinks to order, customer"):
        ByEntity(table(), {"orders": Search(MemoryIndex(), document)})


def test_nothing_is_held_of_an_item_that_the_sink_does_not_use() -> None:
    deployed = Deployed()
    note = item("NOTE#1")
    assert deployed.deliver(a_record(1, None, note), a_record(2, note, None)) == {
        "batchItemFailures": []
    }
    assert deployed.orders.documents == deployed.customers.documents == {}
    assert (deployed.counts.skipped, deployed.counts.unknown) == (2, 0)
    assert deployed.counts.applied == deployed.counts.stale == 0


def test_an_item_of_no_entity_is_counted() -> None:
    deployed = Deployed()
    deployed.deliver(a_record(1, None, item("INVOICE#1")))
    assert (deployed.counts.skipped, deployed.counts.unknown) == (1, 1)
    assert deployed.dead_letters.dead_letters == {}
    assert deployed.counts.dead_lettered == 0


def test_an_item_of_no_entity_is_a_dead_letter_where_declared() -> None:
    deployed = Deployed("dead-letter")
    order = item("ORDER#1", name="book")
    answer = deployed.deliver(a_record(1, None, item("INVOICE#1")), a_record(2, None, order))
    assert answer == {"batchItemFailures": []}
    assert (deployed.counts.dead_lettered, deployed.counts.applied) == (1, 1)
    assert deployed.counts.skipped == deployed.counts.unknown == 0


def test_a_dead_letter_of_no_entity_is_inspected_with_others() -> None:
    deployed = Deployed("dead-letter")
    records = [
        a_record(1, None, item("INVOICE#1")),
        a_record(2, None, item("ORDER#1", name="book")),
    ]
    deployed.deliver(*records)
    unknown, known = deployed.deliver(*records, operation="inspect")["held"]
    assert (unknown["item"] is not None, unknown["version"], unknown["state"]) == (True, None, None)
    assert known["version"] == known["offered"]


def test_skipped_items_do_not_keep_the_breaker_closed() -> None:
    deployed = Deployed()
    notes = [a_record(n, None, item(f"NOTE#{n}")) for n in range(1, 90)]
    broken = [a_record(n, None, item(f"ORDER#{n}")) for n in range(100, 106)]
    answer = deployed.deliver(*notes, *broken)
    assert deployed.counts.breaker_open == 1, "all orders fail, and notes are no evidence"
    assert deployed.counts.dead_lettered == 0
    first = broken[0]["dynamodb"]["SequenceNumber"]
    assert answer == {"batchItemFailures": [{"itemIdentifier": first}]}


def test_the_canary_arrives_and_is_of_no_entity() -> None:
    deployed = Deployed("dead-letter")
    canary = deserialize_item(canary_item({"pk": "S", "sk": "S"}, NOON))
    deployed.deliver(a_record(1, None, canary))
    assert (deployed.counts.canaries, deployed.counts.dead_lettered) == (1, 0)
    assert deployed.orders.search() == deployed.customers.search() == {}


def test_a_late_change_of_an_unused_item_repairs_nothing() -> None:
    deployed = Deployed(source={"NOTE#1": item("NOTE#1")})
    deployed.deliver(a_record(1, None, item("NOTE#1"), timestamp=NOON - 30 * 86_400))
    assert (deployed.counts.skipped, deployed.counts.repaired) == (1, 0)
    assert deployed.orders.documents == deployed.customers.documents == {}


def test_an_operator_gets_an_answer_for_every_item() -> None:
    order, note = item("ORDER#1", name="book"), item("NOTE#1")
    deployed = Deployed(source={"ORDER#1": order, "NOTE#1": note})
    records = [a_record(1, None, order), a_record(2, None, note)]
    replayed = deployed.deliver(*records, operation="replay")
    assert replayed["failures"] == []
    assert replayed["applied"] == 1
    held = deployed.deliver(*records, operation="inspect")["held"]
    assert [each["version"] is not None for each in held] == [True, False]
    assert "state_unknown" not in held[1]
    repaired = deployed.deliver(
        *({"Keys": each["dynamodb"]["Keys"]} for each in records),
        operation="repair",
        streamArn=records[0]["eventSourceARN"],
    )
    assert repaired["failures"] == []
    assert deployed.customers.documents == {}
    assert len(deployed.orders.documents) == 1


@dataclass
class Failing:
    """A sink that fails on every call."""

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Outcome:
        message = "down"
        raise RetryableError(message)


def test_an_effect_that_fails_is_not_done_by_a_repair() -> None:
    """A repair makes a copy right, and no effect: its dead letter must not be archived."""
    handlers = ChangeHandlers()

    @handlers.on_insert
    def refuse(change: Change) -> None:
        message = "no address"
        raise PermanentError(message)

    deployed = Deployed()
    sinks: dict[str, Sink] = {"order": Search(deployed.orders, document), "customer": handlers}
    deployed.processor = replace(deployed.processor, sink=ByEntity(table(), sinks))
    order, customer = item("ORDER#1", name="book"), item("PROFILE", name="Ada")
    records = [a_record(1, None, order), a_record(2, None, customer)]
    [failure] = deployed.deliver(*records, operation="replay")["failures"]
    assert (failure["position"], failure["error"]) == (1, "no address")


def test_a_sink_that_fails_leaves_the_others_alone() -> None:
    deployed = Deployed()
    working = Search(deployed.orders, document)
    choice = ByEntity(table(), {"customer": Failing(), "order": working})
    processor = Processor("search", SOURCE, choice, MemoryDeadLetters(), clock=ManualClock())
    records = [
        a_record(1, None, item("ORDER#1", name="book")),
        a_record(2, None, item("PROFILE", name="Ada")),
        a_record(3, None, item("ORDER#2", name="pen")),
    ]
    answer = processor({"Records": records}, FakeContext(processor.clock))
    failed = records[1]["dynamodb"]["SequenceNumber"]
    assert answer == {"batchItemFailures": [{"itemIdentifier": failed}]}
    assert len(deployed.orders.search()) == 2


class Empty:
    """A table without items."""

    def read(self, keys: Any) -> None:
        return None

    def read_many(self, keys: Sequence[Any], deadline: Deadline) -> list[None]:
        return [None for _ in keys]

    def scan(self, *_: Any, **__: Any) -> TablePage:
        return TablePage([], None)


def counted(image: Any) -> dict[str, dict[str, int]]:
    return {image["sk"].partition("#")[0]: {"items": 1}}


def keeping(ledger: MemoryLedger, other: Expiry, expiry: Expiry) -> Processor:
    """Return the function of two entities; the sums do so with expiries of each."""
    entities = (
        Entity("other", {"sk": starts_with("O#")}, contributions=counted, expiry=other),
        Entity("kept", {"sk": starts_with("K#")}, contributions=counted, expiry=expiry),
    )
    things = Table("things", keys={"pk": "S", "sk": "S"}, entities=entities)
    sinks = {e.name: Aggregation(ledger, counted, e.expiry) for e in entities}
    return Processor(
        "aggregation",
        replace(SOURCE, table="things"),
        ByEntity(things, sinks),
        MemoryDeadLetters(),
        clock=ManualClock(),
        source_table=Empty(),
    )


@pytest.mark.parametrize("other", Expiry)
@pytest.mark.parametrize(("now", "found"), [(Expiry.KEEP, []), (Expiry.DROP, ["extra"])])
def test_what_expired_counts_by_the_declaration_of_today(
    other: Expiry, now: Expiry, found: list[str]
) -> None:
    ledger = MemoryLedger()

    def ask(processor: Processor, *records: Any, **event: Any) -> Any:
        asked = {"Records": list(records), "streamArn": expiry["eventSourceARN"], **event}
        return processor(asked, FakeContext(processor.clock))

    expiry = a_record(2, item("K#1"), None, userIdentity=TTL_IDENTITY)
    ask(keeping(ledger, other, Expiry.KEEP), a_record(1, None, item("K#1")), expiry)
    assert ledger.total("K") == {"items": 1}
    today = keeping(ledger, other, now)
    copies = {"operation": "verify", "of": "copies", "keys": {"pk": "S", "sk": "S"}}
    assert [each["kind"] for each in ask(today, **copies)["differences"]] == found
    keys = {"Keys": expiry["dynamodb"]["Keys"]}
    again = ask(today, keys, **{**copies, "of": "items"})
    assert [each["kind"] for each in again["differences"]] == found
    assert ask(today, keys, operation="repair")["repaired"] == len(found)
    assert ledger.total("K") == ({} if found else {"items": 1})


@pytest.mark.parametrize("expired", [True, False])
def test_an_expiry_is_kept_by_the_entity_that_keeps_it(expired: bool) -> None:
    ledger = MemoryLedger()

    def one(image: Any) -> dict[str, dict[str, int]]:
        return {image["sk"].partition("#")[0]: {"items": 1}}

    entities = (
        Entity("kept", {"sk": starts_with("K#")}, contributions=one, expiry=Expiry.KEEP),
        Entity("dropped", {"sk": starts_with("D#")}, contributions=one),
    )
    things = Table("things", keys={"pk": "S", "sk": "S"}, entities=entities)
    sinks = {e.name: Aggregation(ledger, one, e.expiry) for e in entities}
    processor = Processor(
        "aggregation", SOURCE, ByEntity(things, sinks), MemoryDeadLetters(), clock=ManualClock()
    )
    identity = {"userIdentity": TTL_IDENTITY} if expired else {}
    for sequence, sk in enumerate(("K#1", "D#1"), start=1):
        processor(
            {
                "Records": [
                    a_record(sequence, None, item(sk)),
                    a_record(sequence + 2, item(sk), None, **identity),
                ]
            },
            FakeContext(processor.clock),
        )
    assert ledger.total("K") == ({"items": 1} if expired else {})
    assert ledger.total("D") == {}
