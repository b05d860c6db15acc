"""Prints the results of a demo: the comparison, figures, and the verdict."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from dynamodb_streams_cdc.errors import visible
from local.scenarios.lag import PROBE_EVERY
from local.scenarios.poison_latency import GOAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from local.console import DemoConsole
    from local.deployed.pipeline import Pipeline
    from local.scenarios.lag import Lag
    from local.scenarios.poison_latency import PoisonLatency
    from local.verify import Comparison
    from local.verify.comparison import Kind
    from local.workload.poison import Defect
    from local.workload.purchases import Survey
    from local.workload.traffic import Key, Written

VERDICT = "every sink equals the table"
COMPARED = {"aggregation": "aggregates", "search": "documents", "audit": "histories"}
KINDS: tuple[Kind, ...] = ("missing", "extra", "different")
_SHOWN_DIFFERENCES = 20
_SHOWN_ORDERS = 5
_BAR = 44  # columns of the longest bar


def comparison(console: DemoConsole, found: Comparison) -> None:
    console.line()
    console.line(f"{found.items:,} orders in the table, compared with every sink, both ways")
    table = Table("sink")
    for column in ("compared", "made of", "missing", "extra", "different"):
        table.add_column(column, justify="right")
    for sink in found.sinks:
        counts = [sink.count(kind) for kind in KINDS]
        table.add_row(
            sink.sink,
            f"{sink.compared:,} {COMPARED[sink.sink]}",
            sink.parts,
            *(f"[bold red]{count:,}[/]" if count else "0" for count in counts),
        )
    console.print(table)


def lags(
    console: DemoConsole, alone: Mapping[str, Lag], loaded: Mapping[str, Lag], how: str
) -> None:
    console.line()
    console.line(
        "Seconds from DynamoDB's acknowledgment until a reader of the sink sees the change"
    )
    table = Table("sink")
    for column in ("one by one: p50", "p99", "orders", f"{how}: p50", "p99", "orders"):
        table.add_column(column, justify="right")
    for sink in sorted(alone.keys() | loaded.keys()):
        table.add_row(sink, *_cells(alone.get(sink)), *_cells(loaded.get(sink)))
    console.print(table)
    console.line(
        f"Probed every {PROBE_EVERY} s. {how.capitalize()}, the wait in the stream is included.",
        "dim",
    )


def _cells(lag: Lag | None) -> list[str]:
    return [f"{lag.p50:.1f}", f"{lag.p99:.1f}", f"{lag.samples:,}"] if lag else ["", "", "0"]


def numbers(
    console: DemoConsole, written: Written, seconds: float, found: Comparison, survey: Survey
) -> None:
    """Print the speed of the first phase, and the purchases that the change log states."""
    rate = written.writes / written.seconds if written.seconds else 0
    console.line()
    console.line(
        f"Writes       {written.writes:,} writes in {written.seconds:.1f} s ({rate:,.0f}/s):"
        f" {written.changes:,} changes, {written.without_effect:,} without effect"
    )
    console.line(
        f"Throughput   {written.changes:,} changes in all three sinks after {seconds:.1f} s"
        f" ({written.changes / seconds:,.0f}/s)"
    )
    console.line(
        f"Audit        purchases in the change log: {found.inserts.orders:,},"
        f" {found.inserts.total:,} USD; in the file: {survey.purchases:,}, {survey.total:,} USD"
    )


def revenue(console: DemoConsole, rows: Iterable[Mapping[str, Any]]) -> None:
    """Print a bar for each month, from the aggregates table."""
    months: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        kind, _, name = str(row["aggregate"]).partition("#")
        if kind == "month":
            months[name] += row.get("revenue", 0)
    console.line()
    console.line("Revenue per month, read from the aggregates table (USD)")
    most = max([*months.values(), Decimal(1)])
    for month, amount in sorted(months.items()):
        bar = "█" * round(_BAR * amount / most) or ("▏" if amount else "")
        console.print(Text.assemble(visible(f"  {month}  {amount:>12,.2f}  "), (bar, "cyan")))


def poison(console: DemoConsole, orders: Mapping[Key, Defect]) -> None:
    """Print the poison orders by defect."""
    console.line()
    console.line(f"Poison: {len(orders):,} orders that cannot be counted or indexed", "bold")
    defects: dict[str, list[str]] = defaultdict(list)
    for (_, order), defect in orders.items():
        defects[defect.name].append(order)
    for name, named in defects.items():
        more = " ..." if len(named) > _SHOWN_ORDERS else ""
        console.line(f"  {len(named):>4,}  {name:<30}{' '.join(named[:_SHOWN_ORDERS])}{more}")


def poison_latency(console: DemoConsole, found: PoisonLatency) -> None:
    """Print whether poison delayed its neighbours."""
    console.line()
    console.line("Seconds until a reader of the sink sees a healthy order, without and with poison")
    table = Table("sink")
    for column in ("no poison: p50", "p99", "orders", "same batch: p50", "p99", "orders"):
        table.add_column(column, justify="right")
    table.add_column("p99 ratio", justify="right")
    for each in found.sinks:
        ratio = each.ratio
        colour = "green" if ratio is not None and ratio <= GOAL else "bold red"
        shown = "" if ratio is None else f"[{colour}]{ratio:.2f}[/]"
        table.add_row(each.sink, *_cells(each.without), *_cells(each.sharing), shown)
    console.print(table)
    console.line(
        f"Batches in these phases: {found.batches:,}, of which {found.poisonous:,} with poison;"
        f" {found.retried:,} delivered again."
    )
    for each in found.sinks:
        if each.ratio is None:
            console.line(f"{each.sink}: too few orders to measure a delay", "red")
        elif each.ratio > GOAL:
            console.line(
                f"{each.sink}: p99 is {each.ratio:.2f} times as long; the goal is {GOAL} at most",
                "bold red",
            )


def verdict(console: DemoConsole, found: Comparison, survey: Survey) -> bool:
    """Print the differences, then the verdict in the last line; return it."""
    _differences(console, found)
    read_back = (found.inserts.orders, found.inserts.total)
    complete = read_back == (survey.purchases, survey.total)
    console.line()
    if not complete:
        console.line("The purchases in the change log differ from those of the file.", "red")
    if found.equal and complete:
        console.line(VERDICT, "bold green")
        return True
    differing = [sink.sink for sink in found.sinks if not sink.equal]
    if differing:
        console.line(f"not equal to the table: {', '.join(differing)}", "bold red")
    return False


def _differences(console: DemoConsole, found: Comparison) -> None:
    """Print the first twenty differences of each sink."""
    for sink in found.sinks:
        if not sink.compared and not sink.differences:
            console.line(f"\n{sink.sink}: nothing to compare.", style="red")
        if not sink.differences:
            continue
        console.line(f"\n{sink.sink}: {len(sink.differences):,} differences", style="red")
        for difference in sink.differences[:_SHOWN_DIFFERENCES]:
            console.line(f"  {difference}")
        more = len(sink.differences) - _SHOWN_DIFFERENCES
        if more > 0:
            console.line(f"  ... and {more:,} more")


def where_to_look(console: DemoConsole) -> None:
    console.line()
    console.line("Where to look next")
    for what, why in (
        ("lambdas/domain/", "an order's aggregates, and its search document"),
        ("stacks/pipeline.py", "tables, streams and processors"),
        ("local/verify/", "the checker, which shares no code with the sinks"),
        ("make demo CHAOS=1", "kills, throttles, repeats and stops things while it writes"),
        ("make demo POISON=25", "adds orders that cannot be applied, corrects and redrives them"),
        ("make demo KEEP=1", "keeps everything up, with commands that read each copy"),
        ("make demo ORDERS=FILE LIMIT=100", "writes other purchases, or some of them"),
        ("make test", "runs the unit, handler and infrastructure tests (no servers)"),
    ):
        console.print(f"  [bold]{what:<33}[/]{why}")


def how_to_query(console: DemoConsole, pipeline: Pipeline) -> None:
    """Print commands for another terminal while everything is up."""
    resources = pipeline.resources
    index = f"{resources.search_endpoint}/{resources.search_index}"
    console.line()
    console.line("Everything stays up until Ctrl-C. In another terminal:")
    console.line(f"  curl -s '{index}/_search?q=status:refunded&size=2&pretty'")
    console.line(
        "  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1"
        " AWS_DEFAULT_REGION=us-east-1"
        f" AWS_ENDPOINT_URL={pipeline.aws.url}"
    )
    console.line(f"  aws dynamodb scan --table-name {resources.aggregates} --max-items 5")
    console.line(f"  aws dynamodb scan --table-name {resources.change_log} --max-items 3")
    console.line("  aws lambda list-event-source-mappings")
    console.line("  .venv/bin/cdc dead-letters list --environment local")
    console.line(f"  tail -f {pipeline.aws.log} {pipeline.poller.log}")
