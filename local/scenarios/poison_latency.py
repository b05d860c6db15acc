"""Does poison delay its neighbours? Rounds without it and with it take turns, at one pace.

Compared is how long healthy orders take: those of the rounds without poison, and those whose last
change was delivered to the sink's function in one batch with poison, as the trace of the runner
tells. The pace is one that the pipeline keeps up with: behind a writer at full speed, the waiting
in the stream would hide what a batch costs.
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
    from local.scenarios.phases import Round, Traffic
    from local.workload.poison import Poison
    from local.workload.purchases import Purchase
    from local.workload.traffic import Key

READERS = {"aggregates": "aggregation", "search index": "search"}
"""The sinks that cannot take poison, and their processors."""
GOAL = 1.5  # times as long as without poison, at most
TURNS = 4  # without, with, with, without: a machine that speeds up or slows down favours neither
_MOST = 150  # healthy orders in a round
_PAUSE = 0.07  # seconds that each writer rests after a write: some 50 writes a second
_OPEN_ORDERS = 3  # begun and finished close together, so that poison is among all of them


@dataclass(frozen=True, slots=True)
class Plan:
    """How many healthy orders each of the turns has, and how many poisonous ones beside them."""

    healthy: int
    poisonous: tuple[int, ...]

    @classmethod
    def of(cls, purchases: int, poison: int, at_leisure: int) -> Plan:
        """Raises PurchasesError if hardly a purchase would be healthy."""
        if poison * 2 > purchases:
            msg = (
                f"POISON={poison:,}: there are {purchases:,} purchases, and at most half of them"
                " can be poison; the others show that it delays none of them."
            )
            raise PurchasesError(msg)
        healthy = min(_MOST, (purchases - poison - at_leisure) // (TURNS + 1))
        return cls(healthy, (0, (poison + 1) // 2, poison // 2, 0))

    @property
    def purchases(self) -> int:
        return len(self.poisonous) * self.healthy + sum(self.poisonous)


@dataclass(frozen=True, slots=True)
class Influence:
    """Lags of one sink: of orders without poison, and of those that shared a batch with it."""

    sink: str
    without: Lag | None
    sharing: Lag | None

    @property
    def ratio(self) -> float | None:
        """Of the 99th percentiles; None where a side has no orders."""
        if self.without is None or self.sharing is None:
            return None
        return self.sharing.p99 / self.without.p99


@dataclass(frozen=True, slots=True)
class Turns:
    """What came of them: the influence on each sink, and the batches of both functions."""

    influences: tuple[Influence, ...]
    batches: int
    poisonous: int
    retried: int


def take_turns(
    traffic: Traffic, pipeline: Pipeline, poison: Poison, plan: Plan, purchases: Iterator[Purchase]
) -> Turns:
    trace = TraceReader(pipeline.live.folder / TRACE)
    trace.read()
    earlier = len(trace.calls)
    without: list[Round] = []
    with_poison: list[Round] = []
    for poisonous in plan.poisonous:
        count = plan.healthy + poisonous
        done = traffic.round(
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
        sink: [call for call in made if call.function == pipeline.manifest.functions[name]]
        for sink, name in READERS.items()
    }
    bad = {item_of(*key) for key in poison.orders}
    return Turns(
        tuple(influence(sink, without, with_poison, sharing(calls[sink], bad)) for sink in READERS),
        batches=sum(map(len, calls.values())),
        poisonous=sum(bool(_items(call) & bad) for each in calls.values() for call in each),
        retried=trace.retries,
    )


def influence(
    sink: str, without: Sequence[Round], with_poison: Sequence[Round], shared: Set[str]
) -> Influence:
    """The lags of all orders without poison, and of those with it that `shared` names."""
    alone = [lag for each in without for lag in each.samples[sink].values()]
    beside = [
        lag
        for each in with_poison
        for key, lag in each.samples[sink].items()
        if item_of(*key) in shared
    ]
    return Influence(sink, summary(alone) if alone else None, summary(beside) if beside else None)


def sharing(calls: Sequence[Call], poison: Set[str]) -> set[str]:
    """The items whose last change was delivered in one batch with poison."""
    last: dict[str, bool] = {}
    for call in calls:
        items = _items(call)
        last |= dict.fromkeys(items, bool(items & poison))
    return {item for item, shared in last.items() if shared} - poison


def _items(call: Call) -> set[str]:
    return {_item(keys) for keys in call.keys}


def _item(keys: Mapping[str, Any]) -> str:
    """Whose change it is: a record of the orders table, or one of the change log."""
    if "item" in keys:
        return str(keys["item"]["S"])
    key: Key = (keys["customer_id"]["S"], keys["order_id"]["S"])
    return item_of(*key)
