"""Compute the tables of the cost page: prices of docs/prices.json times counted quantities.

Quantities come from three places: the templates (`python -m tools.template_pages` counts them into
docs/quantities.json), the settings of the environments, and the units and bytes of each change that
`make bench-check` counts (benchmarks/expected.json). The duration of a function on Lambda is
assumed: only a deployed function can tell.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from dynamodb_streams_cdc.metrics import Counts
from stacks.environments import load

ROOT = Path(__file__).parent.parent
PRICES = ROOT / "docs" / "prices.json"
COUNTED = ROOT / "benchmarks" / "expected.json"
QUANTITIES = ROOT / "docs" / "quantities.json"

MILLION = 1_000_000
GIGABYTE = 1e9
ENVIRONMENTS = ("sandbox", "production")
DASHBOARDS_FREE = 3
"""Free dashboards of an account; the app has one."""


@dataclass(frozen=True)
class Load:
    """How changes arrive, with assumptions about a function.

    Attributes:
        records: records of one invocation.
        seconds: billed time of an invocation.
        log_bytes: bytes that an invocation writes to its log.
    """

    records: int
    seconds: float
    log_bytes: int = 1_000


WATCHED_SECONDS = 0.2
"""Assumed of each function that the watcher's run invokes, the watcher among them."""

FULL = Load(records=100, seconds=0.5)
SINGLE = Load(records=1, seconds=0.05)


@cache
def price(name: str) -> float:
    """Return the price of one unit in US dollars.

    Raises:
        KeyError: docs/prices.json does not have it.
    """
    found = json.loads(PRICES.read_text())["prices"][name]
    return float(found["usd"]) / float(found["per"])


@cache
def counted() -> Mapping[str, Mapping[str, float]]:
    """Return units and bytes of a change for each sink, in full batches (`make bench-check`)."""
    found: Mapping[str, Mapping[str, float]] = json.loads(COUNTED.read_text())
    return found


@cache
def quantities() -> Mapping[str, Any]:
    """Return the quantities that `count` found in the templates."""
    found: Mapping[str, Any] = json.loads(QUANTITIES.read_text())
    return found


def count(templates: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """Count what is billed in the template of each environment's pipeline."""
    functions = _of_type(templates["production"], "AWS::Lambda::Function")
    schedules = [
        str(rule.get("ScheduleExpression", ""))
        for rule in _of_type(templates["production"], "AWS::Events::Rule")
    ]
    (minutes,) = re.findall(r"^rate\((\d+) minutes\)$", "\n".join(schedules), re.MULTILINE)
    return {
        "alarm metrics": {
            environment: sum(map(_metrics, _of_type(template, "AWS::CloudWatch::Alarm")))
            for environment, template in templates.items()
        },
        "processors, GB": [
            each["MemorySize"] / 1024
            for each in functions
            if "PROCESSOR" in each["Environment"]["Variables"]
        ],
        # The one that erases runs when a person asks.
        "functions, GB": [
            each["MemorySize"] / 1024 for each in functions if "erasure" not in each["Handler"]
        ],
        "minutes between runs of the watcher": int(minutes),
    }


def _metrics(alarm: Mapping[str, Any]) -> int:
    """Return how many metrics an alarm is billed for: each one that its expression reads."""
    return sum("MetricStat" in metric for metric in alarm.get("Metrics", [{"MetricStat": {}}]))


def _of_type(template: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    return [each["Properties"] for each in template["Resources"].values() if each["Type"] == kind]


def domain(environment: str) -> Mapping[str, float]:
    """Return the monthly cost of an environment's own OpenSearch domain, by part."""
    cluster = load({"environment": environment, "alarms": "none"}).search_cluster
    assert cluster is not None
    hours = json.loads(PRICES.read_text())["hours_a_month"]
    found = {
        f"data nodes: {cluster.nodes} x {cluster.instance_type}": cluster.nodes
        * hours
        * price(f"{cluster.instance_type}, hour"),
    }
    if cluster.masters:
        found[f"masters: {cluster.masters} x {cluster.master_instance_type}"] = (
            cluster.masters * hours * price(f"{cluster.master_instance_type}, hour")
        )
    volumes = cluster.nodes * cluster.volume_gib
    found[f"{volumes} GB of gp3"] = volumes * price("gp3 of a domain, GB-month")
    return found


def alarms(environment: str) -> int:
    """Return how many metrics an environment's alarms evaluate."""
    return int(quantities()["alarm metrics"][environment])


def processors() -> list[float]:
    """Return the memory in GB of each function that reads a stream, in any environment."""
    return list(quantities()["processors, GB"])


def own_metrics() -> int:
    """Return how many metrics the functions publish.

    Each processor has one for each count and one for its dead letters; one more is for the dead
    letters of processors that are gone.
    """
    return len(processors()) * (len(fields(Counts)) + 1) + 1


def runs() -> float:
    """Return how often the watcher runs in a month."""
    minutes = int(quantities()["minutes between runs of the watcher"])
    return float(json.loads(PRICES.read_text())["hours_a_month"]) * 60 / minutes


def watching() -> float:
    """Return the monthly cost of the watcher and of its canary in the functions.

    Each run writes the canary into the source table and so an entry of the log and a row of the
    ledger, in a transaction; it invokes every function once, and lists three places. A list request
    is priced like a put.
    """
    functions: Sequence[float] = quantities()["functions, GB"]
    gigabyte_seconds = sum(functions) * WATCHED_SECONDS
    a_run = (
        4 * price("write request unit")
        + len(functions) * price("Lambda request")
        + gigabyte_seconds * price("Lambda GB-second, Arm")
        + len(functions) * FULL.log_bytes / GIGABYTE * price("logs ingested, GB")
        + 3 * price("S3 put")
    )
    return float(runs() * a_run)


def a_month(environment: str) -> Mapping[str, float]:
    """Return the cost of an environment in a month without a change, by part."""
    evaluated = alarms(environment)
    return {
        **domain(environment),
        f"{evaluated} alarm metrics": evaluated * price("alarm, metric-month"),
        f"{own_metrics()} metrics of our own": own_metrics() * price("own metric, month"),
        f"the watcher, {runs():,.0f} times": watching(),
        f"dashboard, beyond {DASHBOARDS_FREE} of the account": price("dashboard, month"),
        "tables, streams, functions, buckets, queues, rules": 0.0,
    }


def a_million(load: Load) -> Mapping[str, float]:
    """Return the cost of a million changes of the benchmarks, by part.

    Units are counted in full batches. Alone, a change shares no write: a new item and three sums
    are four writes in a transaction, two units each, and one entry of the log.
    """
    sums, log = counted()["aggregation"], counted()["audit"]
    alone = load.records == 1
    sum_units = 2 * 4 if alone else sums["write_units"]
    reads = 1.0 if alone else sums["read_units"]
    invocations = MILLION / load.records
    gigabyte_seconds = invocations * load.seconds * sum(processors())
    invocations *= len(processors())
    return {
        "change log": MILLION * log["write_units"] * price("write request unit"),
        "ledger and sums": MILLION * sum_units * price("write request unit")
        + MILLION * reads * price("read request unit"),
        "Lambda requests": invocations * price("Lambda request"),
        "Lambda duration": gigabyte_seconds * price("Lambda GB-second, Arm"),
        "logs": invocations * load.log_bytes / GIGABYTE * price("logs ingested, GB"),
        "search index, reading the streams": 0.0,
    }


def a_million_afterwards() -> Mapping[str, float]:
    """Return the cost of a million stored changes for each month, by part."""
    log_gigabytes = MILLION * counted()["audit"]["bytes"] / GIGABYTE
    log_lines = len(processors()) * MILLION / FULL.records * FULL.log_bytes / GIGABYTE
    return {
        f"change log, {log_gigabytes:.1f} GB": log_gigabytes * price("table storage, GB-month"),
        "its point-in-time recovery": log_gigabytes * price("point-in-time recovery, GB-month"),
        "logs": log_lines * price("logs kept, GB-month"),
    }


def dead_letters(number: int) -> Mapping[str, float]:
    """Return the cost of dead letters of 2 KB that are redriven once, by part."""
    return {
        "puts, and as many copies into the archive": 2 * number * price("S3 put"),
        "events": number * price("S3 event to EventBridge"),
        "queue: send, receive, delete": 3 * number * price("SQS request"),
        "a month in the bucket": number * 2 / 1e6 * price("S3 storage, GB-month"),
    }


# The tables of the page


def idle() -> None:
    for environment in ENVIRONMENTS:
        _print_table(f"{environment}, a month", [a_month(environment)], [""])
        print()


def changes() -> None:
    titles = [f"batches of {FULL.records}", "one by one"]
    _print_table("a million changes", [a_million(FULL), a_million(SINGLE)], titles)


def afterwards() -> None:
    _print_table("each month after", [a_million_afterwards()], [""])


def failures() -> None:
    _print_table("100,000 dead letters", [dead_letters(100_000)], [""])


def prices() -> None:
    stored = json.loads(PRICES.read_text())
    print(f"{stored['region']}, {stored['currency']}, {stored['date']}\n")
    for name, found in stored["prices"].items():
        amount = f"{found['usd']:.10f}".rstrip("0").rstrip(".")
        per = f" per {found['per']:,}" if found["per"] > 1 else ""
        print(f"{name:<36}{amount + per:<24}{found['confirmed']:<8}{found['source']}")
    print()
    for word, meaning in stored["confirmed"].items():
        print(f"{word}: {meaning}")


def _print_table(title: str, columns: Sequence[Mapping[str, float]], titles: Sequence[str]) -> None:
    print((f"{title:<56}" + "".join(f"{each:>16}" for each in titles)).rstrip())
    for name in columns[0]:
        print(_line(name, [column[name] for column in columns]))
    print(_line("together", [sum(column.values()) for column in columns]))


def _line(name: str, amounts: Sequence[float]) -> str:
    return f"{name:<56}" + "".join(f"{f'${amount:,.2f}':>16}" for amount in amounts)
