"""Move ledger rows into another generation of sums; see `sums_rebuild`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from dynamodb_streams_cdc.applier import SinkApplier
from dynamodb_streams_cdc.change import Attributes, Image, Source
from dynamodb_streams_cdc.control.slices import Slices
from dynamodb_streams_cdc.deserializer import deserialize_item
from dynamodb_streams_cdc.errors import CdcError, ConflictError, PermanentError
from dynamodb_streams_cdc.guards.halves import halves
from dynamodb_streams_cdc.identity import item_id, keys_of
from dynamodb_streams_cdc.sinks.aggregation import CONFLICTS_UNTIL_HALVED, Aggregation
from dynamodb_streams_cdc.sinks.base import ItemVersion, WholeTable
from dynamodb_streams_cdc.sinks.contributions import Contribution, add, too_large
from dynamodb_streams_cdc.sinks.generations import Generations, spread
from dynamodb_streams_cdc.sinks.ledger import (
    LedgerRow,
    RowUpdate,
    WriteConflict,
    difference,
    emptying,
)
from dynamodb_streams_cdc.sinks.packs import packs


@dataclass(frozen=True, slots=True)
class _Move:
    """The write of one row.

    Attributes:
        moves: whether the row was not in the generation.
        corrects: whether its contribution was not that of the item.
        again: whether the item has to be looked at once more.
    """

    update: RowUpdate
    delta: Contribution
    moves: bool = False
    corrects: bool = False
    again: bool = False

    @property
    def item_id(self) -> str:
        return self.update.after.item_id


@dataclass
class RowMover:
    """Moves ledger rows into the generation that is built.

    Attributes:
        applier: knows the sinks, the table and the deadline.
        source: names the table in identities.
        sinks: the sinks that share the ledger.
        generations: as they are now, and every invocation knows them.
        floor: least version of a row that is made or corrected.
        moved, corrected, unchecked, refused: see `sums_rebuild.RebuildResponse`.
    """

    applier: SinkApplier
    source: Source
    sinks: Sequence[Aggregation]
    generations: Generations
    floor: str
    moved: int = field(default=0, init=False)
    corrected: int = field(default=0, init=False)
    unchecked: int = field(default=0, init=False)
    refused: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.ledger, self.deadline = self.sinks[0].ledger, self.applier.deadline
        assert self.generations.built is not None
        self.built = self.generations.built
        table = self.applier.source_table
        assert isinstance(table, WholeTable)
        self.slices = Slices(table, self.deadline)

    def move_items(self, items: Sequence[Attributes], keys: Mapping[str, str]) -> None:
        """Move the rows of items; make those that are missing."""
        keys_by_id: dict[str, Attributes | None] = {}
        for item in items:
            raw_keys = {name: item[name] for name in keys}
            if self._sink(raw_keys) is not None:
                decoded: Image = deserialize_item(raw_keys, "Keys")
                keys_by_id[item_id(self.source.table, decoded)] = raw_keys
        self._move(self.ledger.read(keys_by_id.keys(), self.deadline), keys_by_id)

    def move_rows(self, rows: Sequence[LedgerRow], keys: Mapping[str, str]) -> None:
        """Move the rows that are not in the generation yet."""
        left = {row.item_id: row for row in rows if row.generation != self.built}
        self._move(left, {name: self._keys(name, keys) for name in left})

    def _keys(self, name: str, keys: Mapping[str, str]) -> Attributes | None:
        is_own = name.startswith(f"{self.source.table}/")
        return keys_of(name, keys) if is_own else None

    def _sink(self, raw_keys: Attributes) -> Aggregation | None:
        try:
            sink = self.applier.sink_of(deserialize_item(raw_keys, "Keys"))
        except PermanentError:
            return None
        return sink if isinstance(sink, Aggregation) else None

    def _move(
        self, rows: Mapping[str, LedgerRow], keys_by_id: Mapping[str, Attributes | None]
    ) -> None:
        """Move rows: each was read before its item, which is read here."""
        pending = dict(keys_by_id)
        while pending:
            known = {name: keys for name, keys in pending.items() if keys is not None}
            items = self.slices.items(list(known.values()))
            steps = [
                self._step(name, rows.get(name), keys, item)
                for (name, keys), item in zip(known.items(), items, strict=True)
            ]
            steps += [self._step(n, rows.get(n), None, None) for n in pending if n not in known]
            moves = [step for step in steps if step is not None]
            again = {name for pack in packs(moves) for name in self._commit(pack)}
            pending = {name: keys for name, keys in pending.items() if name in again}
            if pending:
                rows = self.ledger.read(pending.keys(), self.deadline)

    def _step(
        self, name: str, row: LedgerRow | None, keys: Attributes | None, raw: Attributes | None
    ) -> _Move | None:
        """Return the write of a row; None if it is right as it is."""
        after = self._after(name, row, keys, raw)
        if after is None:
            return None
        moves = row is None or row.generation != self.built
        differs = difference(row, after.contribution)
        if row is not None and "contribution" in row.lacks:
            # What the sums count of it is not known: they stay as they are.
            differs = {}
        is_right = row is not None and row.deleted == after.deleted and not row.lacks
        if not moves and not differs and is_right:
            return None
        if moves:
            counted = spread(after.contribution, [self.built])
            delta = add((spread(differs, [self.generations.base]), counted))
        else:
            delta = spread(differs, self.generations.counting(self.built))
        if row is not None and too_large(delta):
            emptied = spread(difference(row, {}), self.generations.counting(row.generation))
            return _Move(emptying(row), emptied, again=True)
        return _Move(RowUpdate(row, after), delta, moves, corrects=bool(differs))

    def _after(
        self, name: str, row: LedgerRow | None, keys: Attributes | None, raw: Attributes | None
    ) -> LedgerRow | None:
        """Return the row as it has to be; None if there is to be none."""
        sink = None if keys is None else self._sink(keys)
        image: Image | None = None if raw is None or sink is None else deserialize_item(raw)
        if row is None and image is None:
            return None
        if row is not None:
            as_it_is = self._as_it_is(row)
            if keys is None:
                self.unchecked += 1
                return as_it_is
            is_kept = row.retained and sink is not None and sink.retains
            if image is None and (is_kept or (row.deleted and not row.contribution)):
                return as_it_is
        able, now = sink or self.sinks[0], self.deadline.now()
        # An expiry that is still to come from the stream before this one has to count.
        may_expire = image is None and able.retains
        known = None if may_expire else ItemVersion(name, self.floor, now)
        try:
            update = able.repairing(row, image, known, self.generations, now)
        except CdcError:
            # It counts as its ledger row says, until a change of it can be counted.
            self.refused += 1
            return None if row is None else as_it_is
        return replace(update.after, generation=self.built)

    def _commit(self, pack: Sequence[_Move]) -> set[str]:
        """Write a pack; return the items whose rows have to be read again."""
        for attempt in count():
            self.deadline.check()
            try:
                self.ledger.commit([move.update for move in pack], add(m.delta for m in pack))
            except WriteConflict as conflicts:
                again = [move for move in pack if move.item_id in conflicts.item_ids]
                if not again:
                    raise
                rest = [move for move in pack if move.item_id not in conflicts.item_ids]
                names = {move.item_id for move in again}
                return names | (self._commit(rest) if rest else set())
            except ConflictError:
                if not self.deadline.pause(min(attempt, CONFLICTS_UNTIL_HALVED)):
                    raise
                if len(pack) > 1 and attempt + 1 >= CONFLICTS_UNTIL_HALVED:
                    return {name for half in halves(pack) for name in self._commit(half)}
            except PermanentError:
                # A store refuses one of them for good, as it does while changes are processed.
                if len(pack) > 1:
                    return {name for half in halves(pack) for name in self._commit(half)}
                return self._refuse(pack[0])
            else:
                self.moved += sum(move.moves for move in pack)
                self.corrected += sum(move.corrects for move in pack)
                return {move.item_id for move in pack if move.again}
        raise AssertionError  # count() has no end

    def _refuse(self, move: _Move) -> set[str]:
        """Let an item count as its row says, until a change of it can be counted."""
        refused, again, row = self.refused + 1, set[str](), move.update.before
        if row is not None:
            after = self._as_it_is(row)
            if move.update.after.contribution != after.contribution:
                moves = row.generation != self.built
                delta = spread(row.contribution, [self.built]) if moves else {}
                again = self._commit([_Move(RowUpdate(row, after), delta, moves)])
        self.refused = refused
        return again

    def _as_it_is(self, row: LedgerRow) -> LedgerRow:
        return replace(row, revision=row.revision + 1, generation=self.built, lacks=())
