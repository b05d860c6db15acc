"""A breaker: if many items share an error, the code is at fault and no dead letter is written.

One record that can never be applied becomes a dead letter at once. When most records become dead
letters for one reason, the reason is not in the records: a deployed bug, a mapping of the index
that fits no document, a writer that changed the form of every item. Then every change of the shard
would go through the dead letters, and through a redrive.

The breaker remembers the last outcome of each of the `window` most recent distinct items, in the
memory of a warm function instance. It is *open* for a reason while

- at least `least` items fail for this reason, and
- they are more than the `share` of the items

of this batch, or of all that it remembers. The batch comes first, so every instance holds a batch
that fails. Small batches are judged together.

While it is open, no record becomes a dead letter for this reason: the processor reports it, Lambda
delivers it and all behind it again, and the other records of the batch are applied. A record that
comes again is the same item, and counts once.

Lambda delivers a held batch again as it is, from its first failure on: no healthy item and no
correction joins it. It goes on after

- a deployment that applies these items, or another `share` in the function's settings
- a correction in the same batch, behind the failing change: a sink applies an item's newest change
- patience: a record that is older than 15 minutes passes while fewer than `many` items fail. A few
  bad records, alone in a quiet table, do not wait for healthy ones that never come
- the mapping: after 20 hours it writes the batch to the on-failure bucket

An instance that starts remembers nothing, so where every batch has fewer than `least` items, each
instance lets `least - 1` of them through before it opens.
"""

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

LEAST = 5
"""Distinct items with one error from which on the code is at fault, if they are the majority."""

SHARE = 0.5
"""The share of recent items that may become dead letters for one reason."""

MANY = 20
"""Failing items from which on age does not let a record pass."""

WINDOW = 100
"""How many distinct items are remembered: those of a full batch of the deployed mappings."""


@dataclass
class Breaker:
    """The last outcome of recent items; see the module's text.

    Attributes:
        share: above which the breaker opens, 0 to 1; with 1 it never does.
        least: distinct failing items below which it never opens.
        many: distinct failing items from which on it holds old records too.
        window: distinct items that are remembered; a larger batch is remembered whole.
    """

    share: float = SHARE
    least: int = LEAST
    many: int = MANY
    window: int = WINDOW
    _reasons: OrderedDict[str, str | None] = field(default_factory=OrderedDict, init=False)
    _failing: Counter[str] = field(default_factory=Counter, init=False)
    _batch: Collection[str] = field(default=(), init=False)

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            message = f"share: a part of the recent items, from 0 to 1, got {self.share}"
            raise ValueError(message)

    def deliver(self, items: Iterable[str]) -> None:
        """Remember the items of a batch as healthy, until they fail."""
        self._batch = arrived = dict.fromkeys(items)
        for item in arrived:
            self._set(item, None)
        while len(self._reasons) > max(self.window, len(arrived)):
            _, reason = self._reasons.popitem(last=False)
            self._count(reason, -1)

    def fail(self, item: str, reason: str) -> None:
        """Remember that an item of the last batch would become a dead letter, and why."""
        self._set(item, reason)

    def failing(self, reason: str) -> tuple[int, int]:
        """Return how many recent items fail for a reason, and how many there are."""
        return self._failing[reason], len(self._reasons)

    def is_open(self, reason: str) -> bool:
        """Return whether too many items of this batch, or of the recent ones, fail this way."""
        here = sum(self._reasons.get(item) == reason for item in self._batch)
        return any(
            failing >= self.least and failing > self.share * seen
            for failing, seen in ((here, len(self._batch)), self.failing(reason))
        )

    def holds(self, reason: str, *, overdue: bool) -> bool:
        """Return whether a record must not become a dead letter for this reason now.

        `overdue`: whether the record is older than 15 minutes.
        """
        return self.is_open(reason) and not (overdue and self._failing[reason] < self.many)

    def _set(self, item: str, reason: str | None) -> None:
        self._count(self._reasons.pop(item, None), -1)
        self._reasons[item] = reason
        self._count(reason, 1)

    def _count(self, reason: str | None, by: int) -> None:
        if reason is not None:
            self._failing[reason] += by
