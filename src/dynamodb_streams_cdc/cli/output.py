"""Output: tables for terminals, whole lines for pipes, JSON for programs; never rich markup."""

import base64
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dynamodb_streams_cdc.errors import visible
from dynamodb_streams_cdc.operations.errors import UsageError
from dynamodb_streams_cdc.operations.report import Report

_UNLIMITED = 10_000

MOST_CHARACTERS = 1_000
"""Most characters of a line of an item; `--json` has the rest."""

MOST_LINES = 100
"""Most lines of a summary about single records, items or dead letters; `--json` has the rest."""


def terminal() -> Console:
    """Return the console for results; a pipe gets lines that are never cut or folded."""
    return Console(
        highlight=False,
        markup=False,
        emoji=False,
        width=None if sys.stdout.isatty() else _UNLIMITED,
        soft_wrap=False,
    )


def is_interactive() -> bool:
    """Return whether a person can answer a question."""
    return sys.stdin.isatty()


def stderr_console() -> Console:
    """Return the console for questions, progress and problems."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def json_of(document: object) -> str:
    """Return JSON over several lines that every stream can encode."""
    return visible(json.dumps(document, indent=2, ensure_ascii=False, default=plain))


def text_of(name: str, option: str) -> str:
    """Return the text of a file, or of standard input for `-`.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{option}: {name} cannot be read ({error})."
        raise UsageError(message) from error


def print_json(document: object) -> None:
    """Write a document for other programs."""
    sys.stdout.write(json_of(document) + "\n")


def print_report(report: Report) -> None:
    """Write the report of work for other programs."""
    print_json({**_fields(report), "complete": report.complete})


def _fields(record: Any) -> dict[str, Any]:
    """Return the fields of a dataclass. Not as `asdict` does, which makes a Counter of pairs."""
    return {each.name: getattr(record, each.name) for each in fields(record)}


def print_json_list(name: str, values: Iterable[object], others: Mapping[str, object]) -> None:
    """Write a document for other programs, whose first field is a long list, value by value."""
    sys.stdout.write(f'{{\n  "{name}": [')
    separator = ""
    for value in values:
        text = json_of(value).replace("\n", "\n    ")
        sys.stdout.write(f"{separator}\n    {text}")
        separator = ","
    sys.stdout.write("\n  ]," if separator else "],")
    sys.stdout.write(json_of(others).removeprefix("{") + "\n")


def plain(value: object) -> Any:
    """Return a value of an item or a report for JSON: sets sorted, bytes as base64.

    Whole numbers are numbers, others are text: JSON's would not be exact for every reader.
    """
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, set):
        return sorted((each if isinstance(each, str) else plain(each) for each in value), key=str)
    if is_dataclass(value):
        return _fields(value)
    message = f"no JSON for a {type(value).__name__}"
    raise TypeError(message)


def table(columns: Sequence[str], numbers: Sequence[str] = ()) -> Table:
    """Return an empty table; the columns named in `numbers` are right-aligned."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        if column in numbers:
            made.add_column(column, justify="right", no_wrap=True)
        else:
            made.add_column(column, overflow="fold")
    return made


def cells(*values: object) -> list[Text]:
    """Return cells that show text literally, brackets included; see `visible`."""
    return [value if isinstance(value, Text) else Text(visible(str(value))) for value in values]


def say(console: Console, *sentences: str, folds: bool = True) -> None:
    """Write sentences literally, as `cells` does; without `folds`, each stays on one line."""
    for sentence in sentences:
        console.print(*cells(sentence), soft_wrap=not folds)


def age(seconds: float) -> str:
    """Return a time span in its largest unit: `45s`, `12m`, `3h`, `9d`."""
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return `1 dead letter`, `2 dead letters`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def print_some(console: Console, sentences: Sequence[str], noun: str) -> None:
    """Write sentences, one a line, and how many more there are."""
    say(console, *sentences[:MOST_LINES])
    print_rest(console, {"": len(sentences) - MOST_LINES}, noun)


def print_rest(console: Console, causes: Mapping[str, int], noun: str) -> None:
    """Write how many more there are of each cause that counts any, the most frequent first."""
    for cause, count in sorted(causes.items(), key=lambda each: (-each[1], each[0])):
        if count > 0:
            of = f" of {cause}" if cause else ""
            say(console, f"... and {counted(count, f'more {noun}')}{of}: see --json.")


def pretty(document: Mapping[str, Any] | None) -> Text:
    """Return JSON over several lines, indented, with long values cut."""
    return Text("\n".join(f"    {_cut(line)}" for line in json_of(document).split("\n")))


def _cut(line: str) -> str:
    rest = len(line) - MOST_CHARACTERS
    return line if rest <= 0 else f"{line[:MOST_CHARACTERS]} ... {rest:,} more: see --json"
