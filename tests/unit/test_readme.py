"""The README's Python runs, and what it names is there."""

import re
from pathlib import Path
from typing import Any

import pytest

from dynamodb_streams_cdc.testing import Lab
from tests.factories import FakeContext, ManualClock, order, record

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_library_example_is_a_handler(capsys: pytest.CaptureFixture[str]) -> None:
    examples = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    [example] = [text for text in examples if "ChangeHandlers" in text]
    names: dict[str, Any] = {}
    exec(example, names)
    answer = names["handler"]({"Records": [record(1, None, order())]}, FakeContext(ManualClock()))
    assert answer == {"batchItemFailures": []}
    assert capsys.readouterr().out == "00004\n"


def test_the_lab_example_passes() -> None:
    examples = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    [example] = [text for text in examples if "stream_lab" in text]
    names: dict[str, Any] = {}
    exec(example, names)
    names["test_lambda_gives_up_what_stands_behind_a_failure_too"](Lab)


def test_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"make ([a-z0-9-]+)", README))
    assert named - targets == set()


def test_the_transcript_is_of_a_run() -> None:
    assert "every sink equals the table" in README
    assert "TRANSCRIPT" not in README
