"""Measures whether poison delays its neighbours: phases with and without it, at one pace.

Compared are healthy orders of the phases without poison, and those whose last change was delivered
to the sink's function in one batch with poison, by the trace of the poller. The pipeline keeps up
with the pace: behind writers at full speed, the wait in the stream would hide the cost of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.deployed.poller_process import TRACE
from local.deployed.trace import TraceReader
from local.scenarios.lag import summary
from local.verify.expected import item_of
from local.workload.purchases import PurchasesError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence, Set

    from local.deployed.pipeline import Pipeline
    from local.deployed.trace import Call
    from local.scenarios.lag import Lag
    from local.scenarios.phases import Phase, Traffic
    from local.workload.poison import Poison
    from local.workload.purchases import Purchase
    from local.workload.traffic import Key

REFUSING = ("aggregation", "search")
"""The sinks that refuse poison, as processors are named; audit takes every change."""
GOAL = 1.5  # times as long as without poison, at most
PHASES = 4  # without, with, with, without: a machine that speeds up or slows down favours neither
_MOST = 150  # healthy orders in a phase
_PAUSE = 0.07  # seconds that each writer rests after a write: some 50 writes a second
_OPEN_ORDERS = 3  # begun and finished close together, so that poison is among all of them


@dataclass(frozen=True, slots=True)
class PhasePlan:
    """Number of healthy orders in each phase, and of poisonous ones in each."""

    healthy: int
    poisonous: tuple[int, ...]

    @classmethod
    def of(cls, purchases: int, poison: int, one_by_one: int) -> PhasePlan:
        """Return a plan; raise PurchasesError if most purchases would be poison."""
        if poison * 2 > purchases:
            msg = (
                f"POISON={poison:,}: there are {purchases:,} purchases, and at most half of them"
                " can be poison."
            )
            raise PurchasesError(msg)
        healthy = min(_MOST, (purchases - poison - one_by_one) // (PHASES + 1))
        return cls(healthy, (0, (poison + 1) // 2, poison // 2, 0))

    @property
    def purchases(self) -> int:
        return len(self.poisonous) * self.healthy + sum(self.poisonous)


@dataclass(frozen=True, slots=True)
class SinkLatency:
    """Lags of one sink: of orders without poison, and of those that shared a batch with it."""

    sink: str
    without: Lag | None
    sharing: Lag | None

    @property
    def ratio(self) -> float | None:
        """Ratio of the 99th percentiles; None where a side has no orders."""
        if self.without is None or self.sharing is None:
            return None
        return self.sharing.p99 / self.without.p99


@dataclass(frozen=True, slots=True)
class PoisonLatency:
    """Lags by sink, and numbers of batches: in all, with poison, and delivered again."""

    sinks: tuple[SinkLatency, ...]
    batches: int
    poisonous: int
    retried: int


def measure_poison_latency(
    traffic: Traffic,
    pipeline: Pipeline,
    poison: Poison,
    plan: PhasePlan,
    purchases: Iterator[Purchase],
) -> PoisonLatency:
    """Run the phases of the plan and compare their lags."""
    trace = TraceReader(pipeline.poller.folder / TRACE)
    trace.read()
    earlier = len(trace.calls)
    without: list[Phase] = []
    with_poison: list[Phase] = []
    for poisonous in plan.poisonous:
        count = plan.healthy + poisonous
        done = traffic.run(
            f"at a pace, {f'{poisonous:,} of them poison' if poisonous else 'no poison'}",
            poison.hidden(purchases, count, poisonous),
            count,
            samples=count,
            pause=_PAUSE,
            open_orders=_OPEN_ORDERS,
        )
        (with_poison if poisonous else without).append(done)
    trace.read()
    made = list(trace.calls.values())[earlier:]
    calls = {
        sink: [call for call in made if call.function == pipeline.resources.functions[sink]]
        for sink in REFUSING
    }
    bad = {item_of(*key) for key in poison.orders}
    return PoisonLatency(
        tuple(
            sink_latency(sink, without, with_poison, sharing(calls[sink], bad)) for sink in REFUSING
        ),
        batches=sum(map(len, calls.values())),
        poisonous=sum(bool(_items(call) & bad) for each in calls.values() for call in each),
        retried=trace.retries,
    )


def sink_latency(
    sink: str, without: Sequence[Phase], with_poison: Sequence[Phase], shared: Set[str]
) -> SinkLatency:
    """Compare all orders of the phases without poison with the items in `shared` of the others."""
    alone = [lag for each in without for lag in each.samples[sink].values()]
    together = [
        lag
        for each in with_poison
        for key, lag in each.samples[sink].items()
        if item_of(*key) in shared
    ]
    return SinkLatency(
        sink, summary(alone) if alone else None, summary(together) if together else None
    )


def sharing(calls: Sequence[Call], poison: Set[str]) -> set[str]:
    """Return the items whose last change was delivered in one batch with poison."""
    last: dict[str, bool] = {}
    for call in calls:
        items = _items(call)
        last |= dict.fromkeys(items, bool(items & poison))
    return {item for item, shared in last.items() if shared} - poison


def _items(call: Call) -> set[str]:
    return {_item(keys) for keys in call.keys}


def _item(keys: Mapping[str, Any]) -> str:
    """Return the item of a record, by its keys in the orders table or in the change log."""
    if "item" in keys:
        return str(keys["item"]["S"])
    key: Key = (keys["customer_id"]["S"], keys["order_id"]["S"])
    return item_of(*key)
