"""Which letters are meant: filters, and what is known of a letter from its outside and its text."""

import hashlib
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dynamodb_streams_cdc.cli.errors import CommandError
from dynamodb_streams_cdc.operations.dead_letter_store import Names, Opened, Stored, open_letter
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
    """Return the short name of a letter: the beginning of its key's SHA-256."""
    return hashlib.sha256(key.encode()).hexdigest()[:_ID_LENGTH]


@dataclass(frozen=True)
class Row:
    """A letter in a list.

    Attributes:
        items: whose changes it holds; empty if nothing can be told.
        problem: what keeps it shut; empty for a letter that can be redriven.
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
        """The letter's key."""
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
    """Which letters are meant: those that meet each filter that has a value.

    Attributes:
        items: identities, or their beginnings up to a slash.
        older_than: seconds.
        letters: keys or short names.
    """

    processors: Sequence[str] = ()
    reasons: Sequence[str] = ()
    items: Sequence[str] = ()
    older_than: float = 0.0
    letters: Sequence[str] = ()

    @property
    def looks_inside(self) -> bool:
        """Whether letters have to be read to be chosen."""
        return bool(self.processors or self.reasons or self.items)

    def may_take(self, stored: Stored, age: float) -> bool:
        """Return whether a letter that nobody has read may be meant."""
        if age < self.older_than:
            return False
        return not self.letters or any(_is_called(stored.key, name) for name in self.letters)

    def takes(self, row: Row) -> bool:
        """Return whether a letter is meant; one that cannot be read has no reason and no item."""
        return (
            (not self.processors or row.processor in self.processors)
            and (not self.reasons or row.reason.lower() in map(str.lower, self.reasons))
            and (not self.items or any(_is_of(item, self.items) for item in row.items))
        )


def listed(deployment: Deployment, selection: Selection, now: float) -> list[Stored]:
    """Return the letters that may be meant, unread, the oldest first.

    Raises:
        CommandError: a letter that was named is not there.
    """
    found = [
        stored
        for stored in deployment.box.letters()
        if selection.may_take(stored, now - stored.written_at)
    ]
    for name in selection.letters:
        only(name, [stored.key for stored in found])
    return sorted(found, key=lambda stored: (stored.written_at, stored.key))


def rows(deployment: Deployment, selection: Selection, names: Names | None = None) -> list[Row]:
    """Return the letters that are meant, the oldest first.

    Raises:
        CommandError: a letter that was named is not there.
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
        message = f"{len(called)} letters are called {name}: give more of the name, or the key."
        raise CommandError(message)
    message = f"There is no letter {name}: `cdc letters` lists them."
    raise CommandError(message)


def _is_called(key: str, name: str) -> bool:
    digest = hashlib.sha256(key.encode()).hexdigest()
    return key == name or bool(_ID.fullmatch(name) and digest.startswith(name))


def _is_of(item: str, wanted: Sequence[str]) -> bool:
    return any(item == each or item.startswith(each.rstrip("/") + "/") for each in wanted)


def _read(
    deployment: Deployment, found: Sequence[Stored], names: Names, now: float
) -> Iterator[Row]:
    """Read letters, many at once; those that are gone meanwhile are left out."""
    pool = ThreadPoolExecutor(READERS, thread_name_prefix="letters")
    try:
        yield from filter(None, pool.map(lambda s: _row(deployment, s, names, now), found))
    finally:
        pool.shutdown(cancel_futures=True)


def _row(deployment: Deployment, stored: Stored, names: Names, now: float) -> Row | None:
    body = deployment.box.read(stored.key)
    if body is None:
        return None
    letter = open_letter(stored.key, body, names)
    age = now - stored.written_at
    if not isinstance(letter, Opened):
        return Row(stored, age, processor=letter.processor, problem=letter.problem)
    items = dict.fromkeys(identity.item for identity in letter.identities if identity)
    return Row(
        stored,
        age,
        processor=letter.processor,
        reason=letter.reason,
        error=letter.error,
        items=tuple(items),
        records=len(letter.records),
    )
