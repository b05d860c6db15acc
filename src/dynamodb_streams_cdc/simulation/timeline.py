"""What happened in a simulation, for a person to follow."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dynamodb_streams_cdc.simulation.world import START

LABELS = 3
"""How many records a line names before it counts the rest."""

LONGEST_LABEL = 24
LONGEST_ARGUMENT = 60


@dataclass
class Timeline:
    """Lines of time, actor and event; kept only if somebody is going to read them."""

    keep: bool = True
    lines: list[str] = field(default_factory=list)

    def note(self, now: float, actor: str, event: str) -> None:
        """Add a line."""
        if self.keep:
            minutes, seconds = divmod(now - START, 60)
            hours, minutes = divmod(int(minutes), 60)
            self.lines.append(f"{hours:02}:{minutes:02}:{seconds:06.3f}  {actor:<12} {event}")

    def __str__(self) -> str:
        return "\n".join(self.lines)


def change_of(record: Mapping[str, Any]) -> str:
    """Return what a record tells of, such as `MODIFY item-3`."""
    return f"{record['eventName']} {key_text(record['dynamodb']['Keys'])}"


def key_text(keys: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the values of an item's keys, as the record holds them, with slashes between."""
    return "/".join(str(text) for value in keys.values() for text in value.values())


def in_words(record: Mapping[str, Any]) -> str:
    """Return a record for a timeline: its change, and the end of its sequence number."""
    change = change_of(record)
    if len(change) > LONGEST_LABEL:
        change = f"{change[:LONGEST_LABEL]}.."
    return f"{change} (..{record['dynamodb']['SequenceNumber'][-6:]})"


def listed(records: Iterable[Mapping[str, Any]]) -> str:
    """Return records for a timeline: the first of them, and how many more there are."""
    words = [in_words(record) for record in records]
    rest = len(words) - LABELS
    return ", ".join(words[:LABELS]) + (f" and {rest} more" if rest > 0 else "")


def shown(value: object) -> str:
    """Return an argument of a call for a timeline: long text by its end, else by its beginning."""
    match value:
        case str():
            return value if len(value) <= LONGEST_LABEL else f"..{value[-LONGEST_LABEL:]}"
        case Mapping():
            text = ", ".join(f"{name}: {member}" for name, member in value.items())
            return f"{{{_begun(text)}}}"
        case _:
            return _begun(str(value))


def _begun(text: str) -> str:
    return text if len(text) <= LONGEST_ARGUMENT else f"{text[:LONGEST_ARGUMENT]}.."
