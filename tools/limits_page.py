"""Write docs/reference/limits.md: every constant with a number and a docstring.

The docstring is the meaning; a URL in it is the source. The unit is the last word of the name
(`RESERVE_SECONDS`) or the first one of the docstring.
"""

import importlib
import re
from collections.abc import Iterator

import griffe

from tools import reference
from tools.markdown import table

LEFT_OUT = ("testing", "simulation")
"""Pages of parts whose constants limit no deployment."""

UNITS = (
    *("seconds", "hours", "bytes", "characters", "digits", "levels", "keys", "statements"),
    *("actions", "aggregates", "measures", "records", "items", "lines", "messages", "requests"),
)
SOURCE = re.compile(r"[:;,]?\s*\(?(https?://[^\s)]+)\)?")

HEAD = """\
<!-- Written by `python -m tools.docs`: edit the docstrings of the constants instead. -->

# Limits

Every limit is a constant; its docstring is the meaning shown here. A limit with a source is one of
AWS or OpenSearch, or follows from one. The deployment's own are under [Settings](settings.md) and
[Functions](functions.md).
"""


def page() -> str:
    parts = [HEAD]
    for part in reversed(reference.PARTS):
        rows = [] if part in LEFT_OUT else sorted(_rows(part))
        if rows:
            head = ["limit", "value", "unit", "meaning", "source", "module"]
            parts += [f"## {reference.PARTS[part][1]}\n", table(head, rows) + "\n"]
    return "\n".join(parts)


def _rows(part: str) -> Iterator[list[str]]:
    for module in reference.modules():
        if reference.part_of(module.path) == part:
            for each in reference.defined(module):
                value = getattr(importlib.import_module(module.path), each.name)
                if isinstance(each, griffe.Attribute) and isinstance(value, int | float) and value:
                    yield _row(each, value)


def _row(constant: griffe.Attribute, value: float) -> list[str]:
    text = " ".join(constant.docstring.value.split()) if constant.docstring else ""
    sources = SOURCE.findall(text)
    words = (constant.name.lower().rpartition("_")[2], re.split(r"\W", text.lower())[0])
    return [
        f"`{constant.name}`",
        f"{value:,g}" if value < 10**5 else f"{value:,}",
        next((word for word in words if word in UNITS), ""),
        SOURCE.sub("", text),
        ", ".join(f"[{url.split('/')[2]}]({url.removesuffix('.')})" for url in sources),
        f"`{constant.path.removeprefix(reference.PACKAGE + '.').rpartition('.')[0]}`",
    ]
