"""Guards of effects that do not converge: at least once, or exactly once.

A marker in the idempotency table says that the effect of a change was done. The guarantee depends
on when the marker is written:

    before the effect            a crash in between loses the effect; this library never does it
    after the effect             a crash in between repeats it: at least once (`Once.run`)
    in the effect's transaction  neither: exactly once (`Once.transact`)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from dynamodb_streams_cdc.change import Change
from dynamodb_streams_cdc.errors import returned
from dynamodb_streams_cdc.names import ONCE

MARKER_SECONDS = 90 * 24 * 3600
"""How long a marker is kept, in seconds. A dead letter may be redriven weeks later, so the 24 hours
of a stream are not enough. One that is redriven after the marker is gone has its effect again: dead
letters do not expire."""

MOST_UNMARKED = 10_000
"""Effects without a marker that a `Once` remembers: as many as a batch has records at most."""


class IdempotencyStore(Protocol):
    """Store of markers."""

    def seen(self, key: str) -> bool:
        """Return whether the marker is there, read consistently."""

    def mark(self, key: str, keep_seconds: int) -> None:
        """Write the marker."""

    def mark_with(self, key: str, keep_seconds: int, actions: Sequence[Mapping[str, Any]]) -> bool:
        """Write the marker and do the actions in one transaction, if the marker is not there.

        Return False, with nothing done, if it is.
        """


@dataclass(frozen=True)
class Once:
    """The guard of one effect. Make it once per process, outside the handler.

    Attributes:
        store: store of the markers.
        effect: the effect's name. Each effect of a change takes a `Once` and a name of its own: of
            two mails about a change by one `Once`, the second is taken for the first, and not sent.
        keep_seconds: how long markers are kept.
    """

    store: IdempotencyStore
    effect: str
    keep_seconds: int = MARKER_SECONDS
    _unmarked: dict[str, None] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Keys whose effect is done and whose marker could not be written, oldest first."""

    def run(self, change: Change, effect: Callable[[], object]) -> bool:
        """Call `effect` unless it was done; return whether it was called.

        At least once: the marker is written after the effect. If the marker cannot be written (a
        throttle, a missing permission), the exception is raised and this object remembers the
        effect: a further call for the change only writes the marker. The effect is repeated

        - once for each new process, and each other `Once`, while the marker is missing: after a
          crash between the two, or where another environment gets the retry;
        - by two deliveries at the same time;
        - if more than `MOST_UNMARKED` newer effects lack their marker.

        Hand `change.event_id` to the other system as its idempotency key, if it takes one.
        """
        key = self._key(change)
        is_due = key not in self._unmarked
        if is_due:
            if self.store.seen(key):
                return False
            returned(effect())
        try:
            self.store.mark(key, self.keep_seconds)
        except Exception:
            self._remember(key)
            raise
        self._unmarked.pop(key, None)
        return is_due

    def transact(self, change: Change, actions: Sequence[Mapping[str, Any]]) -> bool:
        """Do `actions` unless they were done; return whether they were.

        Exactly once: the actions and the marker are written all or nothing. `actions` are up to 99
        elements of `TransactItems` for the DynamoDB API, in the marker's account and Region. It may
        raise though they were done; the next call then finds the marker, and does nothing.
        """
        return self.store.mark_with(self._key(change), self.keep_seconds, actions)

    def _remember(self, key: str) -> None:
        self._unmarked[key] = None
        if len(self._unmarked) > MOST_UNMARKED:
            del self._unmarked[next(iter(self._unmarked))]

    def _key(self, change: Change) -> str:
        return f"{ONCE}{self.effect}/{change.item_id}/{change.version}"
