"""Rebuilds of an index, by the hundred, while items are written and deleted.

The functions receive changes once, twice or late, look for a second index when their ten seconds
are over, and die between two requests. The operator is interrupted, and a second one works at the
same time. Live steps come between any two requests of the rebuild. In the end both indexes equal
the table, also after a rollback and after changes that are delivered once more.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from zlib import crc32

import pytest

from dynamodb_streams_cdc import Deadline, Image, Processor, Search, serialize_item
from dynamodb_streams_cdc.change import Attributes
from dynamodb_streams_cdc.control import index_rebuild
from dynamodb_streams_cdc.control.functions import InvocationFailed
from dynamodb_streams_cdc.identity import floor_of
from dynamodb_streams_cdc.operations import rebuild_search
from dynamodb_streams_cdc.operations.jobs import Job
from dynamodb_streams_cdc.operations.rebuild_search import RebuildSearch
from dynamodb_streams_cdc.sinks.base import ItemVersion, TablePage
from dynamodb_streams_cdc.sinks.comparison import Place, Segment
from dynamodb_streams_cdc.sinks.documents import Held, Pair
from dynamodb_streams_cdc.sinks.written_indexes import WrittenIndexes
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters, MemoryIndex
from tests.factories import LABEL, SOURCE, STREAM, FakeContext, ManualClock, record
from tests.schedules import schedules

SCHEDULES = schedules(800)
PARTS = max(1, SCHEDULES // 200)
MUTANTS_SCHEDULES = 300
ITEMS = 4


class Killed(BaseException):
    """The process is gone."""


def document(image: Image) -> dict[str, Any] | None:
    return None if image["group"] == "hidden" else {"group": image["group"]}


@dataclass
class Interrupted(MemoryIndex):
    """An index between whose requests others come to act."""

    interrupt: Callable[[], None] = lambda: None

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        if name not in ("upsert", "read", "replace", "read_many", "walk", "pair", "swap", "begin"):
            return found

        def request(*arguments: Any, **options: Any) -> Any:
            self.interrupt()
            return found(*arguments, **options)

        return request

    def pair(self, deadline: Deadline) -> Pair | None:
        pair = super().pair(deadline)
        if pair is None:
            return None
        live, second = (
            Interrupted(each.documents, interrupt=self.interrupt)
            for each in pair
            if isinstance(each, MemoryIndex)
        )
        return Pair(live, second)


@dataclass
class Clock(ManualClock):
    """A clock on which others act while one sleeps."""

    act: Callable[[float], None] = lambda seconds: None

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.act(seconds)


@dataclass
class Story:
    """A table of a few items, its index, and the functions that write it."""

    rng: random.Random
    items: dict[str, Image] = field(default_factory=dict)
    history: dict[str, list[Image | None]] = field(default_factory=dict)
    queue: list[Any] = field(default_factory=list)
    delivered: list[Any] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    sequence: int = 0
    depth: int = 0
    calls_to_live: int | None = None

    def __post_init__(self) -> None:
        self.traffic = self.rng.choice([0.25, 0.02])
        self.clock = Clock(act=self.meanwhile)
        self.index = Interrupted(interrupt=self.between)
        self.functions = [
            Processor(
                "search",
                SOURCE,
                Search(self.index, document),
                MemoryDeadLetters(),
                clock=self.clock,
                source_table=self,
            )
            for _ in range(3)
        ]

    # The table

    def read(self, keys: Attributes) -> Image | None:
        self.between()
        return self.items.get(keys["id"]["S"])

    def read_many(
        self, keys: Sequence[Attributes], deadline: Deadline
    ) -> Sequence[Attributes | None]:
        found = [self.read(each) for each in keys]
        return [None if image is None else serialize_item(image) for image in found]

    def scan(
        self,
        segment: Segment,
        place: Place | None,
        most: int,
        deadline: Deadline,
        *,
        consistent: bool,
    ) -> TablePage:
        self.between()
        left = sorted(
            name
            for name in self.items
            if crc32(name.encode()) % segment.of == segment.number
            and (place is None or name > place)
        )
        page = [serialize_item(self.items[name]) for name in left[:most]]
        return TablePage(page, left[most - 1] if len(left) > most else None)

    # What happens meanwhile

    def between(self) -> None:
        """Die here, or let others act."""
        if self.calls_to_live is not None:
            self.calls_to_live -= 1
            if self.calls_to_live < 0:
                self.calls_to_live = None
                raise Killed
        if self.depth < 2 and self.rng.random() < self.traffic:
            self.act()

    def meanwhile(self, seconds: float) -> None:
        """Let others act while one sleeps; changes are delivered within five seconds."""
        if self.depth == 0:
            if self.rng.random() < self.traffic / 2:
                self.act()
            if seconds >= 5:
                self.drain()

    def act(self) -> None:
        self.depth += 1
        try:
            steps = [self.write] * 3 + [self.deliver] * 3 + [self.again, self.pass_time]
            self.rng.choice(steps)()
        finally:
            self.depth -= 1

    def pass_time(self) -> None:
        self.clock.time += self.rng.choice([0.5, 3, 11])

    def write(self) -> None:
        name = str(self.rng.randrange(ITEMS))
        groups = [None, None, "a", "b", "hidden"]
        group = self.rng.choice(groups)
        before = self.items.get(name)
        after = None if group is None else {"id": name, "group": group}
        if before == after:
            return
        if after is None:
            del self.items[name]
        else:
            self.items[name] = after
        self.history.setdefault(name, []).append(after)
        self.sequence += 1
        self.queue.append(
            record(self.sequence, before, after, keys=("id",), timestamp=self.clock.time)
        )

    def deliver(self) -> None:
        """Deliver the first change of an item; the function may die of it."""
        if not self.queue:
            return
        name = self.rng.choice(self.queue)["dynamodb"]["Keys"]
        first = next(each for each in self.queue if each["dynamodb"]["Keys"] == name)
        if self.rng.random() < 0.2:
            self.calls_to_live = self.rng.randrange(4)
        try:
            done = self.invoke_any({"Records": [first]})["batchItemFailures"] == []
        except Killed:
            self.told["killed"] += 1
            return
        finally:
            self.calls_to_live = None
        if done and first in self.queue:
            self.queue.remove(first)
            self.delivered.append(first)

    def again(self) -> None:
        if self.delivered:
            self.told["again"] += 1
            self.invoke_any({"Records": [self.rng.choice(self.delivered)]})

    def drain(self) -> None:
        self.depth += 1
        while self.queue:
            self.deliver()
        self.depth -= 1

    def invoke_any(self, event: Mapping[str, Any]) -> Any:
        return self.rng.choice(self.functions)(event, FakeContext(self.clock))

    def invoke(self, processor: str, event: Mapping[str, Any]) -> Any:
        """Answer an operator."""
        try:
            return self.functions[0](event, FakeContext(self.clock, seconds=1e6))
        except Killed as error:
            message = "the function died"
            raise InvocationFailed(message) from error

    # The rebuild

    def rebuild(self, operator: str, progress: Callable[[int, str], None]) -> RebuildSearch:
        def job(name: str, asked: Mapping[str, Any]) -> Job:
            return Job(f"{operator}-{name}", asked)

        work = RebuildSearch(self, "search", "items", STREAM, {"id": "S"}, job, clock=self.clock)
        work.workers, work.segments, work.progress = 1, 2, progress
        return work

    def run(self) -> None:
        for _ in range(self.rng.randrange(5, 25)):
            self.rng.choice([self.write, self.deliver, self.again, self.pass_time])()
        kind = self.rng.choice(["plain", "interrupted", "two operators"])
        self.told[kind] += 1

        due = self.rng.choice([1, 5, 30, 76, 78, 80, 82])

        def disturb(read: int, phase: str) -> None:
            nonlocal due
            due -= 1
            if due == 0 and kind == "interrupted":
                raise KeyboardInterrupt
            if due == 0 and kind == "two operators":
                self.rebuild("other", lambda read, phase: None).run()

        try:
            self.report = self.rebuild("one", disturb).run()
        except KeyboardInterrupt:
            again = self.rng.choice(["one", "other"])
            self.report = self.rebuild(again, lambda read, phase: None).run()

    def wrong(self) -> Iterator[str]:
        """Yield what is wrong with the indexes once every change is delivered."""
        if self.index.live != 2:
            yield f"not swapped: {self.report.problems}"
            return
        yield from self.wrong_now("after the swap")
        quiet = self.rebuild("one", lambda read, phase: None)
        quiet.rollback()
        yield from self.wrong_now("after the rollback")
        self.index.swap(1, 2, Deadline(self.clock))
        quiet.finish()
        yield from self.wrong_now("after the end")
        if self.index.others:
            yield "the old index is still there"

    def wrong_now(self, when: str) -> Iterator[str]:
        for _ in range(self.rng.randrange(4)):
            self.act()
        self.depth = 2  # no one acts between two requests any more
        self.drain()
        for each in self.rng.sample(self.delivered, len(self.delivered) // 3):
            self.invoke_any({"Records": [each]})
        self.depth = 0
        expected = {
            f"orders/S={name}": shown
            for name, image in self.items.items()
            if (shown := document(image)) is not None
        }
        indexes = {"live": self.index.documents}
        if self.index.second is not None:
            indexes["second"] = self.index.others[self.index.second]
        for which, documents in indexes.items():
            found = MemoryIndex(documents).search()
            if found != expected:
                yield f"{when}, the {which} index shows {found}, the table says {expected}"


def told_by(seed: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Story, list[str]]:
    monkeypatch.setenv("CDC_JOBS", str(folder / str(seed)))
    story = Story(random.Random(seed))
    story.run()
    return story, list(story.wrong())


@pytest.mark.parametrize("part", range(PARTS))
def test_both_indexes_equal_the_table_after_a_rebuild(
    part: int, jobs_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: Counter[str] = Counter()
    for seed in range(part, SCHEDULES, PARTS):
        story, wrong = told_by(seed, jobs_folder, monkeypatch)
        assert wrong == [], f"story {seed}"
        told.update({name: 1 for name in +story.told})
    kinds = ("plain", "interrupted", "two operators", "killed", "again")
    assert all(told[kind] > SCHEDULES / 40 for kind in kinds), told


def at_the_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    def floor(item: str, held: Held | None) -> ItemVersion | None:
        return None if held is None else ItemVersion(item, floor_of(SOURCE.epoch, LABEL), 0.0)

    monkeypatch.setattr(index_rebuild, "item_version_of", floor)


def without_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild_search, "NOTICE_SECONDS", 0.0)


def without_tombstones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_rebuild._Copy, "tombstones", lambda *_: (0, None))


def with_eventually_consistent_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_many(
        story: Story, keys: Sequence[Attributes], deadline: Deadline
    ) -> Sequence[Attributes | None]:
        states = [story.history[each["id"]["S"]][-2:] for each in keys]
        images = [story.rng.choice(each) for each in states]
        return [None if image is None else serialize_item(image) for image in images]

    monkeypatch.setattr(Story, "read_many", read_many)


def with_the_item_before_its_document(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the items first, and use what was read."""
    items = index_rebuild._Copy.items

    def early(copy: Any, keys: Sequence[Attributes]) -> None:
        read = list(copy.rebuild.table.read_many(keys, copy.rebuild.applier.deadline))
        for _ in range(6):
            copy.rebuild.table.act()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Story, "read_many", lambda *_: read)
            items(copy, keys)

    monkeypatch.setattr(index_rebuild._Copy, "items", early)


def without_the_old_index_after_the_swap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the live index alone once it is the new one."""
    pair = WrittenIndexes.pair

    def until_the_swap(written: WrittenIndexes, deadline: Deadline) -> Pair | None:
        return None if cast("Interrupted", written.index).live == 2 else pair(written, deadline)

    monkeypatch.setattr(WrittenIndexes, "pair", until_the_swap)


@pytest.mark.parametrize(
    ("mutate", "known"),
    [
        (at_the_floor, 45),
        (without_the_wait, 3),
        (without_tombstones, 126),
        (with_eventually_consistent_reads, 1),
        (with_the_item_before_its_document, 175),
        (without_the_old_index_after_the_swap, 1),
    ],
)
def test_without_a_rule_a_story_ends_wrong(
    mutate: Callable[[pytest.MonkeyPatch], None],
    known: int,
    jobs_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mutate(monkeypatch)
    seeds = [known, *range(MUTANTS_SCHEDULES)]
    stories = (told_by(seed, jobs_folder, monkeypatch)[1] for seed in seeds)
    assert any(stories), "a rule that no schedule needs, or schedules too tame"
