"""The indexes that the search sink writes: the live one, and a second one during a rebuild.

A write succeeds once both have it, so that either can be the live one. A document that the second
index refuses for good is logged and not waited for: the live index goes on, and the verification
before the swap finds the document (see `index_rebuild`).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from dynamodb_streams_cdc.dead_letters import loggable
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.errors import DeadlineExceeded, RetryableError, visible
from dynamodb_streams_cdc.names import LogEvent
from dynamodb_streams_cdc.sinks.documents import (
    Pair,
    RebuildableIndex,
    SearchIndex,
    Upsert,
    Upserted,
)

logger = logging.getLogger(__name__)

LOOKUP_SECONDS = 10.0
"""How long a function goes on without looking whether there is a second index."""


def rebuildable(index: SearchIndex) -> RebuildableIndex | None:
    """Return the index if it can be rebuilt; `None` for a store that is one index for ever."""
    return cast("RebuildableIndex", index) if hasattr(index, "pair") else None


@dataclass
class WrittenIndexes:
    """The live index, and the second one as of the last look.

    Attributes:
        index: reached by the names that move.
    """

    index: SearchIndex
    _pair: Pair | None = field(default=None, init=False)
    _looked_at: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._rebuildable = rebuildable(self.index)

    def pair(self, deadline: Deadline) -> Pair | None:
        """Return both indexes, looked up at most every ten seconds; `None` if there is one.

        Raises:
            RetryableError: it cannot be looked up at the moment.
        """
        if self._rebuildable is None:
            return None
        now = deadline.now()
        if self._looked_at is None or not 0 <= now - self._looked_at < LOOKUP_SECONDS:
            self._pair = self._rebuildable.pair(deadline)
            self._looked_at = now
        return self._pair

    def upsert(self, upserts: Sequence[Upsert], deadline: Deadline) -> Sequence[Upserted]:
        """Write each document that is newer than the one held; return each result, in order.

        Raises:
            RetryableError: none of them could be written.
            DeadlineExceeded: the deadline has passed.
        """
        pair = self.pair(deadline) if upserts else None
        if pair is None:
            return self.index.upsert(upserts, deadline)
        live = pair.live.upsert(upserts, deadline)
        second = pair.second.upsert(upserts, deadline)
        results = zip(upserts, live, second, strict=True)
        return [_of_both(upsert, one, other) for upsert, one, other in results]


def _of_both(upsert: Upsert, live: Upserted, second: Upserted) -> Upserted:
    if isinstance(live, Exception) or not isinstance(second, Exception):
        return live
    if isinstance(second, RetryableError | DeadlineExceeded):
        return second
    note_refusal(upsert.item_id, second)
    return live


def note_refusal(item_id: str, error: Exception) -> None:
    """Log that the second index refuses a document for good."""
    logger.warning(
        "the second index refuses the document of %s: %s",
        visible(item_id),
        visible(loggable(error)),
        extra=LogEvent.REFUSED_BY_SECOND.fields(item=visible(item_id), error=type(error).__name__),
    )
