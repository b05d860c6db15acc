"""Gaps in an item's history: what the change log would hold, had it seen every change.

Each entry holds the item before and after its change, so what one entry leaves is what the next
one finds, and the first one finds nothing. The log cannot be rewritten: a gap is filled by
redriving the dead letters of the processor that keeps the log.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from dynamodb_streams_cdc.change import Change
from dynamodb_streams_cdc.diff import Difference, diff


@dataclass(frozen=True)
class Gap:
    """A place in a history where changes are missing.

    Attributes:
        after: the entry before it; None if the beginning is missing.
        before: the entry behind it.
        differences: what the missing changes changed, taken together.
    """

    after: Change | None
    before: Change
    differences: Sequence[Difference]


def gaps(history: Sequence[Change]) -> list[Gap]:
    """Return where changes are missing in an item's history, given oldest first.

    Missing changes that undid each other leave no trace, and neither does the end: what happened
    after the last entry is known to the table alone.

    Raises:
        MissingImage: the history does not carry both images.
        RetryableError, PermanentError: images that are kept elsewhere cannot be read.
    """
    found: list[Gap] = []
    if history and history[0].old_image is not None:
        found.append(_gap(None, history[0]))
    found += [
        _gap(earlier, later)
        for earlier, later in pairwise(history)
        if earlier.new_image != later.old_image
    ]
    return found


def _gap(earlier: Change | None, later: Change) -> Gap:
    left = earlier.new_image if earlier else None
    return Gap(earlier, later, diff(left or {}, later.old_image or {}))
