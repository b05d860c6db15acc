"""The cost page: each price and each quantity counts, and sums are worked out by hand once."""

import json
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from tests.docs import costs as shown
from tools import cost_comparison, costs

STORED: dict[str, Any] = json.loads(costs.PRICES.read_text())


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Read the files again, before and after a test that changes them."""
    for cached in (costs.price, costs.counted):
        cached.cache_clear()
    yield
    for cached in (costs.price, costs.counted):
        cached.cache_clear()


def amounts() -> list[float]:
    """Every amount on the page, as computed."""
    tables = [
        *map(costs.a_month, costs.ENVIRONMENTS),
        costs.a_million(costs.FULL),
        costs.a_million(costs.SINGLE),
        costs.a_million_afterwards(),
        costs.dead_letters(100_000),
        costs.backfill(costs.BILLION),
        costs.verification(costs.BILLION),
        costs.export(1_000),
        {"maintenance": costs.scheduled(costs.MILLION)},
    ]
    compared = [
        cost_comparison.a_million(name, rate)
        for name in (*cost_comparison.counted(), cost_comparison.INGESTION)
        for rate in cost_comparison.RATES
    ]
    return [*(amount for table in tables for amount in table.values()), *compared]


@pytest.mark.parametrize("name", STORED["prices"])
def test_every_price_has_a_source_and_counts(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = STORED["prices"][name]
    assert found["usd"] > 0
    assert found["per"] >= 1
    assert found["confirmed"] in STORED["confirmed"]
    assert found["source"].startswith("https://aws.amazon.com/")

    before = amounts()
    doubled = {**STORED, "prices": {**STORED["prices"], name: {**found, "usd": 2 * found["usd"]}}}
    changed = tmp_path / "prices.json"
    changed.write_text(json.dumps(doubled))
    monkeypatch.setattr(costs, "PRICES", changed)
    costs.price.cache_clear()
    if name == "stream read by others than Lambda":
        assert costs.price(name) == 2 * shown.STREAM_READ
    else:
        assert amounts() != before


def test_the_prices_have_a_date() -> None:
    assert date.fromisoformat(STORED["date"]) >= date(2026, 11, 28)


def test_an_unknown_instance_type_is_named() -> None:
    with pytest.raises(KeyError, match=r"x1\.large\.search, hour"):
        costs.price("x1.large.search, hour")


def test_domains_are_worked_out() -> None:
    sandbox, production = (sum(costs.domain(name).values()) for name in costs.ENVIRONMENTS)
    assert sandbox == pytest.approx(730 * 0.036 + 10 * 0.122)
    assert production == pytest.approx(3 * 730 * 0.178 + 3 * 730 * 0.068 + 300 * 0.122)


def test_a_million_changes_are_worked_out() -> None:
    """2.86 write units and 0.899 read units; 30,000 invocations of 0.5 s at 512 MB."""
    assert sum(costs.a_million(costs.FULL).values()) == pytest.approx(
        2.86 * 0.625 + 0.899 * 0.125 + 0.03 * 0.2 + 30_000 * 0.25 * 0.0000133334 + 0.03 * 0.5,
        rel=0.02,
    )


def test_a_million_changes_one_by_one_are_worked_out() -> None:
    """A ledger row and three sums in a transaction, one read; 3 million invocations of 0.05 s."""
    found = costs.a_million(costs.SINGLE)
    assert found["ledger and sums"] == pytest.approx((1 + 3) * 2 * 0.625 + 0.125)
    duration = found["Lambda requests"] + found["Lambda duration"]
    assert duration == pytest.approx(3 * (0.2 + 0.05 * 0.5 * 13.3334), rel=0.01)
    assert found["logs"] == pytest.approx(3 * 0.5)


def test_alarms_on_expressions_count_by_metric() -> None:
    stat: dict[str, Any] = {"MetricStat": {}}
    expression = {"Metrics": [{"Expression": "a + b"}, stat, stat]}
    alarms = [{"MetricName": "Errors"}, expression]
    resources: dict[str, Any] = {
        str(number): {"Type": "AWS::CloudWatch::Alarm", "Properties": alarm}
        for number, alarm in enumerate(alarms)
    }
    every_hour = {"ScheduleExpression": "rate(60 minutes)"}
    maintenance = {"MemorySize": 512, "Environment": {"Variables": {"VERIFY_SHARE": "1"}}}
    resources["maintenance"] = {"Type": "AWS::Lambda::Function", "Properties": maintenance}
    resources["rule"] = {"Type": "AWS::Events::Rule", "Properties": every_hour}
    found = costs.count({"production": {"Resources": resources}})
    assert found["alarm metrics"] == {"production": 3}
    assert found["minutes between runs of the watcher"] == 60


def test_the_watcher_runs_every_five_minutes() -> None:
    """8,760 runs: 26,280 list requests are most of it."""
    assert costs.runs() == 8_760
    assert 0.131 < costs.watching() < 0.3


def test_a_billion_items_take_hours_by_the_slower_of_two() -> None:
    requests = 2 * costs.BILLION / costs.REQUEST_ITEMS
    by_workers, by_capacity = costs.hours(requests, 1000, 0.5 * costs.BILLION, 10_000)
    assert round(by_workers, 1) == 2.8
    assert round(by_capacity, 1) == 13.9


def test_a_backfill_costs_what_is_counted_of_one() -> None:
    """Two write units for an entry of more than 1 KB, and a query of the log for each item."""
    found = costs.backfill(costs.MILLION)
    assert found["write the log"] == pytest.approx(2 * 0.625)
    assert found["ask the log for each item"] == pytest.approx(0.125, rel=0.01)
    sums = costs.counted()["aggregation, backfill"]
    assert sums["write_units"] > costs.counted()["aggregation"]["write_units"]
    by_hand = sums["write_units"] * 0.625 + 1.0 * 0.125
    assert found["write ledger and sums"] == pytest.approx(by_hand, rel=0.01)
    assert found["Step Functions"] == pytest.approx(2 * 500 * 5 * 0.025 / 1000)


def test_the_scheduled_verification_costs_by_the_item() -> None:
    """All of it 3.65 times a month, and no more than 15 minutes an hour allow."""
    once = costs.verification(costs.MILLION)
    read = sum(once.values()) - once["Step Functions"] - once["answers in S3"]
    assert costs.scheduled(costs.MILLION) == pytest.approx(3.65 * read)
    assert costs.scheduled(18 * costs.MILLION) == pytest.approx(18 * 3.65 * read)
    assert costs.scheduled(costs.BILLION) == costs.scheduled(18 * costs.MILLION)


def test_there_is_something_to_count() -> None:
    assert costs.alarms("production") >= 29
    assert len(costs.processors()) == 3
    assert costs.own_metrics() == 43


def test_what_is_printed_is_what_is_computed() -> None:
    printed = StringIO()
    with redirect_stdout(printed):
        costs.changes()
    figures = [float(found) for found in re.findall(r"\$([\d.]+)", printed.getvalue())]
    full, single = costs.a_million(costs.FULL), costs.a_million(costs.SINGLE)
    pairs = [*zip(full.values(), single.values(), strict=True)]
    pairs.append((sum(full.values()), sum(single.values())))
    assert figures == [round(amount, 2) for pair in pairs for amount in pair]


def test_alternatives_worked_out_by_hand() -> None:
    """3.902 write units and requests, a record an invocation of half a GB; and an OCU."""
    by_hand = 3.902 * 0.625 + 0.2 + (3.902 * 5 + 1) * 1e3 * 0.5 * 0.0000133334
    found = cost_comparison.a_million("sums: Powertools with idempotency", 1)
    assert found == pytest.approx(by_hand)
    assert cost_comparison.a_million(cost_comparison.INGESTION, 100) == pytest.approx(
        10_000 / 3600 * 0.24
    )


def test_the_counts_of_full_batches_are_those_of_ci() -> None:
    """`make bench-check` counts this project's; another run of the alternatives agrees."""
    for sink, name in {"audit": "log", "search": "search"}.items():
        counts = cost_comparison.counted()[f"{name}: this project"]["100"]
        for what in ("requests", "write_units"):
            assert counts[what] == pytest.approx(costs.counted()[sink][what], rel=0.02)
