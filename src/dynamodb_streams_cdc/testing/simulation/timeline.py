"""What happened in a simulation, for a person to follow."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from dynamodb_streams_cdc.testing.simulation.virtual_clock import START

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
        return "\n".join(folded(self.lines))


MOST_ALIKE = 4
"""How many attempts that went alike are shown, before the rest are counted."""

_BEGINS = re.compile(r"(\S+  \S+ +)(invoked)(, attempt \d+)?: ")


def folded(lines: Sequence[str]) -> Iterator[str]:
    """Yield the lines, with attempts that went alike counted instead of repeated."""
    turns: list[list[str]] = []
    for line in lines:
        if not turns or _BEGINS.match(line):
            turns.append([])
        turns[-1].append(line)
    for _, group in groupby(turns, key=_told):
        alike = list(group)
        hidden = len(alike) - MOST_ALIKE - 1
        kept = alike if hidden < 1 else alike[:MOST_ALIKE]
        yield from (line for turn in kept for line in turn)
        if hidden >= 1:
            blank = " " * len(alike[0][0].partition("invoked")[0])
            yield f"{blank}... and {hidden:,} more attempts that went alike, then"
            yield from alike[-1]


def _told(turn: Sequence[str]) -> list[str]:
    """Return what a turn says, without the times and the number of the attempt."""
    first = _BEGINS.sub(r"\2: ", turn[0])
    return [first, *(line.partition("  ")[2] for line in turn[1:])]


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


def called(name: str, args: Sequence[Any], options: Mapping[str, Any]) -> str:
    """Return a call for a timeline, such as `put_item(TableName=copies, Item={...})`."""
    given = [*map(shown, args), *(f"{key}={shown(value)}" for key, value in options.items())]
    return f"    {name}({', '.join(given)})"


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
