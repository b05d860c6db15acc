"""A rebuild of the sums through the function as it is deployed, against moto."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from dynamodb_streams_cdc import LambdaContext, serialize_item
from dynamodb_streams_cdc.operations.jobs import Job
from dynamodb_streams_cdc.operations.rebuild_aggregation import RebuildAggregation
from dynamodb_streams_cdc.sinks import generations
from lambdas.aggregation import handler as aggregation
from tests.factories import STREAM, order, record
from tests.lambdas.test_stream_handlers import rows

KEYS = {"customer_id": "S", "order_id": "S"}
PLACED = [order(f"{number:05}-1", total="10.00") for number in range(1, 6)]


class Deployed:
    def __init__(self, context: LambdaContext) -> None:
        self.context = context

    def invoke(self, processor: str, event: Mapping[str, Any]) -> Any:
        sent: Any = json.loads(json.dumps(event))
        return json.loads(json.dumps(aggregation.handler(sent, self.context)))


def measures(aws: Callable[[str], Any], aggregate: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for row in rows(aws, "aggregates"):
        if row.pop("aggregate") == aggregate:
            for name in row.keys() - {"shard", "revision"}:
                found[name] = found.get(name, 0) + row[name]
    return found


def test_an_item_counted_twice_is_counted_once_afterwards(
    aws: Callable[[str], Any],
    context: LambdaContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(generations, "WAIT_SECONDS", 0.0)
    monkeypatch.setattr(generations, "CACHE_SECONDS", 0.0)
    client = aws("dynamodb")
    for item in PLACED:
        client.put_item(TableName="orders-1A2B", Item=serialize_item(item))
    records: list[Any] = [record(n, None, item) for n, item in enumerate(PLACED, 1)]
    aggregation.handler({"Records": records}, context)
    lost = {"id": {"S": "ledger/orders/S=00003/S=00003-1"}}
    client.delete_item(TableName="idempotency", Key=lost)
    aggregation.handler({"Records": records[2:3]}, context)
    assert measures(aws, "month#1997-01")["revenue"] == 60
    client.delete_item(TableName="idempotency", Key=lost)

    def job(generation: int) -> Job:
        return Job(f"rebuild-{generation}", {})

    def rebuild() -> RebuildAggregation:
        work = RebuildAggregation(Deployed(context), "aggregation", STREAM, KEYS, segments=2)
        work.workers = 1  # moto changes its dictionaries while another thread reads them
        return work

    report = rebuild().run(job)
    assert (report.live, report.moved, report.corrected, report.off) == (1, 5, 1, [])
    found = measures(aws, "month#1997-01")
    assert (found["revenue"], found["g1_revenue"]) == (70, 50)
    live: Any = aggregation.processor().sink
    ledger = live.sinks["order"].ledger
    assert ledger.total("month#1997-01")["revenue"] == 50
    shipped: Any = {"Records": [record(9, PLACED[0], {**PLACED[0], "status": "shipped"})]}
    aggregation.handler(shipped, context)
    assert ledger.total("status#shipped") == {"orders": 1}
    assert measures(aws, "status#shipped") == {"orders": 1, "g1_orders": 1}

    finished = rebuild().finish(1, job)
    assert (finished.live, finished.kept, finished.problems) == (1, None, [])
    assert 0 < finished.dropped <= len(rows(aws, "aggregates"))
    assert measures(aws, "month#1997-01").keys() == {"g1_orders", "g1_units", "g1_revenue"}
    assert ledger.total("month#1997-01")["revenue"] == 50
