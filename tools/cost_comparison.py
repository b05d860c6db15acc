"""Compute the table of the cost page that compares alternatives, in dollars per million changes.

Requests and units of a change are counted (`python -m benchmarks.alternatives` writes them to
docs/alternatives.json), prices are those of docs/prices.json. The time of an invocation is assumed,
by one rule for all.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tools.costs import MILLION, price, processors

COUNTED = Path(__file__).parents[1] / "docs" / "alternatives.json"

RATES: Mapping[int, int] = {1: 1, 100: 25, 1_000: 100}
"""Records of an invocation by changes a second: four shards, a window of one second, 100 at most.

An on-demand table begins with four partitions
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html).
"""

REQUEST_SECONDS, RECORD_SECONDS = 0.005, 0.001
"""Assumed: a request to a store in the Region, one after the other, and the work on a record."""

INGESTION = "search: OpenSearch Ingestion, one OCU"


@cache
def counted() -> Mapping[str, Mapping[str, Mapping[str, float]]]:
    """Return the counts of a change, by alternative and by records of an invocation."""
    found: Mapping[str, Mapping[str, Mapping[str, float]]] = json.loads(COUNTED.read_text())
    return found


def a_million(alternative: str, rate: int) -> float:
    """Return what a million changes cost at so many a second, without logs and storage."""
    if alternative == INGESTION:
        return MILLION / rate / 3600 * price("OpenSearch Ingestion, OCU-hour")
    records = RATES[rate]
    counts = counted()[alternative][str(records)]
    seconds = counts["requests"] * REQUEST_SECONDS + RECORD_SECONDS
    return MILLION * (
        counts["write_units"] * price("write request unit")
        + counts["read_units"] * price("read request unit")
        + price("Lambda request") / records
        + seconds * max(processors()) * price("Lambda GB-second, Arm")
    )


def alternatives() -> None:
    """Print the table."""
    print(f"{'a million changes, at':<40}" + "".join(f"{f'{rate:,}/s':>10}" for rate in RATES))
    for name in (*counted(), INGESTION):
        amounts = (a_million(name, rate) for rate in RATES)
        print(f"{name:<40}" + "".join(f"{f'${each:,.2f}':>10}" for each in amounts))
