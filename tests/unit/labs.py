"""What the tests of the lab share."""

from typing import Any

from dynamodb_streams_cdc.testing import Lab

REPORTING = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
DAY = 24 * 3600


def succeed(event: Any, context: Any) -> None:
    """Do nothing, successfully."""


def fail(event: Any, context: Any) -> None:
    message = "always"
    raise ValueError(message)


def keys(event: Any) -> list[str]:
    return [record["dynamodb"]["Keys"]["id"]["S"] for record in event["Records"]]


def items(count: int) -> list[dict[str, Any]]:
    return [{"id": str(number)} for number in range(1, count + 1)]


def deliver(lab: Lab, *names: str) -> None:
    """Put an item of each name into the table, and run until all is delivered or given up."""
    lab.put(*({"id": name} for name in names))
    lab.run()


def given_up(lab: Lab) -> list[list[str]]:
    """Return the changes that each dead letter holds."""
    return [dead_letter.changes for dead_letter in lab.dead_letters]
