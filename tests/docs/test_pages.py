"""Pages show up-to-date code and name commands, links and sources that exist."""

import builtins
import importlib
import inspect
import io
import re
import symtable
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import pytest
from typer.main import get_command

import dynamodb_streams_cdc
from dynamodb_streams_cdc.cli.app import app
from dynamodb_streams_cdc.examples import example_1, example_2
from dynamodb_streams_cdc.examples.mistakes import MISTAKES
from tests.docs import twins
from tools import docs, reference
from tools.mistakes import SCHEDULES, SEEDS

ROOT = Path(__file__).parents[2]
PAGES = docs.hand_written()
EVERY_PAGE = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: str(page.relative_to(docs.DOCS))
)

TEXT = {page: page.read_text() for page in PAGES}
PROSE = {page: re.sub(r"^```.*?^```", "", text, flags=re.M | re.S) for page, text in TEXT.items()}


def sections(page: str) -> dict[str, str]:
    """Return the text of each section of a page, by its heading."""
    parts = re.split(r"^## (.+)\n", (docs.DOCS / page).read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


# Blocks


def test_pages_are_up_to_date() -> None:
    wanted = docs.wanted_pages()
    stale = [str(path.relative_to(ROOT)) for path, text in wanted.items() if _read(path) != text]
    assert not stale, "run `python -m tools.docs` and read the difference"


def _read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


@EVERY_PAGE
def test_every_code_block_names_its_source(page: Path) -> None:
    blocks = re.findall(r"(.*)\n```(?:python|text|json)\n", TEXT[page])
    if page.name not in ("deploy.md", "upgrade.md"):
        assert [line for line in blocks if not line.startswith("<!-- ")] == []


NAMES = docs.DOCS / "explanation" / "patterns.md"
"""The page whose first part has the names that examples of other pages use."""


@EVERY_PAGE
def test_every_name_of_the_shown_code_is_explained(page: Path) -> None:
    known = {*dir(builtins), "pytest", "__name__"} | set(re.findall(r"`(\w+)", PROSE[page]))
    if "(imports as in [Patterns]" in PROSE[page]:
        known |= _defined(_module(_shown(TEXT[NAMES].partition("\n## ")[0])))
    shown = _module(_shown(TEXT[page]))
    assert _read_names(shown) - _defined(shown) - known == set()


def test_a_name_that_is_an_argument_elsewhere_is_missed() -> None:
    shown = _module("def first(event): return event\ndef second(): return event")
    assert _read_names(shown) - _defined(shown) == {"event"}


def _shown(text: str) -> str:
    """Return the shown Python of tests; examples are modules of their own, with all names."""
    found = re.findall(r"^<!-- code: tests/[^\n]+\n```python\n(.*?)^```$", text, re.M | re.S)
    return "\n".join(found)


def _module(code: str) -> symtable.SymbolTable:
    return symtable.symtable(code, "page", "exec")


def _defined(module: symtable.SymbolTable) -> set[str]:
    """Return the names of a module: imported, assigned, functions and classes."""
    symbols = module.get_symbols()
    return {each.get_name() for each in symbols if each.is_assigned() or each.is_imported()}


def _read_names(table: symtable.SymbolTable) -> set[str]:
    """Return the names that a module, its functions and its classes take from the module."""
    outer = table.get_type() == "module"
    found = {
        each.get_name()
        for each in table.get_symbols()
        if each.is_referenced() and (outer or each.is_global())
    }
    return found.union(*map(_read_names, table.get_children()))


def test_every_shown_test_is_run() -> None:
    for page, text in TEXT.items():
        for path in re.findall(r"<!-- (?:code|story|diagram): (tests/\S+)", text):
            name = Path(path).name
            assert name.startswith("test_"), (page, path)


# Links and commands


@EVERY_PAGE
def test_links_and_anchors_exist(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", PROSE[page]):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(docs.DOCS), f"{link} is outside the site"
        if anchor:
            assert anchor in _anchors(target), link


def _anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    slugs = {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }
    names = set() if page in PAGES else _listed_names()
    return slugs | names | set(re.findall(r'<a id="([^"]+)"', text))


def _listed_names() -> set[str]:
    """Names on the pages of the reference, whose headings mkdocstrings makes."""
    pages = sorted((docs.DOCS / "reference").glob("*.md"))
    shown = {name for page in pages for name in re.findall(r"^::: (\S+)", page.read_text(), re.M)}
    return {
        name.path
        for module in reference.modules()
        if module.path in shown
        for name in (module, *reference.defined(module))
    }


@pytest.mark.parametrize("folder", ["tutorial", "how-to", "explanation"])
def test_the_front_page_has_every_page_of_a_folder(folder: str) -> None:
    assert {*(docs.DOCS / folder).glob("*.md")} - _linked(docs.DOCS / "index.md") == set()


@pytest.mark.parametrize("name", ["settings.md", "alarms.md", "limits.md", "functions.md"])
def test_a_reference_page_is_two_clicks_away(name: str) -> None:
    first = docs.DOCS / "index.md"
    second = {first, *_linked(first)}
    reached = second.union(*map(_linked, second))
    assert name in {page.name for page in reached}


def _linked(page: Path) -> set[Path]:
    links = re.findall(r"\]\(([^)\s#:]+\.md)", page.read_text())
    return {(page.parent / link).resolve() for link in links}


@EVERY_PAGE
def test_commands_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z0-9-]+)", PROSE[page])) - targets == set()
    commands = set(get_command(app).commands)  # type: ignore[attr-defined]
    assert set(re.findall(r"`cdc ([a-z-]+)", PROSE[page])) - commands == set()


def test_every_page_is_in_the_navigation() -> None:
    project = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
    listed = set(_leaves(project["nav"]))
    there = {str(path.relative_to(docs.DOCS)) for path in docs.DOCS.rglob("*.md")}
    assert there - listed == set(), "name it in the nav of zensical.toml"
    assert listed - there == set()


def _leaves(nav: Any) -> Iterator[str]:
    match nav:
        case str():
            yield nav
        case list():
            for each in nav:
                yield from _leaves(each)
        case dict():
            for each in nav.values():
                yield from _leaves(each)


# Sections


@pytest.mark.parametrize("page", ["concepts.md", "patterns.md", "expiry-and-global-tables.md"])
def test_sections_that_speak_of_aws_name_their_source(page: str) -> None:
    without = [
        heading
        for heading, text in sections(f"explanation/{page}").items()
        if re.search(r"\b(AWS|Lambda|DynamoDB|Streams?)\b", text) and "aws.amazon.com/" not in text
    ]
    assert without == []


def test_each_pattern_has_its_four_parts() -> None:
    for heading, text in sections("explanation/patterns.md").items():
        for part in ("**When.**", "**How it fails.**", "**The code.**", "**Testing it.**"):
            assert text.count(part) == 1, (heading, part)
        drawn = text.count("<!-- diagram: ")
        assert drawn == text.count("\nsequenceDiagram\n") > 0, f"{heading}: drawn by hand"


def test_each_mistake_shows_its_story_and_its_fix() -> None:
    page = (docs.DOCS / "explanation" / "mistakes.md").read_text()
    for mistake in MISTAKES:
        assert page.count(f"mistakes/{mistake.name}.py ") == 2, mistake.name
        told = page.partition(f"<!-- mistake: {mistake.name} -->\n```text\n")[2].partition("\n```")[
            0
        ]
        *lines, end = told.splitlines()
        assert len(lines) < 40, "too long to follow"
        assert max(map(len, lines)) <= 132
        assert end.startswith("WRONG: ")
        assert SEEDS[mistake.name] < SCHEDULES
    assert page.count("**Fixed.**") == len(MISTAKES) + 4


def test_each_mistake_fails_and_its_twin_passes() -> None:
    found = list(twins.results())
    assert len(found) == len(MISTAKES)
    assert all(wrong and not right for _, _, wrong, right in found)


# The reference


def test_every_public_name_is_in_the_reference() -> None:
    assert _public() - _listed_names() == set(), "run `python -m tools.docs`"


def test_a_name_on_no_page_of_the_reference_is_missed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "reference").mkdir()
    (tmp_path / "reference/esm.md").write_text("::: dynamodb_streams_cdc.esm.lane\n")
    monkeypatch.setattr(docs, "DOCS", tmp_path)
    listed = {name.removeprefix("dynamodb_streams_cdc.esm.lane") for name in _listed_names()}
    assert listed
    assert all(name == "" or name.startswith(".") for name in listed)
    assert "dynamodb_streams_cdc.processor.Processor" in _public() - _listed_names()


def test_every_public_name_has_a_summary() -> None:
    names = [each for module in reference.modules() for each in reference.defined(module)]
    assert [each.path for each in names if not reference.summary(each)] == []


def _public() -> set[str]:
    names = set()
    for found in walk_packages(dynamodb_streams_cdc.__path__, "dynamodb_streams_cdc."):
        inner = found.name.split(".")[1:]
        if inner[0] in ("cli", "examples") or any(part.startswith("_") for part in inner):
            continue
        module = importlib.import_module(found.name)
        names.add(found.name)
        names |= {
            f"{found.name}.{name}"
            for name, value in vars(module).items()
            if not name.startswith("_")
            and (inspect.isclass(value) or inspect.isfunction(value))
            and value.__module__ == found.name
        }
    for name in dynamodb_streams_cdc.__all__:
        value = getattr(dynamodb_streams_cdc, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            names.add(f"{value.__module__}.{value.__qualname__}")
    return names


# The words


def terms() -> list[str]:
    return re.findall(r"^(?:<a [^>]*></a>)?\*\*([^*]+)\*\*: ", _glossary(), re.MULTILINE)


def _glossary() -> str:
    return (docs.DOCS / "reference" / "glossary.md").read_text()


def test_the_glossary_is_in_order() -> None:
    assert terms() == sorted(terms())


def test_every_glossary_word_is_used() -> None:
    sources = [path.read_text() for path in (ROOT / "src").rglob("*.py")]
    pages = [text for page, text in TEXT.items() if page.name != "glossary.md"]
    everything = " ".join((*sources, *pages)).lower().replace("\n", " ").replace("_", " ")
    unused = [term for term in terms() if not re.search(rf"\b{term}", everything)]
    assert unused == []


# The thirty minutes

WORDS_PER_MINUTE = 160


def test_thirty_minutes_suffice_for_the_reading() -> None:
    table = sections("tutorial/thirty-minutes.md")["Steps"]
    minutes = [int(number) for number in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)]
    assert sum(minutes) == 30
    read = [_readme(), _told(example_1), _concepts(), _told(example_2)]
    for allowed, text in zip(minutes, read, strict=False):
        words = len(re.findall(r"[A-Za-z]{2,}", text))
        assert words / WORDS_PER_MINUTE <= allowed, (allowed, words)


def _readme() -> str:
    return (ROOT / "README.md").read_text().partition("\n## Deploy")[0]


def _told(example: Any) -> str:
    told = io.StringIO()
    with redirect_stdout(told):
        example.main()
    return told.getvalue()


def _concepts() -> str:
    table = sections("tutorial/thirty-minutes.md")["Steps"]
    anchors = re.findall(r"concepts\.md#([\w-]+)", table)
    parts = {
        heading.lower().replace(" ", "-"): text
        for heading, text in sections("explanation/concepts.md").items()
    }
    text = " ".join(parts[anchor] for anchor in anchors)
    return re.sub(r"^```.*?^```|\(https?://[^)]*\)", "", text, flags=re.M | re.S)
