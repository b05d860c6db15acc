"""The documentation of the rules and the tests that show them agree."""

import dataclasses
import re
from pathlib import Path

from dynamodb_streams_cdc.esm import Policies

HERE = Path(__file__).parent
DOCUMENT = (HERE.parents[2] / "docs/explanation/event-source-mapping.md").read_text()
ROW = re.compile(r"^\| (\d+) \| .* \| ?([^|]*?) ?\|$", re.MULTILINE)
ADVICE = {12, 13, 14, 56}


def documented() -> dict[int, set[str]]:
    """Return the test files that the document names for each rule."""
    return {
        int(number): {name.strip() for name in files.split(",") if name.strip()}
        for number, files in ROW.findall(DOCUMENT)
    }


def written() -> dict[int, set[str]]:
    """Return the test files that have a test named after each rule."""
    found: dict[int, set[str]] = {}
    for path in [*HERE.glob("test_esm_*.py"), *HERE.parent.glob("simulation/test_*.py")]:
        for number in re.findall(r"^def test_rule_(\d+)_", path.read_text(), re.MULTILINE):
            found.setdefault(int(number), set()).add(path.name)
    return found


def test_all_rules_are_documented() -> None:
    assert list(documented()) == list(range(1, 59))


def test_every_rule_names_the_tests_that_show_it() -> None:
    rules = documented()
    tests = written()

    for number in set(range(1, 59)) - ADVICE:
        assert rules[number] == tests.get(number), f"rule {number}"


def test_advice_has_no_test() -> None:
    assert written().keys().isdisjoint(ADVICE)


def test_every_policy_is_documented() -> None:
    section = DOCUMENT.partition("## What AWS leaves open")[2]

    for field in dataclasses.fields(Policies):
        assert f"`{field.name}`" in section
