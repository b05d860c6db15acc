"""The account of a demo under chaos: what was done, and what was seen of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from local.console import DemoConsole
    from local.deployed.trace import TraceReader


@dataclass(slots=True)
class Strikes:
    """What was done; seconds count from the moment at which OpenSearch was gone."""

    kills: int = 0
    throttles: int = 0
    restarts: int = 0
    outage: float = 0.0
    back_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Observed:
    """What was seen, in the trace of the runner unless a strike is its own proof.

    Attributes:
        hits: invocations that ended because their worker was killed.
        throttled: invocations that were refused.
        redelivered: records that a function got again after it was done with them.
        retries: invocations with records of a failed one.
        restarts: of the runner, from its checkpoints.
        cut_off: invocations that were under way when the runner was killed.
        lost: answers that the runner forgot.
        rewinds: checkpoints that the runner forgot.
    """

    hits: int
    throttled: int
    redelivered: int
    retries: int
    outage: float
    restarts: int
    cut_off: int
    lost: int
    rewinds: int

    @classmethod
    def of(cls, should_fail: Strikes, trace: TraceReader) -> Observed:
        outcomes = trace.outcomes()
        return cls(
            hits=outcomes["died"],
            throttled=outcomes["throttled"],
            redelivered=trace.redelivered,
            retries=trace.retries,
            outage=should_fail.outage,
            restarts=should_fail.restarts,
            cut_off=outcomes["cut off"],
            lost=outcomes["lost"],
            rewinds=trace.rewinds,
        )

    @property
    def missing(self) -> list[str]:
        """What was to be seen and was not, in sentences; any of them fails the demo."""
        seen = {
            "No worker process was killed in the middle of an invocation.": self.hits,
            "No invocation was throttled.": self.throttled,
            "No record was delivered again.": self.redelivered,
            "No invocation was retried.": self.retries,
            "OpenSearch was not stopped.": self.outage,
            "The runner was not killed.": self.restarts,
        }
        return [sentence for sentence, count in seen.items() if not count]


def show(console: DemoConsole, should_fail: Strikes, observed: Observed) -> None:
    """Print the account, what was not seen in red."""
    table = Table("chaos")
    table.add_column("observed", justify="right")
    table.add_column("after")
    rows: list[tuple[str, float, str]] = [
        (
            "invocations that died with their worker (SIGKILL)",
            observed.hits,
            f"{should_fail.kills} workers killed",
        ),
        (
            "invocations throttled",
            observed.throttled,
            f"{should_fail.throttles} times no concurrency was left",
        ),
        ("invocations retried after a failure", observed.retries, ""),
        (
            "records delivered again, although done",
            observed.redelivered,
            f"forgotten: answers {observed.lost}, checkpoints {observed.rewinds}",
        ),
        (
            "seconds without OpenSearch",
            round(observed.outage),
            f"it answered again after {should_fail.back_after:.0f}",
        ),
        (
            "runner killed (SIGKILL) and started again",
            observed.restarts,
            f"{observed.cut_off} invocations under way at that moment",
        ),
    ]
    for what, count, detail in rows:
        table.add_row(what, f"{count:,}" if count else "[bold red]0[/]", detail)
    console.line()
    console.print(table)
