"""Writes stories to the tables as an application does: several at a time, each one in order.

Writes are counted as they are acknowledged: audit must have one entry for each effective write of
an item. Stories are read as they are needed, so memory grows by one counter for each item.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from boto3.dynamodb.types import TypeSerializer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

    from local.items import Image
    from local.workload.stories import ItemStory

WORKERS = 4
OPEN_STORIES = 12
_PROGRESS_EVERY = 0.2  # seconds
_REPEATED = 1 / 20  # share of the stories with a repeated write
_HURRY = 1 / 16  # probability, for each state of a story, that its writes follow each other quickly


@dataclass(frozen=True, slots=True)
class Step:
    """One write: the item as it is before and after it, None where it does not exist.

    `quickly`: directly after the step before, without a write of another item in between.
    """

    operation: Literal["put", "update", "delete"]
    before: Image | None
    after: Image | None
    quickly: bool = False

    @property
    def effective(self) -> bool:
        """Whether it changes the item: without a change there is no stream record."""
        return self.before != self.after


def steps_of(story: ItemStory, seed: int) -> list[Step]:
    """Return the writes of a story: put where the item does not exist, update where it does.

    A state that equals the one before it repeats the write before it, without effect; in a few
    stories one write is repeated so. The longer a story, the likelier its writes follow each other
    quickly, so that a batch holds many changes of one item.
    """
    random, states = Random(f"{seed}/{story.item}"), list(story.states)
    hurried = random.random() < _HURRY * len(states)
    if random.random() < _REPEATED and not story.poisoned:
        place = random.randrange(len(states))
        states.insert(place, states[place])
    steps: list[Step] = []
    for before, after in pairwise((None, *states)):
        operation: Literal["put", "update", "delete"]
        if after is None:
            operation = "delete"
        elif before is None:
            operation = "put"
        elif before == after:
            # An update needs an attribute that is not a key.
            operation = steps[-1].operation if len(after) > len(story.table.keys) else "put"
        else:
            operation = "update"
        steps.append(Step(operation, before, after, quickly=hurried and bool(steps)))
    return steps


@dataclass(slots=True)
class Written:
    """Acknowledged writes: `effective` counts the writes of each item that changed it."""

    stories: int = 0
    writes: int = 0
    deletes: int = 0
    effective: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def __add__(self, other: Written) -> Written:
        """Return the sum of two counts of different items."""
        return Written(
            self.stories + other.stories,
            self.writes + other.writes,
            self.deletes + other.deletes,
            {**self.effective, **other.effective},
            self.seconds + other.seconds,
        )

    @property
    def changes(self) -> int:
        return sum(self.effective.values())

    @property
    def without_effect(self) -> int:
        return self.writes - self.changes


@dataclass(frozen=True, slots=True)
class Finished:
    """A story whose last write was acknowledged, at `acknowledged` on `time.monotonic()`."""

    story: ItemStory
    acknowledged: float

    @property
    def item(self) -> str:
        return self.story.item


class Writer:
    """Writes stories; one instance runs once.

    `tables` has the physical name of each table by its logical name. Each of the workers has
    `open_stories` under way at once, and rests for `pause` seconds after each write.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        tables: Mapping[str, str],
        *,
        seed: int,
        workers: int = WORKERS,
        open_stories: int = OPEN_STORIES,
        pause: float = 0.0,
        stop: threading.Event | None = None,
        on_finished: Callable[[Finished], None] = lambda finished: None,
    ) -> None:
        self._client = client
        self._tables = tables
        self._seed = seed
        self._workers = workers
        self._open_stories = open_stories
        self._pause = pause
        self._stop = stop or threading.Event()
        self._on_finished = on_finished
        self._serialize = TypeSerializer().serialize
        self._taking = threading.Lock()
        self._parts = [Written() for _ in range(workers)]

    def run(
        self, stories: Iterator[ItemStory], progress: Callable[[int], None] = lambda begun: None
    ) -> Written:
        """Return when all is acknowledged, or soon after `stop` is set; raise a write's error.

        `progress` is called from this thread with the number of stories begun so far.
        """
        started = time.monotonic()
        with ThreadPoolExecutor(self._workers, thread_name_prefix="traffic") as pool:
            try:
                running = {
                    pool.submit(self._work, worker, stories) for worker in range(self._workers)
                }
                while running:
                    done, running = wait(running, _PROGRESS_EVERY, return_when=FIRST_EXCEPTION)
                    for future in done:
                        future.result()
                    progress(sum(part.stories for part in self._parts))
            except BaseException:
                self._stop.set()
                raise
        return self._sum(time.monotonic() - started)

    def _sum(self, seconds: float) -> Written:
        return sum(self._parts, Written(seconds=seconds))

    def _work(self, worker: int, stories: Iterator[ItemStory]) -> None:
        """Keep a few stories open and advance one of them at a time."""
        random = Random(f"{self._seed}/{worker}")
        written = self._parts[worker]
        opened: list[tuple[ItemStory, deque[Step]]] = []
        exhausted = False
        while not self._stop.is_set():
            while not exhausted and len(opened) < self._open_stories:
                story = self._take(stories)
                exhausted = story is None
                if story is not None:
                    opened.append((story, deque(steps_of(story, self._seed))))
                    written.stories += 1
            if not opened:
                return
            position = random.randrange(len(opened))
            story, remaining = opened[position]
            self._advance(story, remaining, written)
            if not remaining:
                opened[position] = opened[-1]
                opened.pop()
                self._on_finished(Finished(story, time.monotonic()))
            if self._pause:
                self._stop.wait(self._pause)

    def _take(self, stories: Iterator[ItemStory]) -> ItemStory | None:
        with self._taking:
            return next(stories, None)

    def _advance(self, story: ItemStory, remaining: deque[Step], written: Written) -> None:
        """Perform the next step of a story, and those that follow it quickly."""
        while remaining:
            step = remaining.popleft()
            self._perform(story, step)
            written.writes += 1
            if step.effective:
                written.effective[story.item] = written.effective.get(story.item, 0) + 1
                written.deletes += step.after is None
            if not (remaining and remaining[0].quickly):
                return

    def _perform(self, story: ItemStory, step: Step) -> None:
        table, keys = self._tables[story.table.name], story.keys
        if step.after is None:
            self._client.delete_item(TableName=table, Key=self._typed(keys))
        elif step.operation == "put":
            self._client.put_item(TableName=table, Item=self._typed(step.after))
        else:
            # A write that changes nothing sets the same attributes again.
            before = step.before if step.effective and step.before else {}
            update = update_of(before, step.after, keys)
            self._client.update_item(TableName=table, Key=self._typed(keys), **update)

    def _typed(self, attributes: Image) -> dict[str, Any]:
        return {name: self._serialize(value) for name, value in attributes.items()}


def update_of(before: Image, after: Image, keys: Image) -> dict[str, Any]:
    """Return the arguments of `update_item` that set the changed attributes and remove others."""
    serialize = TypeSerializer().serialize
    changed = [n for n in after if n not in keys and (n not in before or before[n] != after[n])]
    gone = [name for name in before if name not in after]
    names = {name: f"#{number}" for number, name in enumerate([*changed, *gone])}
    parts = []
    if changed:
        parts.append("SET " + ", ".join(f"{names[n]} = :{names[n][1:]}" for n in changed))
    if gone:
        parts.append("REMOVE " + ", ".join(names[name] for name in gone))
    values = {f":{names[name][1:]}": serialize(after[name]) for name in changed}
    return {
        "UpdateExpression": " ".join(parts),
        "ExpressionAttributeNames": {short: name for name, short in names.items()},
        **({"ExpressionAttributeValues": values} if values else {}),
    }
