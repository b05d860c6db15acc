"""`cdc forget`: erase what the pipeline holds of items that were deleted."""

from collections import Counter
from functools import partial
from typing import Annotated

import typer

from dynamodb_streams_cdc.cli.errors import reported
from dynamodb_streams_cdc.cli.jobs import Yes, confirm
from dynamodb_streams_cdc.cli.options import (
    AsJson,
    Endpoint,
    Environment,
    ManifestFile,
    OptionalKeys,
    Stack,
    Table,
)
from dynamodb_streams_cdc.cli.output import (
    MOST_LINES,
    cells,
    counted,
    print_some,
    say,
    stderr_console,
    table,
    terminal,
    text_of,
)
from dynamodb_streams_cdc.operations.errors import UsageError
from dynamodb_streams_cdc.operations.forget import (
    Forget,
    ForgetReport,
    ForgetStatus,
    ForgottenItem,
    keys_of_lines,
)
from dynamodb_streams_cdc.operations.item_keys import parse_item_keys
from dynamodb_streams_cdc.operations.stack import Deployment


def forget(
    key: OptionalKeys = None,
    lines: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help='Items, one a line, as JSON: {"customer_id": "00004"}; - reads standard input.',
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Read every place, and erase nothing.")
    ] = False,
    source_table: Table = None,
    yes: Yes = False,
    as_json: AsJson = False,
    environment: Environment = "sandbox",
    stack: Stack = None,
    manifest: ManifestFile = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Erase what the copies hold of items that were deleted from the table.

    Entries of the change log, large images, dead letters with their archive, documents in every
    index, and rows. The key alone stays in tombstones for seven days after the last trace: without
    them a late delivery would bring the item back. Run it again then: it erases the key, reads
    every place, and leaves a receipt that says when, and not what. Safe at any time, and as often
    as you like. It cannot be undone.
    """
    if bool(key) == (lines is not None):
        message = "Give an item's keys, as in customer_id=00004 order_id=7, or --from; one of them."
        raise UsageError(message)
    deployment = Deployment.find(environment, stack, endpoint_url, manifest)
    source = deployment.manifest.source_table(source_table)
    if lines is None:
        items = [parse_item_keys(key or (), source)]
    else:
        items = keys_of_lines(text_of(lines, "--from"), lines, source)
    if not check:
        what = counted(len(items), "deleted item")
        question = (
            f"Erase what {deployment.stack} holds of {what} of table {source.table}, for good?"
        )
        confirm(question, yes=yes)
    with stderr_console().status("") as status:
        work = Forget(
            deployment.erasure,
            source.name,
            progress=lambda place: status.update(f"reading {place}"),
            report=ForgetReport(unreached=deployment.manifest.further_sinks(source.name)),
        )
        show = partial(_print, check=check)
        with reported(work.report, show, as_json=as_json, progress=status):
            work.run(items, erases=not check)


def _print(report: ForgetReport, *, check: bool) -> None:
    console = terminal()
    lines = table(("item", "status", "erased", "left", "what to do"))
    for each in report.items[:MOST_LINES]:
        traces = _counts(each.found), _counts(each.left)
        lines.add_row(*cells(each.item, each.status, *traces, _advice(each, check=check)))
    console.print(lines)
    statuses = Counter(each.status for each in report.items)
    told = [", ".join(f"{number:,} {status}" for status, number in sorted(statuses.items()))]
    if due := max((each.due for each in report.items if each.due), default=None):
        told.append(f"run it again after {due}")
    say(console, f"{'; '.join(told)}.")
    if (more := len(report.items) - MOST_LINES) > 0:
        console.print(f"... and {counted(more, 'more item')}: see --json.")
    unclear = [f"May be of one of the items, and cannot be read: {key}" for key in report.unclear]
    print_some(console, unclear, "object")
    for sink in report.unreached:
        say(console, f"{sink}: no function erases there; look at its copy yourself.")
    say(console, *report.problems)
    if report.interrupted:
        stderr_console().print("Interrupted: run it again to go on.")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {place}" for place, number in counts.items()) or "-"


def _advice(item: ForgottenItem, *, check: bool) -> str:
    match item.status:
        case ForgetStatus.REFUSED:
            return item.why
        case ForgetStatus.WAITING:
            if item.why:
                return f"run it again later: the key stays while {item.why}"
            return f"the key is in tombstones: run it again after {item.due}"
        case ForgetStatus.HELD:
            if check:
                return "cdc forget erases it, unless the item is in the table or a copy shows it"
            if item.receipt:
                return (
                    "whether it is erased is not known: run it again; if nothing is held then, its "
                    f"receipt is {item.receipt}"
                )
            return "not done: run it again"
        case ForgetStatus.ERASED:
            return f"keep the receipt {item.receipt}"
        case ForgetStatus.NOTHING:
            return "no place has it: check the keys"
