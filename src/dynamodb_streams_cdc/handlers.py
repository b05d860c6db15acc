"""Handlers for effects that do not converge: an e-mail, a payment, a call to another system.

Each change goes to one function, in order. Once a change of an item has failed, later changes of
*that item* are held back, so that none overtakes it; other items go on. After a report Lambda
delivers the failed record and all after it again, those that succeeded included: guard an effect
that must not be repeated with `idempotency.Once`.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from dynamodb_streams_cdc.canary import is_canary
from dynamodb_streams_cdc.change import Change, ChangeKind
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.errors import BlockedByEarlierFailure, returned
from dynamodb_streams_cdc.sinks.base import Outcome

Handler: TypeAlias = Callable[[Change], object]


class ChangeHandlers:
    """A registry of functions by kind of change; a `Sink`, for `Processor`.

    handlers = ChangeHandlers()

    @handlers.on_insert
    def welcome(change: Change) -> None: ...
    """

    def __init__(self) -> None:
        self._handlers: dict[ChangeKind, Handler] = {}

    def on_insert(self, handler: Handler) -> Handler:
        """Call `handler` with each INSERT; usable as a decorator."""
        return self._register(ChangeKind.INSERT, handler)

    def on_modify(self, handler: Handler) -> Handler:
        """Call `handler` with each MODIFY; usable as a decorator."""
        return self._register(ChangeKind.MODIFY, handler)

    def on_remove(self, handler: Handler) -> Handler:
        """Call `handler` with each REMOVE, expiries included; usable as a decorator."""
        return self._register(ChangeKind.REMOVE, handler)

    def on_backfill(self, handler: Handler) -> Handler:
        """Call `handler` with each item of a backfill; usable as a decorator."""
        return self._register(ChangeKind.BACKFILL, handler)

    def _register(self, kind: ChangeKind, handler: Handler) -> Handler:
        if kind in self._handlers:
            message = f"there is a handler for {kind} already: call both from one function"
            raise ValueError(message)
        self._handlers[kind] = handler
        return handler

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Outcome:
        """Call the handler of each change; the canary and changes without one count as applied."""
        outcome = Outcome()
        held: set[str] = set()
        for change in changes:
            if change.item_id in held:
                outcome.failures[change] = BlockedByEarlierFailure(
                    "an earlier change of the item failed"
                )
                continue
            try:
                deadline.check()
                handler = self._handlers.get(change.kind)
                if handler is not None and not is_canary(change.keys):
                    returned(handler(change))
            except Exception as error:
                outcome.failures[change] = error
                held.add(change.item_id)
            else:
                outcome.applied += 1
            finally:
                change.release_images()
        return outcome
