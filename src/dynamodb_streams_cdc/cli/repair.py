"""`cdc repair`: make the copies of items equal to the table, through the deployed functions."""

from collections import Counter
from dataclasses import asdict
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
    check_processor,
)
from dynamodb_streams_cdc.cli.output import (
    MOST_LINES,
    cells,
    counted,
    print_json,
    print_rest,
    stderr_console,
    table,
    terminal,
)
from dynamodb_streams_cdc.operations.errors import UsageError
from dynamodb_streams_cdc.operations.item_keys import parse_keys
from dynamodb_streams_cdc.operations.repair import Repair, RepairReport, RepairSource
from dynamodb_streams_cdc.operations.stack import Deployment


def repair(
    key: OptionalKeys = None,
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
    """Make the copies of an item, or of all items, equal to the table.

    Creates missing copies, with a version below every change of the current stream. Safe at any
    time, during live changes, and as often as you like. --all reads the whole table; it does not
    find items that were deleted while no stream recorded it: repair those by their keys.
    """
    if bool(key) == everything:
        message = "Give an item's keys, as in customer_id=00004 order_id=7, or --all; not both."
        raise UsageError(message)
    deployment = Deployment.find(environment, stack, endpoint_url, manifest)
    for name in processor or ():
        check_processor(deployment, "--processor", name)
    keys = parse_keys(key or ()) if key else None
    source = RepairSource(deployment, source_table)
    items = source.scan() if keys is None else [source.item(keys)]
    report = RepairReport()
    with reported(report, lambda: print_json(asdict(report)) if as_json else _print(report)):
        Repair.of(deployment, source, processor or ()).run(items, report)


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
    if gone := max(report.gone.values(), default=0):
        console.print(
            f"Not in the table: {counted(gone, 'item')}; no copy shows them. Check their keys."
        )
    for problem in report.problems:
        console.print(*cells(problem))
    if report.interrupted:
        stderr_console().print("Interrupted: the other items are unchanged; run it again.")
