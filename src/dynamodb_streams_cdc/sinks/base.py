"""The interface between the processor and a sink."""

import errno
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar, runtime_checkable

from dynamodb_streams_cdc.change import BACKFILL, UNKNOWN_TIME, Attributes, Change, Image
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.errors import (
    CdcError,
    DeadlineExceeded,
    PermanentError,
    RetryableError,
    returned,
    text_of,
    visible,
)
from dynamodb_streams_cdc.names import LogEvent
from dynamodb_streams_cdc.sinks.comparison import Place, Segment

Result = TypeVar("Result")

logger = logging.getLogger(__name__)

TOMBSTONE_SECONDS = 7 * 24 * 3600
"""How long a sink remembers at least that an item was deleted, from the tombstone's writing.

A change that is older when it arrives may have outlived the tombstone that would refuse it: the
processor repairs its item after applying it. Streams forget after 24 hours, so such changes come
only by a redrive, or by way of a change log that was refilled by one.
"""

LATE_SECONDS = TOMBSTONE_SECONDS - 3600
"""Age in seconds from which on the item of a change is repaired, and an export is refused; an hour
less than a tombstone's life, for clocks that differ."""

ReadItem: TypeAlias = Callable[[], Image | None]
"""Reads an item with a consistent read; `None` if it is not there."""


@dataclass
class Outcome:
    """The outcomes of one call: each change is applied, stale, skipped, or a failure.

    Attributes:
        applied: number of changes that the sink took.
        stale: number of changes that it refused because it holds the same version or a greater one,
            and of changes that a greater one in the same call made unnecessary.
        version_order_violations: number of stale changes that are more than a second younger than
            the state that the sink holds. None is expected; see `VERSION_ORDER_VIOLATION_SECONDS`.
        skipped: number of changes of items that the sink does not hold; see `SinkChoice`.
        unknown: number of the skipped changes whose item is of no entity.
        failures: the exception for each change that was not taken.
    """

    applied: int = 0
    stale: int = 0
    skipped: int = 0
    unknown: int = 0
    version_order_violations: int = 0
    failures: dict[Change, Exception] = field(default_factory=dict)

    def check(self, changes: Collection[Change]) -> None:
        """Log an error unless each change has one outcome: the sink may have lost a change.

        A change without an outcome counts neither as applied nor as stale. It is not reported: the
        sink's code is wrong, and a retry would repeat effects that it had.

        Raises:
            TypeError: a failure is of another change: it is not known which record failed.
        """
        if self.failures.keys() - set(changes):
            message = (
                "the sink returned failures of changes that it was not given: return the changes "
                "themselves, and no copies of them"
            )
            raise TypeError(message)
        outcomes = self.applied + self.stale + self.skipped + len(self.failures)
        if outcomes != len(changes):
            logger.error(
                "the sink returned %d outcomes for %d changes",
                outcomes,
                len(changes),
                extra=LogEvent.OUTCOMES_MISSING.fields(returned=outcomes, expected=len(changes)),
            )

    def refused(self, change: Change, held_timestamp: float) -> None:
        """Count a stale change; log it if it is younger than the state that the sink holds.

        `UNKNOWN_TIME` is not compared, nor the time at which a backfill read the item.
        """
        self.stale += 1
        if UNKNOWN_TIME in (change.timestamp, held_timestamp) or change.kind is BACKFILL:
            return
        if change.timestamp > held_timestamp + VERSION_ORDER_VIOLATION_SECONDS:
            self.version_order_violations += 1
            logger.warning(
                "version order violation: %s of %s is %.0f s younger than the sink's state",
                visible(change.version),
                visible(change.item_id),
                change.timestamp - held_timestamp,
                extra=LogEvent.VERSION_ORDER_VIOLATION.fields(
                    item=visible(change.item_id), version=visible(change.version)
                ),
            )

    def __add__(self, other: "Outcome") -> "Outcome":
        """Return the outcomes of both calls."""
        return Outcome(
            self.applied + other.applied,
            self.stale + other.stale,
            self.skipped + other.skipped,
            self.unknown + other.unknown,
            self.version_order_violations + other.version_order_violations,
            self.failures | other.failures,
        )


VERSION_ORDER_VIOLATION_SECONDS = 1.0
"""How much younger a refused change must be to be counted as `version_order_violations`.

Timestamps are rounded down to the second, so a difference of one second says nothing. A larger one
would mean that sequence numbers of an item did not grow: AWS promises that they grow within a
shard, and documents nothing across a split. The count has an alarm; a repair of the item fixes it.
"""


class Sink(Protocol):
    """A system that changes are applied to."""

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Outcome:
        """Apply changes, in order within each item, and return one outcome for each of them.

        It is called again with changes that it has seen, in any combination and order: a sink must
        be idempotent and refuse stale changes. An exception fails all the changes of the call.
        """


@runtime_checkable
class SinkChoice(Protocol):
    """A choice of the sink for each item, by its keys."""

    @property
    def sinks(self) -> "Mapping[str, Sink]":
        """The sinks, by the name of the entity whose items each holds."""

    def entity_of(self, keys: Image) -> str | None:
        """Return the name of the entity of the item with these keys; None for none."""

    def sink_of(self, keys: Image) -> "Sink | Skip":
        """Return the sink that holds the item with these keys, or why none does.

        Raises:
            PermanentError: such an item must not be skipped.
        """


class Skip(Enum):
    """Why no sink holds an item."""

    UNUSED = "the sink has no use for items of its entity"
    UNKNOWN = "the item is of no entity"


class ItemVersion(NamedTuple):
    """How new an item is known to be: `timestamp` in seconds since 1970."""

    item_id: str
    version: str
    timestamp: float

    @classmethod
    def of(cls, change: Change) -> "ItemVersion":
        """Return the version of a change."""
        return cls(change.item_id, change.version, change.timestamp)


@runtime_checkable
class Repairable(Protocol):
    """A sink whose copy of an item can be repaired from the table."""

    def repair(
        self,
        item_id: str,
        read_item: ReadItem,
        deadline: Deadline,
        known: ItemVersion | None = None,
    ) -> bool:
        """Repair the copy of an item from the table; return whether it differed.

        The sink reads its own row before it calls `read_item`; in the other order a change in
        between would be undone. A row that has changed meanwhile is read again.

        `known` is the version of a change that happened before this call, or the floor of the
        current stream: the item is at least as new. The row gets the greater of this and its own
        version, even if nothing else differs: an older change that arrives later is stale, and a
        newer one wins. Without `known` the row keeps its version, and an item without a row is left
        alone, because its change is still to come.

        Raises:
            RetryableError: the sink cannot be read or written at the moment.
            DeadlineExceeded: the deadline has passed.
        """

    @property
    def retains(self) -> bool:
        """Whether the expiry of an item leaves a state that only its record can tell."""

    def held(self, item_id: str, deadline: Deadline) -> Mapping[str, Any] | None:
        """Return the sink's state of an item, with its `version`; `None` if it has none.

        Raises:
            RetryableError: the sink cannot be read at the moment.
        """


def purge_horizon(older_than: float, deadline: Deadline) -> float:
    """Return the time, in seconds since 1970, before which tombstones may be forgotten.

    Raises:
        ValueError: `older_than`, in seconds, is less than `TOMBSTONE_SECONDS`.
    """
    if older_than < TOMBSTONE_SECONDS:
        message = (
            f"tombstones are kept for {TOMBSTONE_SECONDS:,} seconds at least (a change that is "
            f"younger when it arrives relies on them), got {older_than:,}"
        )
        raise ValueError(message)
    return deadline.now() - older_than


@dataclass(frozen=True, slots=True)
class PurgePage:
    """Some tombstones of a sink.

    Attributes:
        read: number of copies read to find them.
        tombstones: number of tombstones met, the young ones included.
        purged: number of those deleted, or old enough to be, if they are only counted.
        following: where the purge goes on; None at the end.
        units: read capacity units that DynamoDB consumed.
    """

    read: int
    tombstones: int
    purged: int
    following: Place | None
    units: float = 0.0


@runtime_checkable
class Purgeable(Protocol):
    """A sink that forgets the items that were deleted long ago."""

    @property
    def store(self) -> object:
        """The store of the copies: sinks with equal stores share one."""

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
        """Delete the next tombstones of a segment that were written before then, about `most`.

        With `dry_run`, only count them.

        Raises:
            RetryableError: they cannot be read or deleted at the moment.
        """


PURGED_AT_ONCE = 1000
"""Copies that are read, or tombstones that are deleted, by one step of a purge."""


def purge_all(sink: Purgeable, older_than: float, deadline: Deadline) -> int:
    """Purge a sink to its end, or until the deadline; return the number of tombstones deleted.

    Raises:
        ValueError: `older_than`, in seconds, is less than `TOMBSTONE_SECONDS`.
        RetryableError: the tombstones cannot be read or deleted at the moment.
    """
    before = purge_horizon(older_than, deadline)
    place, purged = None, 0
    while True:
        page = sink.purge_page(before, Segment(), place, PURGED_AT_ONCE, deadline)
        purged, place = purged + page.purged, page.following
        if place is None or deadline.remaining() <= 0:
            return purged


class SourceTable(Protocol):
    """The source table."""

    def read(self, keys: Attributes) -> Image | None:
        """Return the item with these keys by a consistent read; `None` if it is not there.

        Raises:
            RetryableError: the table cannot be read at the moment.
        """


@dataclass(frozen=True, slots=True)
class TablePage:
    """Some items of the table as DynamoDB JSON; `following` is where to go on, None at the end.

    `units` are the read capacity units that DynamoDB consumed.
    """

    items: Sequence[Attributes]
    following: Place | None
    units: float = 0.0


@runtime_checkable
class WholeTable(SourceTable, Protocol):
    """The source table, of which many items can be read."""

    def read_many(
        self, keys: Sequence[Attributes], deadline: Deadline
    ) -> Sequence[Attributes | None]:
        """Return the items with these keys by consistent reads, in order; `None` for no item.

        No two keys are the same.

        Raises:
            RetryableError: the table cannot be read at the moment.
        """

    def scan(
        self,
        segment: Segment,
        place: Place | None,
        most: int,
        deadline: Deadline,
        *,
        consistent: bool,
    ) -> TablePage:
        """Return the next items of a segment, about `most`; `place` is None at the beginning.

        Raises:
            RetryableError: the table cannot be read at the moment.
        """


_ARITHMETIC = frozenset({errno.EDOM, errno.EINVAL, errno.EOVERFLOW, errno.ERANGE})
"""Errors of the operating system that a number is the cause of: `datetime.fromtimestamp` raises one
for nanoseconds where it takes seconds."""


def evaluated(function: Callable[[Image], Result], image: Image) -> Result:
    """Return the result of a pure function of an image; turn its errors into permanent ones.

    A function that reads the image alone fails on it at every call: the image is at fault. If the
    function is at fault, it fails on most images, and the processor's breaker holds them.

    Raises:
        PermanentError: the function raised; grouped by the type of its error, which is the cause.
        CdcError: the function raised it.
        MemoryError, OSError, ImportError: the machine's or the package's, not the image's.
    """
    try:
        return returned(function(image))
    except (CdcError, MemoryError, ImportError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in _ARITHMETIC:
            raise
        raise _permanent(error) from error


def evaluated_or_refused(function: Callable[[Image], Result], image: Image) -> Result:
    """Return what `evaluated` does; a comparison names an item that fails, and goes on.

    Raises:
        PermanentError: the function raised anything else than the two below.
        RetryableError, DeadlineExceeded: the function raised it.
    """
    try:
        return evaluated(function, image)
    except (PermanentError, RetryableError, DeadlineExceeded):
        raise
    except Exception as error:
        raise _permanent(error) from error


def _permanent(error: Exception) -> PermanentError:
    name = type(error).__name__
    return PermanentError(text_of(error) or name, name)
