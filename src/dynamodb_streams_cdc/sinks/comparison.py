"""The comparison of a sink's copies with the items of the table.

A sink that is `Comparable` says which of its copies differ from what the items say, and lists its
copies, so that those without an item are found as well.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, TypeAlias, runtime_checkable

from dynamodb_streams_cdc.change import Image
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.sinks.contributions import Contribution

Place: TypeAlias = Any
"""Where a walk over copies goes on, as JSON can carry it; `None` is the beginning."""


class DifferenceKind(StrEnum):
    """How a copy differs from the table.

    A function finds missing, wrong, extra, foreign and refused copies. A reader of the change log
    tells stale ones from wrong ones, and resurrected ones from extra ones.
    """

    MISSING = "missing"
    """The item is in the table, and the sink shows no copy of it."""
    STALE = "stale"
    """The copy shows an earlier state of the item."""
    WRONG = "wrong"
    """The copy shows what the item never was."""
    EXTRA = "extra"
    """There is a copy, and no item in the table that belongs there."""
    RESURRECTED = "resurrected"
    """There is a copy of an item that was deleted."""
    FOREIGN = "foreign"
    """Another writer made the copy, or altered what the sink needs in it."""
    REFUSED = "refused"
    """The domain's function fails on the item, so that nothing can show it."""
    SUM = "sum"
    """A sum is not what the ledger's rows add up to."""


@dataclass(frozen=True, slots=True)
class CopyDifference:
    """One copy that differs.

    Attributes:
        item: identity of the item, or the name of the copy that is none of an item.
        token: of the copy as it was read: another one means that it was written meanwhile.
        version: that the copy shows; None if there is no copy, or none with a version.
        detail: what differs, in a few words; without values of the item, because it goes into logs.
        delta: what a repair would add to sums, for a sink that sums. That is right only if they
            are what the ledger adds up to now: they may count an item whose row was lost.
    """

    item: str
    kind: DifferenceKind
    token: str = ""
    version: str | None = None
    detail: str = ""
    delta: Contribution = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CopyPage:
    """Some of a sink's copies.

    Attributes:
        live: identities of the items that they show; tombstones are left out.
        following: where the walk goes on; None at the end.
        read: number of copies read, tombstones included.
        foreign: copies that are none of an item.
        sums: what the copies of this page add up to, for a sink that sums.
        units: read capacity units that DynamoDB consumed.
    """

    live: Sequence[str]
    following: Place | None
    read: int
    foreign: Sequence[CopyDifference] = ()
    sums: Contribution = field(default_factory=dict)
    units: float = 0.0


@dataclass(frozen=True, slots=True)
class Segment:
    """One of the parts into which a table or a sink is cut, so that several walk at once."""

    number: int = 0
    of: int = 1


@runtime_checkable
class Comparable(Protocol):
    """A sink whose copies can be compared with the table."""

    @property
    def store(self) -> object:
        """The store of the copies: sinks with equal stores share one."""

    def compare(
        self, items: Mapping[str, Image | None], deadline: Deadline
    ) -> Iterable[CopyDifference]:
        """Return the copies that differ from these items; `None` is an item that is not there.

        Raises:
            RetryableError: the sink cannot be read at the moment.
            DeadlineExceeded: the deadline has passed.
        """

    def copies(
        self, segment: Segment, place: Place | None, most: int, deadline: Deadline
    ) -> CopyPage:
        """Return the next copies of a segment, about `most`.

        A copy that is there from the beginning of the walk to its end is returned.

        Raises:
            RetryableError: the sink cannot be read at the moment.
        """


def same(one: object, other: object) -> bool:
    """Return whether two values of an item, or of JSON, are the same; Python takes 1 for true."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other and (one is True or one is False) == (other is True or other is False)
