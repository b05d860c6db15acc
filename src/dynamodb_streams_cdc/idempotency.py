"""Guards of effects that do not converge: at least once, or exactly once.

A marker in the idempotency table says that the effect of a change was done. The guarantee depends
on when the marker is written:

    before the effect            a crash in between loses the effect; this library never does it
    after the effect             a crash in between repeats it: at least once (`Once.run`)
    in the effect's transaction  neither: exactly once (`Once.transact`)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dynamodb_streams_cdc.change import Change
from dynamodb_streams_cdc.names import ONCE

MARKER_SECONDS = 90 * 24 * 3600
"""How long a marker is kept, in seconds. A dead letter may be redriven weeks later, so the 24 hours
of a stream are not enough. One that is redriven after the marker is gone has its effect again: dead
letters do not expire."""


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
    """The guard of one effect.

    Attributes:
        store: store of the markers.
        effect: the effect's name; two effects of one change have markers of their own.
        keep_seconds: how long markers are kept.
    """

    store: IdempotencyStore
    effect: str
    keep_seconds: int = MARKER_SECONDS

    def run(self, change: Change, effect: Callable[[], object]) -> bool:
        """Call `effect` unless it was done; return whether it was called.

        At least once: the marker is written after the effect. A crash between the two, and two
        deliveries at the same time, call it again: hand `change.event_id` to the other system as
        its idempotency key, if it takes one.
        """
        key = self._key(change)
        if self.store.seen(key):
            return False
        effect()
        self.store.mark(key, self.keep_seconds)
        return True

    def transact(self, change: Change, actions: Sequence[Mapping[str, Any]]) -> bool:
        """Do `actions` unless they were done; return whether they were.

        Exactly once: the actions and the marker are written all or nothing. `actions` are up to 99
        elements of `TransactItems` for the DynamoDB API, in the marker's account and Region.
        """
        return self.store.mark_with(self._key(change), self.keep_seconds, actions)

    def _key(self, change: Change) -> str:
        return f"{ONCE}{self.effect}/{change.item_id}/{change.version}"
