"""Take out one rule of the sinks, and some of the 2,000 schedules end wrong."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.sinks.contributions import Contribution
from dynamodb_streams_cdc.sinks.documents import CDC, Upsert, Upserted
from dynamodb_streams_cdc.sinks.ledger import RowUpdate
from dynamodb_streams_cdc.testing.memory import MemoryIndex, MemoryLedger
from dynamodb_streams_cdc.testing.simulation import generate
from tests.unit.simulation.mutants import assert_wrong, seeds


class IndexWithoutVersionCheck(MemoryIndex):
    """The last writer wins."""

    def upsert(self, upserts: Sequence[Upsert], deadline: Deadline) -> Sequence[Upserted]:
        self.documents |= {upsert.item_id: upsert.source for upsert in upserts}
        return [None] * len(upserts)


class IndexWithoutTombstones(MemoryIndex):
    """A delete forgets the version."""

    def upsert(self, upserts: Sequence[Upsert], deadline: Deadline) -> Sequence[Upserted]:
        results = super().upsert(upserts, deadline)
        for item_id in [u.item_id for u in upserts]:
            if self.documents[item_id][CDC]["deleted"]:
                del self.documents[item_id]
        return results


class LedgerWithoutVersionCheck(MemoryLedger):
    """Rows without a version: nothing is stale. The revision still guards each write."""

    def commit(self, updates: Sequence[RowUpdate], deltas: Contribution) -> None:
        super().commit([replace(m, after=replace(m.after, version="")) for m in updates], deltas)


class LedgerWithoutRevision(MemoryLedger):
    """A row is the one that was read if it has the same version."""

    def commit(self, updates: Sequence[RowUpdate], deltas: Contribution) -> None:
        super().commit([self._as_it_is(move) for move in updates], deltas)

    def _as_it_is(self, move: RowUpdate) -> RowUpdate:
        held = self.rows.get(move.after.item_id)
        same = held is not None and move.before is not None and held.version == move.before.version
        return replace(move, before=held) if same else move


class LedgerWithoutTombstones(MemoryLedger):
    """A delete forgets the version."""

    def commit(self, updates: Sequence[RowUpdate], deltas: Contribution) -> None:
        super().commit(updates, deltas)
        for item_id in [move.after.item_id for move in updates if move.after.deleted]:
            del self.rows[item_id]


@pytest.mark.parametrize(
    ("store", "mutant", "known"),
    [
        ("index", IndexWithoutVersionCheck, (11, 12, 29)),
        ("ledger", LedgerWithoutVersionCheck, (16, 33, 47)),
        ("ledger", LedgerWithoutRevision, (246, 340, 385)),
        ("index", IndexWithoutTombstones, (33, 130, 131)),
        ("ledger", LedgerWithoutTombstones, (33, 77, 94)),
    ],
)
def test_without_the_rule_a_schedule_ends_wrong(
    store: str, mutant: type[object], known: tuple[int, ...]
) -> None:
    assert_wrong(generate, seeds(*known), **{store: mutant})
