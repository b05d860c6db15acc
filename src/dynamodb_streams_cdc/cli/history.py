"""`cdc history`: print an item's entries in the change log, or its state at a moment."""

from typing import Annotated, Any

import typer
from rich.text import Text

from dynamodb_streams_cdc.cli.entries import (
    changed_names,
    entry_json,
    iso,
    moment_of,
    shown,
)
from dynamodb_streams_cdc.cli.errors import FAILED
from dynamodb_streams_cdc.cli.options import (
    AsJson,
    Endpoint,
    Environment,
    Keys,
    ManifestFile,
    Stack,
    Table,
)
from dynamodb_streams_cdc.cli.output import (
    cells,
    counted,
    pretty,
    print_json,
    say,
    stderr_console,
    table,
    terminal,
)
from dynamodb_streams_cdc.operations.history import (
    Gap,
    History,
    StateAt,
    read_history,
    read_states,
)
from dynamodb_streams_cdc.operations.item_keys import parse_item
from dynamodb_streams_cdc.operations.stack import Deployment


def history(
    key: Keys,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Show the item as it was at the end of this second, such as 2026-11-24T15:00:00Z. "
            "A time without a zone is UTC.",
            show_default="all entries",
        ),
    ] = None,
    source_table: Table = None,
    as_json: AsJson = False,
    environment: Environment = "sandbox",
    stack: Stack = None,
    manifest: ManifestFile = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Show an item's entries in the change log and the gaps between them, or its state at a moment.

    Instead of the keys you can give the item's identity, such as orders/S=00004/S=7.
    """
    moment = moment_of("--at", at) if at else None
    deployment = Deployment.find(environment, stack, endpoint_url, manifest)
    item = parse_item(key, deployment.manifest, source_table)
    if moment is not None:
        [state], _ = read_states(deployment, item, [moment])
        _show_state(item, state, as_json=as_json)
        return
    found = read_history(deployment, item)
    if as_json:
        print_json(_as_json(found))
    else:
        _print(found)
    if found.gaps:
        raise typer.Exit(FAILED)


def state_json(found: StateAt) -> dict[str, Any]:
    """Return a state as JSON; `state` is null if there was no item."""
    return {
        "at": iso(found.moment),
        "state": found.state,
        "version": found.change.version,
        "changed_at": iso(found.change.time),
        "missing": differing(found.gap) if found.gap else [],
    }


def refuse_gaps(item: str, *states: StateAt) -> None:
    """Say that entries are missing behind a state, and exit with a status.

    Raises:
        typer.Exit: they are.
    """
    unsure = [state for state in states if state.gap]
    for state in unsure:
        assert state.gap is not None
        sentence = (
            f"The state at {shown(state.moment)} is not certain: the change log lacks changes of "
            f"{', '.join(differing(state.gap))} between {shown(state.change.time)} and "
            f"{shown(state.gap.before.time)}; cdc redrive --item {item} fills gaps."
        )
        say(stderr_console(), sentence, folds=False)
    if unsure:
        raise typer.Exit(FAILED)


def _show_state(item: str, found: StateAt, *, as_json: bool) -> None:
    if as_json:
        print_json({"item": item, **state_json(found)})
    else:
        console = terminal()
        change, moment = found.change, shown(found.moment)
        by = f" by {change.actor}" if change.actor else ""
        of = f"{change.kind} of {shown(change.time)}{by}, version {change.version}"
        if found.state is None:
            say(console, f"{item} did not exist at {moment}: {of}")
        else:
            say(console, f"{item} at {moment}: {of}")
            console.print(pretty(found.state))
    refuse_gaps(item, found)


def _as_json(found: History) -> dict[str, Any]:
    return {
        "item": found.item,
        "entries": [entry_json(change) for change in found.entries],
        "gaps": [
            {
                "after": gap.after.version if gap.after else None,
                "before": gap.before.version,
                "attributes": differing(gap),
            }
            for gap in found.gaps
        ],
    }


def _print(found: History) -> None:
    console = terminal()
    missing = {gap.before.version: gap for gap in found.gaps}
    lines = table(("when", "kind", "actor", "changed", "version"))
    for change in found.entries:
        if gap := missing.get(change.version):
            lines.add_row(Text("missing", "red"), *cells("", "", ", ".join(differing(gap)), ""))
        actor = change.actor or ""
        lines.add_row(
            *cells(
                shown(change.time),
                change.kind,
                actor,
                ", ".join(changed_names(change)),
                change.version,
            )
        )
    console.print(lines)
    console.print()
    entries = counted(len(found.entries), "entry", "entries")
    say(console, f"{found.item}: {entries}")
    if found.gaps:
        say(
            console,
            f"{counted(len(found.gaps), 'gap')} (see the lines that begin with missing). "
            f"Redrive dead letters to fill them: cdc redrive --item {found.item}",
        )


def differing(gap: Gap) -> list[str]:
    """Return the names of the attributes that changed in a gap."""
    if gap.after is None:
        return ["the beginning"]
    return sorted({str(difference.path[0]) for difference in gap.differences})
