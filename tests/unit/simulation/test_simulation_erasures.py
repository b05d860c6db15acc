"""Erasures next to live changes, redrives, purges, late deliveries and crashes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from dynamodb_streams_cdc.control.erasure import Erasure
from dynamodb_streams_cdc.control.erasure_objects import _Reading
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.operations.forget import ForgottenItem
from dynamodb_streams_cdc.testing.memory import MemoryIndex, MemoryLedger
from dynamodb_streams_cdc.testing.simulation import FaultKind, Simulation, generate_erasures
from tests.schedules import parts_of, schedules
from tests.unit.simulation.mutants import assert_wrong

SCHEDULES = schedules(2_000)
MUTANTS_SCHEDULES = 600


def after(first: int) -> range:
    """Return the seeds for a mutant.

    A mistake shows in one schedule of some hundreds: the search begins `first`, near one of them.
    """
    return range(first, first + MUTANTS_SCHEDULES)


@pytest.mark.parametrize("seeds", parts_of(SCHEDULES), ids=str)
def test_nothing_is_left_of_the_erased_and_all_of_the_others(
    seeds: range, record_property: Callable[[str, object], None]
) -> None:
    record_property("schedules", len(seeds))
    erased = 0
    for seed in seeds:
        result = Simulation(generate_erasures(seed)).run()
        assert not result.problems, result
        erased += FaultKind.FORGET in result.struck
    assert erased > len(seeds) / 2


def test_tombstones_that_do_not_wait_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that is delivered again brings the item back."""

    def at_once(self: Erasure, items: frozenset[str], *_: Any) -> frozenset[str]:
        return items

    monkeypatch.setattr(Erasure, "_due", at_once)
    assert_wrong(generate_erasures, after(680))


def test_the_table_before_the_traces_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry of an item that has just come back is erased."""
    present, walk = Erasure._present, Erasure._walk
    early: list[Sequence[str]] = []

    def walked(
        self: Erasure, event: Any, items: Mapping[str, Any], deadline: Deadline, **options: Any
    ) -> Any:
        early[:] = [present(self, items, deadline)]
        return walk(self, event, items, deadline, **options)

    monkeypatch.setattr(Erasure, "_walk", walked)
    monkeypatch.setattr(Erasure, "_present", lambda *_: early[0])
    assert_wrong(generate_erasures, after(220))


def test_a_receipt_that_no_report_names_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written, and the item is gone: no later run learns its name."""
    monkeypatch.setattr(ForgottenItem, "receipt", property(lambda _: "", lambda *_: None))
    assert_wrong(generate_erasures, after(0))


def test_a_batch_that_goes_whole_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """The records of other items are lost."""
    monkeypatch.setattr(_Reading, "without", lambda *_: None)
    assert_wrong(generate_erasures, after(100))


def test_a_tombstone_that_goes_although_it_moved_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The document of an item that has come back since it was read goes with it."""

    def remove(self: MemoryIndex, name: str, token: str, deadline: Deadline) -> bool:
        return self.documents.pop(name, None) is not None

    def forget(self: MemoryLedger, row: Any) -> bool:
        return self.rows.pop(row.item_id, None) is not None

    monkeypatch.setattr(MemoryIndex, "remove", remove)
    monkeypatch.setattr(MemoryLedger, "forget", forget)
    assert_wrong(generate_erasures, after(520))
