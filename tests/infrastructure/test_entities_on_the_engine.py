"""Items of no entity, and a renamed entity: mapping, filters, processor and sink together."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest

from dynamodb_streams_cdc import Aggregation, Processor
from dynamodb_streams_cdc.entities import AGGREGATION, Entity, Table, Unknown, exactly
from dynamodb_streams_cdc.metrics import Counts
from dynamodb_streams_cdc.sinks.by_entity import ByEntity
from dynamodb_streams_cdc.testing.lab import Lab
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters, MemoryLedger
from stacks.feeds import patterns


def contributions(image: Mapping[str, Any]) -> dict[str, dict[str, Decimal]]:
    return {"all": {"amount": image["amount"]}}


PAYMENT = Entity("payment", keys={"sk": exactly("PAYMENT")}, contributions=contributions)
TABLE = Table("shop", keys={"pk": "S", "sk": "S"}, entities=(PAYMENT,))


@dataclass
class Deployed:
    """A table with its mapping and the processor of the aggregation."""

    table: Table
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    dead_letters: MemoryDeadLetters = field(default_factory=MemoryDeadLetters)
    counts: list[Counts] = field(default_factory=list)

    def __post_init__(self) -> None:
        filters = [{"Pattern": json.dumps(each)} for each in self.patterns]
        self.lab = Lab(
            keys=self.table.keys,
            FunctionResponseTypes=["ReportBatchItemFailures"],
            FilterCriteria={"Filters": filters},
        )
        self.deploy(self.table)

    @property
    def patterns(self) -> list[dict[str, Any]]:
        return patterns(self.table, AGGREGATION, "table")

    def deploy(self, table: Table) -> None:
        """Let a function with this declaration take the place of the earlier one."""
        self.table = table
        sinks = {e.name: Aggregation(self.ledger, contributions) for e in table.entities}
        processor = Processor(
            AGGREGATION,
            table.source("0001"),
            ByEntity(table, sinks),
            self.dead_letters,
            clock=self.lab.clock,
            metrics=self,
        )
        self.lab.function(processor)

    def emit(self, counts: Counts) -> None:
        self.counts.append(counts)

    def put(self, sk: str, amount: int) -> None:
        self.lab.put({"pk": "1", "sk": sk, "amount": amount})
        self.lab.run()


@pytest.mark.parametrize(
    ("unknown", "filtered", "refused"), [("ignore", True, 0), ("dead-letter", False, 2)]
)
def test_an_item_of_no_entity(unknown: Unknown, filtered: bool, refused: int) -> None:
    """Ignored, the filter keeps it away; else each change is a dead letter, and blocks nothing."""
    deployed = Deployed(replace(TABLE, unknown=unknown))
    assert bool(deployed.patterns) is filtered
    for sk, amount in (("NOTE", 1), ("PAYMENT", 5), ("NOTE", 2), ("PAYMENT", 7)):
        deployed.put(sk, amount)
    assert deployed.ledger.totals == {"all": {"amount": Decimal(7)}}
    assert deployed.ledger.rows.keys() == {"shop/S=1/S=PAYMENT"}
    reasons = [each.reason for each in deployed.dead_letters.dead_letters.values()]
    assert reasons == ["UnknownItem"] * refused
    assert sum(each.received for each in deployed.counts) == 2 + refused
    assert deployed.lab.lost == []


def test_an_item_of_no_entity_that_a_filter_lets_pass_is_counted() -> None:
    many = [Entity(f"e{n}", keys={"pk": exactly(f"{n}"), "sk": exactly("X")}) for n in range(5)]
    table = replace(TABLE, entities=[replace(e, contributions=contributions) for e in many])
    deployed = Deployed(table)
    assert deployed.patterns == [], "more patterns than a mapping may have"
    deployed.put("NOTE", 1)
    assert [(each.skipped, each.unknown) for each in deployed.counts] == [(1, 1)]
    assert deployed.ledger.rows == {}


def test_a_renamed_entity_keeps_its_copies() -> None:
    """No identity, row, document, filter or setting has the name of an entity."""
    deployed = Deployed(TABLE)
    deployed.put("PAYMENT", 5)
    rows = dict(deployed.ledger.rows)
    before = deployed.patterns
    renamed = replace(TABLE, entities=[replace(PAYMENT, name="receipt")])
    deployed.deploy(renamed)
    assert deployed.patterns == before
    deployed.lab.redeliver()
    deployed.put("PAYMENT", 8)
    assert deployed.ledger.rows.keys() == rows.keys()
    assert deployed.ledger.totals == {"all": {"amount": Decimal(8)}}
