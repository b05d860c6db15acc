"""Orders that share a batch with poison, by the trace, are compared with the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from dynamodb_streams_cdc.esm.poller.invocation import FunctionReturned
from dynamodb_streams_cdc.testing.stories import StoriesError
from lambdas.example_domain import TABLES
from local.deployed.resources import Resources
from local.deployed.trace import Call, TraceReader, TraceWriter
from local.scenarios.lag import Lag
from local.scenarios.phases import Phase
from local.scenarios.poison_latency import (
    PhasePlan,
    SinkLatency,
    items_of,
    sharing,
    sink_latency,
)
from local.verify import DeployedCopies
from local.workload.stories import Survey
from local.workload.traffic import Written

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_dynamodb import DynamoDBClient


POISON = "orders/S=9/S=9"


def of_table(number: str) -> dict[str, Any]:
    return {"customer_id": {"S": number}, "order_id": {"S": number}}


def of_log(number: str) -> dict[str, Any]:
    return {"item": {"S": f"orders/S={number}/S={number}"}, "version": {"S": "v"}}


def call(*keys: dict[str, Any]) -> Call:
    return Call("1", "search", [str(n) for n in range(len(keys))], list(keys))


def copies(feed: str) -> DeployedCopies:
    resources = Resources("", "", "", functions={"search": "search"}, feeds={"search": feed})
    return DeployedCopies(cast("DynamoDBClient", None), TABLES[0], resources)


@pytest.mark.parametrize(("of", "feed"), [(of_table, "table"), (of_log, "change-log")])
def test_sharing_depends_on_the_batch_of_the_last_change(of: Any, feed: str) -> None:
    calls = [
        call(of("1"), of("2"), of("9")),
        call(of("2"), of("3")),
        call(of("4"), of("9"), of("4")),
    ]

    found = sharing([items_of(each, copies(feed)) for each in calls], {POISON})

    assert found == {"orders/S=1/S=1", "orders/S=4/S=4"}


def test_a_trace_has_the_keys_of_each_call(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path / "trace")
    records = [
        {"dynamodb": {"SequenceNumber": "7", "Keys": of_table("1")}},
        {"dynamodb": {"SequenceNumber": "8", "Keys": of_log("2")}},
    ]
    command: Any = type("Command", (), {"event": {"Records": records}})
    writer.end(writer.begin("search", command), FunctionReturned(None))
    writer.close()
    reader = TraceReader(tmp_path / "trace")

    reader.read()

    [found] = reader.calls.values()
    assert (found.records, found.keys) == (["7", "8"], [of_table("1"), of_log("2")])


def a_phase(**lags: float) -> Phase:
    samples = {f"orders/S={name[1:]}/S={name[1:]}": lag for name, lag in lags.items()}
    return Phase("", Written(), 1.0, {"search": samples}, {})


def test_lags_of_all_phases_are_compared_with_neighbours() -> None:
    found = sink_latency(
        "search",
        [a_phase(o1=1.0, o2=2.0), a_phase(o3=4.0)],
        [a_phase(o4=5.0, o5=9.0), a_phase(o6=6.0)],
        {"orders/S=4/S=4", "orders/S=6/S=6", "orders/S=1/S=1"},
    )

    assert found.without == Lag(3, 2.0, 4.0)
    assert found.sharing == Lag(2, 5.0, 6.0)
    assert found.ratio == 1.5


def test_without_orders_there_is_no_ratio() -> None:
    assert sink_latency("search", [a_phase(o1=1.0)], [a_phase(o2=1.0)], set()).ratio is None
    assert SinkLatency("search", None, Lag(1, 1.0, 1.0)).ratio is None


def surveyed(stories: int) -> Survey:
    return Survey(stories, {}, [True] * stories)


@pytest.mark.parametrize("stories", [2, 7, 60, 400, 6919])
def test_a_plan_leaves_stories_for_full_speed(stories: int) -> None:
    one_by_one = min(20, stories // 10)
    for poison in {1, stories // 4 or 1, stories // 2}:
        plan = PhasePlan.of(surveyed(stories), poison, one_by_one)

        assert sum(plan.poisonous) == poison
        assert plan.poisonous[0] == plan.poisonous[3] == 0
        assert stories - one_by_one - plan.stories >= plan.healthy >= 0


def test_phases_are_large_if_there_are_many_stories() -> None:
    assert PhasePlan.of(surveyed(400), 25, 20) == PhasePlan(71, (0, 13, 12, 0))
    assert PhasePlan.of(surveyed(6919), 25, 20).healthy == 150


def test_most_stories_have_to_be_healthy() -> None:
    with pytest.raises(StoriesError, match=r"POISON=31: there are 60 stories, and at most half"):
        PhasePlan.of(surveyed(60), 31, 6)


def test_poison_needs_stories_that_have_any() -> None:
    none, few = Survey(60, {}, [False] * 60), Survey(60, {}, [True] * 20 + [False] * 40)
    with pytest.raises(StoriesError, match=r"no story in lambdas/domain/stories\.py has poison"):
        PhasePlan.of(none, 3, 6)
    with pytest.raises(StoriesError, match=r"2 stories must be poison, and 0 of 12 have any"):
        PhasePlan.of(few, 3, 6)
