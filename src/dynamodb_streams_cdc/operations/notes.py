"""Read and write the notes of a pipeline's operators through its functions.

All processors of a pipeline share one table of notes: see `dynamodb_streams_cdc.control.notes`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dynamodb_streams_cdc.control.functions import Functions, InvocationFailed, not_understood
from dynamodb_streams_cdc.control.notes import FILL
from dynamodb_streams_cdc.names import Operation

VERIFY, PURGE = "verify/", "purge/"
"""Beginnings of the names of notes about the last verification and the last purge."""

Notes = Mapping[str, Mapping[str, Any]]


def read_notes(functions: Functions, processor: str) -> Notes:
    """Return the notes by name.

    Raises:
        InvocationFailed: the function did not answer, or does not know the operation.
    """
    return _ask(functions, processor)


def write_notes(functions: Functions, processor: str, notes: Notes) -> Notes:
    """Write notes by name; return all that there are.

    Raises:
        InvocationFailed: the function did not answer, or does not know the operation.
    """
    return _ask(functions, processor, write=notes)


def end_fill(functions: Functions, processors: Sequence[str], job: str) -> None:
    """Remove the note of a fill; the time ends it if no function answers."""
    for processor in processors:
        try:
            _ask(functions, processor, erase=[f"{FILL}{job}"])
        except InvocationFailed:
            continue
        return


def _ask(functions: Functions, processor: str, **event: Any) -> Notes:
    answer = functions.invoke(processor, {"operation": Operation.NOTES, "Records": [], **event})
    notes = answer.get("notes") if isinstance(answer, Mapping) else None
    if not isinstance(notes, Mapping):
        raise not_understood(processor, Operation.NOTES, answer)
    return notes
