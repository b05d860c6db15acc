"""Find dead letters by processor, reason, item, age, key or ID."""

import hashlib
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dynamodb_streams_cdc.operations.dead_letter_store import (
    DeployedNames,
    ReadableDeadLetter,
    StoredDeadLetter,
    parse_dead_letter,
)
from dynamodb_streams_cdc.operations.errors import OperationError, UsageError
from dynamodb_streams_cdc.operations.stack import READERS, Deployment

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(?:\d+[smhdw])+", re.ASCII)
_ID = re.compile(r"[0-9a-f]{4,64}", re.ASCII)
_ID_LENGTH = 10


def seconds_of(text: str) -> float:
    """Return the seconds of a duration such as `2h`, `90s` or `1d12h`.

    Raises:
        ValueError: it is not a duration.
    """
    if not _DURATION.fullmatch(text):
        message = f"expected a duration such as 90s, 15m, 2h, 3d or 1d12h, got {text!r}"
        raise ValueError(message)
    return sum(int(count) * _UNITS[unit] for count, unit in re.findall(r"(\d+)([smhdw])", text))


def id_of(key: str) -> str:
    """Return the ID of a dead letter: the first 10 hex digits of its key's SHA-256."""
    return hashlib.sha256(key.encode()).hexdigest()[:_ID_LENGTH]


@dataclass(frozen=True)
class DeadLetterSummary:
    """A dead letter in a list.

    Attributes:
        age: seconds since it was written.
        items: identities of the items in its records; empty if it cannot be read.
        problem: why it cannot be redriven; empty if it can.
    """

    stored: StoredDeadLetter
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
        """Return the summary as JSON."""
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
    """Filters of dead letters; a filter without a value matches all.

    Attributes:
        items: identities, or their beginnings up to a slash.
        older_than: seconds.
        dead_letters: keys or IDs.
    """

    processors: Sequence[str] = ()
    reasons: Sequence[str] = ()
    items: Sequence[str] = ()
    older_than: float = 0.0
    dead_letters: Sequence[str] = ()

    @property
    def reads_contents(self) -> bool:
        """Whether dead letters have to be read to be selected."""
        return bool(self.processors or self.reasons or self.items)

    def may_match(self, stored: StoredDeadLetter, age: float) -> bool:
        """Return whether a dead letter matches, as far as its key and age tell."""
        if age < self.older_than:
            return False
        return not self.dead_letters or any(
            _has_name(stored.key, name) for name in self.dead_letters
        )

    def matches(self, row: DeadLetterSummary) -> bool:
        """Return whether a dead letter matches; an unreadable one has no reason and no item."""
        return (
            (not self.processors or row.processor in self.processors)
            and (not self.reasons or row.reason.lower() in map(str.lower, self.reasons))
            and (not self.items or any(is_of(item, self.items) for item in row.items))
        )


def list_stored(deployment: Deployment, selection: Selection, now: float) -> list[StoredDeadLetter]:
    """Return the dead letters that match by key and age, unread, the oldest first.

    Raises:
        OperationError: a dead letter that was named is not there.
    """
    found = [
        stored
        for stored in deployment.store.dead_letters()
        if selection.may_match(stored, now - stored.written_at)
    ]
    for name in selection.dead_letters:
        find_key(name, [stored.key for stored in found])
    return sorted(found, key=lambda stored: (stored.written_at, stored.key))


def list_dead_letters(
    deployment: Deployment, selection: Selection, names: DeployedNames | None = None
) -> list[DeadLetterSummary]:
    """Return the dead letters that match, the oldest first.

    Raises:
        OperationError: a dead letter that was named is not there.
        UsageError: an item is of a table that is not there, and no dead letter has it either.
    """
    now = time.time()
    found = list_stored(deployment, selection, now)
    read = list(_read(deployment, found, names or deployment.names, now))
    for item in selection.items:
        # Dead letters may be of a table that is not deployed any more.
        if not any(is_of(each, [item]) for row in read for each in row.items):
            check_table_of(item, deployment)
    return [row for row in read if selection.matches(row)]


def check_table_of(item: str, deployment: Deployment) -> None:
    """Refuse an identity that is of no source table; one of a long key is a digest.

    Raises:
        UsageError: it is of none.
    """
    name = item.partition("/")[0]
    known = [table.name for table in deployment.manifest.source_tables]
    if name not in known and not name.startswith("#"):
        has = ", ".join(known)
        message = f"--item: {deployment.stack} has items of {has}, and none of {name!r}."
        raise UsageError(message)


def find_key(name: str, keys: Iterable[str]) -> str:
    """Return the one key that a key or an ID stands for.

    Raises:
        OperationError: there is none, or more than one.
    """
    called = [key for key in keys if _has_name(key, name)]
    if len(called) == 1:
        return called[0]
    if called:
        message = (
            f"{len(called)} dead letters have an ID that begins with {name}: give more of the ID, "
            "or the key."
        )
        raise OperationError(message)
    message = (
        f"There is no dead letter {name}: give four digits of its ID or more, or its key, as "
        "`cdc dead-letters list` shows them."
    )
    raise OperationError(message)


def _has_name(key: str, name: str) -> bool:
    digest = hashlib.sha256(key.encode()).hexdigest()
    return key == name or bool(_ID.fullmatch(name) and digest.startswith(name))


def is_of(item: str, wanted: Sequence[str]) -> bool:
    """Return whether an identity is one of these, or below one of them."""
    return any(item == each or item.startswith(each.rstrip("/") + "/") for each in wanted)


def _read(
    deployment: Deployment, found: Sequence[StoredDeadLetter], names: DeployedNames, now: float
) -> Iterator[DeadLetterSummary]:
    """Read dead letters, `READERS` at once; skip those that were archived meanwhile."""
    pool = ThreadPoolExecutor(READERS, thread_name_prefix="dead_letters")
    try:
        yield from filter(None, pool.map(lambda s: _summary(deployment, s, names, now), found))
    finally:
        pool.shutdown(cancel_futures=True)


def _summary(
    deployment: Deployment, stored: StoredDeadLetter, names: DeployedNames, now: float
) -> DeadLetterSummary | None:
    body = deployment.store.read(stored.key)
    if body is None:
        return None
    dead_letter = parse_dead_letter(stored.key, body, names)
    age = now - stored.written_at
    if not isinstance(dead_letter, ReadableDeadLetter):
        return DeadLetterSummary(
            stored, age, processor=dead_letter.processor, problem=dead_letter.problem
        )
    items = dict.fromkeys(identity.item for identity in dead_letter.identities if identity)
    return DeadLetterSummary(
        stored,
        age,
        processor=dead_letter.processor,
        reason=dead_letter.reason,
        error=dead_letter.error,
        items=tuple(items),
        records=len(dead_letter.records),
    )
