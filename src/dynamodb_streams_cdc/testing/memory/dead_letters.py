"""Dead letters in memory."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dynamodb_streams_cdc.dead_letters import DeadLetter
from dynamodb_streams_cdc.names import ARCHIVE, DEAD_LETTERS
from dynamodb_streams_cdc.operations.dead_letter_store import StoredDeadLetter


@dataclass
class MemoryDeadLetters:
    """`DeadLetterWriter`, by processor and name."""

    dead_letters: dict[str, DeadLetter] = field(default_factory=dict)

    def write(self, dead_letter: DeadLetter) -> bool:
        """Keep the dead letter; return False if it was there already."""
        name = f"{dead_letter.processor}/{dead_letter.name}"
        is_new = name not in self.dead_letters
        self.dead_letters.setdefault(name, dead_letter)
        return is_new


@dataclass
class MemoryDeadLetterStore:
    """A `DeadLetterStore` that is `DeadLetterWriter` too, with its objects to look at.

    Attributes:
        objects: dead letters of both buckets as they are stored, by key, the archive included.
        written: when each was written, in seconds since 1970.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    written: dict[str, float] = field(default_factory=dict)

    def write(self, dead_letter: DeadLetter) -> bool:
        """Keep a processor's dead letter; return False if it was there already."""
        return self._add(
            f"{DEAD_LETTERS}{dead_letter.processor}/{dead_letter.name}",
            dead_letter.envelope(),
            dead_letter.written_at,
        )

    def deliver(self, key: str, document: Mapping[str, Any]) -> None:
        """Keep a document of Lambda's mapping; the key begins with `aws/lambda/`."""
        self._add(key, document)

    @property
    def archived(self) -> Sequence[str]:
        """The keys that dead letters had before they were archived."""
        return [key.removeprefix(ARCHIVE) for key in sorted(self.objects) if _archived(key)]

    def dead_letters(self) -> Iterable[StoredDeadLetter]:
        """Return the dead letters that are not archived, in the order of their keys."""
        return [
            StoredDeadLetter(key, len(self.objects[key]), self.written[key])
            for key in sorted(self.objects)
            if not _archived(key)
        ]

    def read(self, key: str) -> bytes | None:
        """Return a dead letter as it is stored; None if it is gone."""
        return self.objects.get(key)

    def holds(self, key: str) -> bool:
        """Return whether a dead letter is there."""
        return key in self.objects

    def keep(self, key: str, document: Mapping[str, Any]) -> bool:
        """Write a dead letter; return False, and change nothing, if the key is taken."""
        return self._add(key, document)

    def archive(self, key: str) -> bool:
        """Move a dead letter to the archive; return False if it is gone."""
        if key not in self.objects:
            return False
        self.objects[ARCHIVE + key] = self.objects.pop(key)
        self.written[ARCHIVE + key] = self.written.pop(key)
        return True

    def _add(self, key: str, document: Mapping[str, Any], now: float | None = None) -> bool:
        if key in self.objects:
            return False
        self.objects[key] = json.dumps(document).encode()
        written = now if now is not None else _seconds(document.get("timestamp"))
        self.written[key] = written
        return True


def _archived(key: str) -> bool:
    return key.startswith(ARCHIVE)


def _seconds(timestamp: object) -> float:
    return datetime.fromisoformat(timestamp).timestamp() if isinstance(timestamp, str) else 0.0
