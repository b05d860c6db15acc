"""`cdc tail`: follow the entries of the change log."""

import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from dynamodb_streams_cdc.change import Change, ChangeKind
from dynamodb_streams_cdc.cli.entries import changed_names, entry_json, shown
from dynamodb_streams_cdc.cli.options import (
    Endpoint,
    Environment,
    ManifestFile,
    Stack,
)
from dynamodb_streams_cdc.cli.output import plain, say, stderr_console, terminal
from dynamodb_streams_cdc.errors import CdcError, visible
from dynamodb_streams_cdc.operations.errors import OperationError, UsageError
from dynamodb_streams_cdc.operations.selection import check_table_of
from dynamodb_streams_cdc.operations.stack import Deployment
from dynamodb_streams_cdc.operations.tail import Followed, LogFollower, Start

READERS_PER_SHARD = 2
"""https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html"""


def tail(
    from_: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="PLACE",
            help="Where to begin: now, or TRIM_HORIZON for the entries of the last 24 hours.",
        ),
    ] = Start.NOW.value,
    item: Annotated[
        list[str] | None,
        typer.Option(
            "--item",
            "-i",
            metavar="ITEM",
            help="Only entries of this item, such as orders/S=00004/S=7, or of all items below "
            "orders/S=00004; repeatable.",
            show_default="all",
        ),
    ] = None,
    entity: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Only entries of this entity; repeatable.", show_default="all"
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND",
            help=f"Only entries of this kind: {', '.join(ChangeKind)}, in any case; repeatable.",
            show_default="all",
        ),
    ] = None,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", "-y", help="Follow even if two processors read the stream of the change log."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object a line.")] = False,
    environment: Environment = "sandbox",
    stack: Stack = None,
    manifest: ManifestFile = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Follow the entries of the change log as they arrive, the newest last, until Ctrl-C.

    Reads the stream of the change log once a second and shard, and writes nothing. DynamoDB serves
    two readers of a shard and throttles more: this command is one, and every processor that reads
    the change log is another. So run one at a time.
    """
    start, kinds = _start(from_), _kinds(kind or ())
    deployment = Deployment.find(environment, stack, endpoint_url, manifest)
    followed = Followed(_items(deployment, item or ()), _entities(deployment, entity or ()), kinds)
    _check_readers(deployment, yes=yes)
    follower = LogFollower.of(deployment, start, _say)
    _say(f"Following the change log of {deployment.stack} from {start} on; Ctrl-C ends.")
    try:
        while True:
            for change in follower.read():
                name = _entity_of(deployment, change)
                if followed.matches(change, name):
                    _show(change, name, as_json=as_json)
            follower.clock.sleep(follower.seconds)
    except KeyboardInterrupt:
        return


def _items(deployment: Deployment, identities: Sequence[str]) -> Sequence[str]:
    """Refuse what no item's identity begins with: it would be waited for in vain."""
    tables = {table.name: table for table in deployment.manifest.source_tables}
    for identity in identities:
        name, *components = identity.rstrip("/").split("/")
        check_table_of(identity, deployment)
        if name not in tables:
            continue
        tags = [f"{kind}=" for _, kind in sorted(tables[name].keys.items())]
        if ["".join(each.partition("=")[:2]) for each in components] != tags[: len(components)]:
            form = "/".join([name, *(f"{tag}..." for tag in tags)])
            message = f"--item: expected {form} or its beginning, got {identity!r}."
            raise UsageError(message)
    return identities


def _entities(deployment: Deployment, names: Sequence[str]) -> Sequence[str]:
    tables = deployment.manifest.source_tables
    known = sorted({entity.name for table in tables for entity in table.entities})
    for name in names:
        if name not in known:
            has = ", ".join(known) or "names of no entities"
            message = f"--entity: {deployment.stack} has {has}, and no entity {name!r}."
            raise UsageError(message)
    return names


def _start(place: str) -> Start:
    for start in Start:
        if place.lower() == start.lower():
            return start
    message = f"--from: expected {' or '.join(Start)}, got {place!r}."
    raise UsageError(message)


def _kinds(names: Sequence[str]) -> Sequence[str]:
    kinds = [name.upper() for name in names]
    for name, kind in zip(names, kinds, strict=True):
        if kind not in list(ChangeKind):
            message = f"--kind: expected one of {', '.join(ChangeKind)}, got {name!r}."
            raise UsageError(message)
    return kinds


def _check_readers(deployment: Deployment, *, yes: bool) -> None:
    readers = [each.name for each in deployment.manifest.processors if each.feed == "change-log"]
    if len(readers) >= READERS_PER_SHARD and not yes:
        message = (
            f"{' and '.join(readers)} read the stream of the change log, and a shard serves "
            f"{READERS_PER_SHARD} readers: a further one may get them throttled. Follow with --yes."
        )
        raise OperationError(message)


def _entity_of(deployment: Deployment, change: Change) -> str | None:
    tables = {table.name: table for table in deployment.manifest.source_tables}
    table = tables.get(change.table)
    return table.entity_of(change.keys) if table else None


def _show(change: Change, entity: str | None, *, as_json: bool) -> None:
    if as_json:
        line = json.dumps(_as_json(change, entity), ensure_ascii=False, default=plain)
        sys.stdout.write(visible(line) + "\n")
        sys.stdout.flush()
        return
    try:
        changed = ", ".join(changed_names(change))
    except CdcError as error:
        changed = f"(images unreadable: {error})"
    words = (f"{change.kind:8}", entity or "-", change.item_id, change.actor or "-", changed)
    line = "  ".join((shown(change.time), *words)).rstrip()
    say(terminal(), line, folds=False)


def _as_json(change: Change, entity: str | None) -> dict[str, Any]:
    head = {"item": change.item_id, "entity": entity}
    try:
        return {**head, **entry_json(change)}
    except CdcError as error:
        return {**head, "version": change.version, "kind": change.kind, "unreadable": str(error)}


def _say(sentence: str) -> None:
    say(stderr_console(), sentence, folds=False)
