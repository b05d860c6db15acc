"""History of an item in the change log, and the gaps in it.

An entry holds the item before and after its change. So each entry begins with the state that the
entry before it left, and the first one begins with nothing; anything else is a gap. The log cannot
be rewritten: to fill a gap, redrive the dead letters of the processor that writes the log.

An entry of a backfill stands below every change of its stream and holds the item as it was read,
at any time since. So it is compared with neither neighbour.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from dynamodb_streams_cdc.aws.dynamodb.log import DynamoDbLog
from dynamodb_streams_cdc.aws.s3 import S3ImageStore
from dynamodb_streams_cdc.change import BACKFILL, Change
from dynamodb_streams_cdc.diff import Difference, diff
from dynamodb_streams_cdc.operations.aws.access import permitted
from dynamodb_streams_cdc.operations.errors import OperationError
from dynamodb_streams_cdc.operations.stack import Deployment
from dynamodb_streams_cdc.sinks.change_log import ChangeLog


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


def read_history(deployment: Deployment, item: str) -> History:
    """Return the history of an item, by its identity.

    Raises:
        OperationError: the change log has no entry of the item.
        PermanentError: an image of an entry is gone from its bucket.
    """
    client, s3 = deployment.client("dynamodb"), deployment.client("s3")
    table, bucket = (
        deployment.manifest.table("change_log"),
        deployment.manifest.bucket("large_images"),
    )
    log = ChangeLog(DynamoDbLog(client, table), S3ImageStore(lambda: s3, bucket))
    with permitted("dynamodb:Query", f"table {table}"):
        entries = log.history(item)
    if not entries:
        message = (
            f"The change log has no entry of item {item}: check that these are all of its keys, "
            "and their types."
        )
        raise OperationError(message)
    with permitted("s3:GetObject", f"s3://{bucket}"):
        return History(item, entries, gaps(entries))


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
        _gap(earlier, later)
        for earlier, later in pairwise(history)
        if BACKFILL not in (earlier.kind, later.kind) and earlier.new_image != later.old_image
    ]
    return found


def _gap(earlier: Change | None, later: Change) -> Gap:
    left = earlier.new_image if earlier else None
    return Gap(earlier, later, diff(left or {}, later.old_image or {}))
