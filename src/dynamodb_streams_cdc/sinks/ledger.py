"""The store of the aggregation: ledger rows, and sums.

A ledger row keeps the version and the contribution of an item. A row and the sums that it moves are
written in one transaction.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.errors import CdcError, PermanentError
from dynamodb_streams_cdc.sinks.base import PurgePage
from dynamodb_streams_cdc.sinks.comparison import Place, Segment
from dynamodb_streams_cdc.sinks.contributions import Contribution, add, negated
from dynamodb_streams_cdc.sinks.generations import Generations


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """The ledger row of one item.

    Attributes:
        item_id: whose row it is.
        version: of the change that it holds.
        revision: incremented by every write of the row.
        contribution: the item's contribution; empty for a deleted item.
        timestamp: of the change, in seconds since 1970.
        written_at: when the row was written, in seconds since 1970.
        deleted: whether the item is gone: the row is a tombstone.
        retained: whether the contribution of an expired item was kept.
        generation: of the sums that it counts in; see `Generations.counting`.
        lacks: attributes that are missing or of another form, because something else than a ledger
            wrote the row. Without its contribution it is not known what the sums count.
    """

    item_id: str
    version: str
    revision: int
    contribution: Contribution
    timestamp: float
    written_at: float
    deleted: bool = False
    retained: bool = False
    generation: int = 0
    lacks: tuple[str, ...] = ()

    def check(self) -> None:
        """Check that the row can be replaced.

        Raises:
            PermanentError: it is damaged.
        """
        if self.lacks:
            message = (
                f"the ledger row lacks {', '.join(self.lacks)}, and what the sums count is not "
                "known: cdc rebuild aggregation makes the row and new sums"
            )
            raise PermanentError(message, "LedgerRowDamaged")


@dataclass(frozen=True, slots=True)
class RowUpdate:
    """The write of one ledger row: from the row that was read, if there was one, to the next."""

    before: LedgerRow | None
    after: LedgerRow


class WriteConflict(CdcError):
    """Rows were written after they were read; nothing of the transaction was done."""

    def __init__(self, item_ids: Collection[str]) -> None:
        super().__init__(f"{len(item_ids)} ledger rows have changed since they were read")
        self.item_ids = frozenset(item_ids)


def emptying(row: LedgerRow) -> RowUpdate:
    """Return the write that takes all of a row's contribution away."""
    return RowUpdate(row, replace(row, revision=row.revision + 1, contribution={}, retained=False))


def difference(row: LedgerRow | None, contribution: Contribution) -> Contribution:
    """Return what a contribution adds to the one that a row holds."""
    return add((contribution, negated(row.contribution if row else {})))


@dataclass(frozen=True, slots=True)
class LedgerPage:
    """Some rows of a ledger; `following` is where the walk goes on, None at the end."""

    rows: Sequence[LedgerRow]
    following: Place | None
    units: float = 0.0


@dataclass(frozen=True, slots=True)
class SumsPage:
    """Some rows of sums.

    Attributes:
        sums: measures of all generations by aggregate, see `of_generation`; of some of an
            aggregate's rows, if others are on another page.
        revisions: number of writes of these rows, by aggregate.
        following: where the walk goes on; None at the end.
        units: read capacity units that DynamoDB consumed.
    """

    sums: Contribution
    revisions: Mapping[str, int]
    following: Place | None
    units: float = 0.0


@dataclass(frozen=True, slots=True)
class DropPage:
    """Some rows of sums, of which `dropped` had measures of the generation.

    Attributes:
        read: number of rows read.
        following: where the walk goes on; None at the end.
        units: read capacity units that DynamoDB consumed.
    """

    read: int
    dropped: int
    following: Place | None
    units: float = 0.0


class LedgerStore(Protocol):
    """Store of ledger rows and sums."""

    def read(self, item_ids: Collection[str], deadline: Deadline) -> Mapping[str, LedgerRow]:
        """Return the rows that exist, by item, read consistently.

        Raises:
            RetryableError: they cannot be read at the moment.
            DeadlineExceeded: the deadline has passed.
        """

    def commit(self, updates: Sequence[RowUpdate], deltas: Contribution) -> None:
        """Write the rows and add the deltas to the sums, all or nothing.

        At most `MAX_ACTIONS` updates and aggregates together, `MAX_ADDITIONS` measures of an
        aggregate; no item twice.

        Raises:
            WriteConflict: a row is not the one in `before`, by version and revision.
            ConflictError: another transaction was under way, or capacity was short.
            RetryableError: the table cannot be written at the moment.
            PermanentError: the transaction can never be written.
        """

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
        """Delete the rows of deleted items written before then, unless they retain something.

        Reads the next rows of a segment, about `most`, and deletes only those that have not changed
        since. The rows are read again by the next call if the deadline passes. With `dry_run`, the
        rows are only counted.

        Raises:
            RetryableError: they cannot be read or deleted at the moment.
            DeadlineExceeded: the deadline has passed.
        """

    def walk(
        self, segment: Segment, place: Place | None, most: int, deadline: Deadline
    ) -> LedgerPage:
        """Return the next rows of a segment, about `most`, in any order.

        Raises:
            RetryableError: they cannot be read at the moment.
        """

    def sums(self, place: Place | None, most: int, deadline: Deadline) -> SumsPage:
        """Return the next rows of sums, about `most`, read consistently.

        Raises:
            RetryableError: they cannot be read at the moment.
        """

    def generations(self, deadline: Deadline) -> Generations:
        """Return the generations of the sums, read consistently.

        Raises:
            RetryableError: they cannot be read at the moment.
            DeadlineExceeded: the deadline has passed.
        """

    def set_generations(self, before: Generations, after: Generations, deadline: Deadline) -> bool:
        """Write the generations, with a raised revision; return False if `before` has moved.

        Raises:
            RetryableError: they cannot be written at the moment.
            DeadlineExceeded: the deadline has passed.
        """

    def drop(self, generation: int, place: Place | None, most: int, deadline: Deadline) -> DropPage:
        """Remove the measures of a generation from the next rows of sums, about `most`.

        Raises:
            RetryableError: the rows cannot be read or written at the moment.
        """
