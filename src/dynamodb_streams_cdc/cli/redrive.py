"""`cdc redrive`: replay dead letters through their functions and print a summary."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dynamodb_streams_cdc.cli.dead_letters import in_short, print_list, summary
from dynamodb_streams_cdc.cli.errors import FAILED, reported
from dynamodb_streams_cdc.cli.options import (
    AsJson,
    Endpoint,
    Environment,
    Items,
    ManifestFile,
    OlderThan,
    Processors,
    Reasons,
    Stack,
    check_processor,
    selection_of,
)
from dynamodb_streams_cdc.cli.output import (
    MOST_LINES,
    cells,
    counted,
    is_interactive,
    print_json,
    print_rest,
    print_some,
    say,
    stderr_console,
    table,
    terminal,
)
from dynamodb_streams_cdc.operations.errors import UsageError
from dynamodb_streams_cdc.operations.redrive import Redrive
from dynamodb_streams_cdc.operations.redrive_report import (
    OUTCOMES,
    RedriveReport,
    clear_all_notifications,
)
from dynamodb_streams_cdc.operations.selection import (
    DeadLetterSummary,
    id_of,
    list_dead_letters,
    list_stored,
)
from dynamodb_streams_cdc.operations.stack import Deployment

_SHOWN_ERROR = 160


def redrive(
    dead_letter: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ID",
            help="IDs or keys of dead letters.",
            show_default="all dead letters that the options select",
        ),
    ] = None,
    processor: Processors = None,
    reason: Reasons = None,
    item: Items = None,
    older_than: OlderThan = None,
    successor: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="NAME",
            help="Processor that redrives the dead letters of processors that are not deployed any "
            "more.",
            show_default="none",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the selected dead letters and stop.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    as_json: AsJson = False,
    environment: Environment = "sandbox",
    stack: Stack = None,
    manifest: ManifestFile = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Replay dead letters through the deployed functions and repair every item in them.

    Archives each dead letter whose records succeed; a record that fails again stays a dead letter.
    Safe at any time, in any order, concurrently, and as often as you like. Ctrl-C stops it after
    the current request.
    """
    deployment = Deployment.find(environment, stack, endpoint_url, manifest)
    selection = selection_of(deployment, processor, reason, item, older_than, dead_letter)
    if successor is not None:
        check_processor(deployment, "--as", successor)
    if not (yes or dry_run or is_interactive()):
        message = "No terminal to confirm on: pass --yes, or --dry-run to see what is selected."
        raise UsageError(message)
    names = replace(deployment.names, successor=successor)
    if yes and not dry_run and not selection.reads_contents:
        # Without a filter on contents or a question, each is read when its turn comes.
        keys = [stored.key for stored in list_stored(deployment, selection, time.time())]
    else:
        found = list_dead_letters(deployment, selection, names)
        if dry_run:
            _print_dry_run(found, as_json=as_json)
            return
        if found and not (yes or _confirmed(deployment, found)):
            stderr_console().print("Nothing was changed.")
            raise typer.Exit(FAILED)
        keys = [each.key for each in found]
    report = RedriveReport(len(keys))
    run = Redrive(deployment.store, deployment.functions, names)
    with reported(report, partial(_print, as_json=as_json)):
        with _progress(len(keys), shown=not as_json) as progress:
            task = progress.add_task("Redriving", total=len(keys))
            for result in run.run(keys):
                report.results.append(result)
                progress.advance(task)
        clear_all_notifications(deployment, selection.processors, report)


def _print_dry_run(found: Sequence[DeadLetterSummary], *, as_json: bool) -> None:
    if as_json:
        print_json({"dry_run": True, "dead_letters": [each.as_json() for each in found]})
        return
    console = terminal()
    print_list(console, found, keys=not console.is_terminal)
    console.print(f"Would redrive {summary(found)}. Nothing was changed.")


def _confirmed(deployment: Deployment, found: Sequence[DeadLetterSummary]) -> bool:
    console = stderr_console()
    for (processor, reason), count in sorted(
        Counter((each.processor, each.reason) for each in found).items()
    ):
        say(console, f"  {counted(count, 'dead letter')} of {processor or '?'}: {reason or '?'}")
    console.print(
        *cells(f"Redrive {summary(found)}, through the functions of {deployment.stack}? [y/N] "),
        end="",
    )
    try:
        return input().strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _progress(total: int, *, shown: bool) -> Progress:
    """Return a progress bar, which only a terminal shows."""
    console = stderr_console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    hidden = not (shown and console.is_terminal and total > 1)
    return Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=hidden)


def _print(report: RedriveReport, *, as_json: bool) -> None:
    if as_json:
        print_json(report.as_json())
        return
    console = terminal()
    _print_left(console, report)
    parts = [counted(len(report.results), "dead letter"), counted(report.sum("records"), "record")]
    outcomes = [(report.sum(name), told) for name, told in OUTCOMES.items()]
    told = ", ".join(f"{n:,} {told}" for n, told in outcomes if n or told != OUTCOMES["untried"])
    console.print(f"{parts[0]} with {parts[1]}: {told}.")
    console.print(f"Items repaired: {report.sum('repaired'):,}.")
    said = [f"{count:,} {status}" for status, count in report.statuses.items() if count]
    if said:
        console.print(f"Dead letters: {', '.join(said)}.")
    untried = report.dead_letters - len(report.results)
    if untried:
        stopped = "Interrupted" if report.interrupted else "Stopped"
        console.print(
            f"{stopped}: {counted(untried, 'dead letter')} not tried and as before; run it again."
        )
    for name, cleared in report.notifications.items():
        if cleared.cleared or cleared.remaining:
            console.print(
                f"{name}: {counted(cleared.cleared, 'notification')} cleared, "
                f"{cleared.remaining:,} remaining."
            )
        unknown = [f"{name}: left a message without a dead letter: {b}" for b in cleared.unknown]
        print_some(console, unknown, "message")
    say(console, *report.problems)


def _print_left(console: Console, report: RedriveReport) -> None:
    """Print the reason of each record and dead letter that is left."""
    again = table(("still a dead letter", "processor", "reason", "item", "error"))
    failed = [
        (result, failure)
        for result in report.left
        if not result.problem
        for failure in result.failures
    ]
    for result, failure in failed[:MOST_LINES]:
        what = (id_of(result.key), result.processor, failure.reason)
        again.add_row(*cells(*what, failure.item or "unreadable", _short(failure.error)))
    if again.row_count:
        console.print(again)
    rest = (f"{result.processor}: {failure.reason}" for result, failure in failed[MOST_LINES:])
    print_rest(console, Counter(rest), "record")
    problems = [in_short(console, r.key, r.problem) for r in report.left if r.problem]
    print_some(console, problems, "dead letter")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN_ERROR else f"{text[: _SHOWN_ERROR - 1]}…"
