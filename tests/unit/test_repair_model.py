"""Short stories of one item, by the thousand: gaps in the stream, dead letters, repairs, purges.

Changes are delivered in any order, some twice; some can never be applied and become dead letters;
what happened while no stream was on is repaired by the item's keys. In the end both copies are
right.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from dynamodb_streams_cdc import (
    Aggregation,
    Change,
    Contribution,
    Deadline,
    Image,
    Outcome,
    PermanentError,
    Processor,
    Search,
)
from dynamodb_streams_cdc.change import Attributes
from dynamodb_streams_cdc.control import backfill
from dynamodb_streams_cdc.deserializer import serialize_item
from dynamodb_streams_cdc.sinks.base import TOMBSTONE_SECONDS, TablePage
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters, MemoryIndex, MemoryLedger
from tests.factories import (
    LABEL,
    SOURCE,
    STREAM,
    FakeContext,
    ManualClock,
    as_delivered,
    record,
)

ITEM, KEYS = "orders/S=1", {"id": "1"}
STORIES = 1_500


def contributions(image: Image) -> Contribution:
    return {f"group#{image['group']}": {"items": 1}}


def document(image: Image) -> dict[str, Any]:
    return {"group": image["group"]}


class Sums(Aggregation):
    """A sink to which some changes can never be applied."""

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Outcome:
        return super().apply(_sound(changes), deadline) + _refused(changes)


class Documents(Search):
    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Outcome:
        return super().apply(_sound(changes), deadline) + _refused(changes)


def _is_poison(change: Change) -> bool:
    return change.event_id.endswith("poison")


def _sound(changes: Sequence[Change]) -> list[Change]:
    return [change for change in changes if not _is_poison(change)]


def _refused(changes: Sequence[Change]) -> Outcome:
    poison = filter(_is_poison, changes)
    return Outcome(failures={change: PermanentError("poison") for change in poison})


@dataclass
class Story:
    """One item with its table, its streams and its two copies."""

    rng: random.Random
    clock: ManualClock = field(default_factory=ManualClock)
    item: Image | None = None
    stream: int = 0
    is_on: bool = True
    unseen: bool = False
    sequence: int = 0
    told: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.ledger, self.index = MemoryLedger(), MemoryIndex()
        self.sinks: list[Sums | Documents] = [
            Sums(self.ledger, contributions),
            Documents(self.index, document),
        ]
        self.processors = [
            Processor(
                "copy", SOURCE, sink, MemoryDeadLetters(), clock=self.clock, source_table=self
            )
            for sink in self.sinks
        ]
        self.waiting: list[list[Any]] = [[], []]
        self.delivered: list[list[Any]] = [[], []]
        self.dead_letters: list[list[Any]] = [[], []]

    def read(self, keys: Attributes) -> Image | None:
        return self.item

    def read_many(self, keys: Sequence[Attributes], deadline: Deadline) -> list[Any]:
        return [None if self.item is None else serialize_item(self.item) for _ in keys]

    def scan(self, *_: Any, consistent: bool) -> TablePage:
        return TablePage(self.read_many([{}], Deadline()) if self.item else [], None)

    def run(self) -> None:
        steps = [self.write] * 4 + [self.deliver] * 3 + [self.redrive, self.purge, self.switch]
        for _ in range(self.rng.randint(4, 14)):
            self.rng.choice([*steps, self.repair, self.backfill])()
        if not self.is_on:
            self.switch()
        if self.unseen:
            self.rng.choice([self.repair, self.backfill])()
        if self.unseen:
            self.repair()
        while any(self.waiting):
            self.deliver()
        for copy, records in enumerate(self.delivered):
            for again in records[:1]:
                self.invoke(copy, {"Records": [again]})
        self.redrive()

    def write(self) -> None:
        before, after = (
            self.item,
            self.rng.choice([None, {"id": "1", "group": self.rng.randrange(3)}]),
        )
        if before == after:
            return
        self.item = after
        self.clock.time += self.rng.choice([0, 1, 2])
        self.unseen = self.unseen or not self.is_on
        if not self.is_on:
            self.told["unseen"] += 1
            return
        self.sequence += 1
        kind = "poison" if self.rng.random() < 0.25 else "sound"
        told = record(
            self.sequence,
            before,
            after,
            keys=("id",),
            timestamp=self.clock.time,
            eventID=f"{self.sequence}-{kind}",
            eventSourceARN=self.arn,
        )
        for queue in self.waiting:
            queue.append(told)

    @property
    def arn(self) -> str:
        return STREAM.replace(LABEL, f"2024-05-{self.stream + 1:02}T12:00:00.000")

    def deliver(self) -> None:
        copy = self.rng.randrange(2)
        queue = self.waiting[copy]
        if queue:
            told = queue.pop(self.rng.randrange(len(queue)))
            self.invoke(copy, {"Records": [told]})
            self.delivered[copy].append(told)
            if told["eventID"].endswith("poison"):
                self.dead_letters[copy].append(told)

    def redrive(self) -> None:
        for copy, dead_letters in enumerate(self.dead_letters):
            for dead_letter in self.rng.sample(dead_letters, len(dead_letters)):
                answer = self.invoke(copy, {"operation": "replay", "Records": [dead_letter]})
                assert not answer["failures"]
                dead_letters.remove(dead_letter)
                self.told["redriven"] += 1

    def backfill(self) -> None:
        if self.is_on:
            event = {
                "operation": "backfill",
                "streamArn": self.arn,
                "keys": {"id": "S"},
                "Records": [],
            }
            for copy in range(2):
                answer = self.invoke(copy, event)
                assert (answer["done"], answer["failures"]) == (True, [])
                self.told["filled"] += answer["applied"]
            # What was deleted while no stream was on is repaired by its keys.
            self.unseen = self.unseen and self.item is None

    def repair(self) -> None:
        if self.is_on:
            event = {
                "operation": "repair",
                "countMissing": True,
                "streamArn": self.arn,
                "Records": [{"Keys": as_delivered(KEYS)}],
            }
            repaired = sum(self.invoke(copy, event)["repaired"] for copy in range(2))
            self.told["repaired"] += repaired > 0
            self.unseen = False

    def purge(self) -> None:
        self.clock.time += self.rng.choice([0, 8 * 24 * 3600])
        deadline = Deadline(self.clock)
        self.told["purged"] += any([s.purge(TOMBSTONE_SECONDS, deadline) for s in self.sinks])

    def switch(self) -> None:
        self.is_on = not self.is_on
        self.stream += self.is_on

    def invoke(self, copy: int, event: Any) -> Any:
        answer = self.processors[copy](event, FakeContext(self.clock))
        assert answer["batchItemFailures"] == []
        return answer

    def wrong(self) -> list[str]:
        sums = {name: dict(measures) for name, measures in self.ledger.totals.items() if measures}
        expected = {} if self.item is None else contributions(self.item)
        found = {} if self.item is None else {ITEM: document(self.item)}
        problems = [] if sums == expected else [f"the sums are {sums}, not {expected}"]
        searched = self.index.search()
        return problems + ([] if searched == found else [f"found {searched}, not {found}"])


@pytest.mark.parametrize("part", range(2))
def test_in_the_end_both_copies_are_right(part: int) -> None:
    told: Counter[str] = Counter()
    for seed in range(part, STORIES, 2):
        story = Story(random.Random(seed))
        story.run()
        assert story.wrong() == [], f"story {seed}"
        told.update({name: 1 for name in +story.told})
    steps = ("unseen", "redriven", "repaired", "purged", "filled")
    assert all(told[what] > STORIES / 50 for what in steps)


def test_a_backfill_below_all_streams_leaves_copies_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "floor_of", lambda epoch, label: f"0000/{label}/{'0' * 40}")
    wrong = 0
    for seed in range(STORIES):
        story = Story(random.Random(seed))
        story.run()
        wrong += bool(story.wrong())
    assert wrong
