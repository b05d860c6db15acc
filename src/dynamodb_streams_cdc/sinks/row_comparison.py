"""The comparison of a ledger row with its item."""

from types import MappingProxyType

from dynamodb_streams_cdc.change import Image
from dynamodb_streams_cdc.dead_letters import reason_of
from dynamodb_streams_cdc.sinks.comparison import CopyDifference, DifferenceKind
from dynamodb_streams_cdc.sinks.contributions import Contribution
from dynamodb_streams_cdc.sinks.ledger import LedgerRow, difference

MOST_NAMED = 5
"""Aggregates that the description of a difference names."""


def compared(
    item_id: str,
    row: LedgerRow | None,
    image: Image | None,
    wanted: Contribution,
    *,
    keeps: bool,
) -> CopyDifference | None:
    """Return how a row differs from an item, which contributes `wanted`; None if it does not.

    What an expired item left behind is right as it is if the sums keep it (`keeps`).
    """
    if row is not None and row.lacks:
        detail = f"the ledger row lacks {', '.join(row.lacks)}"
        return _different(item_id, row, DifferenceKind.WRONG, detail)
    kind = _kind_of_difference(row, image, wanted, keeps=keeps)
    if kind is None:
        return None
    delta = difference(row, wanted)
    return _different(item_id, row, kind, ", ".join(sorted(delta)[:MOST_NAMED]), delta)


def refused(item_id: str, row: LedgerRow | None, error: Exception) -> CopyDifference:
    """Return the difference of an item that cannot be counted."""
    return _different(item_id, row, DifferenceKind.REFUSED, reason_of(error))


def _different(
    item_id: str,
    row: LedgerRow | None,
    kind: DifferenceKind,
    detail: str,
    delta: Contribution = MappingProxyType({}),
) -> CopyDifference:
    token, version = (f"{row.version}#{row.revision}", row.version) if row else ("", None)
    return CopyDifference(item_id, kind, token, version, detail, delta)


def _kind_of_difference(
    row: LedgerRow | None, image: Image | None, wanted: Contribution, *, keeps: bool
) -> DifferenceKind | None:
    """Return how a row differs from an item, or from none; `None` if it does not."""
    if row is None:
        return None if image is None else DifferenceKind.MISSING
    differs = bool(difference(row, wanted))
    if image is None:
        is_right = (row.retained and keeps) or (row.deleted and not differs)
        return None if is_right else DifferenceKind.EXTRA
    if row.deleted:
        return DifferenceKind.MISSING if differs or row.retained else DifferenceKind.WRONG
    return DifferenceKind.WRONG if differs else None
