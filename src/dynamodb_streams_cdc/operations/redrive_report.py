"""Report of a redrive: counts, dead letters that remain, and cleared notifications."""

from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from typing import Any

from dynamodb_streams_cdc.operations.aws.access import AccessDenied
from dynamodb_streams_cdc.operations.notifications import ClearedNotifications, clear_notifications
from dynamodb_streams_cdc.operations.redrive import RedriveStatus, Result
from dynamodb_streams_cdc.operations.report import Report
from dynamodb_streams_cdc.operations.selection import id_of
from dynamodb_streams_cdc.operations.stack import Deployment

OUTCOMES = {
    "applied": "applied",
    "stale": "stale",
    "unapplied": "not applied",
    "untried": "not tried",
}
"""Outcomes of a record, in words; they add up to the records. See `Result`."""


@dataclass
class RedriveReport(Report):
    """Result of a redrive so far.

    Attributes:
        dead_letters: how many were selected.
        notifications: results of clearing them, by processor.
        problems: sentences on what could not be done apart from the dead letters.
    """

    dead_letters: int
    results: list[Result] = field(default_factory=list)
    notifications: dict[str, ClearedNotifications] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def left(self) -> list[Result]:
        """Results that leave something to redrive."""
        return [result for result in self.results if result.status.leaves_dead_letters]

    @property
    def complete(self) -> bool:
        """Whether nothing is left of the selected dead letters."""
        return self.ended and not (self.left or self.problems)

    @property
    def statuses(self) -> dict[str, int]:
        """Dead letters by status."""
        counts = Counter(result.status for result in self.results)
        return {status.value: counts[status] for status in RedriveStatus}

    def sum(self, name: str) -> int:
        """Return the sum of a count over all results."""
        return sum(getattr(result, name) for result in self.results)

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {
            "dead_letters": self.dead_letters,
            "tried": len(self.results),
            **self.statuses,
            "records": self.sum("records"),
            **{name: self.sum(name) for name in (*OUTCOMES, "repaired")},
            "left": [_left(result) for result in self.left],
            "notifications": {name: asdict(each) for name, each in self.notifications.items()},
            "problems": self.problems,
            "interrupted": self.interrupted,
            "failed": self.failed,
            "complete": self.complete,
        }


def clear_all_notifications(
    deployment: Deployment, processors: Collection[str], report: RedriveReport
) -> None:
    """Clear the notifications of archived dead letters; of all processors if none is named."""
    store = deployment.store
    for name, queue in deployment.notification_queues().items():
        if processors and name not in processors:
            continue
        try:
            report.notifications[name] = clear_notifications(queue, store.keeps, store.holds)
        except AccessDenied as error:
            report.problems.append(f"The notifications of {name} were not cleared: {error}")


def _left(result: Result) -> dict[str, Any]:
    return {
        "id": id_of(result.key),
        "key": result.key,
        "status": result.status.value,
        "processor": result.processor,
        "dead_letters": list(result.dead_letters),
        "problem": result.problem or None,
        "failures": [
            {"item": failure.item, "reason": failure.reason, "error": failure.error}
            for failure in result.failures
        ],
    }
