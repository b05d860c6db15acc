"""The data of a picture says what happened in the run."""

import asyncio
from typing import Any

import pytest

from playground.lab import recorder
from playground.lab.presets import example
from tests.unit.playground.asked import run

STOPS = """
store = {}

def handler(event, context):
    for record in event["Records"]:
        name = record["dynamodb"]["Keys"]["id"]["S"]
        if name == "item-1" and name not in store:
            store[name] = True
            number = record["dynamodb"]["SequenceNumber"]
            return {"batchItemFailures": [{"itemIdentifier": number}]}
        store[name] = True

def wanted(items):
    return dict.fromkeys(items.history, True)
"""
THREE = "0 put 0\n0 put 1\n0 put 2\n"
REPORTS = {"ReportBatchItemFailures": True}


def tried(script: str, **settings: Any) -> dict[str, Any]:
    return run({"handler": STOPS, "script": script, "settings": settings})


def outcomes(call: dict[str, Any]) -> list[tuple[str, str]]:
    return [(record["change"], record["outcome"]) for record in call["records"]]


def test_a_partial_failure_leaves_the_rest_for_a_retry() -> None:
    first, second = tried(THREE, **REPORTS)["calls"]
    assert outcomes(first) == [
        ("INSERT item-0", "done"),
        ("INSERT item-1", "left"),
        ("INSERT item-2", "left"),
    ]
    assert outcomes(second) == [("INSERT item-1", "done"), ("INSERT item-2", "done")]
    assert (first["retry_of"], second["retry_of"]) == (None, first["id"])
    # Progress begins the count of attempts again.
    assert (first["attempt"], second["attempt"]) == (1, 1)


def test_without_reports_the_same_answer_is_a_success() -> None:
    [call] = tried(THREE)["calls"]
    assert {outcome for _, outcome in outcomes(call)} == {"done"}


def test_a_crash_after_the_effect_leaves_the_effect() -> None:
    shown = tried("0 put 0\n0 fault crash after the effect\n")
    first, second = shown["calls"]
    assert (first["outcome"], second["outcome"], second["attempt"]) == ("killed", "done", 2)
    assert second["retry_of"] == first["id"]
    assert second["age"] == pytest.approx(0.254, abs=0.001)
    [state] = [each for each in shown["states"] if each["entry"] == first["last"]] or [None]
    before = [each for each in shown["states"] if each["entry"] <= first["last"]][-1]
    assert (state or before)["rows"] == [["item-0", "True", "True", False]]


def test_the_copy_differs_between_write_and_effect() -> None:
    shown = tried("0 put 0\n")
    states = [(each["rows"], bool(each["problems"])) for each in shown["states"]]
    assert states == [
        ([], False),
        ([["item-0", "True", "", True]], True),
        ([["item-0", "True", "True", False]], False),
    ]


def test_an_old_batch_comes_from_outside_the_mapping() -> None:
    shown = run(example("overwrite"))
    late = [call for call in shown["calls"] if call["shard"] is None]
    assert [outcomes(call) for call in late] == [[("INSERT item-0", "done")]]
    assert late[0]["attempt"] is None
    assert {call["lane"] for call in shown["calls"] if call["shard"]} == {0}


@pytest.mark.parametrize("label", ["broken", "right"])
def test_a_redrive_that_failed_is_drawn_as_failed(label: str) -> None:
    shown = run(example(f"the-event-id-as-itemidentifier-{label}"))
    redrives = [call for call in shown["calls"] if "batchItemFailures: [{" in call["text"]]
    assert redrives
    for call in redrives:
        assert call["outcome"] == "failed"
        assert {outcome for _, outcome in outcomes(call)} == {"failed"}


def test_checkpoints_follow_what_is_done() -> None:
    shown = tried("0 put 0\n1 put 2\n")
    numbers = [write["sequence"] for write in shown["writes"]]
    assert [(each["at"], each["place"][-21:]) for each in shown["checkpoints"]] == [
        (0.004, numbers[0]),
        (1.004, numbers[1]),
    ]


def test_throttles_and_faults_are_marked() -> None:
    shown = tried("0 fault throttle\n0.5 put 0\n")
    assert [(each["kind"], each["at"]) for each in shown["faults"]] == [("throttle", 0.0)]
    assert [each["changes"] for each in shown["throttles"]] == [["INSERT item-0"]]
    assert len(shown["calls"]) == 1


def test_records_without_a_destination_are_lost() -> None:
    code = "def handler(event, context):\n    raise ValueError('no')\n"
    shown = run({"handler": code, "script": "0 put 0\n", "settings": {"MaximumRetryAttempts": 0}})
    assert [each["changes"] for each in shown["lost"]] == [["INSERT item-0"]]
    assert shown["outcome"]["function"]["lost"] == ["INSERT item-0"]
    assert shown["given_up"] == []
    assert shown["error_lines"] == [2]


def test_split_shards_have_parents() -> None:
    shown = tried("0 put 0\n1 fault shards split\n2 put 2\n")
    ids = {shard["id"] for shard in shown["shards"]}
    children = [shard for shard in shown["shards"] if shard["parent"]]
    assert len(children) == 2
    assert {shard["parent"] for shard in children} <= ids
    assert sum(shard["records"] for shard in shown["shards"]) == 2


def test_lines_and_marks_point_to_each_other() -> None:
    for name in ("no-partial-failures-broken", "three-sinks-poison", "three-sinks"):
        shown = run(example(name))
        lines = shown["lines"]
        for part, words in [("given_up", "given up"), ("faults", "FAULT"), ("lost", "lost")]:
            assert all(words in lines[each["entry"]]["text"] for each in shown[part])
        for call in shown["calls"]:
            assert lines[call["first"]]["at"] == call["at"]
            assert call["first"] <= call["last"]


def test_the_end_begins_once_all_is_quiet() -> None:
    shown = run(example("older-than-the-record-age-right"))
    texts = [line["text"] for line in shown["lines"]]
    assert texts[shown["quiet"] - 1].endswith("answered: success")
    assert any("redrive of" in text for text in texts[shown["quiet"] :])
    assert not any("redrive of" in text for text in texts[: shown["quiet"]])


@pytest.mark.parametrize(
    ("script", "names"),
    [
        ("0 put 0\n", []),
        ("0 poison 0\n", ["item-0"]),
        ("0 poison 0\n1 put 0\n", []),
        ("0 poison 0\n1 poison 1\n2 delete 0\n", ["item-1"]),
    ],
)
def test_items_written_again_without_poison_are_named(script: str, names: list[str]) -> None:
    shown = tried(script)
    assert shown["unpoisoned"] == names
    late = [each["change"] for each in shown["writes"] if each["entry"] >= shown["quiet"]]
    assert [change.split()[1] for change in late] == names


def test_invocations_past_the_limit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MOST_INVOCATIONS", 10)
    shown = run(example("continuing-past-a-failure-broken"))
    assert len(shown["calls"]) == 10
    assert shown["calls_left_out"] > 40


def test_the_latest_batch_again_is_told_from_a_retry() -> None:
    first, late = tried("0 put 0\n1 fault old batch delivered again\n")["calls"]
    assert (first["attempt"], late["attempt"], late["shard"]) == (1, None, None)


def test_an_event_loop_around_changes_nothing() -> None:
    async def within() -> dict[str, Any]:
        return run(example("keep-the-newest"))

    assert asyncio.run(within()) == run(example("keep-the-newest"))
