"""Markers of effects, attempts and notes in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dynamodb_streams_cdc.deadline import Deadline


@dataclass
class MemoryIdempotencyStore:
    """`IdempotencyStore`; actions of a transaction are kept to look at."""

    keys: set[str] = field(default_factory=set)
    actions: list[Mapping[str, Any]] = field(default_factory=list)

    def seen(self, key: str) -> bool:
        """Return whether the marker is there."""
        return key in self.keys

    def mark(self, key: str, keep_seconds: int) -> None:
        """Write the marker."""
        self.keys.add(key)

    def mark_with(self, key: str, keep_seconds: int, actions: Sequence[Mapping[str, Any]]) -> bool:
        """Write the marker and do the actions, if the marker is not there."""
        if key in self.keys:
            return False
        self.keys.add(key)
        self.actions += actions
        return True


@dataclass
class MemoryAttempts:
    """`Attempts` that did not end, by name."""

    begun: dict[str, int] = field(default_factory=dict)

    def begin(self, name: str, now: float) -> int:
        """Count an attempt; return how many began before and did not end."""
        self.begun[name] = self.begun.get(name, 0) + 1
        return self.begun[name] - 1

    def end(self, name: str, now: float) -> None:
        """Forget the attempts at a record."""
        self.begun.pop(name, None)

    def read(self, name: str, now: float) -> int:
        """Return how many attempts began and did not end."""
        return self.begun.get(name, 0)


@dataclass
class MemoryNotes:
    """`OperatorNotes`, to look at."""

    notes: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def read(self, deadline: Deadline) -> Mapping[str, Mapping[str, Any]]:
        """Return the notes by name."""
        deadline.check()
        return dict(self.notes)

    def write(self, notes: Mapping[str, Mapping[str, Any]], deadline: Deadline) -> None:
        """Write notes by name; others stay."""
        deadline.check()
        self.notes |= notes

    def erase(self, names: Sequence[str], deadline: Deadline) -> None:
        """Remove the notes of these names."""
        deadline.check()
        for name in names:
            self.notes.pop(name, None)
