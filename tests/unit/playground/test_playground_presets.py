"""The examples of the page show what the conformance kit says of the same functions."""

import re
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dynamodb_streams_cdc.testing import Diverged, Lab
from dynamodb_streams_cdc.testing.lab import LabFactory
from playground.lab.presets import LABELS, code, example, listed
from playground.lab.search import search
from playground.lab.settings import MEANINGS
from tests.docs import test_classic_mistakes as classic
from tests.schedules import long, schedules
from tests.unit.playground.asked import ask, run

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "explanation" / "mistakes.md").read_text()
PAIRS = [each for each in listed() if each["label"]]
SETTINGS = "Settings, order and age"
PASSED = schedules(400)
MISTAKES = [each for each in PAIRS if each["group"] != SETTINGS]
HANDLERS = [each for each in listed() if each["handler"]]
EIGHT = [each for each in MISTAKES if each["group"] == "Eight that circulate"]


def by_name(examples: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("shown", examples, ids=lambda each: each["name"])


@by_name(PAIRS)
def test_a_broken_example_is_wrong_and_a_right_one_right(shown: dict[str, Any]) -> None:
    assert bool(run(shown)["problems"]) == (shown["label"] == "broken")


@by_name(listed())
def test_an_example_says_what_to_look_at(shown: dict[str, Any]) -> None:
    assert shown["look"].endswith(".")
    assert bool(shown["difference"]) == bool(shown["label"])
    items = {key for key in re.findall(r"item-\d+", shown["look"])}
    assert items <= {write["key"] for write in run(shown)["writes"]}


@by_name([each for each in PAIRS if each["label"] == "right"])
def test_a_right_example_does_not_begin_as_the_broken(shown: dict[str, Any]) -> None:
    broken = example(shown["name"].replace("-right", "-broken"))
    same = shown["handler"] == broken["handler"]
    assert same or shown["handler"].splitlines()[0] != broken["handler"].splitlines()[0]
    assert not same or shown["settings"] != broken["settings"]


def calls_of(name: str) -> list[tuple[int, list[str], int | None, int]]:
    """Return lane, items, attempt and time in seconds of each invocation by the mapping."""
    return [
        (
            call["lane"],
            [each["change"].split("-")[1] for each in call["records"]],
            call["attempt"],
            int(call["at"]),
        )
        for call in run(example(name))["calls"]
        if call["shard"]
    ]


def test_the_third_of_ten_comes_again_with_those_after_it() -> None:
    [first, second] = [items for _, items, _, _ in calls_of("the-third-of-ten-right")]
    assert (first, second) == ([*"0123456789"], [*"23456789"])
    assert len(calls_of("the-third-of-ten-broken")) == 1


def test_bisecting_leaves_the_bad_record_all_its_attempts() -> None:
    calls = [(items, attempt) for _, items, attempt, _ in calls_of("bisecting-a-batch-right")]
    assert calls[:4] == [([*"0123"], 1), ([*"01"], 1), (["0"], 1), (["1"], 1)]
    assert calls[4:8] == [(["1"], 2), (["1"], 3), (["1"], 4), ([*"23"], 1)]
    [given_up] = run(example("bisecting-a-batch-right"))["given_up"]
    assert given_up["changes"] == ["INSERT item-1"]


def test_attempts_are_one_more_than_the_retries() -> None:
    shown = example("bisecting-a-batch-broken")
    attempts = [attempt for _, _, attempt, _ in calls_of(shown["name"])]
    retries = shown["settings"]["MaximumRetryAttempts"]
    assert max(attempt or 0 for attempt in attempts) == retries + 1
    assert f"{retries} retries are {retries + 1} attempts" in MEANINGS["MaximumRetryAttempts"]


def test_a_record_that_always_fails_blocks_its_shard() -> None:
    shown = run(example("a-record-that-always-fails-broken"))
    calls = calls_of("a-record-that-always-fails-broken")
    assert [attempt for _, items, attempt, _ in calls if items == [*"012"]] == [*range(1, 108)]
    assert [at > 24 * 3600 for _, items, _, at in calls if items == ["3"]] == [True]
    assert ("INSERT item-2" in shown["lost"][0]["changes"], shown["given_up"]) == (True, [])
    right = calls_of("a-record-that-always-fails-right")
    assert [at for _, items, _, at in right if items in (["2"], ["3"])] == [1, 600]


def test_lanes_keep_the_order_of_an_item_alone() -> None:
    shown = run(example("order-across-items-broken"))
    lanes = {items[0]: lane for lane, items, _, _ in calls_of("order-across-items-broken")}
    assert lanes["0"] == lanes["2"] != lanes["1"] == lanes["3"]
    look = example("order-across-items-broken")["look"]
    for words, lane in (("item-0", "0"), ("item-1 and item-3", "1")):
        assert re.search(rf"{words}[^.]* in lane {lanes[lane] + 1}\b", look)
    [empty] = {0, 1, 2} - set(lanes.values())
    assert f"lane {empty + 1} gets no record" in look
    done = [call["records"][0]["change"] for call in shown["calls"] if call["outcome"] == "done"]
    assert [change[-1] for change in done] == ["1", "3", "0", "2"]
    assert "with ParallelizationFactor 3, and not with 1" in shown["hint"]


@pytest.mark.parametrize(("label", "part"), [("broken", "lost"), ("right", "given_up")])
def test_the_record_age_gives_up_what_was_never_tried(label: str, part: str) -> None:
    shown = run(example(f"older-than-the-record-age-{label}"))
    assert [each["changes"] for each in shown[part]] == [["INSERT item-0"], ["INSERT item-1"]]
    assert all(each["at"] > 60 for each in shown[part])
    calls = [call for call in shown["calls"] if call["shard"]]
    assert not any(call["records"][0]["change"] == "INSERT item-1" for call in calls)
    ages = [call["age"] for call in calls if call["records"][0]["change"] == "INSERT item-0"]
    assert ages == sorted(ages)
    assert 30 < ages[-1] < 60


@pytest.mark.parametrize("name", ["the-event-id-as-itemidentifier", "continuing-past-a-failure"])
def test_a_caption_says_where_its_batch_begins(name: str) -> None:
    shown = example(f"{name}-broken")
    first = calls_of(shown["name"])[:27]
    assert [attempt for _, _, attempt, _ in first] == [*range(1, 27), 1]
    assert "tried 26 times" in shown["look"]
    assert f"at 0{timedelta(seconds=first[-1][3])}" in shown["look"]


def test_a_success_after_a_swallowed_error_makes_it_worse() -> None:
    shown = run(example("swallowed-then-a-success-broken"))
    assert shown["problems"] == ["group 1: the table implies nothing, the copy has -5"]
    assert {call["outcome"] for call in shown["calls"]} == {"done"}


def test_the_marker_after_the_effect_repeats_the_mail() -> None:
    shown = example("the-marker-before-the-effect-right")
    found = run(shown)
    assert len([line for line in found["lines"] if " mail(" in line["text"]]) == 2
    assert [row[2] for row in found["states"][-1]["rows"]] == ["changes told 1, mails 2"]
    assert "two mails" in shown["look"]


@by_name([each for each in PAIRS if each["settings"].get("OnFailure") == "SQS queue"])
def test_a_caption_says_that_a_queue_has_no_redrive(shown: dict[str, Any]) -> None:
    found = run(shown)
    assert [call for call in found["calls"] if call["operation"]] == []
    assert not found["given_up"] or "pointer" in shown["look"]
    assert not found["given_up"] or "no redrive" in shown["look"]


@pytest.mark.parametrize("name", ["a-record-that-always-fails", "older-than-the-record-age"])
def test_a_caption_says_that_a_bucket_has_a_redrive(name: str) -> None:
    shown = example(f"{name}-right")
    assert [call for call in run(shown)["calls"] if call["operation"]]
    assert re.search(r"bucket.* keeps the record.* redrive", shown["look"])


@pytest.mark.parametrize("word", ["lane", "poller", "redrive", "sink", "tombstone"])
def test_a_word_of_captions_is_among_the_words(word: str) -> None:
    assert any(
        word in f"{each['look']} {each['difference']} {run(each)['lines']}" for each in PAIRS
    )
    page = (ROOT / "playground" / "index.html").read_text()
    assert word in [
        each for found in re.findall("<dt>(.*)</dt>", page) for each in re.split(", ", found)
    ]


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


HINTS = {
    "the-event-id-as-itemidentifier": "itemIdentifier is the eventID",
    "the-marker-before-the-effect": "failed before it called mail",
    "continuing-past-a-failure": "went on with later records",
    "adding-new-minus-old": "the effect is done twice",
    "sequence-numbers-unpadded": "sequence numbers get one digit more",
    "a-delete-without-a-tombstone": "keep a tombstone with the version",
    "a-swallowed-exception": "answered with success all the same",
    "a-timestamp-as-version": "ApproximateCreationDateTime is rounded",
}


@long
@by_name([each for each in EIGHT if each["label"] == "broken"])
def test_the_search_finds_what_the_example_shows(shown: dict[str, Any]) -> None:
    runs: list[int] = []
    found = search({**shown, "schedules": 200}, runs.append)
    assert found["found"]
    assert found["script"] == shown["script"]
    assert len(found["script"].splitlines()) <= 4
    assert HINTS[shown["name"].removesuffix("-broken")] in found["hint"]
    assert found["problems"] == run({**shown, "settings": found["settings"]})["problems"]
    assert runs == list(range(1, found["runs"] + 1))


@by_name(EIGHT)
def test_a_mistake_and_its_fix_know_no_library(shown: dict[str, Any]) -> None:
    imported = re.findall(r"^\s*(?:from|import) (\w+)", shown["handler"], re.M)
    assert set(imported) <= sys.stdlib_module_names


@by_name([each for each in EIGHT if each["label"] == "right"])
def test_the_search_finds_nothing_in_a_right_example(shown: dict[str, Any]) -> None:
    found = search({**shown, "schedules": PASSED}, lambda runs: None)
    assert (found["found"], found["schedules"]) == (False, PASSED)
    assert found["deliveries"] > found["writes"] > PASSED


def test_a_part_of_an_example_is_of_one_label() -> None:
    text = "a\n# -- broken\nb\n# -- right\nc\n# -- both\nd\n"
    assert code(text, "broken") == "a\nb\nd\n"
    assert code(text, "right") == "a\nc\nd\n"
