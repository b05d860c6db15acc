"""The link from an alarm to its section of the runbook."""

RUNBOOK = "docs/operations/runbook.md"


def described(what: str, section: str) -> str:
    """Return an alarm's description, with the section of the runbook."""
    return f"{what} Runbook: {RUNBOOK}#{section}"
