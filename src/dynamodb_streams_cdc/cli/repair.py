"""`cdc repair`: make copies equal to the table, through the deployed functions."""

from collections import Counter
from typing import Annotated

import typer

from dynamodb_streams_cdc.cli.errors import reported
from dynamodb_streams_cdc.cli.options import (
    AsJson,
    Endpoint,
    Environment,
    ManifestFile,
    OptionalKeys,
    Processors,
    Stack,
    Table,
    check_processors,
    check_processors_of,
)
from dynamodb_streams_cdc.cli.output import (
    MOST_LINES,
    cells,
    counted,
    print_rest,
    say,
    stderr_console,
    table,
    terminal,
    text_of,
)
from dynamodb_streams_cdc.operations.errors import UsageError
from dynamodb_streams_cdc.operations.item_keys import parse_item_keys
from dynamodb_streams_cdc.operations.repair import (
    NOT_REPAIRABLE,
    Repair,
    RepairReport,
    RepairSource,
)
from dynamodb_streams_cdc.operations.repair_differences import (
    DifferencesReport,
    RepairDifferences,
    read_differences,
)
from dynamodb_streams_cdc.operations.stack import Deployment


def repair(
    key: OptionalKeys = None,
    differences: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Repair the differences in the output of cdc verify --json; - reads them from "
            "standard input.",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Repair every item in the table.")
    ] = False,
    source_table: Table = None,
    processor: Processors = None,
    as_json: AsJson = False,
    environment: Environment = "sandbox",
    stack: Stack = None,
    manifest: ManifestFile = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Make copies equal to the table: those that cdc verify found, of one item, or of all.

    Safe at any time, during live changes, and as often as you like. A copy that has changed since
    it was verified is left to its change. What a repair cannot make right it leaves, and says why:
    an item that the ledger lacks may be in the sums all the same. To bring in items from before the
    stream, use cdc backfill. --all reads the whole table, and finds no copies without an item.
    """
    if [bool(key), differences is not None, everything].count(True) != 1:
        message = (
            "Give an item's keys, as in customer_id=00004 order_id=7, or --from with the output of "
            "cdc verify --json, or --all; one of them."
        )
        raise UsageError(message)
    deployment = Deployment.find(environment, stack, endpoint_url, manifest)
    check_processors(deployment, processor)
    keys = parse_item_keys(key, deployment.manifest.source_table(source_table)) if key else None
    source = RepairSource(deployment, source_table)
    check_processors_of(deployment, source.name, processor)
    if differences is None:
        items = source.scan() if keys is None else [keys]
        report = RepairReport()
        with reported(report, _print, as_json=as_json):
            Repair.of(deployment, source, processor or ()).run(items, report)
        return
    sinks = {
        each.name: each.sink
        for each in deployment.manifest.processors
        if each.source_table == source.name
    }
    found = read_differences(
        text_of(differences, "--from"),
        differences,
        sinks,
        deployment.short_name,
        source.stream_arn,
    )
    work = RepairDifferences(deployment.functions, source.stream_arn, source.key_types, sinks)
    work.report.verification_complete = found.complete
    with reported(work.report, _print_differences, as_json=as_json):
        chosen = (e for e in found.differences if not processor or e["sink"] in processor)
        work.run(chosen)


def _print_differences(report: DifferencesReport) -> None:
    console = terminal()
    lines = table(("not repaired", "sink", "difference", "why"))
    for each in report.unrepaired[:MOST_LINES]:
        lines.add_row(*cells(each.item, each.sink, each.kind, each.why))
    if report.unrepaired:
        console.print(lines)
    rest = (f"{each.sink}: {each.kind}" for each in report.unrepaired[MOST_LINES:])
    print_rest(console, Counter(rest), "difference")
    for name in sorted(report.repaired.keys() | report.moved.keys()):
        moved = report.moved[name]
        by_itself = f"; {counted(moved, 'copy', 'copies')} had changed meanwhile" if moved else ""
        done = counted(report.repaired[name], "copy", "copies")
        say(console, f"{name}: {done} repaired{by_itself}.")
    if report.ended and not report.differences:
        console.print("0 differences to repair.")
    if not report.verification_complete:
        console.print(
            "The verification that wrote the report did not compare everything: verify again.",
            soft_wrap=True,
        )
    if report.interrupted:
        stderr_console().print("Interrupted: verify again, and repair what is left.")


def _print(report: RepairReport) -> None:
    console = terminal()
    lines = table(("not repaired", "processor", "reason", "error"))
    for failure in report.failures[:MOST_LINES]:
        others = f" and {failure.others:,} more" if failure.others else ""
        item = f"{failure.item}{others}"
        lines.add_row(*cells(item, failure.processor, failure.reason, failure.error))
    if report.failures:
        console.print(lines)
    rest = (f"{each.processor}: {each.reason}" for each in report.failures[MOST_LINES:])
    print_rest(console, Counter(rest), "item")
    repaired = [f"{count:,} of {name}" for name, count in sorted(report.repaired.items())]
    console.print(
        f"{counted(report.items, 'item')} compared; copies repaired: "
        f"{', '.join(repaired) or 'none'}."
    )
    for name in report.not_repairable:
        say(console, f"{name} was not repaired: {NOT_REPAIRABLE}.")
    if gone := max(report.gone.values(), default=0):
        console.print(
            f"Not in the table: {counted(gone, 'item')}; no copy shows them, and tombstones have "
            "their keys for seven days. Check the keys."
        )
    say(console, *report.problems)
    if report.interrupted:
        stderr_console().print("Interrupted: the other items are unchanged; run it again.")
