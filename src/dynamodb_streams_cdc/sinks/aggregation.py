"""The aggregation sink: sums over what each item contributes *now*.

The user writes one pure function, `contributions(image) -> {aggregate: {measure: amount}}`. The
ledger keeps, for each item, the version it holds and what that version contributed; a change adds
the difference between the new contribution and the stored one. So a sum is a function of the items'
states and never of how often, or in which order, their changes were delivered.

A ledger row and the sums it moves are written in one transaction, on condition that the row is
still the one that was read: same version *and* same revision. The version alone is not enough: a
repair writes a row under its old version, and a processor that read before it would then add a
difference from a contribution that is no longer stored.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from itertools import count
from typing import Any

from dynamodb_streams_cdc.change import Change, Image, by_item
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.errors import (
    ConflictError,
    DeadlineExceeded,
    PermanentError,
    RetryableError,
)
from dynamodb_streams_cdc.guards.halves import halves
from dynamodb_streams_cdc.guards.preparation import Preparation
from dynamodb_streams_cdc.identity import is_floor
from dynamodb_streams_cdc.sinks.base import (
    ItemVersion,
    Outcome,
    PurgePage,
    ReadItem,
    evaluated,
    evaluated_or_refused,
    purge_all,
)
from dynamodb_streams_cdc.sinks.comparison import (
    CopyDifference,
    CopyPage,
    Place,
    Segment,
)
from dynamodb_streams_cdc.sinks.contributions import (
    DECIMALS,
    DIGITS,
    HEADROOM,
    Contribution,
    add,
    checked,
    too_large,
)
from dynamodb_streams_cdc.sinks.generations import (
    Generations,
    GenerationsCache,
    of_generation,
    spread,
)
from dynamodb_streams_cdc.sinks.ledger import (
    LedgerRow,
    LedgerStore,
    RowUpdate,
    SumsPage,
    WriteConflict,
    difference,
    emptying,
)
from dynamodb_streams_cdc.sinks.packs import packs
from dynamodb_streams_cdc.sinks.row_comparison import compared, refused

CONFLICTS_UNTIL_HALVED = 4
"""How often in a row a pack is tried before its halves are. With eight lanes on one sum and half of
the transactions refused, halving at once took 8 to 14 times as long, and four times as many of
them."""


class Expiry(Enum):
    """Effect of an expiry by Time to Live on the item's contribution."""

    DROP = "drop"
    """The contribution is removed, as by any other delete: sums cover the items in the table."""

    KEEP = "keep"
    """The contribution stays, and the ledger row is `retained`: sums cover all items ever."""


@dataclass(frozen=True)
class Aggregation:
    """The sink.

    Attributes:
        ledger: store of rows and sums.
        contributions: returns the contribution of an item; pure, amounts `int` or `Decimal`. Its
            errors are permanent for the image.
        expiry: effect of an expiry on the item's contribution.
        decimals: places that an amount may have behind the point, 0 to 25. Amounts are less than
            10^(26 - decimals), 10^20 by default: then a sum of 10^12 of them has 38 digits at
            most, and no item can spoil a sum for the others.
        cache: what the environment knows of the generations of sums; sinks of one ledger may share
            one.
    """

    ledger: LedgerStore
    contributions: Callable[[Image], Contribution]
    expiry: Expiry = Expiry.DROP
    decimals: int = DECIMALS
    cache: GenerationsCache = field(default_factory=GenerationsCache, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.decimals < DIGITS - HEADROOM:
            message = f"decimals: from 0 to {DIGITS - HEADROOM - 1}, got {self.decimals}"
            raise ValueError(message)
        object.__setattr__(self, "expiry", Expiry(self.expiry))

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Outcome:
        """Apply the newest change of each item, as many items in a transaction as fit.

        Where `contributions` fails on an item's newest change, the newest on which it does not is
        applied: the state after a batch does not depend on how the changes were batched.
        """
        outcome = Outcome()
        pending = by_item(changes)
        while pending:
            try:
                generations = self._generations(deadline)
                rows = self.ledger.read([group[0].item_id for group in pending], deadline)
            except (RetryableError, DeadlineExceeded) as error:
                outcome.failures |= {change: error for group in pending for change in group}
                break
            steps = list(self._steps(pending, rows, generations, deadline, outcome))
            pending = [
                group for pack in packs(steps) for group in self._commit(pack, deadline, outcome)
            ]
        return outcome

    @property
    def retains(self) -> bool:
        """Whether the expiry of an item leaves its contribution behind."""
        return self.expiry is Expiry.KEEP

    def repair(
        self,
        item_id: str,
        read_item: ReadItem,
        deadline: Deadline,
        known: ItemVersion | None = None,
    ) -> bool:
        """Repair the row of an item, and the sums, from the table; return whether they differed.

        See `Repairable`. A row that retains the contribution of an item which expired, and is not
        in the table again, is left alone as long as the sink keeps such. A row that moves more
        aggregates than a transaction holds is emptied first.

        Raises:
            RetryableError: the ledger cannot be read or written at the moment.
            DeadlineExceeded: the deadline has passed.
            PermanentError: the row is damaged.
        """
        differed = False
        for attempt in count():
            generations = self._generations(deadline)
            row = self.ledger.read([item_id], deadline).get(item_id)
            if row is None and known is None:
                return differed
            deadline.check()
            image = read_item()
            deadline.check()
            if row is not None:
                row.check()
                if row.retained and self.retains and image is None:
                    return differed
            # An expiry that is still to come from the stream before this one has to count.
            may_expire = image is None and self.retains and known and is_floor(known.version)
            newer = None if may_expire else known
            if row is None and newer is None:
                return differed
            update = self.repairing(row, image, newer, generations, deadline.now())
            delta = _delta(update, generations)
            empties = too_large(delta) is not None
            if empties and row is not None:
                update = emptying(row)
                delta = _delta(update, generations)
            differs = row is None or bool(delta) or row.deleted != update.after.deleted
            if not differs and row is not None and row.version == update.after.version:
                return differed
            try:
                self.ledger.commit([update], delta)
            except WriteConflict:
                continue
            except ConflictError:
                if not deadline.pause(attempt):
                    raise
                continue
            differed = differed or differs
            if not empties:
                return differed
        raise AssertionError  # count() has no end

    def check_row(self, item_id: str, read_item: ReadItem, deadline: Deadline) -> None:
        """Check that an item of the table has a row, so that a repair cannot count it twice.

        Raises:
            PermanentError: it has none, and sums may count it all the same.
            RetryableError: the ledger or the table cannot be read at the moment.
        """
        if self.ledger.read([item_id], deadline).get(item_id) is None and read_item() is not None:
            message = (
                "the ledger has no row of the item, and the sums may count it all the same: "
                "verify tells which, and repairs by its report"
            )
            raise PermanentError(message, "RowMissing")

    def repairing(
        self,
        row: LedgerRow | None,
        image: Image | None,
        known: ItemVersion | None,
        generations: Generations,
        now: float,
    ) -> RowUpdate:
        """Return the write that makes a row what the item says; the row keeps its generation.

        Raises:
            CdcError: the item cannot be counted.
        """
        is_newer = known is not None and (row is None or known.version > row.version)
        item_version = known if is_newer else row
        assert item_version is not None
        after = LedgerRow(
            item_id=item_version.item_id,
            version=item_version.version,
            revision=1 if row is None else row.revision + 1,
            contribution={} if image is None else self._of(image),
            timestamp=item_version.timestamp,
            written_at=now,
            deleted=image is None,
            generation=generations.new if row is None else row.generation,
        )
        return RowUpdate(row, after)

    def _generations(self, deadline: Deadline) -> Generations:
        return self.cache.get(self.ledger.generations, deadline)

    def held(self, item_id: str, deadline: Deadline) -> Mapping[str, Any] | None:
        """Return the ledger row of an item, JSON-ready; `None` if there is none."""
        row = self.ledger.read([item_id], deadline).get(item_id)
        if row is None:
            return None
        contribution = {
            aggregate: {measure: str(amount) for measure, amount in measures.items()}
            for aggregate, measures in row.contribution.items()
        }
        state = {**asdict(row), "contribution": contribution}
        if not row.lacks:
            del state["lacks"]
        return state

    @property
    def store(self) -> object:
        """The ledger."""
        return self.ledger

    def compare(
        self, items: Mapping[str, Image | None], deadline: Deadline
    ) -> Iterator[CopyDifference]:
        """Yield the rows whose contribution is not that of these items; see `Comparable`."""
        rows = self.ledger.read(items.keys(), deadline)
        for item_id, image in items.items():
            try:
                wanted = {} if image is None else evaluated_or_refused(self._checked, image)
            except PermanentError as error:
                yield refused(item_id, rows.get(item_id), error)
                continue
            if found := compared(item_id, rows.get(item_id), image, wanted, keeps=self.retains):
                yield found

    def copies(
        self, segment: Segment, place: Place | None, most: int, deadline: Deadline
    ) -> CopyPage:
        """Return the next rows of a segment, and what they add up to; see `Comparable`."""
        page = self.ledger.walk(segment, place, most, deadline)
        # What expired under an earlier declaration still counts: its item is looked up as well.
        live = [
            row.item_id
            for row in page.rows
            if row.lacks or not row.deleted or (row.retained and not self.retains)
        ]
        sums = add(row.contribution for row in page.rows)
        return CopyPage(live, page.following, len(page.rows), sums=sums, units=page.units)

    def sums(
        self, place: Place | None, most: int, deadline: Deadline, generation: int | None = None
    ) -> SumsPage:
        """Return the next rows of sums, of one generation; by default of the one readers read.

        Raises:
            RetryableError: they cannot be read at the moment.
        """
        wanted = self.ledger.generations(deadline).live if generation is None else generation
        page = self.ledger.sums(place, most, deadline)
        return replace(page, sums=of_generation(page.sums, wanted))

    def purge(self, older_than: float, deadline: Deadline) -> int:
        """Forget the items that were deleted more than so many seconds ago; return how many.

        A change that arrives later still is repaired after it is applied, so that nothing comes
        back.

        Raises:
            ValueError: `older_than` is less than `TOMBSTONE_SECONDS`; or expiries are kept, and a
                late one would retain for ever a contribution that was removed.
            RetryableError: the ledger cannot be read or written at the moment.
        """
        if self.retains:
            message = "the ledger cannot be purged while it keeps what expired (Expiry.KEEP)"
            raise ValueError(message)
        return purge_all(self, older_than, deadline)

    def purge_page(
        self,
        before: float,
        segment: Segment,
        place: Place | None,
        most: int,
        deadline: Deadline,
        *,
        dry_run: bool = False,
    ) -> PurgePage:
        """Delete the next rows of deleted items that were written before then."""
        return self.ledger.purge(before, segment, place, most, deadline, dry_run=dry_run)

    def _steps(
        self,
        groups: Iterable[list[Change]],
        rows: Mapping[str, LedgerRow],
        generations: Generations,
        deadline: Deadline,
        outcome: Outcome,
    ) -> Iterator["_Step"]:
        """Yield the write of each item; see `Preparation`.

        Images that are kept elsewhere are held one at a time.
        """
        written_at = deadline.now()
        preparation = Preparation(deadline)
        for group in groups:
            row = rows.get(group[0].item_id)
            for position, change in enumerate(group):
                if row is not None and row.version >= change.version:
                    outcome.refused(change, row.timestamp)
                    outcome.stale += len(group) - position - 1
                    break
                try:
                    preparation.begin(older=position > 0)
                    update = self._update(change, row, generations, written_at, preparation)
                    delta = _delta(update, generations)
                    if row is not None and too_large(delta):
                        # A transaction holds old and new each, but not both: the old goes first.
                        update = emptying(row)
                        delta = _delta(update, generations)
                except (RetryableError, DeadlineExceeded) as error:
                    outcome.failures |= dict.fromkeys(group[position:], error)
                    break
                except Exception as error:
                    outcome.failures[change] = error
                else:
                    yield _Step(group, position, update, delta)
                    break
                finally:
                    change.release_images()

    def _update(
        self,
        change: Change,
        row: LedgerRow | None,
        generations: Generations,
        written_at: float,
        preparation: Preparation,
    ) -> RowUpdate:
        if row is not None:
            row.check()
        image = preparation.new_image(change)
        deleted = image is None
        retained = deleted and change.expired and self.retains
        if retained:
            # Not the stored contribution: it lacks a MODIFY of the same batch.
            image = preparation.old_image(change)
        after = LedgerRow(
            item_id=change.item_id,
            version=change.version,
            revision=1 if row is None else row.revision + 1,
            contribution={} if image is None else self._of(image),
            timestamp=change.timestamp,
            written_at=written_at,
            deleted=deleted,
            retained=retained,
            generation=generations.new if row is None else row.generation,
        )
        return RowUpdate(row, after)

    def _of(self, image: Image) -> Contribution:
        return evaluated(self._checked, image)

    def _checked(self, image: Image) -> Contribution:
        return checked(self.contributions(image), self.decimals)

    def _commit(
        self, pack: Sequence["_Step"], deadline: Deadline, outcome: Outcome
    ) -> list[list[Change]]:
        """Write a pack; return the changes, by item, whose rows have to be read again.

        A conflict is usually on a sum that the whole pack adds to: each half would conflict as
        well. So the pack is tried again as it is, and halved after `CONFLICTS_UNTIL_HALVED`.
        """
        for attempt in count():
            try:
                deadline.check()
                self.ledger.commit([step.update for step in pack], add(step.delta for step in pack))
            except WriteConflict as conflicts:
                again = [step.open for step in pack if step.item_id in conflicts.item_ids]
                if not again:
                    raise
                rest = [step for step in pack if step.item_id not in conflicts.item_ids]
                return again + (self._commit(rest, deadline, outcome) if rest else [])
            except ConflictError as error:
                if not deadline.pause(min(attempt, CONFLICTS_UNTIL_HALVED)):
                    outcome.failures |= {change: error for step in pack for change in step.open}
                    return []
                if len(pack) > 1 and attempt + 1 >= CONFLICTS_UNTIL_HALVED:
                    parts = (self._commit(half, deadline, outcome) for half in halves(pack))
                    return [group for part in parts for group in part]
            except (RetryableError, DeadlineExceeded) as error:
                outcome.failures |= {change: error for step in pack for change in step.open}
                return []
            else:
                done = [step for step in pack if not step.empties]
                outcome.applied += len(done)
                outcome.stale += sum(len(step.open) - 1 for step in done)
                return [step.open for step in pack if step.empties]
        raise AssertionError  # count() has no end


@dataclass(frozen=True, slots=True)
class _Step:
    """The write of one item's row: by the change at `position` of its group, newest first."""

    group: list[Change]
    position: int
    update: RowUpdate
    delta: Contribution

    @property
    def item_id(self) -> str:
        return self.update.after.item_id

    @property
    def empties(self) -> bool:
        """Whether the row is emptied, and keeps its version: the change is still to come."""
        return self.update.after.version != self.group[self.position].version

    @property
    def open(self) -> list[Change]:
        """The change, and the older ones that it makes unnecessary."""
        return self.group[self.position :]


def _delta(update: RowUpdate, generations: Generations) -> Contribution:
    """Return what the write of a row adds to the sums of the generations that the row counts in."""
    after = update.after
    delta = difference(update.before, after.contribution)
    return spread(delta, generations.counting(after.generation))
