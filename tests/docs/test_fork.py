"""A fork edits two places, and nothing that upstream edits."""

import ast
import json
import re
import shutil
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from dynamodb_streams_cdc.entities import DeclarationError, Entity, Table
from lambdas import domain, example_domain
from tools.fork import two_tables
from tools.fork.check import ENVIRONMENTS, ROOT, SAME_IN_A_FORK, needed, run
from tools.fork.domain.stories import stories

PAGE = ROOT / "docs/how-to/fork.md"
READ = {"TABLES", "stories"}
"""The names of lambdas.domain that the rest of the tree may rely on."""


UPSTREAM = pytest.mark.skipif(
    domain.TABLES is not example_domain.TABLES, reason="this is a fork: lambdas/domain is its own"
)


def test_the_example_compares_with_several_tables() -> None:
    """With a tuple of one as its type, mypy refuses the comparison, and so a fork's `make lint`."""
    assert two_tables.TABLES != example_domain.TABLES


def test_nothing_outside_relies_on_more_than_the_declaration() -> None:
    used = {
        (path.relative_to(ROOT).as_posix(), alias.name)
        for folder in ("benchmarks", "lambdas", "local", "src", "stacks", "tests", "tools")
        for path in (ROOT / folder).rglob("*.py")
        if "lambdas/domain" not in path.as_posix() and "lambdas.domain" in path.read_text()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("lambdas.domain")
        for alias in node.names
    }
    assert {name for _, name in used} <= READ
    assert used, "the stacks read it"
    left_out = tuple(f"tests/{folder}/" for folder in SAME_IN_A_FORK)
    assert not [path for path, _ in used if path.startswith(left_out)]
    assert all((ROOT / folder).is_dir() for folder in left_out)


def test_what_a_fork_copies_from_the_page_passes_lint(tmp_path: Path) -> None:
    found = dict(
        re.findall(r"<!-- code: \S+/(\w+\.py) [^\n]*\n```python\n(.*?)```", PAGE.read_text(), re.S)
    )
    assert set(found) == {"__init__.py", "station.py", "stories.py"}
    for name, text in found.items():
        (tmp_path / name).write_text(text)
    config = ["--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, *config, str(tmp_path)]
        linted = subprocess.run(ruff, capture_output=True, text=True, check=False)
        assert linted.returncode == 0, linted.stdout


def test_a_fork_of_a_fork_keeps_no_settings() -> None:
    flags = {"cli-telemetry": False, "@aws-cdk/core:checkSecretUsage": True}
    own = {"alarm_email": "a@example.com", "prefix": "team", "environments": {"sandbox": {}}}
    assert needed({**flags, **own}) == flags


def test_a_checked_fork_installs_nothing(tmp_path: Path) -> None:
    """Its packages are links into this repository, where it would install itself."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/.ready").touch()
    assert run(tmp_path, ("--question", ".venv/.ready"))


@UPSTREAM
def test_upstream_has_no_code_in_the_folder_of_a_fork() -> None:
    for path in (ROOT / "lambdas/domain").glob("*.py"):
        for node in ast.parse(path.read_text()).body[1:]:
            assert isinstance(node, ast.ImportFrom), path
            assert str(node.module).startswith("lambdas.example_domain"), path


def test_a_declaration_imports_the_models_and_the_core_alone() -> None:
    program = "import sys, lambdas.domain; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    for name in ("aws_cdk", "boto3", "botocore", "opensearchpy", "urllib3"):
        assert name not in done.stdout.split()


def test_the_page_shows_the_environments_of_the_fork() -> None:
    shown = re.search(r'^    "environments": (.*?^    })$', PAGE.read_text(), re.S | re.M)
    assert shown is not None
    names = {**ENVIRONMENTS, "local": {}}
    assert set(json.loads(shown[1])) == set(names)


def test_the_page_s_stories_come_to_an_end() -> None:
    """`make demo` without LIMIT reads them all before it starts a service."""
    assert len(list(islice(stories("climate", 1, None), 10_000))) < 10_000


def test_the_page_shows_the_sentence_of_a_wrong_declaration() -> None:
    with pytest.raises(DeclarationError) as refused:
        Table("climate", {"id": "S"}, [Entity("station"), Entity("reading")])
    assert str(refused.value) in " ".join(PAGE.read_text().split())
