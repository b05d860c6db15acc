"""Dead-letter notifications: a queue of pointers to dead letters.

The buckets are the truth. A pointer whose dead letter is no longer there has done its work; one
whose dead letter is there goes on ringing. A pointer lives 14 days at most, so a silent bell proves
nothing.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias


class Notification(NamedTuple):
    """A message of the queue; `receipt` is for whoever received it."""

    id: str
    receipt: str
    body: str


class NotificationQueue(Protocol):
    """A queue with pointers."""

    def receive(self) -> Sequence[Notification]:
        """Return some messages and hide them for a while; none if none is visible."""

    def delete(self, messages: Sequence[Notification]) -> None:
        """Delete messages that were received; that one is gone already is success."""

    def put_back(self, messages: Sequence[Notification]) -> None:
        """Make messages that were received visible at once."""


@dataclass(frozen=True)
class ClearedNotifications:
    """What was on the queue.

    Attributes:
        cleared: pointers that were deleted, their dead letters being gone.
        remaining: pointers whose dead letters are there.
        unknown: the beginnings of messages that point at no dead letter of these buckets; they
            stay.
    """

    cleared: int = 0
    remaining: int = 0
    unknown: tuple[str, ...] = ()


Keeps: TypeAlias = Callable[[str, str], bool]
"""Whether a bucket is the one in which the dead letter of this key is stored."""


def clear_notifications(
    queue: NotificationQueue, keeps: Keeps, holds: Callable[[str], bool]
) -> ClearedNotifications:
    """Delete the pointers to dead letters that are gone; leave the others visible.

    `keeps` tells the buckets of dead letters from others, `holds` whether the dead letter of a key
    is there. One who is killed in between leaves messages hidden until the queue shows them again.
    """
    there: dict[str, bool] = {}
    cleared = 0
    kept: dict[str, Notification] = {}
    unknown: list[str] = []
    while messages := queue.receive():
        if any(message.id in kept for message in messages):
            # What was put aside is visible again: the queue has been seen to its end.
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

    Pointers are the `Object Created` events of S3, as EventBridge delivers them
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
