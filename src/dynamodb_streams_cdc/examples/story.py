"""Output of the examples: paragraphs, tables, and the code that ran."""

import inspect
import json
import logging
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

WIDTH = 96
MARGIN = "    "

T = TypeVar("T")


def tell(main: Callable[[], T]) -> T | None:
    """Print an example, as far as it is read: `less` and `head` end before it does.

    Returns:
        what `main` does; None if the reader ended first.
    """
    try:
        result = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return None
    return result


def begin(text: str) -> None:
    """Print the title, and silence the library's log."""
    logging.getLogger("dynamodb_streams_cdc").addHandler(logging.NullHandler())
    print(f"{text}\n{'=' * len(text)}")


def section(text: str) -> None:
    """Print a heading."""
    print(f"\n{text}\n{'-' * len(text)}")


def say(text: str) -> None:
    """Print a paragraph."""
    print(f"\n{_filled(' '.join(text.split()), WIDTH)}")


def _filled(text: str, width: int) -> str:
    """Return lines that break at spaces: names of commands stay whole, also those with hyphens."""
    return textwrap.fill(text, width, break_on_hyphens=False)


def quote(text: str) -> None:
    """Print a paragraph, indented."""
    show(_filled(text, WIDTH - len(MARGIN)))


def show(text: str) -> None:
    """Print lines as they are, indented."""
    print(f"\n{textwrap.indent(text.strip(chr(10)), MARGIN)}")


def data(value: object) -> None:
    """Print data as JSON, with each DynamoDB value in one line."""
    show(re.sub(r"\{\s+(\"[A-Z]+\": [^{}\[\]]+?)\s+\}", r"{\1}", json.dumps(value, indent=2)))


def code(function: Callable[..., object]) -> None:
    """Print the source of a function of the example."""
    show(textwrap.dedent(inspect.getsource(function)))


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Print names, each with its value."""
    lines = dict(pairs)
    width = max(map(len, lines))
    show("\n".join(f"{name:{width}}  {fact}" for name, fact in lines.items()))


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table."""
    lines = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    show("\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines))
