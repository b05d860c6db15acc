"""A wrong declaration ends a command with one sentence, and so do missing stories."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools.fork.check import ROOT

OVERLAPPING = """
from dynamodb_streams_cdc.entities import Entity, Table
TABLES = [Table("rooms", {"id": "S"}, [Entity("room"), Entity("guest")])]
"""
RIGHT = OVERLAPPING.replace(', Entity("guest")', "")
READ = "from local.declaration import stories; stories('rooms', 1, None)"


def run(domain: Path, program: str) -> subprocess.CompletedProcess[str]:
    """Run a program with lambdas/domain in another folder."""
    begin = f"import lambdas; lambdas.__path__.insert(0, {str(domain.parent)!r}); "
    return subprocess.run(
        [sys.executable, "-c", begin + program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def domain(tmp_path: Path) -> Path:
    folder = tmp_path / "domain"
    folder.mkdir()
    return folder


def test_a_wrong_declaration_is_one_sentence(domain: Path) -> None:
    (domain / "__init__.py").write_text(OVERLAPPING)
    for module in ("local.demo", "tools.account.__main__"):
        done = run(domain, f"import {module}")
        assert done.returncode == 1
        [line] = done.stderr.splitlines()
        assert line.startswith("lambdas/domain: table 'rooms': a key can fit both entity 'room'")


def test_a_table_in_place_of_tables_is_one_sentence(domain: Path) -> None:
    (domain / "__init__.py").write_text(RIGHT.replace("[Table", "Table").replace("])]", "])"))
    done = run(domain, "import local.demo")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("lambdas/domain: TABLES must be a tuple of tables")


def test_missing_stories_are_named(domain: Path) -> None:
    (domain / "__init__.py").write_text(RIGHT)
    done = run(domain, READ)
    assert done.stderr.splitlines()[-1].endswith("see docs/how-to/fork.md.")
    assert "StoriesError: There is no lambdas/domain/stories.py" in done.stderr
    assert run(domain, "import tools.account.__main__").returncode == 0


def test_an_error_within_the_stories_is_not_hidden(domain: Path) -> None:
    (domain / "__init__.py").write_text(RIGHT)
    (domain / "stories.py").write_text("import no_such_module\n")
    assert "No module named 'no_such_module'" in run(domain, READ).stderr
