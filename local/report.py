"""Prints the results of a demo: the comparison, figures, and the verdict."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from dynamodb_streams_cdc.errors import visible
from local.deployed.command_line import CommandLine
from local.items import NO_ENTITY
from local.scenarios.lag import PROBE_EVERY
from local.scenarios.poison_latency import GOAL
from local.verify import unchecked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dynamodb_streams_cdc.entities import Table as Declared
    from local.console import DemoConsole
    from local.deployed.pipeline import Pipeline
    from local.scenarios.lag import Lag
    from local.scenarios.poison_latency import PoisonLatency
    from local.verify import Comparison
    from local.verify.comparison import Kind
    from local.workload.stories import ItemStory, Survey
    from local.workload.traffic import Written

VERDICT = "every sink equals the table"
KINDS: tuple[Kind, ...] = ("missing", "extra", "different")
_SHOWN_DIFFERENCES = 20
_SHOWN_ITEMS = 5
_SHOWN_SUMS = 20
_BAR = 44  # columns of the longest bar


def comparison(console: DemoConsole, found: Comparison) -> None:
    console.line()
    console.line(f"{found.items:,} items in the table, compared with every sink, both ways")
    several = len({sink.table for sink in found.sinks}) > 1
    table = Table(*(["table"] if several else []), "sink", "of")
    for column in ("compared", "made of", "missing", "extra", "different"):
        table.add_column(column, justify="right")
    for sink in found.sinks:
        counts = [sink.count(kind) for kind in KINDS]
        table.add_row(
            *([sink.table] if several else []),
            sink.sink,
            sink.of,
            f"{sink.compared:,} {sink.unit}",
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
    for column in ("one by one: p50", "p99", "items", f"{how}: p50", "p99", "items"):
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


def numbers(console: DemoConsole, written: Written, seconds: float, survey: Survey) -> None:
    """Print the speed of the first phase, and the number of stories."""
    rate = written.writes / written.seconds if written.seconds else 0
    several = len({table for table, _ in survey.entities}) > 1
    kinds = ", ".join(
        f"{count:,} of {table + ' ' if several else ''}{entity}"
        for (table, entity), count in survey.entities.items()
    )
    console.line()
    console.line(f"Stories      {survey.stories:,} stories: {kinds}")
    console.line(
        f"Writes       {written.writes:,} writes in {written.seconds:.1f} s ({rate:,.0f}/s):"
        f" {written.changes:,} changes, {written.without_effect:,} without effect"
    )
    console.line(
        f"Throughput   {written.changes:,} changes in every sink after {seconds:.1f} s"
        f" ({written.changes / seconds:,.0f}/s)"
    )


def sums(console: DemoConsole, rows: Iterable[Mapping[str, Any]]) -> None:
    """Print a bar for each aggregate of the largest group, from the aggregates table.

    A group are the aggregates whose names begin alike, up to `#`. The measure is the largest.
    """
    groups: dict[str, dict[str, dict[str, Decimal]]] = {}
    for row in rows:
        group, _, name = str(row["aggregate"]).partition("#")
        amounts = groups.setdefault(group, {}).setdefault(name, defaultdict(Decimal))
        for measure in row.keys() - {"aggregate", "shard", "revision"}:
            amounts[measure] += row[measure]
    if not groups:
        return
    group, names = max(groups.items(), key=lambda each: len(each[1]))
    totals: dict[str, Decimal] = defaultdict(Decimal)
    for amounts in names.values():
        for measure, amount in amounts.items():
            totals[measure] += amount
    measure = max(sorted(totals), key=lambda each: abs(totals[each]))
    console.line()
    console.line(f"Sums of {measure} by {group}, read from the aggregates table")
    shown = {name: names[name][measure] for name in sorted(names)[:_SHOWN_SUMS]}
    most = max([*map(abs, shown.values()), Decimal(1)])
    wide = max(map(len, shown))
    for name, amount in shown.items():
        bar = "█" * round(_BAR * abs(amount) / most) or ("▏" if amount else "")
        text = visible(f"  {name:<{wide}}  {amount:>12,}  ")
        console.print(Text.assemble(text, (bar, "cyan")))
    if len(names) > len(shown):
        console.line(f"  ... and {len(names) - len(shown):,} more")


def poison(console: DemoConsole, items: Mapping[str, ItemStory]) -> None:
    """Print the poisoned items by defect."""
    console.line()
    console.line(f"Poison: {len(items):,} items that some sink cannot apply", "bold")
    defects: dict[str, list[str]] = defaultdict(list)
    for item, story in items.items():
        assert story.poison is not None
        defects[story.poison.defect].append(item)
    for name, named in defects.items():
        more = " ..." if len(named) > _SHOWN_ITEMS else ""
        console.line(f"  {len(named):>4,}  {name:<30}{' '.join(named[:_SHOWN_ITEMS])}{more}")


def poison_latency(console: DemoConsole, found: PoisonLatency) -> None:
    """Print whether poison delayed its neighbours."""
    console.line()
    console.line("Seconds until a reader of the sink sees a healthy item, without and with poison")
    table = Table("sink")
    for column in ("no poison: p50", "p99", "items", "same batch: p50", "p99", "items"):
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
            console.line(f"{each.sink}: too few items to measure a delay", "red")
        elif each.ratio > GOAL:
            console.line(
                f"{each.sink}: p99 is {each.ratio:.2f} times as long; the goal is {GOAL} at most",
                "bold red",
            )


def verdict(console: DemoConsole, found: Comparison, tables: Iterable[Declared] = ()) -> bool:
    """Print the differences, then the verdict in the last line; return it.

    Of a sink of the tables that has no check it says that it was not compared.
    """
    _differences(console, found)
    console.line()
    if found.equal:
        left_out = dict.fromkeys(sink for table in tables for sink in unchecked(table))
        said = f"every compared sink equals the table; not compared: {', '.join(left_out)}"
        console.line(said if left_out else VERDICT, "bold green")
    else:
        console.line(f"not equal to the table: {', '.join(found.differing)}", "bold red")
    return found.equal


def _differences(console: DemoConsole, found: Comparison) -> None:
    """Print the first twenty differences of each sink."""
    for name in found.empty:
        console.line(f"\n{name}: nothing to compare; no story is of such an item.", style="red")
    for sink in found.sinks:
        if not sink.differences:
            continue
        count = f"{len(sink.differences):,} differences"
        console.line(f"\n{sink.sink}{f', {sink.of}' if sink.of else ''}: {count}", style="red")
        for difference in sink.differences[:_SHOWN_DIFFERENCES]:
            console.line(f"  {difference}")
        more = len(sink.differences) - _SHOWN_DIFFERENCES
        if more > 0:
            console.line(f"  ... and {more:,} more")


def not_compared(console: DemoConsole, tables: Iterable[Declared], survey: Survey) -> None:
    """Print the sinks of the tables that have no check, and the entities without a story."""
    for table in tables:
        if count := survey.entities.get((table.name, NO_ENTITY)):
            console.line(
                f"{count:,} stories of {table.name} are of no entity, so no sink has them: is that"
                " intended?",
                "yellow",
            )
        for entity in table.entities:
            if (table.name, entity.name) not in survey.entities:
                console.line(
                    f"{entity.name} of {table.name} is not compared: no story is of it.", "yellow"
                )
        for sink in unchecked(table):
            console.line(
                f"{sink} of {table.name} is not compared: add its check to CHECKS in"
                " local/verify/checker.py.",
                "yellow",
            )


def where_to_look(console: DemoConsole) -> None:
    console.line()
    console.line("Where to look next")
    for what, why in (
        ("lambdas/domain/", "the tables, the sums and documents of their items, the stories"),
        ("stacks/pipeline.py", "tables, streams and processors"),
        ("local/verify/", "the checker, which reads the copies without the sinks' code"),
        ("make demo CHAOS=1", "kills, throttles, repeats and stops things while it writes"),
        ("make demo POISON=25", "adds items that cannot be applied, corrects and redrives them"),
        ("make demo KEEP=1", "keeps everything up, with commands that read each copy"),
        ("make demo DATA=FILE LIMIT=100", "writes stories of another file, or some of them"),
        ("make test", "runs the unit, handler and infrastructure tests (no servers)"),
    ):
        console.print(f"  [bold]{what:<33}[/]{why}")


def how_to_query(console: DemoConsole, pipeline: Pipeline) -> None:
    """Print commands for another terminal while everything is up."""
    console.line()
    console.line("Everything stays up until Ctrl-C. In another terminal:")
    console.line(
        "  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1"
        " AWS_DEFAULT_REGION=us-east-1"
        f" AWS_ENDPOINT_URL={pipeline.aws.url}"
    )
    for copies in pipeline.tables:
        resources = copies.resources
        for alias in resources.indexes.values():
            url = f"{resources.search_endpoint}/{alias}/_search?size=2&pretty"
            console.line(f"  curl -s '{url}'")
        for name, count in ((resources.aggregates, 5), (resources.change_log, 3)):
            if name is not None:
                console.line(f"  aws dynamodb scan --table-name {name} --max-items {count}")
        where = CommandLine("local", {}).on(resources.stack).cdc("dead-letters", "list")
        console.line(f"  .venv/bin/{' '.join(where)}")
    console.line("  aws lambda list-event-source-mappings")
    console.line(f"  tail -f {pipeline.aws.log} {pipeline.poller.log}")
