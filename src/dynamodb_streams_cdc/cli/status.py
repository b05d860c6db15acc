"""`cdc status`: one screen about a pipeline."""

import json
import sys
from collections import defaultdict
from typing import Annotated, Any

import typer
from rich.text import Text

from dynamodb_streams_cdc.cli.entries import iso, shown
from dynamodb_streams_cdc.cli.options import (
    AsJson,
    Endpoint,
    Environment,
    ManifestFile,
    Stack,
)
from dynamodb_streams_cdc.cli.output import age, cells, plain, print_json, say, table, terminal
from dynamodb_streams_cdc.errors import visible
from dynamodb_streams_cdc.operations.errors import UsageError
from dynamodb_streams_cdc.operations.stack import Deployment
from dynamodb_streams_cdc.operations.status import Cell, Row, Status, StatusReader

LEAST_SECONDS = 5
"""Between two refreshes, each of two requests a processor to Lambda, whose control plane takes 15
a second from an account (https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html).
"""
_SHORT = 12  # characters of a code's hash


def status(
    watch: Annotated[
        str | None,
        typer.Option(
            metavar="SECONDS",
            help=f"Refresh this often, until Ctrl-C; {LEAST_SECONDS} or more. With --json, one "
            "object a line.",
            show_default="show it once",
        ),
    ] = None,
    as_json: AsJson = False,
    environment: Environment = "sandbox",
    stack: Stack = None,
    manifest: ManifestFile = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Show each processor: its mapping, lag, dead letters, notifications and code.

    A fact that a service does not tell is unknown, and the reason is below the table.
    """
    seconds = None if watch is None else _seconds(watch)
    reader = StatusReader(Deployment.find(environment, stack, endpoint_url, manifest))
    if seconds is None:
        found = reader.read()
        if as_json:
            print_json(_as_json(found))
        else:
            _print(found)
        return
    try:
        while True:
            found = reader.read()
            if as_json:
                line = json.dumps(_as_json(found), ensure_ascii=False, default=plain)
                sys.stdout.write(visible(line) + "\n")
                sys.stdout.flush()
            else:
                terminal().clear()
                _print(found)
            reader.clock.sleep(seconds)
    except KeyboardInterrupt:
        return


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not LEAST_SECONDS <= seconds < float("inf"):
        message = f"--watch: expected seconds, {LEAST_SECONDS} or more, got {text!r}."
        raise UsageError(message)
    return seconds


def _as_json(found: Status) -> dict[str, Any]:
    return {
        "stack": found.stack,
        "at": iso(found.at),
        "processors": {
            name: {
                row.name: _value(row, row.cells[name]) for row in found.rows if name in row.cells
            }
            for name in found.processors
        },
        "unknown": [
            {"processor": name, "fact": row.name, "reason": cell.unknown}
            for row in found.rows
            for name, cell in row.cells.items()
            if cell.unknown
        ],
    }


def _value(row: Row, cell: Cell) -> Any:
    return round(cell.value) if row.unit and cell.value is not None else cell.value


def _print(found: Status) -> None:
    console = terminal()
    console.print(Text(visible(f"{found.stack} at {shown(found.at)}"), "bold"))
    lines = table(("", *found.processors))
    for row in found.rows:
        lines.add_row(*cells(row.label, *(_text(row, row.cells.get(n)) for n in found.processors)))
    console.print(lines)
    reasons: defaultdict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for row in found.rows:
        for cell in row.cells.values():
            if cell.unknown:
                known = "Unknown" if cell.value is None else "Partly known"
                reasons[known, cell.unknown][row.label] = None
    for (known, reason), labels in reasons.items():
        say(console, f"{known} {', '.join(labels)}: {reason}", folds=False)


def _text(row: Row, cell: Cell | None) -> str:
    if cell is None or (cell.value is None and not cell.unknown):
        return "-"
    if cell.unknown:
        return "unknown" if cell.value is None else f"{cell.value} or more"
    if row.unit:
        return age(cell.value) + " ago" * (row.unit == "ago")
    return str(cell.value)[:_SHORT] if row.name == "code_sha256" else str(cell.value)
