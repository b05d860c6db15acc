"""Rebuilds of the sums among live changes and faults; each rule taken out turns a schedule red."""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any
from unittest.mock import PropertyMock, patch

import pytest

from dynamodb_streams_cdc.change import Attributes
from dynamodb_streams_cdc.control.row_mover import RowMover
from dynamodb_streams_cdc.operations.jobs import Job
from dynamodb_streams_cdc.operations.rebuild_aggregation import RebuildAggregation
from dynamodb_streams_cdc.sinks import generations
from dynamodb_streams_cdc.sinks.base import TablePage
from dynamodb_streams_cdc.sinks.generations import Generations
from dynamodb_streams_cdc.sinks.ledger import LedgerRow
from dynamodb_streams_cdc.testing.simulation.operator import SimulatedSourceTable
from tests.schedules import schedules as share_of
from tests.unit.simulation.rebuilds import Story

SCHEDULES = max(60, share_of(1_200))
MUTANTS = 600
AT_LEAST = 0.02


def test_after_every_schedule_the_sums_equal_the_table(
    record_property: Callable[[str, object], None],
) -> None:
    record_property("schedules", SCHEDULES)
    told: Counter[str] = Counter()
    for seed in range(SCHEDULES):
        story = Story(seed)
        assert story.run() == [], f"seed {seed}"
        told.update(set(story.told))
    for what in ("operator died", "back", "again", "finish", "row lost", "poison"):
        assert told[what] > AT_LEAST * SCHEDULES, what
    assert told["built"] > SCHEDULES * 3 / 4


class Unverified(RebuildAggregation):
    """Does not look at what it built, so that the end shows it."""

    def _verify(self, job: Job) -> None: ...


class TableAlone(Unverified):
    def _walk(self, job: Job, phase: str, of: str) -> None:
        if of == "table":
            super()._walk(job, phase, of)


def no_wait() -> AbstractContextManager[object]:
    return patch.object(generations, "WAIT_SECONDS", 0.0)


def new_rows_in_the_old_generation() -> AbstractContextManager[object]:
    return patch.object(Generations, "new", PropertyMock(return_value=0))


def moved_rows_add_to_the_old_alone() -> AbstractContextManager[object]:
    return patch.object(Generations, "counting", lambda self, generation: (self.base,))


def contributions_as_stored() -> AbstractContextManager[object]:
    original = RowMover._after

    def after(
        self: RowMover,
        name: str,
        row: LedgerRow | None,
        keys: Attributes | None,
        raw: Attributes | None,
    ) -> LedgerRow | None:
        if row is None:
            return original(self, name, row, keys, raw)
        return replace(row, revision=row.revision + 1, generation=self.built)

    return patch.object(RowMover, "_after", after)


def table_read_eventually() -> AbstractContextManager[object]:
    original = SimulatedSourceTable.scan

    def scan(self: SimulatedSourceTable, *asked: Any, consistent: bool) -> TablePage:
        return original(self, *asked, consistent=False)

    return patch.object(SimulatedSourceTable, "scan", scan)


@pytest.mark.parametrize(
    ("mutant", "rebuild", "known"),
    [
        (table_read_eventually, Unverified, (386, 546)),
        (no_wait, Unverified, (49, 52, 154)),
        (new_rows_in_the_old_generation, Unverified, (0, 3, 7)),
        (moved_rows_add_to_the_old_alone, Unverified, (0, 2, 3)),
        (nullcontext, TableAlone, (17, 27, 29)),
        (contributions_as_stored, Unverified, (54, 74, 87)),
    ],
    ids=["consistent scan", "wait", "new rows", "moved rows", "ledger walk", "recomputed"],
)
def test_without_the_rule_a_schedule_ends_wrong(
    mutant: Callable[[], AbstractContextManager[object]],
    rebuild: type[RebuildAggregation],
    known: tuple[int, ...],
) -> None:
    def fails(seed: int) -> bool:
        with mutant():
            return bool(Story(seed, rebuild=rebuild).run())

    assert any(map(fails, [*known, *range(MUTANTS)])), "a rule that no schedule needs"
