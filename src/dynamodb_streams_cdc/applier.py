"""Apply changes to a sink, down to the change at fault, and repair copies of items."""

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
    """The changes of one invocation on their way to a sink.

    Attributes:
        sink: the sink.
        deadline: end of the invocation, less a reserve.
        unexpected: returns whether an error is in no table.
        everywhere: number of distinct items with one unexpected error at which work stops: the sink
            or the code is at fault, not the records.
        source_table: the table, for repairs; without it, no copy is repaired.
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
        outcome.check(changes)
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
        """Repair the copies of the changes' items from the table.

        Returns:
            By item: whether its copy differed, or the error of its repair. Empty if the sink keeps
            no copies or there is no table.
        """
        if not self.repairs:
            return {}
        newest = [group[0] for group in by_item(changes)]
        return {
            each.item_id: self.repair_item(ItemVersion.of(each), each.raw_keys) for each in newest
        }

    def repair_item(self, known: ItemVersion, keys: Attributes) -> bool | Exception:
        """Repair the copy of the item with these keys from the table; see `Repairable`."""
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
