"""A ledger and its sums in memory."""

import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Context, Decimal

from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.errors import PermanentError
from dynamodb_streams_cdc.sinks.base import PurgePage
from dynamodb_streams_cdc.sinks.comparison import Place, Segment
from dynamodb_streams_cdc.sinks.contributions import (
    MAX_ACTIONS,
    MAX_ADDITIONS,
    Amount,
    Contribution,
    add,
)
from dynamodb_streams_cdc.sinks.generations import Generations, generation_of, of_generation
from dynamodb_streams_cdc.sinks.ledger import (
    DropPage,
    LedgerPage,
    LedgerRow,
    RowUpdate,
    SumsPage,
    WriteConflict,
)
from dynamodb_streams_cdc.testing.memory.pages import next_names

DIGITS = 38
"""The most significant digits of a DynamoDB number."""

_EXACT = Context(prec=300)


@dataclass
class MemoryLedger:
    """A `LedgerStore`, with its rows and sums to look at."""

    rows: dict[str, LedgerRow] = field(default_factory=dict)
    totals: dict[str, dict[str, Decimal]] = field(default_factory=dict)
    moved: dict[str, int] = field(default_factory=dict)
    state: Generations = field(default_factory=Generations)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def read(self, item_ids: Collection[str], deadline: Deadline) -> Mapping[str, LedgerRow]:
        """Return the rows that exist, by item."""
        deadline.check()
        with self._lock:
            return {item_id: self.rows[item_id] for item_id in item_ids if item_id in self.rows}

    def commit(self, updates: Sequence[RowUpdate], deltas: Contribution) -> None:
        """Write the rows and add the deltas, all or nothing."""
        with self._lock:
            if len(updates) + len(deltas) > MAX_ACTIONS:
                message = f"{len(updates) + len(deltas)} actions; a transaction holds {MAX_ACTIONS}"
                raise ValueError(message)
            conflicts = [
                update.after.item_id
                for update in updates
                if _item_version(self.rows.get(update.after.item_id))
                != _item_version(update.before)
            ]
            if conflicts:
                raise WriteConflict(conflicts)
            totals = {name: self._added(name, measures) for name, measures in deltas.items()}
            self.rows |= {update.after.item_id: update.after for update in updates}
            self.totals |= totals
            self.moved |= {name: self.moved.get(name, 0) + 1 for name in deltas}

    def _added(self, aggregate: str, measures: Mapping[str, Amount]) -> dict[str, Decimal]:
        if len(measures) > MAX_ADDITIONS:
            message = f"{aggregate}: {len(measures)} measures; an update adds to {MAX_ADDITIONS}"
            raise PermanentError(message, "TooManyMeasures")
        total = add(({aggregate: self.totals.get(aggregate, {})}, {aggregate: measures}))
        added = {name: Decimal(amount) for name, amount in total.get(aggregate, {}).items()}
        for name, amount in added.items():
            if len(amount.normalize(_EXACT).as_tuple().digits) > DIGITS:
                message = f"{aggregate}.{name}: {amount} has more than {DIGITS} digits"
                raise PermanentError(message, "NumberOverflow")
        return added

    def purge(
        self,
        before: float,
        segment: Segment,
        place: Place | None,
        most: int,
        deadline: Deadline,
        *,
        dry_run: bool = False,
    ) -> PurgePage:
        """Delete the rows of deleted items written before then, among the next of a segment."""
        deadline.check()
        with self._lock:
            names, following = next_names(self.rows, segment, place, most)
            rows = [self.rows[name] for name in names]
            gone = [row for row in rows if row.deleted and not row.retained]
            old = [row for row in gone if row.written_at < before]
            for row in () if dry_run else old:
                del self.rows[row.item_id]
        return PurgePage(len(names), len(gone), len(old), following)

    def forget(self, row: LedgerRow) -> bool:
        """Delete a row that has not changed; return False if it has."""
        with self._lock:
            if _item_version(self.rows.get(row.item_id)) != _item_version(row):
                return False
            del self.rows[row.item_id]
        return True

    def walk(
        self, segment: Segment, place: Place | None, most: int, deadline: Deadline
    ) -> LedgerPage:
        """Return the next rows of a segment in the order of their items."""
        deadline.check()
        with self._lock:
            names, following = next_names(self.rows, segment, place, most)
            return LedgerPage([self.rows[name] for name in names], following)

    def sums(self, place: Place | None, most: int, deadline: Deadline) -> SumsPage:
        """Return the next sums; a revision is the number of their writes."""
        deadline.check()
        with self._lock:
            names, following = next_names(self.totals, Segment(), place, most)
            sums = add({name: self.totals[name]} for name in names)
            return SumsPage(sums, {name: self.moved.get(name, 0) for name in names}, following)

    def total(self, aggregate: str) -> dict[str, Decimal]:
        """Return the live measures of an aggregate; empty for an unknown one."""
        return {**self.live().get(aggregate, {})}

    def live(self) -> dict[str, dict[str, Decimal]]:
        """Return the sums that readers read."""
        return self.sums_of(self.state.live)

    def sums_of(self, generation: int) -> dict[str, dict[str, Decimal]]:
        """Return the sums of a generation."""
        found = of_generation(self.totals, generation)
        return {
            aggregate: {name: Decimal(amount) for name, amount in measures.items()}
            for aggregate, measures in found.items()
        }

    def generations(self, deadline: Deadline) -> Generations:
        """Return the generations of the sums."""
        deadline.check()
        return self.state

    def set_generations(self, before: Generations, after: Generations, deadline: Deadline) -> bool:
        """Write the generations, unless `before` has moved."""
        deadline.check()
        with self._lock:
            if self.state.revision != before.revision:
                return False
            self.state = replace(after, revision=before.revision + 1)
        return True

    def drop(self, generation: int, place: Place | None, most: int, deadline: Deadline) -> DropPage:
        """Remove the measures of a generation from the next sums."""
        deadline.check()
        with self._lock:
            names, following = next_names(self.totals, Segment(), place, most)
            dropped = 0
            for name in names:
                sums = self.totals[name]
                kept = {n: amount for n, amount in sums.items() if generation_of(n) != generation}
                self.totals[name] = kept
                dropped += len(kept) < len(sums)
        return DropPage(len(names), dropped, following)


def _item_version(row: LedgerRow | None) -> tuple[str, int] | None:
    return None if row is None else (row.version, row.revision)
