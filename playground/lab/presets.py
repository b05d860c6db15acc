"""The examples of the page, each broken and right, from `playground/presets`.

An example is a Python file, the text of the editor. The lines from `# -- broken` to the next mark
belong to the broken one alone, and likewise those after `# -- right`; `# -- both` ends such a part.
`# -- part NAME` stands for a part that several examples have, from `parts.py`. Titles, schedules,
settings and the words of what to look at come from `catalog.json`.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

LABELS = ("broken", "right")
_MARK = re.compile(r"\s*# -- (broken|right|both)")
_PART = re.compile(r"^# -- part (.+)$", re.MULTILINE)


@cache
def listed() -> list[dict[str, Any]]:
    """Return the examples in the order of the page."""
    folder = files("playground.presets")
    _, *found = _PART.split(folder.joinpath("parts.py").read_text())
    parts = {name: text[1:].rstrip() for name, text in zip(found[::2], found[1::2], strict=True)}

    def text_of(name: str) -> str:
        text = folder.joinpath(f"{name}.py").read_text()
        return _PART.sub(lambda mark: parts[mark[1]], text)

    return [
        example
        for entry in json.loads(folder.joinpath("catalog.json").read_text())
        for example in _examples(entry, text_of(entry["code"]))
    ]


def example(name: str) -> dict[str, Any]:
    """Return an example.

    Raises:
        KeyError: there is none of this name.
    """
    return {each["name"]: each for each in listed()}[name]


def _examples(entry: dict[str, Any], text: str) -> Iterator[dict[str, Any]]:
    labels = LABELS if _MARK.search(text) or "right" in entry else (None,)
    for label in labels:
        found = {**entry, **entry.get(label or "", {})}
        yield {
            "name": f"{entry['name']}-{label}" if label else entry["name"],
            "title": entry["title"],
            "group": entry["group"],
            "label": label,
            "look": found["look"],
            "difference": entry.get("difference", ""),
            "handler": code(text, label) if entry["code"] != "pipeline" else "",
            "settings": found.get("settings", {}),
            "script": "".join(f"{line}\n" for line in found["script"]),
            **({"consumer": found["consumer"]} if "consumer" in found else {}),
        }


def code(text: str, label: str | None) -> str:
    """Return the lines of a file that belong to a label, with two empty lines between parts."""
    kept, lines = "both", []
    for line in text.splitlines():
        if mark := _MARK.fullmatch(line):
            kept = mark[1]
        elif kept in ("both", label):
            lines.append(line)
    whole = re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines)).strip()
    return re.sub(r"^(from [^\n]+|import [^\n]+)\n\n\n\n+", r"\1\n\n\n", whole) + "\n"
