"""What shares a batch with poison is told from the trace, and compared with what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dynamodb_streams_cdc.esm.poller.invocation import Returned
from local.deployed.trace import Call, TraceReader, TraceWriter
from local.scenarios.lag import Lag
from local.scenarios.phases import Round
from local.scenarios.poison_latency import Influence, Plan, influence, sharing
from local.workload.purchases import PurchasesError
from local.workload.traffic import Written

if TYPE_CHECKING:
    from pathlib import Path

    from local.workload.traffic import Key

POISON = "orders/S=9/S=9"


def of_table(number: str) -> dict[str, Any]:
    return {"customer_id": {"S": number}, "order_id": {"S": number}}


def of_log(number: str) -> dict[str, Any]:
    return {"item": {"S": f"orders/S={number}/S={number}"}, "version": {"S": "v"}}


def call(*keys: dict[str, Any]) -> Call:
    return Call("1", "search", [str(n) for n in range(len(keys))], list(keys))


@pytest.mark.parametrize("of", [of_table, of_log])
def test_sharing_is_told_by_the_batch_of_the_last_change(of: Any) -> None:
    calls = [
        call(of("1"), of("2"), of("9")),
        call(of("2"), of("3")),
        call(of("4"), of("9"), of("4")),
    ]

    found = sharing(calls, {POISON})

    assert found == {"orders/S=1/S=1", "orders/S=4/S=4"}


def test_a_trace_tells_whose_changes_a_call_had(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path / "trace")
    records = [
        {"dynamodb": {"SequenceNumber": "7", "Keys": of_table("1")}},
        {"dynamodb": {"SequenceNumber": "8", "Keys": of_log("2")}},
    ]
    command: Any = type("Command", (), {"event": {"Records": records}})
    writer.end(writer.begin("search", command), Returned(None))
    writer.close()
    reader = TraceReader(tmp_path / "trace")

    reader.read()

    [found] = reader.calls.values()
    assert (found.records, found.keys) == (["7", "8"], [of_table("1"), of_log("2")])


def a_round(**lags: float) -> Round:
    samples: dict[Key, float] = {(name[1:], name[1:]): lag for name, lag in lags.items()}
    return Round("", Written(), 1.0, {"search index": samples}, {})


def test_lags_are_pooled_over_rounds_and_only_neighbours_of_poison_count() -> None:
    found = influence(
        "search index",
        [a_round(o1=1.0, o2=2.0), a_round(o3=4.0)],
        [a_round(o4=5.0, o5=9.0), a_round(o6=6.0)],
        {"orders/S=4/S=4", "orders/S=6/S=6", "orders/S=1/S=1"},
    )

    assert found.without == Lag(3, 2.0, 4.0)
    assert found.sharing == Lag(2, 5.0, 6.0)
    assert found.ratio == 1.5


def test_nothing_to_compare_is_no_ratio() -> None:
    assert influence("search index", [a_round(o1=1.0)], [a_round(o2=1.0)], set()).ratio is None
    assert Influence("search index", None, Lag(1, 1.0, 1.0)).ratio is None


@pytest.mark.parametrize("purchases", [2, 7, 60, 400, 6919])
def test_a_plan_leaves_something_to_write_at_full_speed(purchases: int) -> None:
    at_leisure = min(20, purchases // 10)
    for poison in {1, purchases // 4 or 1, purchases // 2}:
        plan = Plan.of(purchases, poison, at_leisure)

        assert sum(plan.poisonous) == poison
        assert plan.poisonous[0] == plan.poisonous[3] == 0
        assert purchases - at_leisure - plan.purchases >= plan.healthy >= 0


def test_rounds_are_large_where_there_are_many_purchases() -> None:
    assert Plan.of(400, 25, 20) == Plan(71, (0, 13, 12, 0))
    assert Plan.of(6919, 25, 20).healthy == 150


def test_most_purchases_have_to_be_healthy() -> None:
    with pytest.raises(
        PurchasesError, match=r"POISON=31: there are 60 purchases, and at most half"
    ):
        Plan.of(60, 31, 6)
