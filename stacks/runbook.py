"""How an alarm says where to read on."""

RUNBOOK = "docs/how-to/runbook.md"


def described(what: str, section: str) -> str:
    """Return an alarm's description: what has happened, and the section that says what to do."""
    return f"{what} Runbook: {RUNBOOK}#{section}"
