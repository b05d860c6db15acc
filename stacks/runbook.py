"""Format the description of an alarm: its meaning, its urgency, its section of the runbook."""

import re
from enum import StrEnum

RUNBOOK = "docs/how-to/runbook.md"
DESCRIPTION = re.compile(
    rf"(?P<meaning>.+) Urgency: (?P<urgency>[a-z ]+)\. Runbook: {RUNBOOK}#(?P<section>\S+)"
)
"""What `described` returns."""


class Urgency(StrEnum):
    """How soon a person has to act."""

    NOW = "now"
    TODAY = "today"
    WORKDAY = "next working day"


REASONS = {
    Urgency.NOW: "Changes are being lost, or searches fail: act day and night.",
    Urgency.TODAY: "Changes wait. A mapping gives them up after 20 hours, a stream after 24.",
    Urgency.WORKDAY: "Nothing gets worse while it waits.",
}
"""Why each urgency is as it is."""


def described(meaning: str, urgency: Urgency, section: str) -> str:
    """Return an alarm's description."""
    return f"{meaning} Urgency: {urgency}. Runbook: {RUNBOOK}#{section}"
