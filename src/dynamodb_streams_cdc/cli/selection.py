"""Filters of dead letters, and the properties of a dead letter that they read."""

import hashlib
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dynamodb_streams_cdc.cli.errors import CommandError
from dynamodb_streams_cdc.operations.dead_letter_store import (
    Names,
    ReadableDeadLetter,
    Stored,
    parse_dead_letter,
)
from dynamodb_streams_cdc.operations.stack import READERS, Deployment

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(?:\d+[smhdw])+", re.ASCII)
_ID = re.compile(r"[0-9a-f]{4,64}", re.ASCII)
_ID_LENGTH = 10


def seconds_of(text: str) -> float:
    """Return the seconds of a duration such as `2h`, `90s` or `1d12h`.

    Raises:
        ValueError: it is none.
    """
    if not _DURATION.fullmatch(text):
        message = f"expected a duration such as 90s, 15m, 2h, 3d or 1d12h, got {text!r}"
        raise ValueError(message)
    return sum(int(count) * _UNITS[unit] for count, unit in re.findall(r"(\d+)([smhdw])", text))


def id_of(key: str) -> str:
    """Return the short name of a dead letter: the beginning of its key's SHA-256."""
    return hashlib.sha256(key.encode()).hexdigest()[:_ID_LENGTH]


@dataclass(frozen=True)
class Row:
    """A dead letter in a list.

    Attributes:
        items: whose changes it holds; empty if nothing can be told.
        problem: what keeps it shut; empty for a dead letter that can be redriven.
    """

    stored: Stored
    age: float
    processor: str = ""
    reason: str = ""
    error: str = ""
    items: Sequence[str] = ()
    records: int = 0
    problem: str = ""

    @property
    def key(self) -> str:
        """The dead letter's key."""
        return self.stored.key

    def as_json(self) -> dict[str, Any]:
        """Return the row for other programs."""
        written = datetime.fromtimestamp(self.stored.written_at, UTC)
        return {
            "id": id_of(self.key),
            "key": self.key,
            "processor": self.processor or None,
            "reason": self.reason or None,
            "error": self.error or None,
            "items": list(self.items),
            "records": self.records,
            "bytes": self.stored.size,
            "written_at": f"{written:%Y-%m-%dT%H:%M:%SZ}",
            "age_seconds": round(self.age),
            "problem": self.problem or None,
        }


@dataclass(frozen=True)
class Selection:
    """Which dead letters are meant: those that meet each filter that has a value.

    Attributes:
        items: identities, or their beginnings up to a slash.
        older_than: seconds.
        dead letters: keys or short names.
    """

    processors: Sequence[str] = ()
    reasons: Sequence[str] = ()
    items: Sequence[str] = ()
    older_than: float = 0.0
    dead_letters: Sequence[str] = ()

    @property
    def looks_inside(self) -> bool:
        """Whether dead letters have to be read to be chosen."""
        return bool(self.processors or self.reasons or self.items)

    def may_take(self, stored: Stored, age: float) -> bool:
        """Return whether a dead letter that nobody has read may be meant."""
        if age < self.older_than:
            return False
        return not self.dead_letters or any(
            _is_called(stored.key, name) for name in self.dead_letters
        )

    def takes(self, row: Row) -> bool:
        """Return whether a dead letter is selected; an unreadable one has no reason and no item."""
        return (
            (not self.processors or row.processor in self.processors)
            and (not self.reasons or row.reason.lower() in map(str.lower, self.reasons))
            and (not self.items or any(_is_of(item, self.items) for item in row.items))
        )


def listed(deployment: Deployment, selection: Selection, now: float) -> list[Stored]:
    """Return the dead letters that may be meant, unread, the oldest first.

    Raises:
        CommandError: a dead letter that was named is not there.
    """
    found = [
        stored
        for stored in deployment.box.dead_letters()
        if selection.may_take(stored, now - stored.written_at)
    ]
    for name in selection.dead_letters:
        only(name, [stored.key for stored in found])
    return sorted(found, key=lambda stored: (stored.written_at, stored.key))


def rows(deployment: Deployment, selection: Selection, names: Names | None = None) -> list[Row]:
    """Return the dead letters that are meant, the oldest first.

    Raises:
        CommandError: a dead letter that was named is not there.
    """
    now = time.time()
    found = listed(deployment, selection, now)
    read = _read(deployment, found, names or deployment.names, now)
    return [row for row in read if selection.takes(row)]


def only(name: str, keys: Iterable[str]) -> str:
    """Return the one key that is meant by a key or a short name.

    Raises:
        CommandError: there is none, or several begin like that.
    """
    called = [key for key in keys if _is_called(key, name)]
    if len(called) == 1:
        return called[0]
    if called:
        message = (
            f"{len(called)} dead letters are called {name}: give more of the name, or the key."
        )
        raise CommandError(message)
    message = f"There is no dead letter {name}: `cdc dead-letters list` lists them."
    raise CommandError(message)


def _is_called(key: str, name: str) -> bool:
    digest = hashlib.sha256(key.encode()).hexdigest()
    return key == name or bool(_ID.fullmatch(name) and digest.startswith(name))


def _is_of(item: str, wanted: Sequence[str]) -> bool:
    return any(item == each or item.startswith(each.rstrip("/") + "/") for each in wanted)


def _read(
    deployment: Deployment, found: Sequence[Stored], names: Names, now: float
) -> Iterator[Row]:
    """Read dead letters, many at once; those that are gone meanwhile are left out."""
    pool = ThreadPoolExecutor(READERS, thread_name_prefix="dead_letters")
    try:
        yield from filter(None, pool.map(lambda s: _row(deployment, s, names, now), found))
    finally:
        pool.shutdown(cancel_futures=True)


def _row(deployment: Deployment, stored: Stored, names: Names, now: float) -> Row | None:
    body = deployment.box.read(stored.key)
    if body is None:
        return None
    dead_letter = parse_dead_letter(stored.key, body, names)
    age = now - stored.written_at
    if not isinstance(dead_letter, ReadableDeadLetter):
        return Row(stored, age, processor=dead_letter.processor, problem=dead_letter.problem)
    items = dict.fromkeys(identity.item for identity in dead_letter.identities if identity)
    return Row(
        stored,
        age,
        processor=dead_letter.processor,
        reason=dead_letter.reason,
        error=dead_letter.error,
        items=tuple(items),
        records=len(dead_letter.records),
    )
