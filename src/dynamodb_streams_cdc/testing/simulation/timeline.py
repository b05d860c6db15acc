"""The events of a simulation in the order of its clock, as data and as text."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TypeAlias

from dynamodb_streams_cdc.testing.simulation.events import Event, Invoked
from dynamodb_streams_cdc.testing.simulation.virtual_clock import START

MOST_ALIKE = 4
"""How many equal attempts the text shows before it counts the rest."""

FIRST_LINES = 200
LAST_LINES = 50
"""How many lines of a longer timeline the text shows."""

_INDENT = " " * 27

Note: TypeAlias = Callable[[Event], None]
"""Adds an event of one participant to a timeline."""


@dataclass(frozen=True)
class Entry:
    """An event, its time in seconds since 1970, and its participant."""

    at: float
    who: str
    event: Event

    def __str__(self) -> str:
        minutes, seconds = divmod(self.at - START, 60)
        hours, minutes = divmod(int(minutes), 60)
        return f"{hours:02}:{minutes:02}:{seconds:06.3f}  {self.who:<12} {self.event}"


@dataclass
class Timeline:
    """The events so far; none if `keep` is false."""

    keep: bool = True
    entries: list[Entry] = field(default_factory=list)

    def note(self, now: float, who: str, event: Event) -> None:
        """Add an event."""
        if self.keep:
            self.entries.append(Entry(now, who, event))

    def __str__(self) -> str:
        lines = list(folded(self.entries))
        hidden = len(lines) - FIRST_LINES - LAST_LINES
        if hidden > 1:
            lines[FIRST_LINES:-LAST_LINES] = [f"{_INDENT}... and {hidden:,} more lines, then"]
        return "\n".join(lines)


def folded(entries: Sequence[Entry]) -> Iterator[str]:
    """Yield the lines of a timeline, with equal attempts counted instead of repeated."""
    turns: list[list[Entry]] = []
    for entry in entries:
        if not turns or isinstance(entry.event, Invoked):
            turns.append([])
        turns[-1].append(entry)
    for _, group in groupby(turns, key=_without_times):
        alike = list(group)
        hidden = len(alike) - MOST_ALIKE - 1
        kept = alike if hidden < 1 else alike[:MOST_ALIKE]
        yield from (str(entry) for turn in kept for entry in turn)
        if hidden >= 1:
            yield f"{_INDENT}... and {hidden:,} more attempts that went alike, then"
            yield from map(str, alike[-1])


def _without_times(turn: Sequence[Entry]) -> list[str]:
    events = [entry.event for entry in turn]
    if isinstance(events[0], Invoked):
        events[0] = replace(events[0], attempt=1)
    return [entry.who for entry in turn] + [str(event) for event in events]
