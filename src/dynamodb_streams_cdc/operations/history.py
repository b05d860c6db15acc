"""History of an item in the change log, and the gaps in it.

An entry holds the item before and after its change. So each entry begins with the state that the
entry before it left, and the first one begins with nothing; anything else is a gap. The log cannot
be rewritten: to fill a gap, redrive the dead letters of the processor that writes the log.

An entry of a backfill stands below every change of its stream and holds the item as it was read,
at any time since. So it is compared with neither neighbour.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from dynamodb_streams_cdc.aws.dynamodb.log import DynamoDbLog
from dynamodb_streams_cdc.aws.s3 import S3ImageStore
from dynamodb_streams_cdc.change import BACKFILL, Change, Image
from dynamodb_streams_cdc.diff import Difference, diff
from dynamodb_streams_cdc.operations.aws.access import permitted
from dynamodb_streams_cdc.operations.errors import OperationError
from dynamodb_streams_cdc.operations.stack import Deployment
from dynamodb_streams_cdc.sinks.change_log import ChangeLog, known_at


@dataclass(frozen=True)
class Gap:
    """A place in a history where changes are missing.

    Attributes:
        after: entry before the gap; None if the beginning is missing.
        before: entry behind the gap.
        differences: sum of the missing changes.
    """

    after: Change | None
    before: Change
    differences: Sequence[Difference]


@dataclass(frozen=True)
class History:
    """Entries of an item, oldest first, and the gaps between them."""

    item: str
    entries: Sequence[Change]
    gaps: Sequence[Gap]


@dataclass(frozen=True)
class StateAt:
    """State of an item at a moment, as the change log knows it.

    Attributes:
        change: the last change up to that moment, which left the state.
        gap: changes are missing behind `change`, so the state may be another; None if none are.
    """

    moment: datetime
    change: Change
    gap: Gap | None

    @property
    def state(self) -> Image | None:
        """The item; None if there was none."""
        return self.change.new_image


def read_history(deployment: Deployment, item: str) -> History:
    """Return the history of an item, by its identity.

    Raises:
        OperationError: the change log has no entry of the item.
        PermanentError: an image of an entry is gone from its bucket.
    """
    entries = _entries(deployment, item)
    with _reading_images(deployment):
        return History(item, entries, gaps(entries))


def read_states(
    deployment: Deployment, item: str, moments: Sequence[datetime]
) -> tuple[list[StateAt], Sequence[Change]]:
    """Return an item's states at these moments, and all of its entries.

    Raises:
        OperationError: the change log has no entry of the item, or none up to a moment.
        PermanentError: an image of an entry is gone from its bucket.
    """
    entries = _entries(deployment, item)
    with _reading_images(deployment):
        return [state_at(item, entries, moment) for moment in moments], entries


def state_at(item: str, entries: Sequence[Change], moment: datetime) -> StateAt:
    """Return an item's state at the end of the second of a moment, by its entries, oldest first.

    Raises:
        OperationError: there is no entry up to that moment.
    """
    known = known_at(entries, moment)
    if not known:
        first = min(entry.time for entry in entries)
        message = (
            f"The change log knows {item} from {_utc(first)} on, and nothing of it at "
            f"{_utc(moment)}: choose a later time."
        )
        raise OperationError(message)
    last = known[-1]
    later = next((entry for entry in entries if entry.version > last.version), None)
    gap = _gap(last, later) if later is not None and _is_gap(last, later) else None
    return StateAt(moment, last, gap)


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def _entries(deployment: Deployment, item: str) -> Sequence[Change]:
    table = deployment.manifest.table("change_log")
    with permitted("dynamodb:Query", f"table {table}"):
        entries = change_log(deployment).history(item)
    if not entries:
        message = (
            f"The change log has no entry of item {item}: check that these are all of its keys, "
            "and their types."
        )
        raise OperationError(message)
    return entries


def change_log(deployment: Deployment) -> ChangeLog:
    """Return the change log of a pipeline.

    Raises:
        OperationError: it has none.
    """
    client, s3 = deployment.client("dynamodb"), deployment.client("s3")
    table, bucket = (
        deployment.manifest.table("change_log"),
        deployment.manifest.bucket("large_images"),
    )
    return ChangeLog(DynamoDbLog(client, table), S3ImageStore(lambda: s3, bucket))


def _reading_images(deployment: Deployment) -> AbstractContextManager[None]:
    return permitted("s3:GetObject", f"s3://{deployment.manifest.bucket('large_images')}")


def gaps(history: Sequence[Change]) -> list[Gap]:
    """Return the gaps in an item's history, given oldest first.

    Two kinds of gap leave no trace: missing changes that undid each other, and changes after the
    last entry, which only the table shows.

    Raises:
        MissingImage: the history does not carry both images.
        RetryableError, PermanentError: an image in the bucket of large images cannot be read.
    """
    found: list[Gap] = []
    if history and history[0].old_image is not None:
        found.append(_gap(None, history[0]))
    found += [
        _gap(earlier, later) for earlier, later in pairwise(history) if _is_gap(earlier, later)
    ]
    return found


def _is_gap(earlier: Change, later: Change) -> bool:
    if BACKFILL in (earlier.kind, later.kind):
        return False
    return earlier.new_image != later.old_image


def _gap(earlier: Change | None, later: Change) -> Gap:
    left = earlier.new_image if earlier else None
    return Gap(earlier, later, diff(left or {}, later.old_image or {}))
