"""The check of phrases finds them, and no file contains one."""

import re
from pathlib import Path

import pytest

from tools import phrases


def test_allowed_phrases_are_still_there() -> None:
    unused = [
        (path, phrase)
        for path, phrase in phrases.ALLOWED
        if phrase not in (phrases.ROOT / path).read_text().lower().replace("_", " ")
    ]
    assert unused == []


FOUND = {
    '"""Write the letter to the bucket."""': "dead letter",
    "class S3Letters:": "dead letter",
    "letter_box = LetterBox()": "dead-letter store",
    "raise HeldBack(change)": "BlockedByEarlierFailure",
    "# the overflow bucket": "claim check, large image",
    "It is no dead letter.": "is not a",
    "Somebody calls it.": "no one, a person, a program",
    '"""Compare this with what lies in the index."""': "is in",
}


@pytest.mark.parametrize("text", FOUND)
def test_a_phrase_is_found_with_a_better_one(text: str) -> None:
    assert FOUND[text] in {each.better for each in phrases.findings("a.py", text)}


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/dead-letters/audit/",
        "# writes the dead\n    # letters of a processor",
        'message = "one dead "\n    "letter is left"',
        "class NumberOverflow(Exception):",
        "table(overflow='fold')",
        "There is no dead letter.",
        "the retry budget of a mapping",
        "a change is held back",
    ],
)
def test_a_proper_phrase_passes(text: str) -> None:
    assert list(phrases.findings("a.py", text)) == []


def test_the_words_of_a_fork_are_its_own() -> None:
    read = phrases.files()
    assert Path("lambdas/example_domain/order.py") in read
    assert not [path for path in read if path.is_relative_to("lambdas/domain")]


def test_a_finding_names_file_line_and_phrase() -> None:
    (found,) = phrases.findings("docs/a.md", "# Title\n\nFix it, or\nmend it.\n")
    assert str(found) == "docs/a.md:4: mend -> fix"


def test_code_that_a_page_shows_is_read_where_it_is_from() -> None:
    page = "<!-- code: a.py f -->\n```python\nwhatever\n```\n\nwhatever\n"
    assert [each.line for each in phrases.findings("docs/a.md", page)] == [6]


def test_python_pages_and_the_makefile_are_read() -> None:
    read = set(phrases.files())
    assert {Path("Makefile"), Path("README.md"), Path("app.py")} <= read
    assert Path("docs/reference/limits.md") not in read, "its text is in the docstrings"


def test_test_names_are_short() -> None:
    long = [
        f"{path}: {name}"
        for path in phrases.files()
        if path.parts[0] == "tests"
        for name in re.findall(r"\bdef (test_\w+)", (phrases.ROOT / path).read_text())
        if len(name) >= 60
    ]
    assert long == []
