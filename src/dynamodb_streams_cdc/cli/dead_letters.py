"""`cdc dead-letters`: list the dead letters in the buckets, and show one of them."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from dynamodb_streams_cdc.cli.options import (
    AsJson,
    Command,
    Commands,
    Endpoint,
    Environment,
    Items,
    ManifestFile,
    OlderThan,
    Processors,
    Reasons,
    Stack,
    epilog,
    selection_of,
)
from dynamodb_streams_cdc.cli.output import (
    age,
    cells,
    counted,
    pretty,
    print_json,
    say,
    table,
    terminal,
)
from dynamodb_streams_cdc.control.items import HeldState
from dynamodb_streams_cdc.dead_letters import json_ready
from dynamodb_streams_cdc.deserializer import deserialize_item
from dynamodb_streams_cdc.errors import MalformedRecord, visible
from dynamodb_streams_cdc.lambda_types import AnyRecord
from dynamodb_streams_cdc.operations.dead_letter_store import ReadableDeadLetter
from dynamodb_streams_cdc.operations.inspection import Inspection, inspect_dead_letter
from dynamodb_streams_cdc.operations.selection import DeadLetterSummary, id_of, list_dead_letters
from dynamodb_streams_cdc.operations.stack import Deployment

MOST_SHOWN = 20
"""Most records of a dead letter that `show` prints; `--json` has all."""

_COLUMNS = ("dead letter", "processor", "reason", "item", "age", "records")
_IMAGES = {"Keys": "keys", "OldImage": "before", "NewImage": "after"}

dead_letters = typer.Typer(cls=Commands, no_args_is_help=True, help="List and show dead letters.")


@dead_letters.command("list", cls=Command, epilog=epilog("dead-letters list"))
def list_(
    processor: Processors = None,
    reason: Reasons = None,
    item: Items = None,
    older_than: OlderThan = None,
    keys: Annotated[bool, typer.Option("--keys", help="Add the dead letters' S3 keys.")] = False,
    as_json: AsJson = False,
    environment: Environment = "sandbox",
    stack: Stack = None,
    manifest: ManifestFile = None,
    endpoint_url: Endpoint = None,
) -> None:
    """List the dead letters that are not archived, the oldest first."""
    deployment = Deployment.find(environment, stack, endpoint_url, manifest)
    selection = selection_of(deployment, processor, reason, item, older_than)
    found = list_dead_letters(deployment, selection)
    if as_json:
        rows = [each.as_json() for each in found]
        print_json({"stack": deployment.stack, "dead_letters": rows})
        return
    console = terminal()
    if not found:
        filtered = processor or reason or item or older_than
        console.print(f"No dead letters{' that match the options' if filtered else ''}.")
        return
    print_list(console, found, keys=keys or not console.is_terminal)
    console.print()
    console.print(summary(found))


@dead_letters.command(cls=Command, epilog=epilog("dead-letters show"))
def show(
    dead_letter: Annotated[
        str,
        typer.Argument(metavar="ID", help="ID of the dead letter (4 digits or more), or its key."),
    ],
    as_json: AsJson = False,
    environment: Environment = "sandbox",
    stack: Stack = None,
    manifest: ManifestFile = None,
    endpoint_url: Endpoint = None,
) -> None:
    """Show one dead letter: reason, error, records, and the sink's state of their items."""
    deployment = Deployment.find(environment, stack, endpoint_url, manifest)
    found = inspect_dead_letter(deployment, dead_letter)
    if as_json:
        print_json(_as_json(found))
        return
    _print_head(found.dead_letter)
    _print_records(found)


def print_list(console: Console, rows: Sequence[DeadLetterSummary], *, keys: bool) -> None:
    """Print a line for each readable dead letter, and a sentence for each other."""
    readable = [each for each in rows if not each.problem]
    if readable:
        columns = (*_COLUMNS, "key") if keys else _COLUMNS
        lines = table(columns, numbers=("age", "records"))
        for each in readable:
            shown = [id_of(each.key), each.processor, each.reason, _item(each), age(each.age)]
            lines.add_row(*cells(*shown, each.records, *([each.key] if keys else [])))
        console.print(lines)
    for each in rows:
        if each.problem:
            say(console, in_short(console, each.key, each.problem))


def in_short(console: Console, key: str, sentence: str) -> str:
    """Return a sentence about a dead letter, on a terminal with its ID in place of its key."""
    return sentence.replace(key, id_of(key)) if console.is_terminal else sentence


def summary(rows: Sequence[DeadLetterSummary]) -> str:
    """Return how many dead letters there are, and how many records they hold."""
    shut = sum(bool(each.problem) for each in rows)
    text = f"{counted(len(rows), 'dead letter')}, "
    text += counted(sum(each.records for each in rows), "record")
    return f"{text}; {shut:,} cannot be redriven as they are" if shut else text


def _item(each: DeadLetterSummary) -> str:
    if len(each.items) == 1:
        return each.items[0]
    return f"{len(each.items):,} items" if each.items else "unreadable"


def _as_json(found: Inspection) -> dict[str, Any]:
    dead_letter = found.dead_letter
    return {
        "id": id_of(dead_letter.key),
        "key": dead_letter.key,
        "processor": dead_letter.processor,
        "reason": dead_letter.reason,
        "error": dead_letter.error or None,
        "dead_letter": json_ready(
            {name: value for name, value in dead_letter.document.items() if name != "payload"}
        ),
        "records": json_ready(dead_letter.records),
        "held": found.held,
        "held_unknown": found.problem or None,
    }


def _print_head(dead_letter: ReadableDeadLetter) -> None:
    context = dead_letter.document.get("requestContext", {})
    lines = table(("", ""))
    lines.show_header = False
    for name, value in (
        ("dead letter", id_of(dead_letter.key)),
        ("key", dead_letter.key),
        ("processor", dead_letter.processor),
        ("reason", dead_letter.reason),
        ("error", dead_letter.error or "none given by Lambda"),
        ("written", dead_letter.document.get("timestamp", "")),
        ("function", context.get("functionArn", "") if isinstance(context, Mapping) else ""),
        ("records", len(dead_letter.records)),
    ):
        lines.add_row(Text(name, "bold"), *cells(value))
    terminal().print(lines)


def _print_records(found: Inspection) -> None:
    console, dead_letter, held = terminal(), found.dead_letter, found.held
    for position, record in enumerate(dead_letter.records[:MOST_SHOWN]):
        console.print()
        console.print(Text(visible(_title(dead_letter, position)), "bold"))
        console.print(pretty(_contents(record)))
        if held:
            say(console, f"  {_comparison(held[position])}")
            if held[position].get("state"):
                console.print(pretty(held[position]["state"]))
    rest = len(dead_letter.records) - MOST_SHOWN
    if rest > 0:
        console.print(f"\n{counted(rest, 'more record')}: --json shows them all.")
    if found.problem:
        console.print()
        say(console, found.problem)


def _title(dead_letter: ReadableDeadLetter, position: int) -> str:
    identity, record = dead_letter.identities[position], dead_letter.records[position]
    what = f"{record.get('eventName', 'no event name')} of "
    what += f"{identity.item}, version {identity.version}" if identity else "an unreadable item"
    return f"record {position + 1} of {len(dead_letter.records)}: {what}"


def _contents(record: AnyRecord) -> Mapping[str, Any]:
    """Return keys and images as plain values; the whole record if it cannot be decoded."""
    body: Any = record.get("dynamodb")
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


def _comparison(state: HeldState) -> str:
    held, offered = state.get("version"), state.get("offered")
    keeper = "change log" if state.get("state_unknown") else "sink"
    if offered is None:
        return "The function cannot read the record, so nothing is known of its item."
    if held is None:
        return f"The {keeper} holds nothing of it."
    if held > offered:
        return f"The {keeper} holds a newer version, {held}; replaying the record changes nothing:"
    if held == offered:
        return f"The {keeper} holds this very version:"
    return f"The {keeper} holds an older version, {held}:"
