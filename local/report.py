"""What the demo prints at the end: the comparison, the numbers around it, and the verdict."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from dynamodb_streams_cdc.errors import visible
from local.scenarios.lag import LOOK_EVERY
from local.scenarios.poison_latency import GOAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from local.console import DemoConsole
    from local.deployed.pipeline import Pipeline
    from local.scenarios.lag import Lag
    from local.scenarios.poison_latency import Turns
    from local.verify import Report
    from local.verify.report import Kind
    from local.workload.poison import Kind as Mistake
    from local.workload.purchases import Survey
    from local.workload.traffic import Key, Written

VERDICT = "every sink equals the table"
COMPARED = {"aggregates": "sums", "search index": "documents", "audit log": "histories"}
KINDS: tuple[Kind, ...] = ("missing", "extra", "different")
_SHOWN_DIFFERENCES = 20
_SHOWN_ORDERS = 5
_BAR = 44  # columns of the longest bar


def comparison(console: DemoConsole, report: Report) -> None:
    console.line()
    console.line(f"{report.items:,} orders in the table, each compared with every sink, both ways")
    table = Table("sink")
    for column in ("compared", "made of", "missing", "extra", "different"):
        table.add_column(column, justify="right")
    for sink in report.sinks:
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
        f"Looked at every {LOOK_EVERY} s. {how.capitalize()} the wait in the stream behind the"
        " writer is part of it.",
        "dim",
    )


def _cells(lag: Lag | None) -> list[str]:
    return [f"{lag.p50:.1f}", f"{lag.p99:.1f}", f"{lag.samples:,}"] if lag else ["", "", "0"]


def numbers(
    console: DemoConsole, written: Written, seconds: float, report: Report, survey: Survey
) -> None:
    """How fast the round at full speed went, and the purchases as the audit log tells them."""
    rate = written.writes / written.seconds if written.seconds else 0
    console.line()
    console.line(
        f"Writing      {written.writes:,} writes in {written.seconds:.1f} s ({rate:,.0f}/s):"
        f" {written.changes:,} changes, {written.without_effect:,} without effect"
    )
    console.line(
        f"Throughput   {written.changes:,} changes in all three sinks after {seconds:.1f} s"
        f" ({written.changes / seconds:,.0f}/s)"
    )
    console.line(
        f"Audit log    purchases read back: {report.inserts.orders:,},"
        f" {report.inserts.total:,} USD; in the file: {survey.purchases:,}, {survey.total:,} USD"
    )


def revenue(console: DemoConsole, rows: Iterable[Mapping[str, Any]]) -> None:
    """One bar per month, from the aggregates table as the sink left it."""
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


def poison(console: DemoConsole, orders: Mapping[Key, Mistake]) -> None:
    """What was hidden among the orders."""
    console.line()
    console.line(f"Hidden: {len(orders):,} orders that cannot be counted or indexed", "bold")
    kinds: dict[str, list[str]] = defaultdict(list)
    for (_, order), kind in orders.items():
        kinds[kind.name].append(order)
    for name, named in kinds.items():
        more = " ..." if len(named) > _SHOWN_ORDERS else ""
        console.line(f"  {len(named):>4,}  {name:<27}{' '.join(named[:_SHOWN_ORDERS])}{more}")


def turns(console: DemoConsole, found: Turns) -> None:
    """Whether poison delayed the orders beside it."""
    console.line()
    console.line("Seconds until a reader of the sink sees a healthy order; rounds took turns")
    table = Table("sink")
    for column in ("no poison: p50", "p99", "orders", "batch shared: p50", "p99", "orders"):
        table.add_column(column, justify="right")
    table.add_column("p99, times", justify="right")
    for each in found.influences:
        ratio = each.ratio
        colour = "green" if ratio is not None and ratio <= GOAL else "bold red"
        shown = "" if ratio is None else f"[{colour}]{ratio:.2f}[/]"
        table.add_row(each.sink, *_cells(each.without), *_cells(each.sharing), shown)
    console.print(table)
    console.line(
        f"Batches in these rounds: {found.batches:,}, of which {found.poisonous:,} with poison;"
        f" {found.retried:,} delivered again."
    )
    for each in found.influences:
        if each.ratio is None:
            console.line(f"{each.sink}: too few orders to tell a delay", "red")
        elif each.ratio > GOAL:
            console.line(
                f"{each.sink}: the goal is at most {GOAL} times as long; {each.ratio:.2f} were"
                " measured",
                "bold red",
            )


def verdict(console: DemoConsole, report: Report, survey: Survey) -> bool:
    """Lists what differs, says the verdict in the last line, and returns it."""
    _differences(console, report)
    read_back = (report.inserts.orders, report.inserts.total)
    complete = read_back == (survey.purchases, survey.total)
    console.line()
    if not complete:
        console.line("The purchases read back from the audit log are not those of the file.", "red")
    if report.equal and complete:
        console.line(VERDICT, "bold green")
        return True
    differing = [sink.sink for sink in report.sinks if not sink.equal]
    if differing:
        console.line(f"not equal to the table: {', '.join(differing)}", "bold red")
    return False


def _differences(console: DemoConsole, report: Report) -> None:
    """Each difference by sink, item and field; the first twenty of each sink."""
    for sink in report.sinks:
        if not sink.compared and not sink.differences:
            console.line(f"\n{sink.sink}: nothing was there to compare.", style="red")
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
        ("lambdas/domain/", "what an order adds to the sums, and what a search finds of it"),
        ("stacks/pipeline.py", "the tables, the streams and their readers"),
        ("local/verify/", "the checker, which shares no code with what it checks"),
        ("make demo CHAOS=1", "kills, throttles, repeats and stops things meanwhile"),
        ("make demo POISON=25", "hides orders that cannot be counted, and mends and redrives them"),
        ("make demo KEEP=1", "leaves everything up, with commands that look into each copy"),
        ("make demo ORDERS=FILE LIMIT=100", "takes other purchases, or a part of them"),
        ("make test", "holds the library to the same claims without a server"),
    ):
        console.print(f"  [bold]{what:<33}[/]{why}")


def how_to_query(console: DemoConsole, pipeline: Pipeline) -> None:
    """Commands to paste into another terminal while everything is up."""
    tables, search = pipeline.manifest.tables, pipeline.manifest.search
    index = f"{search.endpoint}/{search.index}"
    console.line()
    console.line("Everything stays up until Ctrl-C. In another terminal:")
    console.line(f"  curl -s '{index}/_search?q=status:refunded&size=2&pretty'")
    console.line(
        "  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1"
        " AWS_DEFAULT_REGION=us-east-1"
        f" AWS_ENDPOINT_URL={pipeline.aws.url}"
    )
    console.line(f"  aws dynamodb scan --table-name {tables['aggregates']} --max-items 5")
    console.line(f"  aws dynamodb scan --table-name {tables['change_log']} --max-items 3")
    console.line("  aws lambda list-event-source-mappings")
    console.line("  .venv/bin/cdc dead-letters list --environment local")
    console.line(f"  tail -f {pipeline.aws.log} {pipeline.live.log}")
