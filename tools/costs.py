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
from math import ceil
from pathlib import Path
from typing import Any

from dynamodb_streams_cdc.metrics import Counts
from lambdas.example_domain import TABLES
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


MAINTAINED_SECONDS = 60.0
"""Assumed of an hourly run of the maintenance function on a small table; nearly all of it is the
wait before the second look. The processors' functions work for a part of it."""

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
    made = _of_type(templates["production"], "AWS::Lambda::Function")
    functions = [each for each in made if not _is_maintenance(each)]
    (maintenance,) = (each for each in made if _is_maintenance(each))
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
        "maintenance, GB": maintenance["MemorySize"] / 1024,
        "minutes between runs of the watcher": int(minutes),
    }


def _is_maintenance(function: Mapping[str, Any]) -> bool:
    return "VERIFY_SHARE" in function["Environment"]["Variables"]


def _metrics(alarm: Mapping[str, Any]) -> int:
    """Return how many metrics an alarm is billed for: each one that its expression reads."""
    return sum("MetricStat" in metric for metric in alarm.get("Metrics", [{"MetricStat": {}}]))


def _of_type(template: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    return [each["Properties"] for each in template["Resources"].values() if each["Type"] == kind]


def domain(environment: str) -> Mapping[str, float]:
    """Return the monthly cost of an environment's own OpenSearch domain, by part."""
    cluster = load({"environment": environment, "alarms": "none"}).cluster_for(TABLES)
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

    Each processor has one for each count, one for its dead letters, and one for the differences
    that the maintenance finds; one more is for the dead letters of processors that are gone.
    """
    return len(processors()) * (len(fields(Counts)) + 2) + 1


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


def maintaining() -> float:
    """Return the monthly cost of the maintenance of a small table: runs that read nearly nothing.

    Each run asks each processor for ten parts, and each of these is an invocation of 0.2 seconds.
    """
    hours = float(json.loads(PRICES.read_text())["hours_a_month"])
    asked = 10 * len(processors())
    gigabyte_seconds = (
        quantities()["maintenance, GB"] * MAINTAINED_SECONDS
        + sum(processors()) * 10 * WATCHED_SECONDS
    )
    a_run = (1 + asked) * price("Lambda request") + gigabyte_seconds * price(
        "Lambda GB-second, Arm"
    )
    return float(hours * a_run)


def a_month(environment: str) -> Mapping[str, float]:
    """Return the cost of an environment in a month without a change, by part."""
    evaluated = alarms(environment)
    return {
        **domain(environment),
        f"{evaluated} alarm metrics": evaluated * price("alarm, metric-month"),
        f"{own_metrics()} metrics of our own": own_metrics() * price("own metric, month"),
        f"the watcher, {runs():,.0f} times": watching(),
        "the maintenance, every hour": maintaining(),
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


BILLION = 1_000_000_000
KILOBYTES = 1.0
"""Size of an item, and of its document."""

ENTRY_KILOBYTES = KILOBYTES + 0.25
"""Size of its entry in the log: the item with identity, version and the entry's own names."""

LEDGER_KILOBYTES = 0.4
READ_UNIT_KILOBYTES = 4
REQUEST_ITEMS = 2_000
"""Items of a request under Step Functions (`operations.walk.MOST_ITEMS`)."""

TRANSITIONS = 5
"""States of a step: Ask, Keep, Decide, Rest (with `--capacity`), Following."""

WRITE_QUOTA = 40_000
"""Write units a second of an on-demand table, by default
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html)."""

INDEXED = (2_300, 8_000, 23_000)
"""Documents of 1 KB that an index takes in a second: measured on a laptop, and assumed."""

VERIFIED_HOURS = 200
"""In which the schedule verifies all of a table, by default: 0.5% an hour."""

VERIFIED_A_RUN = 90_000
"""Items of 15 minutes with four requests at one time, each of 200 items a second, both ways of
three processors."""


def _scanned(kilobytes: float, *, consistent: bool) -> float:
    """Return the read units of an item of a scan, which adds up the sizes of a page."""
    return kilobytes / READ_UNIT_KILOBYTES * (1.0 if consistent else 0.5)


def _walked(requests: float, seconds_per_request: float) -> Mapping[str, float]:
    """Return the cost of requests under Step Functions: steps, invocations, and answers in S3."""
    gigabytes = sum(processors()) / len(processors())
    return {
        "Step Functions": requests * TRANSITIONS * price("Step Functions transition"),
        "answers in S3": requests * (price("S3 put") + price("S3 get")),
        "Lambda": requests
        * (
            price("Lambda request")
            + gigabytes * seconds_per_request * price("Lambda GB-second, Arm")
        ),
    }


def backfill(items: int) -> Mapping[str, float]:
    """Return the cost of filling ledger, log and index from the table under Step Functions.

    Aggregation and audit read the table. Search follows the log, in full batches.
    """
    scan = counted()["search, backfill"]["read_units"]
    sums, log = counted()["aggregation, backfill"], counted()["audit, backfill"]
    table = 2 * _scanned(KILOBYTES, consistent=True)
    seconds = REQUEST_ITEMS / FULL.records * FULL.seconds
    walked = _walked(2 * items / REQUEST_ITEMS, seconds)
    following = items / FULL.records
    follows = following * (
        price("Lambda request") + processors()[-1] * FULL.seconds * price("Lambda GB-second, Arm")
    )
    return {
        "read the table, twice": items * table * price("read request unit"),
        "ask the log for each item": items
        * (log["read_units"] - scan)
        * price("read request unit"),
        "write the log": items * ceil(ENTRY_KILOBYTES) * price("write request unit"),
        "write ledger and sums": items
        * (
            sums["write_units"] * price("write request unit")
            + (sums["read_units"] - scan) * price("read request unit")
        ),
        **walked,
        "search, which follows the log": follows,
    }


def verification(items: int) -> Mapping[str, float]:
    """Return the cost of verifying ledger, log and index, both ways, under Step Functions."""
    number = len(processors())
    copies = sum(_scanned(each, consistent=True) for each in (LEDGER_KILOBYTES, ENTRY_KILOBYTES))
    units = {
        f"read the table, {number} times": number * _scanned(KILOBYTES, consistent=False),
        # Ledger rows by their keys, and the newest entry of each item: a unit each.
        "read ledger row and log entry of each item": 2.0,
        "read all ledger rows and entries": copies,
        f"look up the items of all copies, {number} times": float(number),
    }
    seconds = REQUEST_ITEMS / FULL.records * FULL.seconds
    return {
        **{name: items * each * price("read request unit") for name, each in units.items()},
        **_walked(2 * number * items / REQUEST_ITEMS, seconds),
    }


def scheduled(items: int) -> float:
    """Return the monthly cost of the scheduled verification of a table with so many items.

    A run has 15 minutes: of a larger table it verifies a smaller share, for as much money.
    """
    hours_a_month = float(json.loads(PRICES.read_text())["hours_a_month"])
    verified = hours_a_month * min(items / VERIFIED_HOURS, VERIFIED_A_RUN)
    # No state machine walks.
    others = ("Step Functions", "answers in S3")
    found = verification(BILLION)
    return sum(found[name] for name in found if name not in others) * verified / BILLION


def export(gigabytes: float) -> Mapping[str, float]:
    """Return the cost of an export, and of a month of the recovery that it needs, by part."""
    return {
        "export to S3": gigabytes * price("export to S3, GB"),
        "a month of point-in-time recovery": gigabytes * price("point-in-time recovery, GB-month"),
    }


def hours(requests: float, workers: int, units: float, capacity: float) -> tuple[float, float]:
    """Return the hours that requests take by so many workers, and by a limit of read units."""
    seconds = REQUEST_ITEMS / FULL.records * FULL.seconds
    return requests * seconds / workers / 3600, units / capacity / 3600


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


def billion() -> None:
    _print_table("a backfill of 1,000,000,000 items of 1 KB", [backfill(BILLION)], [""])
    print()
    _print_table("a verification of 1,000,000,000 items of 1 KB", [verification(BILLION)], [""])


def billion_hours() -> None:
    number = len(processors())
    works = {
        "backfill": (2, 2 * _scanned(KILOBYTES, consistent=True)),
        "verification": (
            2 * number,
            # The scans, and a look-up of the item of each copy.
            number * (_scanned(KILOBYTES, consistent=False) + 1.0),
        ),
    }
    print(f"{'hours for 1,000,000,000 items':<44}{'backfill':>12}{'verification':>14}")
    for workers in (50, 200, 1000):
        found = [hours(n * BILLION / REQUEST_ITEMS, workers, 1, 1)[0] for n, _ in works.values()]
        _print_hours(f"{workers:,} workers", *found)
    for capacity in (1_000, 10_000, 40_000):
        found = [hours(0, 1, BILLION * units, capacity)[1] for _, units in works.values()]
        _print_hours(f"{capacity:,} read units a second", *found)
    written = max(counted()["aggregation, backfill"]["write_units"], ceil(ENTRY_KILOBYTES))
    found = [hours(0, 1, BILLION * written, WRITE_QUOTA)[1]]
    _print_hours(f"{WRITE_QUOTA:,} write units a second and table", *found)
    for documents in INDEXED:
        _print_hours(f"{documents:,} documents a second", hours(0, 1, BILLION, documents)[1])


def _print_hours(name: str, backfilled: float, verified: float | None = None) -> None:
    text = f"{name:<44}{backfilled:>12,.1f}"
    print(text if verified is None else f"{text}{verified:>14,.1f}")


def maintained() -> None:
    amounts = {f"{items:,} items": scheduled(items) for items in (100_000, MILLION, 18 * MILLION)}
    print("the scheduled verification, a month")
    for name, amount in amounts.items():
        print(_line(name, [amount]))


def exported() -> None:
    _print_table("an export of 1,000,000,000 items of 1 KB", [export(BILLION * 1e-6)], [""])


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
