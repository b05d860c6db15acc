"""Every example runs in the browser as on this machine, and the search finds every mistake."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from playground.lab.presets import listed
from playground.lab.requests import answer
from tests.browser.conftest import Playground

EXAMPLES = listed()
BROKEN = [
    each
    for each in EXAMPLES
    if each["group"] == "Eight that circulate" and each["label"] == "broken"
]


def by_name(examples: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("example", examples, ids=lambda each: each["name"])


@by_name(EXAMPLES)
def test_an_example_shows_what_the_kit_says(
    opened: Playground, example: dict[str, Any], measured: Callable[[str], None]
) -> None:
    here = json.loads(answer(json.dumps({**example, "what": "run"})))["ok"]
    button = opened.page.locator(f'[data-example="{example["name"]}"]')
    begun = time.perf_counter()
    there = opened.after(button.click)
    measured(f"{example['name']:50} run and drawn in {time.perf_counter() - begun:5.2f} s")
    for part in ("outcome", "lines", "calls", "states", "checkpoints", "given_up", "hint"):
        assert there[part] == here[part], part
    drawn = opened.page.locator("#picture .call").count()
    assert drawn == len(here["calls"])
    assert opened.page.locator("#timeline li").count() == len(here["lines"])
    wrong = "The copy is wrong" in opened.page.locator("#verdict").inner_text()
    assert wrong == bool(here["problems"])
    story = opened.page.locator("#story").inner_text()
    assert example["look"] in story
    assert example["difference"] in story


@by_name(BROKEN)
def test_the_search_finds_the_mistake(
    opened: Playground, example: dict[str, Any], measured: Callable[[str], None]
) -> None:
    page = opened.page
    opened.after(page.locator(f'[data-example="{example["name"]}"]').click)
    opened.after(page.locator("#search").click)
    page.get_by_text("This is the smallest that still does").wait_for()
    measured(f"{example['name']:50} {page.locator('#status').inner_text()}")
    assert page.locator("#script").input_value() == example["script"]
    assert "The copy is wrong" in page.locator("#verdict").inner_text()


def test_the_search_finds_nothing_in_a_right_function(
    opened: Playground, measured: Callable[[str], None]
) -> None:
    page = opened.page
    opened.after(page.locator('[data-example="keep-the-newest"]').click)
    page.locator("#search").click()
    page.get_by_text("No counterexample: ").wait_for()
    measured(f"{'keep-the-newest':50} {page.locator('#verdict').inner_text()}")
    assert "after each of 200 schedules" in page.locator("#verdict").inner_text()
