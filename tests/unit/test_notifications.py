"""Notifications are cleared for archived dead letters only; other messages stay."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from dynamodb_streams_cdc.operations.notifications import (
    ClearedNotifications,
    Notification,
    clear_notifications,
    dead_letter_of,
)
from tests.fake_pipeline import BUCKET, pointer

HIDDEN_CALLS = 50
"""How many receives a message stays hidden for."""


@dataclass
class MemoryQueue:
    """A queue in memory, two messages a time; only the last receipt of a message counts."""

    bodies: dict[str, str] = field(default_factory=dict)
    hidden: dict[str, int] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    receipts: dict[str, str] = field(default_factory=dict)
    hides_for: int = HIDDEN_CALLS

    def put(self, *bodies: str) -> None:
        for body in bodies:
            self.bodies[f"m{len(self.bodies)}"] = body

    def receive(self) -> Sequence[Notification]:
        self.hidden = {each: left - 1 for each, left in self.hidden.items() if left > 1}
        found = [each for each in self.bodies if each not in self.hidden][:2]
        self.hidden |= dict.fromkeys(found, self.hides_for)
        for each in found:
            self.receipts[each] = f"{self.receipts.get(each, each)}+"
        return [Notification(each, self.receipts[each], self.bodies[each]) for each in found]

    def delete(self, messages: Sequence[Notification]) -> None:
        for message in messages:
            assert message.receipt == self.receipts[message.id]
            self.bodies.pop(message.id, None)
            self.deleted.append(message.id)

    def put_back(self, messages: Sequence[Notification]) -> None:
        for message in messages:
            if message.receipt == self.receipts[message.id]:
                self.hidden.pop(message.id, None)

    @property
    def visible(self) -> list[str]:
        return [body for each, body in self.bodies.items() if each not in self.hidden]


def keeps(bucket: str, key: str) -> bool:
    return bucket == BUCKET


def down(queue: MemoryQueue, *there: str) -> ClearedNotifications:
    return clear_notifications(queue, keeps, lambda key: key in there)


def test_notifications_of_archived_dead_letters_are_deleted() -> None:
    queue = MemoryQueue()
    queue.put(pointer("a"), pointer("b"), pointer("c"), pointer("d"), pointer("e"))
    assert down(queue, "b", "e") == ClearedNotifications(cleared=3, remaining=2)
    assert queue.visible == [pointer("b"), pointer("e")]


def test_an_empty_queue() -> None:
    assert down(MemoryQueue()) == ClearedNotifications()


def test_duplicates_are_deleted_together_or_not_at_all() -> None:
    queue = MemoryQueue()
    queue.put(pointer("a"), pointer("b"), pointer("a"), pointer("b"))
    assert down(queue, "b") == ClearedNotifications(cleared=2, remaining=2)
    assert queue.visible == [pointer("b"), pointer("b")]


def test_each_dead_letter_is_looked_up_once() -> None:
    queue = MemoryQueue()
    queue.put(*[pointer("a")] * 5, pointer("b"))
    asked: list[str] = []

    def holds(key: str) -> bool:
        asked.append(key)
        return False

    clear_notifications(queue, keeps, holds)
    assert asked == ["a", "b"]


UNKNOWN = [
    "",
    "hello",
    "{",
    "[]",
    "null",
    '"text"',
    "{}",
    '{"detail": 7}',
    '{"detail": {"bucket": {"name": "dead-dead-letters-1a2b"}, "object": {"key": 7}}}',
    '{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "dead-dead-letters-1a2b"}',
    pointer("a", "another-bucket"),
]


@pytest.mark.parametrize("body", UNKNOWN)
def test_a_message_of_another_form_is_left_and_reported(body: str) -> None:
    queue = MemoryQueue()
    queue.put(body, pointer("a"))
    cleared = down(queue)
    assert cleared == ClearedNotifications(cleared=1, remaining=0, unknown=(body[:80],))
    assert queue.visible == [body]


def test_a_kept_message_seen_again_ends_the_run() -> None:
    """A round can take longer than the queue hides messages; it must not go on for ever."""
    queue = MemoryQueue(hides_for=2)
    queue.put(*map(pointer, "abcdefgh"))
    down(queue, *"abcdefgh")
    assert sorted(queue.visible) == sorted(map(pointer, "abcdefgh"))
    assert queue.deleted == []


def test_killed_at_any_call_and_run_again() -> None:
    for point in itertools.count():
        queue = MemoryQueue()
        queue.put(*map(pointer, "abcdef"), "hello")
        calls = itertools.count()

        def holds(key: str, calls: "itertools.count[int]" = calls, point: int = point) -> bool:
            if next(calls) == point:
                raise KeyboardInterrupt
            return key in "bd"

        try:
            clear_notifications(queue, keeps, holds)
        except KeyboardInterrupt:
            left = set(queue.bodies.values())
            assert {pointer("b"), pointer("d"), "hello"} <= left
        else:
            break
        queue.hidden.clear()
        down(queue, "b", "d")
        assert queue.visible == [pointer("b"), pointer("d"), "hello"]
    assert point == 6


def test_keys_are_not_decoded() -> None:
    key = "dead-letters/search/a%2Fb+c d/0001_2024-05-01T12:00:00.000_7.json"
    assert dead_letter_of(pointer(key), keeps) == key
