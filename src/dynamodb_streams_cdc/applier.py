"""Applying changes to a sink, and repairing what they touched, down to the change at fault."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from dynamodb_streams_cdc.change import Attributes, Change, by_item
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.errors import DeadlineExceeded, RetryableError
from dynamodb_streams_cdc.halves import in_halves
from dynamodb_streams_cdc.sinks.base import ItemVersion, Outcome, Repairable, Sink, SourceTable


@dataclass
class SinkApplier:
    """One invocation's dealings with a sink.

    Attributes:
        sink: what the changes are applied to.
        deadline: when the invocation ends, less a reserve.
        unexpected: whether an error is in no table.
        everywhere: with as many distinct items that raise one unexpected error, work stops: that is
            the sink or the code, not the records.
        items: the table that copies are repaired by; without it, none is.
    """

    sink: Sink
    deadline: Deadline
    unexpected: Callable[[Exception], bool]
    everywhere: float
    source_table: SourceTable | None = None
    _culprits: dict[type[Exception], set[str]] = field(default_factory=dict)

    @property
    def stopped(self) -> bool:
        """Whether the same unexpected error came from too many items."""
        return any(len(items) >= self.everywhere for items in self._culprits.values())

    def apply(self, changes: Sequence[Change]) -> Outcome:
        """Apply changes; if the sink raises on several, apply the halves, down to the culprits."""
        return sum(in_halves(self._apply, changes, self._failed), Outcome())

    def _apply(self, changes: Sequence[Change]) -> Outcome:
        if self.stopped:
            error = DeadlineExceeded("stopped: see the error above")
            return Outcome(failures=dict.fromkeys(changes, error))
        outcome = self.sink.apply(changes, self.deadline)
        outcome.check(len(changes))
        return self._noted(outcome)

    def _failed(self, changes: Sequence[Change], error: Exception) -> Outcome | None:
        if len(changes) > 1 and not isinstance(error, RetryableError | DeadlineExceeded):
            return None
        return self._noted(Outcome(failures=dict.fromkeys(changes, error)))

    def _noted(self, outcome: Outcome) -> Outcome:
        for change, failure in outcome.failures.items():
            self._note(change.item_id, failure)
        return outcome

    def _note(self, item_id: str, failure: Exception) -> None:
        if self.unexpected(failure):
            self._culprits.setdefault(type(failure), set()).add(item_id)

    @property
    def repairs(self) -> bool:
        """Whether copies can be repaired: the sink knows how, and there is a table to read."""
        return self.source_table is not None and isinstance(self.sink, Repairable)

    def repair(self, changes: Iterable[Change]) -> dict[str, bool | Exception]:
        """Make the copies of the changes' items what the table says.

        Returns:
            By item: whether its copy differed, or why it could not be repaired. Nothing where
            copies cannot be repaired.
        """
        if not self.repairs:
            return {}
        newest = [group[0] for group in by_item(changes)]
        return {
            each.item_id: self.repair_item(ItemVersion.of(each), each.raw_keys) for each in newest
        }

    def repair_item(self, known: ItemVersion, keys: Attributes) -> bool | Exception:
        """Make the copy of the item with these keys what the table says; see `Repairable`."""
        assert self.source_table is not None
        assert isinstance(self.sink, Repairable)
        if self.stopped:
            return DeadlineExceeded("stopped: see the error above")
        read_item = partial(self.source_table.read, keys)
        try:
            return self.sink.repair(known.item_id, read_item, self.deadline, known)
        except Exception as error:
            self._note(known.item_id, error)
            return error

    @property
    def retains(self) -> bool:
        """Whether the expiry of an item has to be applied: a repair would not do."""
        return isinstance(self.sink, Repairable) and self.sink.retains
