"""`cdc dead-letters list`: what waits in the bucket."""

from collections.abc import Sequence

from rich.console import Console

from dynamodb_streams_cdc.cli.output import age, cells, counted, print_json, table, terminal
from dynamodb_streams_cdc.cli.selection import Row, id_of

_COLUMNS = ("dead letter", "processor", "reason", "item", "age", "records")


def print_dead_letters(rows: Sequence[Row], *, as_json: bool, stack: str, keys: bool) -> None:
    """List dead letters; `keys` adds their keys, which pipes get in any case."""
    if as_json:
        print_json({"stack": stack, "dead_letters": [row.as_json() for row in rows]})
        return
    console = terminal()
    if not rows:
        console.print("No dead letters.")
        return
    list_of(console, rows, keys=keys or not console.is_terminal)
    console.print()
    console.print(summary(rows))


def list_of(console: Console, rows: Sequence[Row], *, keys: bool) -> None:
    """Print a line for each dead letter that can be read, and a sentence for each other."""
    readable = [row for row in rows if not row.problem]
    if readable:
        columns = (*_COLUMNS, "key") if keys else _COLUMNS
        lines = table(columns, numbers=("age", "records"))
        for row in readable:
            shown = [id_of(row.key), row.processor, row.reason, _item(row), age(row.age)]
            lines.add_row(*cells(*shown, row.records, *([row.key] if keys else [])))
        console.print(lines)
    for row in rows:
        if row.problem:
            console.print(*cells(in_short(console, row.key, row.problem)))


def in_short(console: Console, key: str, sentence: str) -> str:
    """Return a sentence about a dead letter; on a terminal its short name stands for its key."""
    return sentence.replace(key, id_of(key)) if console.is_terminal else sentence


def summary(rows: Sequence[Row]) -> str:
    """Return how many dead letters there are, and how many records they hold."""
    shut = sum(bool(row.problem) for row in rows)
    text = f"{counted(len(rows), 'dead letter')}, "
    text += counted(sum(row.records for row in rows), "record")
    return f"{text}; {shut:,} cannot be redriven as they are" if shut else text


def _item(row: Row) -> str:
    if len(row.items) == 1:
        return row.items[0]
    return f"{len(row.items):,} items" if row.items else "unreadable"
