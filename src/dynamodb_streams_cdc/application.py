"""Applying changes to a sink, and repairing what they touched, down to the change at fault."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from dynamodb_streams_cdc.budget import Budget
from dynamodb_streams_cdc.change import Change, by_item
from dynamodb_streams_cdc.errors import OutageError, OutOfTime
from dynamodb_streams_cdc.sink import Items, Outcome, Repairable, Sink


@dataclass
class Application:
    """One invocation's dealings with a sink.

    Attributes:
        sink: what the changes are applied to.
        budget: the time that is left.
        unexpected: whether an error is in no table.
        everywhere: with as many distinct items that raise one unexpected error, work stops: that is
            the sink or the code, not the records.
        items: the table that copies are repaired by; without it, none is.
    """

    sink: Sink
    budget: Budget
    unexpected: Callable[[Exception], bool]
    everywhere: float
    items: Items | None = None
    _culprits: dict[type[Exception], set[str]] = field(default_factory=dict)

    @property
    def stopped(self) -> bool:
        """Whether the same unexpected error came from too many items."""
        return any(len(items) >= self.everywhere for items in self._culprits.values())

    def apply(self, changes: Sequence[Change]) -> Outcome:
        """Apply changes; if the sink raises on several, apply the halves, down to the culprits."""
        if self.stopped:
            return Outcome(
                failures=dict.fromkeys(changes, OutOfTime("stopped: see the error above"))
            )
        try:
            outcome = self.sink.apply(changes, self.budget)
        except Exception as error:
            if len(changes) > 1 and not isinstance(error, OutageError | OutOfTime):
                middle = (len(changes) + 1) // 2
                return self.apply(changes[:middle]) + self.apply(changes[middle:])
            outcome = Outcome(failures=dict.fromkeys(changes, error))
        for change, failure in outcome.failures.items():
            if self.unexpected(failure):
                self._culprits.setdefault(type(failure), set()).add(change.item_id)
        return outcome

    def repair(self, changes: Iterable[Change]) -> dict[str, bool | Exception]:
        """Make the copies of the changes' items what the table says.

        Returns:
            By item: whether its copy differed, or why it could not be repaired. Nothing where the
            sink, or the lack of a table to read, rules repair out.
        """
        results: dict[str, bool | Exception] = {}
        if self.items is None or not isinstance(self.sink, Repairable):
            return results
        for newest, *_ in by_item(changes):
            read_item = partial(self.items.read, newest.raw_keys)
            try:
                results[newest.item_id] = self.sink.repair(
                    newest.item_id, read_item, self.budget, newest
                )
            except Exception as error:
                results[newest.item_id] = error
        return results
