"""`cdc history`: print an item's entries in the change log, and the gaps between them."""

from typing import Any

import typer
from rich.text import Text

from dynamodb_streams_cdc.change import Change, ChangeKind
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
from dynamodb_streams_cdc.cli.output import cells, counted, print_json, table, terminal
from dynamodb_streams_cdc.operations.history import Gap, History, read_history
from dynamodb_streams_cdc.operations.item_keys import parse_item
from dynamodb_streams_cdc.operations.stack import Deployment


def history(
    key: Keys,
    source_table: Table = None,
    as_json: AsJson = False,
    environment: Environment = "sandbox",
    stack: Stack = None,
    manifest: ManifestFile = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Show an item's entries in the change log, and the gaps between them.

    Instead of the keys you can give the item's identity, such as orders/S=00004/S=7.
    """
    deployment = Deployment.find(environment, stack, endpoint_url, manifest)
    found = read_history(deployment, parse_item(key, deployment.manifest, source_table))
    if as_json:
        print_json(_as_json(found))
    else:
        _print(found)
    if found.gaps:
        raise typer.Exit(FAILED)


def _as_json(found: History) -> dict[str, Any]:
    return {
        "item": found.item,
        "entries": [
            {
                "version": change.version,
                "kind": change.kind,
                "changed_at": f"{change.time:%Y-%m-%dT%H:%M:%SZ}",
                "actor": change.actor,
                "expired": change.expired,
                "changed": _names(change),
                "before": change.old_image,
                "after": change.new_image,
            }
            for change in found.entries
        ],
        "gaps": [
            {
                "after": gap.after.version if gap.after else None,
                "before": gap.before.version,
                "attributes": _differing(gap),
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
            lines.add_row(Text("missing", "red"), *cells("", "", ", ".join(_differing(gap)), ""))
        when = f"{change.time:%Y-%m-%d %H:%M:%S}Z"
        actor = change.actor or ""
        lines.add_row(*cells(when, change.kind, actor, ", ".join(_names(change)), change.version))
    console.print(lines)
    console.print()
    entries = counted(len(found.entries), "entry", "entries")
    console.print(*cells(f"{found.item}: {entries}"))
    if found.gaps:
        console.print(
            *cells(
                f"{counted(len(found.gaps), 'gap')} (see the lines that begin with missing). "
                f"Redrive dead letters to fill them: cdc redrive --item {found.item}"
            )
        )


def _names(change: Change) -> list[str]:
    if change.kind is not ChangeKind.MODIFY:
        return []
    return sorted({str(difference.path[0]) for difference in change.diff()})


def _differing(gap: Gap) -> list[str]:
    if gap.after is None:
        return ["the beginning"]
    return sorted({str(difference.path[0]) for difference in gap.differences})
