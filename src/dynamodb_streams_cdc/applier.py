"""Apply changes to a sink, down to the change at fault, and repair copies of items."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, cast

from dynamodb_streams_cdc.change import Attributes, Change, Image, by_item
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.deserializer import deserialize_item
from dynamodb_streams_cdc.errors import DeadlineExceeded, PermanentError, RetryableError
from dynamodb_streams_cdc.guards.halves import in_halves
from dynamodb_streams_cdc.sinks.base import (
    ItemVersion,
    Outcome,
    Repairable,
    Sink,
    SinkChoice,
    Skip,
    SourceTable,
)

if TYPE_CHECKING:
    from dynamodb_streams_cdc.control.notes import OperatorNotes


@dataclass
class SinkApplier:
    """The changes of one invocation on their way to a sink.

    Attributes:
        sink: the sink, or the choice of one for each item.
        deadline: end of the invocation, less a reserve.
        unexpected: returns whether an error is in no table.
        everywhere: number of distinct items with one unexpected error at which work stops: the sink
            or the code is at fault, not the records.
        source_table: the table, for repairs; without it, no copy is repaired.
        notes: notes of operators; without them, no tombstone is purged.
    """

    sink: Sink | SinkChoice
    deadline: Deadline
    unexpected: Callable[[Exception], bool]
    everywhere: float
    source_table: SourceTable | None = None
    notes: "OperatorNotes | None" = None
    _culprits: dict[type[Exception], set[str]] = field(default_factory=dict)
    _choice: SinkChoice | None = field(default=None, init=False)
    _chosen: dict[str, Sink | Skip] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        # Once: `isinstance` of a protocol makes a hundred calls.
        self._choice = self.sink if isinstance(self.sink, SinkChoice) else None

    @property
    def stopped(self) -> bool:
        """Whether the same unexpected error came from too many items."""
        return any(len(items) >= self.everywhere for items in self._culprits.values())

    def apply(self, changes: Sequence[Change]) -> Outcome:
        """Apply changes; if a sink raises on several, apply the halves, down to the culprits."""
        total = Outcome()
        groups: dict[int, tuple[Sink, list[Change]]] = {}
        for change in changes:
            try:
                sink = self._sink_of(change)
            except PermanentError as error:
                total.failures[change] = error
                continue
            if isinstance(sink, Skip):
                total.skipped += 1
                total.unknown += sink is Skip.UNKNOWN
            else:
                groups.setdefault(id(sink), (sink, []))[1].append(change)
        for sink, group in groups.values():
            total += sum(in_halves(partial(self._apply, sink), group, self._failed), Outcome())
        return total

    def sink_of(self, keys: Image) -> Sink | Skip:
        """Return the sink that holds the item with these keys, or why none does.

        Raises:
            PermanentError: such an item must not be skipped.
        """
        return cast("Sink", self.sink) if self._choice is None else self._choice.sink_of(keys)

    @property
    def sinks(self) -> Sequence[Sink]:
        """The sink, or all that the choice is between."""
        return [cast("Sink", self.sink)] if self._choice is None else [*self._choice.sinks.values()]

    @property
    def sinks_by_entity(self) -> Mapping[str, Sink]:
        """The sinks that the choice is between, by entity; none without a choice."""
        return {} if self._choice is None else self._choice.sinks

    def entity_of(self, keys: Image) -> str | None:
        """Return the entity of the item with these keys; None for none, and without a choice."""
        return None if self._choice is None else self._choice.entity_of(keys)

    def holds(self, change: Change) -> bool:
        """Return whether a sink holds the change's item; also if it may not be skipped."""
        try:
            return not isinstance(self._sink_of(change), Skip)
        except PermanentError:
            return True

    def _sink_of(self, change: Change) -> Sink | Skip:
        """Return the sink of a change's item: a batch asks twice, and has items more than once."""
        found = self._chosen.get(change.item_id)
        if found is None:
            found = self._chosen[change.item_id] = self.sink_of(change.keys)
        return found

    def _apply(self, sink: Sink, changes: Sequence[Change]) -> Outcome:
        if self.stopped:
            error = DeadlineExceeded("stopped: see the error above")
            return Outcome(failures=dict.fromkeys(changes, error))
        try:
            # A list of its own: a change that a sink takes from it is not lost if it then raises.
            outcome = sink.apply(list(changes), self.deadline)
        finally:
            for change in changes:
                change.release_images()
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
        """Whether copies can be repaired: a sink knows how, and there is a table to read."""
        return self.source_table is not None and any(
            isinstance(sink, Repairable) for sink in self.sinks
        )

    def repair(self, changes: Iterable[Change]) -> dict[str, bool | Exception]:
        """Repair the copies of the changes' items from the table.

        Returns:
            By item: whether its copy differed, or the error of its repair. An item whose sink keeps
            no copies is left out, and every item if there is no table.
        """
        newest = [group[0] for group in by_item(changes)]
        if not newest or not self.repairs:
            return {}
        return {
            each.item_id: self.repair_item(ItemVersion.of(each), each.raw_keys)
            for each in newest
            if self._repairable(each) is not None
        }

    def repair_item(self, known: ItemVersion, keys: Attributes) -> bool | Exception:
        """Repair the copy of the item with these keys from the table; see `Repairable`.

        There is nothing to repair, and nothing differs, if no sink holds the item.
        """
        assert self.source_table is not None
        if self.stopped:
            return DeadlineExceeded("stopped: see the error above")
        read_item = partial(self.source_table.read, keys)
        try:
            sink = self.sink_of(deserialize_item(keys, "Keys"))
            if not isinstance(sink, Repairable):
                return False
            return sink.repair(known.item_id, read_item, self.deadline, known)
        except Exception as error:
            self._note(known.item_id, error)
            return error

    def retains(self, change: Change) -> bool:
        """Return whether the expiry of an item has to be applied: a repair would not do."""
        sink = self._repairable(change) if change.expired else None
        return sink is not None and sink.retains

    def _repairable(self, change: Change) -> Repairable | None:
        """Return the sink that holds a change's item, if its copies can be repaired."""
        try:
            sink = self._sink_of(change)
        except PermanentError:
            return None
        return sink if isinstance(sink, Repairable) else None
