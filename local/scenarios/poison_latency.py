"""Measures whether poison delays its neighbours: phases with and without it, at one pace.

Compared are healthy items of the phases without poison, and those whose last change was delivered
to the sink's function in one batch with poison, by the trace of the poller. The pipeline keeps up
with the pace: behind writers at full speed, the wait in the stream would hide the cost of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynamodb_streams_cdc import deserialize_item
from local.deployed.poller_process import TRACE
from local.deployed.trace import TraceReader
from local.items import item_of
from local.scenarios.lag import summary
from local.workload.poison import too_few
from local.workload.stories import WHERE, TooFewStories

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence, Set

    from local.deployed.pipeline import Pipeline
    from local.deployed.trace import Call
    from local.scenarios.lag import Lag
    from local.scenarios.phases import Phase, Traffic
    from local.verify import DeployedCopies
    from local.workload.poison import Poison
    from local.workload.stories import ItemStory, Survey

GOAL = 1.5  # times as long as without poison, at most
PHASES = 4  # without, with, with, without: a machine that speeds up or slows down favours neither
_MOST = 150  # healthy stories in a phase
_PAUSE = 0.07  # seconds that each writer rests after a write: some 50 writes a second
_OPEN_STORIES = 3  # begun and finished close together, so that poison is among all of them


@dataclass(frozen=True, slots=True)
class PhasePlan:
    """Number of healthy stories in each phase, and of poisonous ones in each."""

    healthy: int
    poisonous: tuple[int, ...]

    @classmethod
    def of(cls, survey: Survey, poison: int, one_by_one: int) -> PhasePlan:
        """Return a plan.

        Raises:
            TooFewStories: no story has poison, too few have, or most stories would be poison.
        """
        if not any(survey.poison):
            message = f"POISON={poison:,}: no story in {WHERE} has poison; give some of them one."
            raise TooFewStories(message)
        if poison * 2 > survey.stories:
            message = (
                f"POISON={poison:,}: there are {survey.stories:,} stories, and at most half of them"
                " can be poison."
            )
            raise TooFewStories(message)
        healthy = min(_MOST, (survey.stories - poison - one_by_one) // (PHASES + 1))
        plan = cls(healthy, (0, (poison + 1) // 2, poison // 2, 0))
        begin = survey.stories - one_by_one - plan.stories
        for poisonous in plan.poisonous:
            end = begin + healthy + poisonous
            able = sum(survey.poison[begin:end])
            if able < poisonous:
                message = f"POISON={poison:,}: {too_few(able, end - begin, poisonous)}"
                raise TooFewStories(message)
            begin = end
        return plan

    @property
    def stories(self) -> int:
        return len(self.poisonous) * self.healthy + sum(self.poisonous)


@dataclass(frozen=True, slots=True)
class SinkLatency:
    """Lags of one sink: of items without poison, and of those that shared a batch with it."""

    sink: str
    without: Lag | None
    sharing: Lag | None

    @property
    def ratio(self) -> float | None:
        """Ratio of the 99th percentiles; None where a side has no items."""
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
    stories: Iterator[ItemStory],
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
            poison.hidden(stories, count, poisonous),
            count,
            samples=count,
            pause=_PAUSE,
            open_stories=_OPEN_STORIES,
        )
        (with_poison if poisonous else without).append(done)
    trace.read()
    made = list(trace.calls.values())[earlier:]
    found: list[SinkLatency] = []
    batches: list[tuple[set[str], set[str]]] = []
    for sink in poison.compared:
        bad = poison.refused_by(sink)
        delivered = [
            items_of(call, copies)
            for copies in pipeline.tables
            for call in made
            if call.function == copies.resources.functions.get(sink)
        ]
        batches += [(items, bad) for items in delivered]
        found.append(sink_latency(sink, without, with_poison, sharing(delivered, bad)))
    return PoisonLatency(
        tuple(found),
        batches=len(batches),
        poisonous=sum(bool(items & bad) for items, bad in batches),
        retried=trace.retries,
    )


def sink_latency(
    sink: str, without: Sequence[Phase], with_poison: Sequence[Phase], shared: Set[str]
) -> SinkLatency:
    """Compare all items of the phases without poison with those in `shared` of the others."""
    alone = [lag for each in without for lag in each.samples[sink].values()]
    together = [
        lag for each in with_poison for item, lag in each.samples[sink].items() if item in shared
    ]
    return SinkLatency(
        sink, summary(alone) if alone else None, summary(together) if together else None
    )


def sharing(batches: Sequence[Set[str]], poison: Set[str]) -> set[str]:
    """Return the items whose last change was delivered in one batch with poison."""
    last: dict[str, bool] = {}
    for items in batches:
        last |= dict.fromkeys(items, bool(items & poison))
    return {item for item, shared in last.items() if shared} - poison


def items_of(call: Call, copies: DeployedCopies) -> set[str]:
    """Return the items of an invocation's records, by their keys in the table or the log."""
    feeds, functions = copies.resources.feeds, copies.resources.functions
    of_log = any(feeds[sink] == "change-log" for sink, f in functions.items() if f == call.function)
    if of_log:
        return {str(keys["item"]["S"]) for keys in call.keys}
    return {item_of(copies.table, deserialize_item(keys)) for keys in call.keys}
