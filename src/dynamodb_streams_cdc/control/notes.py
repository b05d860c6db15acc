"""Notes of operators, which every operator and every schedule of a pipeline sees.

    {"operation": "notes"}                         return the notes
    {"operation": "notes", "write": {NAME: {...}}} write notes, with the time under `at`
    {"operation": "notes", "erase": [NAME, ...]}   remove notes

Names of notes:

    fill/<job>           a fill is open: a backfill or the copy of a rebuild. The requests for its
                         parts renew the note, so that its age tells that the operator was killed
    verify/<processor>   the last verification
    purge/<processor>    the last purge

A purge waits while a fill is open, and so do the tombstones of an erasure: a fill may hold an item
that was read before it was deleted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.errors import MalformedRecord
from dynamodb_streams_cdc.lambda_types import BatchResponse
from dynamodb_streams_cdc.names import Operation

FILL = "fill/"
"""Beginning of the names of open fills."""

RENEW_SECONDS = 60.0
"""Age at which a request of a fill renews its note."""

OPEN_SECONDS = 15 * 60.0
"""Age up to which a fill counts as open: more than any pause between two of its requests."""

FILLING = {
    Operation.BACKFILL: None,
    Operation.REBUILD_INDEX: ("copy", "tombstones"),
    Operation.REBUILD_SUMS: ("move",),
}
"""Operations whose requests fill copies, and the steps of them that do; None for all."""


class OperatorNotes(Protocol):
    """Store of the notes."""

    def read(self, deadline: Deadline) -> Mapping[str, Mapping[str, Any]]:
        """Return the notes by name, read consistently.

        Raises:
            RetryableError: they cannot be read at the moment.
        """

    def write(self, notes: Mapping[str, Mapping[str, Any]], deadline: Deadline) -> None:
        """Write notes by name; others stay.

        Raises:
            RetryableError: they cannot be written at the moment.
        """

    def erase(self, names: Sequence[str], deadline: Deadline) -> None:
        """Remove the notes of these names, if they are there.

        Raises:
            RetryableError: they cannot be written at the moment.
        """


class NotesResponse(BatchResponse):
    """The response to a request about notes: all that there are, by name."""

    notes: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Fill:
    """A fill, as its note says.

    Attributes:
        job: name of its job.
        operation: what it does, such as `backfill`.
        since: when its first request came, in seconds since 1970.
        at: when its note was last renewed.
        is_open: whether it may still be at work.
    """

    job: str
    operation: str
    since: float
    at: float
    is_open: bool


def fills_of(notes: Mapping[str, Mapping[str, Any]], now: float) -> list[Fill]:
    """Return the fills that the notes name; those that were interrupted are not open."""
    return [
        Fill(
            name.removeprefix(FILL),
            str(note["operation"]),
            float(note["since"]),
            float(note["at"]),
            now - float(note["at"]) < OPEN_SECONDS,
        )
        for name, note in sorted(notes.items())
        if name.startswith(FILL)
    ]


def open_fill(notes: OperatorNotes, deadline: Deadline) -> str:
    """Return which fill is open, as a sentence; empty if none is.

    Raises:
        RetryableError: the notes cannot be read at the moment.
    """
    now = deadline.now()
    for fill in fills_of(notes.read(deadline), now):
        if fill.is_open:
            return (
                f"the {fill.operation} of job {fill.job} is open: its last request was noted "
                f"{now - fill.at:.0f} seconds ago"
            )
    return ""


def note_fill(notes: OperatorNotes | None, event: Mapping[str, Any], deadline: Deadline) -> None:
    """Note that a request is of an open fill, unless a request of the last minute has.

    Raises:
        RetryableError: it cannot be noted at the moment.
    """
    operation = event.get("operation")
    if notes is None or operation not in FILLING:
        return
    steps = FILLING[Operation(operation)]
    if steps is not None and event.get("step") not in steps:
        return
    name = f"{FILL}{event.get('fill') or operation}"
    now = deadline.now()
    known = notes.read(deadline).get(name)
    if known is not None and now - float(known["at"]) < RENEW_SECONDS:
        return
    since = float(known["since"]) if known else now
    notes.write({name: {"operation": operation, "since": since, "at": now}}, deadline)


def run(notes: OperatorNotes | None, event: Mapping[str, Any], deadline: Deadline) -> NotesResponse:
    """Write or remove what an event asks for; return the notes that there are then.

    Raises:
        MalformedRecord: the event has another form.
        RetryableError: the notes cannot be read or written at the moment.
    """
    if notes is None:
        return NotesResponse(batchItemFailures=[], notes={})
    written, erased = event.get("write", {}), event.get("erase", [])
    if not isinstance(written, Mapping) or not isinstance(erased, list):
        message = "write: expected notes by name; erase: expected a list of names"
        raise MalformedRecord(message)
    now = deadline.now()
    if written:
        notes.write({name: {**note, "at": now} for name, note in written.items()}, deadline)
    if erased:
        notes.erase(erased, deadline)
    return NotesResponse(batchItemFailures=[], notes=notes.read(deadline))
