"""The examples of the page show what the conformance kit says of the same functions."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dynamodb_streams_cdc.testing import Diverged, Lab
from dynamodb_streams_cdc.testing.lab import LabFactory
from playground.lab.presets import LABELS, code, example, listed
from tests.docs import test_classic_mistakes as classic
from tests.unit.playground.asked import ask, run

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "explanation" / "mistakes.md").read_text()
MISTAKES = [each for each in listed() if each["label"]]
HANDLERS = [each for each in listed() if each["handler"]]
EIGHT = [each for each in MISTAKES if each["group"] == "Eight that circulate"]


def by_name(examples: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("shown", examples, ids=lambda each: each["name"])


@by_name(MISTAKES)
def test_a_broken_example_is_wrong_and_a_right_one_right(shown: dict[str, Any]) -> None:
    assert bool(run(shown)["problems"]) == (shown["label"] == "broken")


def test_every_mistake_of_the_page_has_both() -> None:
    anchors = set(re.findall(r"^\| \[[^\]]+\]\(#([a-z-]+)\)", PAGE, re.M))
    assert len(anchors) == 12
    assert {each["name"] for each in MISTAKES} == {f"{a}-{b}" for a in anchors for b in LABELS}


@by_name(HANDLERS)
def test_the_copied_test_says_the_same_outside(shown: dict[str, Any]) -> None:
    found = run(shown)
    module: dict[str, Any] = {"__name__": "test_copy"}
    exec(ask("test", shown)["ok"], module)
    if not found["problems"]:
        module["test_the_copy_converges"]()
        return
    with pytest.raises(Diverged) as caught:
        module["test_the_copy_converges"]()
    assert list(caught.value.problems) == found["problems"]
    assert caught.value.hint == found["hint"]
    lines = [line["text"] for line in found["lines"]]
    assert [line for line in caught.value.timeline.splitlines() if line not in lines] in (
        [],
        [line for line in caught.value.timeline.splitlines() if "more attempts" in line],
    )


def test_the_copied_test_of_the_future_runs() -> None:
    shown = example("overwrite")
    handler = "from __future__ import annotations\n" + shown["handler"]
    compile(ask("test", {**shown, "handler": handler})["ok"], "test.py", "exec")


def shapes(changes: list[list[str]]) -> list[list[str]]:
    """Return deliveries with their items numbered in the order in which they come."""
    names: dict[str, int] = {}
    return [
        [f"{kind} {names.setdefault(name, len(names))}" for kind, name in map(str.split, batch)]
        for batch in changes
    ]


@pytest.mark.parametrize(
    ("name", "test"),
    [
        ("no-partial-failures-broken", classic.test_one_bad_address_repeats_and_loses_the_others),
        ("no-partial-failures-right", classic.test_with_partial_failures_only_the_bad_one_fails),
        ("no-idempotency-broken", classic.test_without_a_marker_points_are_given_twice),
        ("no-idempotency-right", classic.test_with_a_marker_points_are_given_once),
        ("the-wrong-view-type-broken", classic.test_new_image_alone_never_subtracts),
        ("the-wrong-view-type-right", classic.test_old_and_new_image_subtract),
        ("slow-synchronous-calls-broken", classic.test_slow_calls_never_fit_the_timeout),
        ("slow-synchronous-calls-right", classic.test_one_call_per_batch_fits_the_timeout),
    ],
)
def test_deliveries_and_dead_letters_are_those_of_the_lab(
    name: str, test: Callable[[LabFactory], None]
) -> None:
    labs: list[Lab] = []

    def stream_lab(*arguments: Any, **options: Any) -> Lab:
        labs.append(Lab(*arguments, **options))
        return labs[-1]

    test(stream_lab)
    shown = run(example(name))["outcome"]["function"]
    assert shapes(shown["delivered"]) == shapes(labs[0].delivered)
    dead_letters = [each.changes for each in labs[0].dead_letters]
    assert shapes(shown["dead_letters"]) == shapes(dead_letters)


@by_name([each for each in EIGHT if each["label"] == "broken"])
def test_the_search_finds_what_the_example_shows(shown: dict[str, Any]) -> None:
    runs: list[int] = []
    from playground.lab.search import search

    found = search({**shown, "schedules": 200}, runs.append)
    assert found["found"]
    assert found["script"] == shown["script"]
    assert found["problems"] == run({**shown, "settings": found["settings"]})["problems"]
    assert runs == list(range(1, found["runs"] + 1))


def test_a_part_of_an_example_is_of_one_label() -> None:
    text = "a\n# -- broken\nb\n# -- right\nc\n# -- both\nd\n"
    assert code(text, "broken") == "a\nb\nd\n"
    assert code(text, "right") == "a\nc\nd\n"
