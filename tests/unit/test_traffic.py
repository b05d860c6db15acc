"""Stories are written in order, several at a time, with any keys and to several tables."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from itertools import islice, pairwise
from random import Random
from typing import TYPE_CHECKING, Any, cast

import pytest

from dynamodb_streams_cdc import deserialize_item
from dynamodb_streams_cdc.entities import Entity, Table
from dynamodb_streams_cdc.testing.stories import StoriesError, Story
from local.items import item_of
from local.workload.stories import read_stories
from local.workload.traffic import Finished, Writer, Written, steps_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mypy_boto3_dynamodb import DynamoDBClient

    from local.workload.stories import ItemStory

ROOMS = Table("rooms", keys={"hotel": "S", "number": "N"}, entities=(Entity("room"),))
GUESTS = Table("guests", keys={"id": "B"}, entities=(Entity("guest"),))
TABLES = (ROOMS, GUESTS)
NAMES = {"rooms": "rooms-1", "guests": "guests-1"}


def stories(table: str, seed: int, data: Path | None) -> Iterator[Story]:
    for number in range(1000):
        random = Random(f"{table}/{number}")
        keys: Any = {"hotel": "H", "number": number} if table == "rooms" else {"id": b"%d" % number}
        states: list[Any] = []
        for step in range(random.randint(1, 6)):
            note = {"note": 1} if step % 2 else {}
            states.append({**keys, "step": step, "status": "open", **note})
            if random.random() < 0.1:
                states.append(states[-1])
        if random.random() < 0.1:
            states += [None, None]
        yield Story(states)


def told(limit: int | None = None) -> Iterator[ItemStory]:
    return islice(read_stories(TABLES, stories, 1, None), limit)


class FakeTables:
    """Tables in memory, which take the three kinds of writes."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.changes: Counter[str] = Counter()
        self.writers: dict[str, set[int]] = defaultdict(set)
        self.fail_after: int | None = None
        self._lock = threading.Lock()

    def put_item(self, *, TableName: str, Item: dict[str, Any]) -> None:
        self._keep(self._name(TableName, Item), Item)

    def delete_item(self, *, TableName: str, Key: dict[str, Any]) -> None:
        self._keep(self._name(TableName, Key), None)

    def update_item(
        self,
        *,
        TableName: str,
        Key: dict[str, Any],
        UpdateExpression: str,
        ExpressionAttributeNames: dict[str, str],
        ExpressionAttributeValues: dict[str, Any] | None = None,
    ) -> None:
        name = self._name(TableName, Key)
        item = dict(self.items[name])
        sets, _, removes = UpdateExpression.partition("REMOVE ")
        for part in filter(None, sets.removeprefix("SET ").strip().split(", ")):
            short, value = part.split(" = ")
            item[ExpressionAttributeNames[short]] = (ExpressionAttributeValues or {})[value]
        for short in filter(None, removes.split(", ")):
            del item[ExpressionAttributeNames[short]]
        self._keep(name, item)

    def _name(self, table: str, key: dict[str, Any]) -> str:
        return item_of({"rooms-1": ROOMS, "guests-1": GUESTS}[table], deserialize_item(key))

    def _keep(self, name: str, item: dict[str, Any] | None) -> None:
        with self._lock:
            if self.fail_after is not None and sum(self.changes.values()) >= self.fail_after:
                msg = "the table is gone"
                raise ConnectionError(msg)
            self.writers[name].add(threading.get_ident())
            self.changes[name] += self.items.get(name) != item
            if item is None:
                self.items.pop(name, None)
            else:
                self.items[name] = item


def write(tables: FakeTables, stories: Iterator[ItemStory], **options: Any) -> Written:
    return Writer(cast("DynamoDBClient", tables), NAMES, seed=1, **options).run(stories)


def test_a_story_becomes_puts_updates_and_deletes() -> None:
    room = {"hotel": "H", "number": 7}
    free, taken = {**room, "free": True}, {**room, "free": False}

    def one(table: str, seed: int, data: Path | None) -> Iterator[Story]:
        yield Story([free, free, taken, taken, None, None, room, room])

    [story] = read_stories([ROOMS], one, 1, None)

    assert [(each.operation, each.effective) for each in steps_of(story, 1)] == [
        ("put", True),
        ("put", False),
        ("update", True),
        ("update", False),
        ("delete", True),
        ("delete", False),
        ("put", True),
        ("put", False),
    ]
    tables = FakeTables()
    assert write(tables, iter([story])).effective == {"rooms/S=H/N=7": 4}
    assert list(tables.items.values()) == [{"hotel": {"S": "H"}, "number": {"N": "7"}}]


def test_some_writes_are_repeated_though_no_story_says_so() -> None:
    def plain(table: str, seed: int, data: Path | None) -> Iterator[Story]:
        keys = ({"hotel": "H", "number": number} for number in range(1000))
        return (Story([{**each, "n": 1}, {**each, "n": 2}, None]) for each in keys)

    steps = [steps_of(story, 1) for story in read_stories([ROOMS], plain, 1, None)]

    repeated = [len(each) for each in steps if not all(step.effective for step in each)]
    assert 25 <= len(repeated) <= 100
    assert set(repeated) == {4}
    assert all(sum(step.effective for step in each) == 3 for each in steps)


def test_tables_end_with_the_last_states() -> None:
    tables = FakeTables()

    write(tables, told(400))

    wanted = {story.item: story.last for story in told(400) if story.last is not None}
    assert {name.partition("/")[0] for name in wanted} == {"rooms", "guests"}
    assert {name: deserialize_item(item) for name, item in tables.items.items()} == wanted


def test_writes_are_counted_by_item() -> None:
    tables, finished = FakeTables(), list[Finished]()

    written = write(tables, told(300), on_finished=finished.append)

    assert written.effective == tables.changes
    assert written.changes == sum(tables.changes.values())
    assert written.stories == 300 == len(tables.items) + written.deletes
    assert written.without_effect > 0
    assert len({each.item for each in finished}) == 300
    assert all(len(threads) == 1 for threads in tables.writers.values())


def test_different_items_are_written_at_the_same_time() -> None:
    class Rendezvous(FakeTables):
        together = threading.Barrier(2, timeout=10)

        def put_item(self, *, TableName: str, Item: dict[str, Any]) -> None:
            if not self.items:
                self.together.wait()
            super().put_item(TableName=TableName, Item=Item)

    # Alone, the first write would wait for a second one in vain.
    written = write(Rendezvous(), told(20), workers=2)

    assert written.stories == 20


def test_an_idle_write_to_the_table_changes_nothing() -> None:
    """The fake counts changes by comparing items, the writer by its plan."""
    tables = FakeTables()
    idle = [story for story in told(300) if not all(step.effective for step in steps_of(story, 1))]

    written = write(tables, iter(idle))

    assert written.writes > written.changes == sum(tables.changes.values())


def test_no_write_comes_between_quick_changes() -> None:
    written: list[str] = []

    class Log(FakeTables):
        def _keep(self, name: str, item: dict[str, Any] | None) -> None:
            super()._keep(name, item)
            written.append(name)

    write(Log(), told(300), workers=1)

    hurried, longest = 0, 0
    for story in told(300):
        steps = steps_of(story, 1)
        positions = [position for position, each in enumerate(written) if each == story.item]
        assert len(positions) == len(steps)
        for step, (before, after) in zip(steps[1:], pairwise(positions), strict=True):
            hurried += step.quickly
            assert after == before + 1 or not step.quickly
        longest = max(longest, sum(step.quickly for step in steps))
    assert hurried > 10
    assert longest >= 5
    assert sum(before != after for before, after in pairwise(written)) > 500


def test_one_failing_write_stops_the_others() -> None:
    class Once(FakeTables):
        failed = False

        def put_item(self, *, TableName: str, Item: dict[str, Any]) -> None:
            if len(self.items) >= 50 and not self.failed:
                self.failed = True
                msg = "this one only"
                raise ConnectionError(msg)
            super().put_item(TableName=TableName, Item=Item)

    tables = Once()

    with pytest.raises(ConnectionError, match="this one only"):
        write(tables, told())

    assert len(tables.items) < 1000


def test_a_failing_write_ends_the_traffic_with_its_error() -> None:
    tables = FakeTables()
    tables.fail_after = 50

    with pytest.raises(ConnectionError, match="the table is gone"):
        write(tables, told())

    assert 50 <= sum(tables.changes.values()) < 60


def test_a_story_that_cannot_be_read_ends_the_traffic() -> None:
    def failing(table: str, seed: int, data: Path | None) -> Iterator[Story]:
        yield from islice(stories(table, seed, data), 20)
        message = "x, line 3: expected a date."
        raise StoriesError(message)

    with pytest.raises(StoriesError, match="line 3"):
        write(FakeTables(), read_stories(TABLES, failing, 1, None))


def test_stopping_ends_the_traffic_early() -> None:
    stop, tables = threading.Event(), FakeTables()

    written = write(tables, told(), stop=stop, on_finished=lambda _: stop.set())

    assert 0 < written.stories < 200
    assert written.effective == tables.changes
