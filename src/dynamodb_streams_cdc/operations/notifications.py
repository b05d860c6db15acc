"""Dead-letter notifications: a queue of pointers to dead letters.

The buckets are the truth. A notification is cleared when its dead letter is gone, and remains while
it is there. A message lives 14 days at most, so an empty queue proves nothing.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias


class Notification(NamedTuple):
    """A message of the queue; `receipt` belongs to this reception of it."""

    id: str
    receipt: str
    body: str


class NotificationQueue(Protocol):
    """A queue of notifications."""

    def receive(self) -> Sequence[Notification]:
        """Return some messages and hide them for a while; none if no message is visible."""

    def delete(self, messages: Sequence[Notification]) -> None:
        """Delete messages that were received; a message that is gone counts as deleted."""

    def put_back(self, messages: Sequence[Notification]) -> None:
        """Make messages that were received visible at once."""


@dataclass(frozen=True)
class ClearedNotifications:
    """Result of clearing a queue.

    Attributes:
        cleared: notifications that were deleted, because their dead letters are gone.
        remaining: notifications of dead letters that are still there.
        unknown: first 80 characters of other messages; these stay on the queue.
    """

    cleared: int = 0
    remaining: int = 0
    unknown: tuple[str, ...] = ()


Keeps: TypeAlias = Callable[[str, str], bool]
"""Tells whether a bucket is the one for dead letters of this key."""


def clear_notifications(
    queue: NotificationQueue, keeps: Keeps, holds: Callable[[str], bool]
) -> ClearedNotifications:
    """Delete the notifications of dead letters that are gone; leave the others visible.

    `holds` tells whether the dead letter of a key exists. A process that is killed leaves messages
    hidden until the queue's visibility timeout.
    """
    there: dict[str, bool] = {}
    cleared = 0
    kept: dict[str, Notification] = {}
    unknown: list[str] = []
    while messages := queue.receive():
        if any(message.id in kept for message in messages):
            # A kept message is visible again, so the whole queue has been read.
            queue.put_back(messages)
            break
        gone: list[Notification] = []
        for message in messages:
            key = dead_letter_of(message.body, keeps)
            if key is not None and key not in there:
                there[key] = holds(key)
            if key is None:
                unknown.append(message.body[:80])
            if key is None or there[key]:
                kept[message.id] = message
            else:
                gone.append(message)
        queue.delete(gone)
        cleared += len(gone)
    queue.put_back(list(kept.values()))
    return ClearedNotifications(cleared, len(kept) - len(unknown), tuple(unknown))


def dead_letter_of(body: str, keeps: Keeps) -> str | None:
    """Return the key that a message points at; None for a message of another form or bucket.

    Notifications are the `Object Created` events of S3, as EventBridge delivers them
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html); keys in them are plain.
    """
    try:
        detail = json.loads(body)["detail"]
        found, key = detail["bucket"]["name"], detail["object"]["key"]
    except (ValueError, LookupError, TypeError):
        return None
    if not (isinstance(found, str) and isinstance(key, str)):
        return None
    return key if keeps(found, key) else None
