"""`cdc diff`: print what differed in an item between two moments."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from dynamodb_streams_cdc.change import Change
from dynamodb_streams_cdc.cli.entries import moment_of, now, shown
from dynamodb_streams_cdc.cli.history import refuse_gaps, state_json
from dynamodb_streams_cdc.cli.options import (
    AsJson,
    Endpoint,
    Environment,
    Keys,
    ManifestFile,
    Stack,
    Table,
)
from dynamodb_streams_cdc.cli.output import cells, counted, plain, print_json, say, table, terminal
from dynamodb_streams_cdc.diff import MISSING, Difference, render
from dynamodb_streams_cdc.diff import diff as differences_of
from dynamodb_streams_cdc.operations.errors import UsageError
from dynamodb_streams_cdc.operations.history import StateAt, read_states
from dynamodb_streams_cdc.operations.item_keys import parse_item
from dynamodb_streams_cdc.operations.stack import Deployment


def diff(
    key: Keys,
    from_: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="TIME",
            help="First moment, such as 2026-11-24T15:00:00Z. A time without a zone is UTC.",
        ),
    ],
    to: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Second moment.", show_default="now"),
    ] = None,
    source_table: Table = None,
    as_json: AsJson = False,
    environment: Environment = "sandbox",
    stack: Stack = None,
    manifest: ManifestFile = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Show what differed in an item between two moments, attribute by attribute.

    Both states are those of the change log, at the end of the seconds of the moments. An item that
    did not exist has no attributes.
    """
    first = moment_of("--from", from_)
    last = moment_of("--to", to) if to else now()
    if first > last:
        message = f"--from {shown(first)} is later than --to {shown(last)}: exchange them."
        raise UsageError(message)
    deployment = Deployment.find(environment, stack, endpoint_url, manifest)
    item = parse_item(key, deployment.manifest, source_table)
    [before, after], entries = read_states(deployment, item, [first, last])
    found = differences_of(before.state or {}, after.state or {})
    between = [e for e in entries if before.change.version < e.version <= after.change.version]
    if as_json:
        print_json(
            {
                "item": item,
                "from": state_json(before),
                "to": state_json(after),
                "differences": [_as_json(each) for each in found],
                "changes": len(between),
            }
        )
    else:
        _print(item, (before, after), found, between)
    refuse_gaps(item, before, after)


def _as_json(difference: Difference) -> dict[str, Any]:
    """Return a difference; a value that is absent has no name."""
    values = {"before": difference.before, "after": difference.after}
    present = {name: value for name, value in values.items() if value is not MISSING}
    return {"path": render(difference.path), **present}


def _print(
    item: str,
    states: tuple[StateAt, StateAt],
    found: Sequence[Difference],
    between: Sequence[Change],
) -> None:
    console = terminal()
    if found:
        lines = table(("attribute", *(shown(state.moment) for state in states)))
        for each in found:
            lines.add_row(*cells(render(each.path), _text(each.before), _text(each.after)))
        console.print(lines)
        console.print()
    for state in states:
        if state.state is None:
            say(console, f"{item} did not exist at {shown(state.moment)}.")
    actors = Counter(change.actor or "unknown" for change in between)
    by = ", ".join(f"{actor} ({count:,})" for actor, count in actors.most_common())
    sentence = f"{item}: {counted(len(found), 'difference')}, {counted(len(between), 'change')}"
    say(console, f"{sentence} by {by}" if by else sentence)


def _text(value: Any) -> str:
    return "absent" if value is MISSING else json.dumps(value, ensure_ascii=False, default=plain)
