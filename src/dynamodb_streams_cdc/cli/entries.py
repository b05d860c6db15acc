"""Entries of the change log and moments, as commands show them and as people type them."""

from datetime import UTC, date, datetime
from typing import Any

from dynamodb_streams_cdc.change import Change, ChangeKind
from dynamodb_streams_cdc.cli.output import say, stderr_console
from dynamodb_streams_cdc.operations.errors import UsageError

EXAMPLE = "2026-11-24T15:00:00Z"


def entry_json(change: Change) -> dict[str, Any]:
    """Return an entry as JSON."""
    return {
        "version": change.version,
        "kind": change.kind,
        "changed_at": iso(change.time),
        "actor": change.actor,
        "expired": change.expired,
        "changed": changed_names(change),
        "before": change.old_image,
        "after": change.new_image,
    }


def changed_names(change: Change) -> list[str]:
    """Return the names of the attributes that a MODIFY changed."""
    if change.kind is not ChangeKind.MODIFY:
        return []
    return sorted({str(difference.path[0]) for difference in change.diff()})


def iso(moment: datetime) -> str:
    """Return a moment for JSON: `2026-11-24T15:00:00Z`."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def shown(moment: datetime) -> str:
    """Return a moment for people: `2026-11-24 15:00:00Z`."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def now() -> datetime:
    """Return this moment."""
    return datetime.now(UTC)


def moment_of(option: str, text: str) -> datetime:
    """Return the moment that an option gives, in UTC; say so where its zone is not given.

    Raises:
        UsageError: it is not a moment, or is in the future.
    """
    if _is_day(text):
        message = f"{option}: {text} is a day, not a moment: add a time, as in {EXAMPLE}."
        raise UsageError(message)
    try:
        moment = datetime.fromisoformat(text)
        zone = moment.tzinfo
        moment = moment.replace(tzinfo=zone or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        message = f"{option}: expected a time such as {EXAMPLE}, got {text!r}."
        raise UsageError(message) from None
    if moment > now():
        message = f"{option}: {shown(moment)} is in the future: choose an earlier time."
        raise UsageError(message)
    if zone is None:
        note = f"{option}: {text} has no time zone, so it is read as UTC: {iso(moment)}."
        say(stderr_console(), note, folds=False)
    return moment


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
