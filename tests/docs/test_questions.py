"""Examples of the how-to pages, of expiry and of cost, run in a lab or computed."""

import contextlib
import io
import json
import logging
import re
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from dynamodb_streams_cdc import (
    Aggregation,
    Change,
    Contribution,
    Expiry,
    Image,
    LambdaContext,
    Processor,
    Search,
    Source,
)
from dynamodb_streams_cdc.metrics import Counts, LogMetrics
from dynamodb_streams_cdc.testing import Lab, LabFactory
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters, MemoryIndex, MemoryLedger
from stacks.queries import QUERIES
from tests.docs import costs

pytest_plugins = ["dynamodb_streams_cdc.testing.fixtures"]

Event = Mapping[str, Any]

ORDERS = Source("orders")
REPORTING = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}


# Debugging


def query_one_item() -> None:
    print(QUERIES["one item"])


def query_not_done() -> None:
    print(QUERIES["not done"])


class Briefly:
    """The line of `LogMetrics` without what is for CloudWatch alone."""

    def emit(self, counts: Counts) -> None:
        line = io.StringIO()
        with contextlib.redirect_stdout(line):
            LogMetrics("cdc-sandbox-pipeline", "search").emit(counts)
        fields = json.loads(line.getvalue())
        print(json.dumps({name: value for name, value in fields.items() if name != "_aws"}))


def log_of_an_outage() -> None:
    lab = Lab(FunctionResponseTypes=["ReportBatchItemFailures"])
    sink = Search(lab.faulty(MemoryIndex()), lambda order: {"status": order["status"]})
    lab.function(
        Processor("search", ORDERS, sink, MemoryDeadLetters(), metrics=Briefly(), clock=lab.clock)
    )
    lab.fail_sink(seconds=60)
    lab.put({"id": "1001", "status": "placed"}, {"id": "1002", "status": "placed"})
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger = logging.getLogger("dynamodb_streams_cdc")
    logger.addHandler(handler)
    logging.disable(logging.NOTSET)
    try:
        lab.run()
    finally:
        logging.disable(logging.CRITICAL)
        logger.removeHandler(handler)


def test_the_log_names_the_error_of_an_outage(capsys: pytest.CaptureFixture[str]) -> None:
    log_of_an_outage()
    told = capsys.readouterr().out
    assert re.search(r"WARNING 2 of 2 records are not done, the first is \d+: RetryableError", told)
    assert '"Reported": 2' in told
    assert '"Applied": 2' in told


# Large batches, parallelization and timeouts


def throughput() -> None:
    print(f"{'a record takes':<16}{'factor 1':>10}{'factor 2':>10}{'factor 10':>11}")
    for milliseconds in (1, 20, 500):
        one, two, ten = (f"{lanes * 1000 / milliseconds:,.0f}/s" for lanes in (1, 2, 10))
        print(f"{f'{milliseconds} ms':<16}{one:>10}{two:>10}{ten:>11}")


def call_api(api: Any, event: Event, context: LambdaContext) -> None:
    for record in event["Records"]:
        api.call(record["dynamodb"]["SequenceNumber"])


class Api:
    def __init__(self) -> None:
        self.calls = 0

    def call(self, number: str) -> None:
        self.calls += 1


def test_a_batch_longer_than_the_timeout_never_ends(stream_lab: LabFactory) -> None:
    lab = stream_lab(timeout=30, BatchSize=100, MaximumRetryAttempts=2)
    api = Api()
    lab.function(partial(call_api, lab.faulty(api)))
    lab.slow_sink(seconds=86_400, per_call=0.5)
    lab.put(*({"id": str(number)} for number in range(100)))
    lab.run()
    assert api.calls == 3 * 59
    assert [len(dead_letter.changes) for dead_letter in lab.dead_letters] == [100]


def test_smaller_batches_finish(stream_lab: LabFactory) -> None:
    lab = stream_lab(timeout=30, BatchSize=50, MaximumRetryAttempts=2)
    api = Api()
    lab.function(partial(call_api, lab.faulty(api)))
    lab.slow_sink(seconds=86_400, per_call=0.5)
    lab.put(*({"id": str(number)} for number in range(100)))
    lab.run()
    assert api.calls == 100
    assert lab.dead_letters == []


# TTL

EXPIRED = (
    '{"userIdentity": {"type": ["Service"], "principalId": ["dynamodb.amazonaws.com"]},'
    ' "eventName": ["REMOVE"]}'
)


def test_a_filter_finds_what_time_to_live_deleted(stream_lab: LabFactory) -> None:
    lab = stream_lab(
        lambda event, context: None, FilterCriteria={"Filters": [{"Pattern": EXPIRED}]}
    )
    lab.put({"id": "1001"}, {"id": "1002"})
    lab.delete({"id": "1001"})
    lab.expire({"id": "1002"})
    lab.run()
    assert lab.delivered == [["REMOVE 1002"]]
    [record] = lab.deliveries[0].records
    assert Change.from_record(record, ORDERS).expired


def contributions(order: Image) -> Contribution:
    return {"all": {"orders": 1}}


@pytest.mark.parametrize(("expiry", "orders"), [(Expiry.DROP, 1), (Expiry.KEEP, 2)])
def test_an_expiry_is_taken_back_or_kept(
    stream_lab: LabFactory, expiry: Expiry, orders: int
) -> None:
    lab = stream_lab(**REPORTING)
    ledger = MemoryLedger()
    sink = Aggregation(ledger, contributions, expiry)
    lab.function(Processor("sums", ORDERS, sink, MemoryDeadLetters(), clock=lab.clock))
    lab.put({"id": "1001"}, {"id": "1002"}, {"id": "1003"})
    lab.delete({"id": "1001"})
    lab.expire({"id": "1002"})
    lab.run()
    assert ledger.total("all") == {"orders": orders}


# Replays


def test_a_replay_of_everything_changes_nothing(stream_lab: LabFactory) -> None:
    lab = stream_lab(BatchSize=1, **REPORTING)
    index = MemoryIndex()
    sink = Search(index, lambda order: {"status": order["status"]})
    lab.function(Processor("search", ORDERS, sink, MemoryDeadLetters(), clock=lab.clock))
    lab.put({"id": "1001", "status": "placed"}, {"id": "1001", "status": "shipped"})
    lab.put({"id": "1002", "status": "placed"})
    lab.delete({"id": "1002"})
    lab.run()
    right = index.search()

    for delivery in reversed(lab.deliveries[:]):
        lab.deliver_again(delivery)

    assert index.search() == right == {"orders/S=1001": {"status": "shipped"}}


@pytest.mark.parametrize(("age", "replayed"), [(72_000, ["1002"]), (-1, ["1001", "1002"])])
def test_a_new_mapping_gives_up_records_past_the_age(
    stream_lab: LabFactory, age: int, replayed: list[str]
) -> None:
    lab = stream_lab(lambda event, context: None, MaximumRecordAgeInSeconds=age)
    lab.disable()
    lab.put({"id": "1001"})
    lab.wait(21 * 3600)
    lab.put({"id": "1002"})
    lab.enable()
    lab.run()

    assert lab.delivered == [[f"INSERT {id}" for id in replayed]]
    given_up = [(dead_letter.changes, dead_letter.condition) for dead_letter in lab.dead_letters]
    assert given_up == ([(["INSERT 1001"], "RecordAgeExceeded")] if age > 0 else [])


# Cost


def test_a_marker_for_each_event_costs_more_than_a_ledger() -> None:
    lock, together, ledger = costs.store().values()
    assert ledger < lock < together
