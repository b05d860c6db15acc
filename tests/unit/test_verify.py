"""Damage of every kind: `cdc verify` names exactly that, and `cdc repair --from` heals it."""

import random
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from dynamodb_streams_cdc.entities import Entity, Table, starts_with
from dynamodb_streams_cdc.processor import Processor
from dynamodb_streams_cdc.sinks.by_entity import ByEntity
from dynamodb_streams_cdc.sinks.documents import CDC
from dynamodb_streams_cdc.testing.simulation.pipeline import identity
from tests.unit.damage import (
    HEALED,
    ITEMS,
    Damage,
    add_a_sum,
    alter_a_sum,
    alter_the_entry,
    alter_the_row,
    damage_the_row,
    deadline_of,
    forgotten_history,
    index_what_never_was,
    lose_a_sum,
    lose_the_row,
)
from tests.unit.operated import SINKS, Operated

if TYPE_CHECKING:
    from dynamodb_streams_cdc import Sink


def found(o: Operated, name: str) -> Iterator[tuple[str, str, str]]:
    work = o.verify(name)
    work.run()
    assert not work.report.problems
    for each in work.differences():
        yield each["processor"], each["kind"], each["item"]


def repaired(o: Operated, name: str) -> Any:
    work = o.verify(name)
    work.run()
    return o.repair(work.differences())


def test_right_copies_have_no_difference(filled: Operated) -> None:
    assert filled.wrong() == []
    report = filled.verify().run()
    assert (report.complete, report.count) == (True, 0)
    assert report.read["search"] == 2 * ITEMS


@pytest.mark.parametrize("name", HEALED)
def test_damage_is_named_and_healed(filled: Operated, name: str) -> None:
    damage, sink, kind = HEALED[name]
    item = damage(filled, 5) or filled.id(5)
    assert list(found(filled, "first")) == [(sink, kind, item)]
    report = repaired(filled, "second")
    assert (report.complete, dict(report.repaired)) == (True, {sink: 1})
    assert list(found(filled, "third")) == []


def test_damage_of_all_kinds_at_once_is_named_and_healed(filled: Operated) -> None:
    rng = random.Random(8)
    # Damage to a sum hides that of others in it: `stale_row` and `uncounted_item` do not.
    numbers = rng.sample(range(ITEMS), 3 * len(HEALED))
    wanted = []
    for number, name in zip(numbers, [*HEALED] * 3, strict=True):
        damage, sink, kind = HEALED[name]
        wanted.append((sink, kind, damage(filled, number) or filled.id(number)))
    assert sorted(found(filled, "first")) == sorted(wanted)
    report = repaired(filled, "second")
    assert report.complete, report.unrepaired
    assert list(found(filled, "third")) == []


@pytest.mark.parametrize(
    ("damage", "kinds"),
    [
        (lose_the_row, {"missing", "sum"}),
        (alter_the_row, {"wrong", "sum"}),
        (damage_the_row, {"wrong", "sum"}),
        (alter_a_sum, {"sum"}),
        (add_a_sum, {"sum"}),
        (lose_a_sum, {"sum"}),
    ],
)
def test_damage_of_sums_is_named_and_not_made_worse(
    filled: Operated, damage: Damage, kinds: set[str]
) -> None:
    damage(filled, 5)
    first = set(found(filled, "first"))
    assert {kind for _, kind, _ in first} == kinds
    before = {name: dict(total) for name, total in filled.copies.ledger.totals.items()}
    report = repaired(filled, "second")
    assert not report.complete
    assert all("cdc rebuild aggregation" in each.why for each in report.unrepaired)
    assert filled.copies.ledger.totals == before
    assert set(found(filled, "third")) == first


def test_an_altered_entry_is_named_and_hides_nothing(filled: Operated) -> None:
    alter_the_entry(filled, 5)
    forgotten_history(filled, 7)
    wanted = {("audit", "wrong", filled.id(5)), ("audit", "missing", filled.id(7))}
    assert set(found(filled, "first")) == wanted


def test_an_altered_entry_tells_nothing_of_other_copies(filled: Operated) -> None:
    name = index_what_never_was(filled, 5)
    filled.copies.log.insert([{"item": {"S": name}, "version": {"S": "mine"}}], deadline_of(filled))
    wanted = {("search", "extra", name), ("audit", "wrong", name)}
    assert set(found(filled, "first")) == wanted


def test_an_item_that_the_domain_refuses_is_named(filled: Operated) -> None:
    item = filled.item(5)
    filled.table.put({**item, "poison": "hopeless"}, filled.clock.now())
    wanted = {("aggregation", "refused"), ("search", "refused"), ("audit", "wrong")}
    assert {(sink, kind) for sink, kind, _ in found(filled, "first")} == wanted


@pytest.fixture
def strange(filled: Operated) -> Operated:
    """A pipeline whose table has an item of no entity, which no sink may skip."""
    entity = Entity("item", {"id": starts_with("item-")})
    declared = Table("items", keys={"id": "S"}, entities=(entity,), unknown="dead-letter")
    for name, handler in filled.handlers.items():
        assert isinstance(handler, Processor)
        choice = ByEntity(declared, {"item": cast("Sink", handler.sink)})
        filled.handlers[name] = replace(handler, sink=choice)
    filled.table.put({**filled.item(5), "id": "stranger"}, filled.clock.now())
    return filled


def test_an_item_of_no_entity_is_refused_by_every_sink(strange: Operated) -> None:
    name = identity(strange.table, {"id": "stranger"})
    assert set(found(strange, "all")) == {(sink, "refused", name) for sink in SINKS}
    alone = strange.verify("one").run_items([{"id": {"S": "stranger"}}])
    assert (alone.complete, alone.count) == (False, len(SINKS))


def test_a_copy_of_an_item_of_no_entity_is_foreign_and_removed(strange: Operated) -> None:
    """No sink may hold the item, and readers of the index find it."""
    documents, name = strange.copies.index.documents, identity(strange.table, {"id": "stranger"})
    documents[name] = deepcopy(documents[strange.id(5)])
    assert set(found(strange, "all")) == {
        *((sink, "refused", name) for sink in SINKS),
        ("search", "foreign", name),
    }
    assert repaired(strange, "again").repaired["search"] == 1
    assert name not in documents


def test_an_item_of_no_entity_that_is_gone_is_none(strange: Operated) -> None:
    work = strange.verify()
    strange.table.delete({"id": "stranger"}, strange.clock.now())
    assert work.run_items([{"id": {"S": "stranger"}}]).complete


def test_a_row_of_an_item_that_adds_nothing_is_made(filled: Operated) -> None:
    """Such as the canary's: whether sums agree does not matter to it."""
    del filled.copies.ledger.rows[filled.id(5)]
    alter_a_sum(filled, 5)
    work = filled.verify("first")
    work.run()
    [missing] = [each for each in work.differences() if each["kind"] == "missing"]
    del missing["delta"], missing["sums_agree"]
    report = filled.repair([missing])
    assert (report.unrepaired, filled.invocations[-1][1]["countMissing"]) == ([], True)


@pytest.mark.parametrize("text", ["gone%2fx", "item%2D5"])
def test_a_document_under_no_identity_is_foreign(filled: Operated, text: str) -> None:
    """No item has it, however it is read: the same key is written in one way."""
    documents, name = filled.copies.index.documents, f"{filled.id(5).rpartition('=')[0]}={text}"
    documents[name] = deepcopy(documents[filled.id(5)])
    documents[name][CDC]["item"] = name
    assert list(found(filled, "first")) == [("search", "foreign", name)]
    assert repaired(filled, "second").complete
    assert name not in documents


def test_a_document_without_an_object_under_cdc_is_foreign(filled: Operated) -> None:
    filled.copies.index.documents[filled.id(5)] = {"amount": 1, CDC: None}
    assert list(found(filled, "first")) == [("search", "foreign", filled.id(5))]
    assert repaired(filled, "second").complete
    assert list(found(filled, "third")) == []
