"""Write the code, output and diagrams that pages in `docs` show, and the generated pages.

    python -m tools.docs            write them
    python -m tools.docs --build    fail if one is out of date, then build the site into build/site

A comment above a fence names the source of its text:

    <!-- code: FILE NAME... -->          functions, classes and constants of a Python file, or its
                                         `imports`
    <!-- story: FILE TEST -->            the timelines of a test's labs
    <!-- mistake: NAME -->               the shortest story of one of the eight mistakes
    <!-- diagram: FILE TEST [SINK] -->   the same as a sequence diagram
    <!-- output: FILE FUNCTION -->       the output of a function
    <!-- text: FILE WORD -->             a file, from the line on that begins with the word
    <!-- bench: FILE NAME... -->         these benchmarks of a file that `make bench` wrote,
                                         `machine`, or `goals` (all rows with a goal)

The pages contain their code, so they read the same in the repository and on the site. A test
compares them with the sources. A transcript of a command has no source: it is pasted into the page.
"""

import ast
import contextlib
import importlib
import inspect
import io
import json
import logging
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.harness.rows import Row, print_rows
from dynamodb_streams_cdc.examples.mistakes import MISTAKES
from dynamodb_streams_cdc.testing import Lab
from dynamodb_streams_cdc.testing.simulation.timeline import Entry
from tools import (
    cli_reference,
    findings_page,
    limits_page,
    mistakes,
    reference,
    settings_page,
    site,
)
from tools.diagrams import drawn

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"

MANY = 4
"""The longest run of similar lines that is shown whole."""

BLOCK = re.compile(
    r"^<!-- (?P<kind>code|story|mistake|diagram|output|text|bench): (?P<what>[^>]+) -->\n"
    r"```\w*\n(?P<shown>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


class NotShown(Exception):
    """A page names a source that does not exist."""


def main(arguments: Sequence[str]) -> int:
    """Write the pages or build the site; return the exit status."""
    logging.disable(logging.CRITICAL)
    if list(arguments) not in ([], ["--build"]):
        print(__doc__)
        return 2
    wanted = wanted_pages()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    if not arguments:
        for path in stale:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path])
            print(path.relative_to(ROOT))
        return 0
    if stale:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
        print(f"Out of date: {names}. Run `python -m tools.docs` and read the difference.")
        return 1
    if not site.build("--clean", "--strict"):
        return 1
    print(f"{site.SITE.relative_to(ROOT)}/index.html")
    return 0


def wanted_pages() -> dict[Path, str]:
    """Return the up-to-date text of every page."""
    written = reference.pages() | {
        "cli.md": cli_reference.page(),
        "findings.md": findings_page.page(),
        "limits.md": limits_page.page(),
        "settings.md": settings_page.page(),
    }
    filled = {path: fill(path.read_text()) for path in hand_written()}
    return filled | {DOCS / "reference" / name: text for name, text in written.items()}


def hand_written() -> list[Path]:
    """Return the pages that people write: those without a generator's first line."""
    pages = sorted(DOCS.rglob("*.md"))
    return [path for path in pages if not path.read_text().startswith("<!-- Written by")]


# The sources of a page


def fill(page: str) -> str:
    """Return a page with its blocks up to date.

    Raises:
        NotShown: a block names a source that does not exist.
    """

    def filled(match: re.Match[str]) -> str:
        path, *names = match["what"].split(" ")
        language, text = SHOWN[match["kind"]](path, names)
        head = f"<!-- {match['kind']}: {match['what']} -->"
        return f"{head}\n```{language}\n{text.rstrip()}\n```"

    return BLOCK.sub(filled, page)


_BLOCKS = ("def ", "async def ", "class ", "@")


def code(path: str, names: Sequence[str]) -> tuple[str, str]:
    lines = (ROOT / path).read_text().splitlines()
    places = {name: place for node in _nodes(path) for name, place in _named(node)}
    imports = [node for node in _nodes(path) if isinstance(node, ast.Import | ast.ImportFrom)]
    if imports:
        places["imports"] = (imports[0].lineno, imports[-1].end_lineno or imports[-1].lineno)
    if missing := [name for name in names if name not in places]:
        message = f"{path} does not define {', '.join(missing)}"
        raise NotShown(message)
    parts = [
        textwrap.dedent("\n".join(lines[first - 1 : last]))
        for first, last in map(places.__getitem__, names)
    ]
    if names[0] == "imports" and len(parts) > 1 and not parts[1].startswith(_BLOCKS):
        # One empty line, as the linter has it: a copied block passes `make lint`.
        parts[:2] = [f"{parts[0]}\n\n{parts[1]}"]
    return "python", "\n\n\n".join(parts)


def _nodes(path: str) -> Iterator[ast.stmt]:
    for node in ast.parse((ROOT / path).read_text()).body:
        yield node
        if isinstance(node, ast.ClassDef):
            yield from node.body


def _named(node: ast.stmt) -> Iterator[tuple[str, tuple[int, int]]]:
    last = node.end_lineno or node.lineno
    match node:
        case ast.FunctionDef() | ast.ClassDef():
            yield node.name, (min([node.lineno, *(d.lineno for d in node.decorator_list)]), last)
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            yield name, (node.lineno, last)


def story(path: str, names: Sequence[str]) -> tuple[str, str]:
    lines = [line for lab in labs(path, names[0]) for line in shortened(lab.timeline.entries)]
    return "text", "\n".join(mistakes.cut(lines))


def mistake(name: str, _: Sequence[str]) -> tuple[str, str]:
    [found] = [each for each in MISTAKES if each.name == name]
    return "text", "\n".join(mistakes.story(found))


def shortened(entries: Sequence[Entry]) -> Iterator[str]:
    """Yield lines of a timeline, of a long run of similar ones the first two and the last."""
    for _, alike in groupby(entries, _kind):
        same = list(map(str, alike))
        if len(same) <= MANY:
            yield from same
        else:
            yield from (*same[:2], f"   ... {len(same) - 3} lines like these ...", same[-1])


def _kind(entry: Entry) -> tuple[object, ...]:
    event = entry.event
    return type(event), getattr(event, "method", None), getattr(event, "attempt", 1) > 1


def diagram(path: str, names: Sequence[str]) -> tuple[str, str]:
    [lab] = labs(path, names[0])
    return "mermaid", drawn(lab.timeline.entries, *[" ".join(names[1:])] * (len(names) > 1))


def output(path: str, names: Sequence[str]) -> tuple[str, str]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        _function(path, names[0])()
    text = printed.getvalue()
    return "json" if text.startswith("{") else "text", text


LANGUAGES = {".py": "python", ".yaml": "yaml"}
"""Languages of fences by the ends of the names of files."""


def text(path: str, names: Sequence[str]) -> tuple[str, str]:
    whole = (ROOT / path).read_text()
    found = re.search(rf"^{re.escape(names[0])}\b.*", whole, re.MULTILINE | re.DOTALL)
    if found is None:
        message = f"{path} has no line that begins with {names[0]}"
        raise NotShown(message)
    language = LANGUAGES.get(Path(path).suffix)
    if language is None:
        message = f"{path} has no known language: name a file with {' or '.join(LANGUAGES)}"
        raise NotShown(message)
    return language, found[0]


def bench(path: str, names: Sequence[str]) -> tuple[str, str]:
    run = json.loads((ROOT / path).read_text())
    if names == ["machine"]:
        about = {"date": run["date"], **run["machine"]}
        return "text", "\n".join(f"{name:10} {value}" for name, value in about.items())
    rows = [Row.from_json(row) for row in run["rows"]]
    found = _with_goals(rows) if names == ["goals"] else [r for r in rows if r.benchmark in names]
    if not found:
        message = f"{path} has no rows of {', '.join(names)}"
        raise NotShown(message)
    table = io.StringIO()
    print_rows(found, Console(file=table, width=180))
    return "text", "\n".join(map(str.rstrip, table.getvalue().splitlines()))


def _with_goals(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with a goal, without what every run meets.

    Of growth, that is all but the furthest from its goal; of search, the zeros of further cases.
    """
    growth = [row for row in rows if row.benchmark == "growth"]
    furthest = min(growth, key=lambda row: row.ratio or 0.0, default=None)
    return [
        row
        for row in rows
        if row.goal
        and (row.benchmark != "growth" or row is furthest or not row.met)
        and not (row.name.startswith("items") and row.at_most == 0 and row.met)
    ]


SHOWN: Mapping[str, Callable[[str, Sequence[str]], tuple[str, str]]] = {
    "code": code,
    "story": story,
    "mistake": mistake,
    "diagram": diagram,
    "output": output,
    "text": text,
    "bench": bench,
}


def labs(path: str, test: str) -> list[Lab]:
    """Run a test that takes the fixture `stream_lab`; return its labs."""
    made: list[Lab] = []

    def stream_lab(*arguments: Any, **options: Any) -> Lab:
        made.append(Lab(*arguments, **options))
        return made[-1]

    _function(path, test)(stream_lab)
    return made


def _function(path: str, name: str) -> Callable[..., object]:
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    found = getattr(module, name, None)
    if not inspect.isfunction(found):
        message = f"{path} has no function {name}"
        raise NotShown(message)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
