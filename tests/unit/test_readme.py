"""The README's Python runs, and the files, targets and commands that it names exist."""

import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from dynamodb_streams_cdc.cli.app import app
from tests.factories import FakeContext, ManualClock, order, record

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_readme_has_at_most_130_lines() -> None:
    assert len(README.splitlines()) <= 130


def test_the_first_python_is_a_handler_that_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    exec(PYTHON[0], names)
    answer = names["handler"]({"Records": [record(1, None, order())]}, FakeContext(ManualClock()))
    assert answer == {"batchItemFailures": []}
    assert capsys.readouterr().out == "00004\n"


def test_links_and_named_files_exist() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)", README) if "://" not in link]
    files = re.findall(r"`((?:lambdas|stacks|local|tests)/[\w./]*)`", README)
    assert links
    assert files
    assert [path for path in (*links, *files) if not (ROOT / path).exists()] == []


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"make ([a-z0-9-]+)", README.partition("## Make it yours")[0]))
    assert named
    assert named - targets == set()


def test_cdc_commands_exist() -> None:
    named = set(re.findall(r"^    cdc ([a-z-]+)", README, re.MULTILINE))
    assert named
    assert named - set(get_command(app).commands) == set()  # type: ignore[attr-defined]
