"""`cdc dead-letters show`: one dead letter, and what its sink holds of the same items now."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from dynamodb_streams_cdc.cli.errors import CommandError
from dynamodb_streams_cdc.cli.output import (
    cells,
    counted,
    pretty,
    print_json,
    table,
    terminal,
)
from dynamodb_streams_cdc.cli.selection import id_of, only
from dynamodb_streams_cdc.dead_letters import json_ready
from dynamodb_streams_cdc.deserializer import deserialize_item
from dynamodb_streams_cdc.errors import MalformedRecord, visible
from dynamodb_streams_cdc.operations.aws.access import permitted
from dynamodb_streams_cdc.operations.dead_letter_store import (
    ReadableDeadLetter,
    Record,
    UnreadableDeadLetter,
)
from dynamodb_streams_cdc.operations.redrive import InvocationFailed, Redrive
from dynamodb_streams_cdc.operations.stack import Deployment

MOST_SHOWN = 20
"""Records of one dead letter; `--json` has them all."""

_IMAGES = {"Keys": "keys", "OldImage": "before", "NewImage": "after"}

Holding = Mapping[str, Any]


def print_dead_letter(deployment: Deployment, name: str, *, as_json: bool) -> None:
    """Show the dead letter of this key or short name.

    Raises:
        CommandError: there is none, or it cannot be read.
    """
    redrive = Redrive(deployment.box, deployment.functions, deployment.names)
    dead_letter = _find(deployment, redrive, name)
    if isinstance(dead_letter, UnreadableDeadLetter):
        body = deployment.box.read(dead_letter.key) or b""
        start = body[:400].decode("utf-8", "replace")
        message = f"{dead_letter.problem}\nIt has {len(body):,} bytes and begins: {start}"
        raise CommandError(message)
    held, silence = _held(deployment, redrive, dead_letter)
    if as_json:
        print_json(
            {
                "id": id_of(dead_letter.key),
                "key": dead_letter.key,
                "processor": dead_letter.processor,
                "reason": dead_letter.reason,
                "error": dead_letter.error or None,
                "dead_letter": json_ready(
                    {k: v for k, v in dead_letter.document.items() if k != "payload"}
                ),
                "records": json_ready(dead_letter.records),
                "held": held,
                "held_unknown": silence or None,
            }
        )
        return
    _print_head(dead_letter)
    _print_records(dead_letter, held, silence)


def _find(
    deployment: Deployment, redrive: Redrive, name: str
) -> ReadableDeadLetter | UnreadableDeadLetter:
    dead_letter = redrive.open(name) if "/" in name else None
    if dead_letter is None:
        key = only(name, [stored.key for stored in deployment.box.dead_letters()])
        dead_letter = redrive.open(key)
    if dead_letter is None:
        message = f"Dead letter {name} has just been archived by somebody else."
        raise CommandError(message)
    return dead_letter


def _held(
    deployment: Deployment, redrive: Redrive, dead_letter: ReadableDeadLetter
) -> tuple[list[Holding], str]:
    """Return what the sink holds, or a sentence on why that is not known."""
    try:
        held = redrive.inspect(dead_letter)
    except InvocationFailed as error:
        return [], f"What the sink holds cannot be told: {error}"
    return [_from_log(deployment, h) if h.get("state_unknown") else h for h in held], ""


def _from_log(deployment: Deployment, holding: Holding) -> Holding:
    """Return what the change log holds, in place of a sink that its function cannot read."""
    item, version = holding.get("item"), holding.get("offered")
    if not (item and version):
        return holding
    log = deployment.output("ChangeLogTableName")
    with permitted("dynamodb:GetItem", f"table {log}"):
        found = deployment.client("dynamodb").get_item(
            TableName=log,
            Key={"item": {"S": item}, "version": {"S": version}},
            ConsistentRead=True,
        )
    entry = deserialize_item(found["Item"]) if "Item" in found else None
    return {**holding, "version": version if entry else None, "state": entry}


def _print_head(dead_letter: ReadableDeadLetter) -> None:
    context = dead_letter.document.get("requestContext", {})
    lines = table(("", ""))
    lines.show_header = False
    for name, value in (
        ("dead letter", id_of(dead_letter.key)),
        ("key", dead_letter.key),
        ("processor", dead_letter.processor),
        ("reason", dead_letter.reason),
        ("error", dead_letter.error or "Lambda does not say"),
        ("written", dead_letter.document.get("timestamp", "")),
        ("function", context.get("functionArn", "") if isinstance(context, Mapping) else ""),
        ("records", len(dead_letter.records)),
    ):
        lines.add_row(Text(name, "bold"), *cells(value))
    terminal().print(lines)


def _print_records(dead_letter: ReadableDeadLetter, held: Sequence[Holding], silence: str) -> None:
    console = terminal()
    for position, record in enumerate(dead_letter.records[:MOST_SHOWN]):
        console.print()
        console.print(Text(visible(_title(dead_letter, position)), "bold"))
        console.print(pretty(_contents(record)))
        if held:
            console.print(*cells(f"  {_comparison(held[position])}"))
            if held[position].get("state"):
                console.print(pretty(held[position]["state"]))
    rest = len(dead_letter.records) - MOST_SHOWN
    if rest > 0:
        console.print(f"\n{counted(rest, 'more record')}: --json shows them all.")
    if silence:
        console.print()
        console.print(*cells(silence))


def _title(dead_letter: ReadableDeadLetter, position: int) -> str:
    identity, record = dead_letter.identities[position], dead_letter.records[position]
    what = f"{record.get('eventName', 'no event name')} of "
    what += f"{identity.item}, version {identity.version}" if identity else "an unreadable item"
    return f"record {position + 1} of {len(dead_letter.records)}: {what}"


def _contents(record: Record) -> Mapping[str, Any]:
    """Return keys and images in plain values; all of a record that cannot be decoded."""
    body = record.get("dynamodb")
    try:
        if isinstance(body, Mapping):
            return {
                name: deserialize_item(body[image], image)
                for image, name in _IMAGES.items()
                if image in body
            }
    except MalformedRecord:
        pass
    return json_ready(record)  # type: ignore[no-any-return]


def _comparison(holding: Holding) -> str:
    held, offered = holding.get("version"), holding.get("offered")
    keeper = "change log" if holding.get("state_unknown") else "sink"
    if offered is None:
        return "The function cannot read the record, so nothing is known of its item."
    if held is None:
        return f"The {keeper} holds nothing of it."
    if held > offered:
        return f"The {keeper} holds a newer version, {held}; replaying the record changes nothing:"
    if held == offered:
        return f"The {keeper} holds this very version:"
    return f"The {keeper} holds an older version, {held}:"
