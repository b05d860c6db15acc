"""The chaos report: the injected faults, and the effects that were observed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from local.console import DemoConsole
    from local.deployed.trace import TraceReader


@dataclass(slots=True)
class InjectedFaults:
    """Number of injected faults; seconds count from the moment at which OpenSearch was down."""

    kills: int = 0
    throttles: int = 0
    restarts: int = 0
    outage: float = 0.0
    back_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Observed:
    """Observed effects, from the trace of the poller except for `outage` and `restarts`.

    Attributes:
        died: invocations that ended because their worker was killed.
        throttled: invocations that were refused.
        redelivered: records that a function got again after it had processed them.
        retries: invocations with records of a failed one.
        outage: seconds without OpenSearch.
        restarts: of the poller, from its checkpoints.
        cut_off: invocations that were under way when the poller was killed.
        lost: responses that the poller lost.
        rewinds: checkpoints that the poller lost.
    """

    died: int
    throttled: int
    redelivered: int
    retries: int
    outage: float
    restarts: int
    cut_off: int
    lost: int
    rewinds: int

    @classmethod
    def of(cls, injected: InjectedFaults, trace: TraceReader) -> Observed:
        outcomes = trace.outcomes()
        return cls(
            died=outcomes["died"],
            throttled=outcomes["throttled"],
            redelivered=trace.redelivered,
            retries=trace.retries,
            outage=injected.outage,
            restarts=injected.restarts,
            cut_off=outcomes["cut off"],
            lost=outcomes["lost"],
            rewinds=trace.rewinds,
        )

    @property
    def missing(self) -> list[str]:
        """A sentence for each effect that was not observed; any of them fails the demo."""
        seen = {
            "No worker process was killed during an invocation.": self.died,
            "No invocation was throttled.": self.throttled,
            "No record was delivered again.": self.redelivered,
            "No invocation was retried.": self.retries,
            "OpenSearch was not stopped.": self.outage,
            "The poller was not killed.": self.restarts,
        }
        return [sentence for sentence, count in seen.items() if not count]


def show(console: DemoConsole, injected: InjectedFaults, observed: Observed) -> None:
    """Print the report, with zeros in red."""
    table = Table("chaos")
    table.add_column("observed", justify="right")
    table.add_column("injected")
    rows: list[tuple[str, float, str]] = [
        (
            "invocations that died with their worker (SIGKILL)",
            observed.died,
            f"{injected.kills} workers killed",
        ),
        (
            "invocations throttled",
            observed.throttled,
            f"{injected.throttles} times a concurrency of 0",
        ),
        ("invocations retried after a failure", observed.retries, ""),
        (
            "records delivered again after success",
            observed.redelivered,
            f"lost: responses {observed.lost}, checkpoints {observed.rewinds}",
        ),
        (
            "seconds without OpenSearch",
            round(observed.outage),
            f"it answered again after {injected.back_after:.0f}",
        ),
        (
            "poller killed (SIGKILL) and started again",
            observed.restarts,
            f"{observed.cut_off} invocations under way at that moment",
        ),
    ]
    for what, count, detail in rows:
        table.add_row(what, f"{count:,}" if count else "[bold red]0[/]", detail)
    console.line()
    console.print(table)
