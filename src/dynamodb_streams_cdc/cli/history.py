"""`cdc history`: what the change log knows of an item, and where it has gaps."""

import base64
import binascii
import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from rich.text import Text

from dynamodb_streams_cdc.aws.dynamodb.log import DynamoDbLog
from dynamodb_streams_cdc.aws.s3 import S3ImageStore
from dynamodb_streams_cdc.change import Change, ChangeKind
from dynamodb_streams_cdc.cli.errors import CommandError, misused
from dynamodb_streams_cdc.cli.output import cells, counted, print_json, table, terminal
from dynamodb_streams_cdc.errors import MalformedRecord
from dynamodb_streams_cdc.identity import Key, item_id
from dynamodb_streams_cdc.operations.aws.access import permitted
from dynamodb_streams_cdc.operations.gaps import Gap, gaps
from dynamodb_streams_cdc.operations.stack import Deployment
from dynamodb_streams_cdc.sinks.change_log import ChangeLog

_KEY = re.compile(r"(?P<name>.+?)(?::(?P<type>[SNB]))?=(?P<value>.*)", re.DOTALL)


def print_history(deployment: Deployment, words: Sequence[str], *, as_json: bool) -> bool:
    """Show the history of an item; return whether it has no gaps.

    Raises:
        CommandError: the log knows no such item.
    """
    item = item_of(words, deployment)
    history = _read(deployment, item)
    if not history:
        message = (
            f"The change log knows no item {item}: are these all of its keys, and their types?"
        )
        raise CommandError(message)
    with permitted("s3:GetObject", f"s3://{deployment.output('LargeImagesBucketName')}"):
        found = gaps(history)
        if as_json:
            print_json(_as_json(item, history, found))
        else:
            _print(item, history, found)
    return not found


def item_of(words: Sequence[str], deployment: Deployment) -> str:
    """Return the identity of an item, given as such or by its keys: `order_id=7 number:N=12`.

    A key is text unless its name ends in `:N` for a number or `:B` for base64.
    """
    if len(words) == 1 and (words[0].startswith("#") or "/" in words[0].partition("=")[0]):
        return words[0]
    try:
        return item_id(source_table(deployment), keys_of(words))
    except MalformedRecord as error:
        misused(f"{' '.join(words)}: {error}")


def source_table(deployment: Deployment) -> str:
    """Return the logical name of the table whose changes are followed."""
    tables = deployment.source_tables
    if len(tables) != 1:
        misused(f"say whose item it is, as in TABLE/S=VALUE/...: tables are {', '.join(tables)}")
    return tables[0]


def keys_of(words: Sequence[str]) -> dict[str, Key]:
    """Return an item's keys; see `item_of`."""
    keys: dict[str, Key] = {}
    for word in words:
        match = _KEY.fullmatch(word)
        if match is None:
            misused(f"expected the item's keys, as in customer_id=00004, got {word!r}")
        keys[match["name"]] = _value(word, match["type"] or "S", match["value"])
    if not 1 <= len(keys) == len(words) <= 2:
        misused(f"an item has one key or two, each given once, got {' '.join(words)!r}")
    return keys


def _value(word: str, kind: str, text: str) -> Key:
    if not text:
        misused(f"{word!r} has no value, and no key of an item is empty")
    try:
        if kind == "N":
            return Decimal(text)
        return base64.b64decode(text, validate=True) if kind == "B" else text
    except (InvalidOperation, binascii.Error):
        misused(f"{word}: {text!r} is no {'number' if kind == 'N' else 'base64'}")


def _read(deployment: Deployment, item: str) -> list[Change]:
    client, s3 = deployment.client("dynamodb"), deployment.client("s3")
    table_name = deployment.output("ChangeLogTableName")
    image_store = S3ImageStore(lambda: s3, deployment.output("LargeImagesBucketName"))
    with permitted("dynamodb:Query", f"table {table_name}"):
        return ChangeLog(DynamoDbLog(client, table_name), image_store).history(item)


def _as_json(item: str, history: Sequence[Change], found: Sequence[Gap]) -> dict[str, Any]:
    return {
        "item": item,
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
            for change in history
        ],
        "gaps": [
            {
                "after": gap.after.version if gap.after else None,
                "before": gap.before.version,
                "attributes": _differing(gap),
            }
            for gap in found
        ],
    }


def _print(item: str, history: Sequence[Change], found: Sequence[Gap]) -> None:
    console = terminal()
    missing = {gap.before.version: gap for gap in found}
    lines = table(("when", "kind", "actor", "changed", "version"))
    for change in history:
        if gap := missing.get(change.version):
            lines.add_row(Text("missing", "red"), *cells("", "", ", ".join(_differing(gap)), ""))
        when = f"{change.time:%Y-%m-%d %H:%M:%S}Z"
        actor = change.actor or ""
        lines.add_row(*cells(when, change.kind, actor, ", ".join(_names(change)), change.version))
    console.print(lines)
    console.print()
    console.print(*cells(f"{item}: {counted(len(history), 'entry').replace('entrys', 'entries')}"))
    if found:
        console.print(
            *cells(
                f"{counted(len(found), 'gap')}: changes are missing before the entries marked so. "
                f"Dead letters fill them: cdc redrive --item {item}"
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
