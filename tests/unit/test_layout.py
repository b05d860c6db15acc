"""The imports of the library keep to its wings, and go in no circle."""

import ast
import re
import tomllib

import pytest

from tools import imports

DEPLOYED = {"root", "sinks", "guards", "control", "aws"}
NEVER_DEPLOYED = {"esm", "testing", "operations", "cli", "examples"}


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert imports.circle(imports.arrows()) == []


def test_no_wing_imports_a_wing_above_it() -> None:
    assert imports.upward(imports.arrows()) == []


def test_deployed_modules_import_no_wing_that_stays_behind() -> None:
    wrong = [
        (importer, imported)
        for importer, names in imports.arrows().items()
        for imported in names
        if imports.wing(importer) in DEPLOYED and imports.wing(imported) in NEVER_DEPLOYED
    ]
    assert wrong == []


def test_stacks_import_names_declarations_and_filters_alone() -> None:
    root = imports.SOURCE.parent
    imported = {
        node.module
        for path in (root / "stacks").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(imports.PACKAGE)
    }
    allowed = {"names", "entities", "esm.filters", "esm.lint"}
    assert imported == {f"{imports.PACKAGE}.{module}" for module in allowed}


def test_mypy_reads_the_types_of_each_service_in_use() -> None:
    root = imports.SOURCE.parent
    overrides = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["mypy"]["overrides"]
    read = [
        module
        for each in overrides
        if each["follow_imports"] == "normal"
        for module in each["module"]
    ]
    imported = {
        f"aws_cdk.{name}"
        for folder in ("stacks", "tests", "tools")
        for path in (root / folder).rglob("*.py")
        for name in re.findall(
            r"^ *from aws_cdk(?: import |\.)(aws_\w+)", path.read_text(), re.MULTILINE
        )
    }
    assert sorted({"aws_cdk", *imported}) == read, (
        "list these in tool.mypy of pyproject.toml, once and in order, and no others"
    )


def test_a_circle_and_an_upward_import_are_found() -> None:
    package = imports.PACKAGE
    change, cli = f"{package}.change", f"{package}.cli.app"
    found = {change: {cli}, cli: {change}}
    assert set(imports.circle(found)) == {change, cli}
    assert imports.upward(found) == [f"{change} -> {cli}"]


def test_the_command_prints_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert imports.main() == 0
    assert "upward arrows       0" in capsys.readouterr().out
