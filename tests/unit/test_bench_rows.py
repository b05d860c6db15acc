"""Comparisons of the benchmarks can fail: goals, and items that the raw node refused."""

import json

import pytest

from benchmarks.harness.rows import Row
from benchmarks.peers.indexers import results
from benchmarks.suites.search import spread


@pytest.mark.parametrize(
    ("at_most", "ours", "met"),
    [
        (0.0, [0, 0, 0, 40, 400], False),
        (0.0, [0, 0, 1], False),
        (0.0, [0, 0, 0], True),
        (50.0, [40, 45, 60], True),
        (50.0, [40, 55, 60], False),
    ],
)
def test_a_value_is_met_by_the_median_and_zero_by_every_turn(
    at_most: float, ours: list[float], met: bool
) -> None:
    assert Row("search", "stale in the end", "documents", ours, at_most=at_most).met is met


def test_a_ratio_is_met_by_the_median() -> None:
    row = Row("parse", "flat", "us/record", [1, 1, 1], "boto3", [1, 3, 3], at_least=2.0)
    assert row.met
    assert not Row("growth", "requests", "/change", [1], "at 1,000", [0], at_least=0.98).met


@pytest.mark.parametrize(
    ("events", "wanted", "numbers"),
    [(40, 2, [0, 20]), (10, 2, [0, 5]), (3, 2, [0, 1]), (1, 2, [0]), (3, None, [0, 1, 2])],
)
def test_events_are_spread(events: int, wanted: int | None, numbers: list[int]) -> None:
    assert spread(events, wanted) == numbers


def test_a_failed_item_of_the_raw_node_is_found() -> None:
    answer = {
        "items": [
            {"update": {"status": 200, "result": "updated"}},
            {"update": {"status": 404, "error": {"type": "document_missing_exception"}}},
        ]
    }
    assert results(json.dumps(answer).encode()) == ["updated", "document_missing_exception"]
