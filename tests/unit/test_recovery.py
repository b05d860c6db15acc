"""Checks of the recovery, on comparisons and dead letters made by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from lambdas.example_domain import TABLES
from local.deployed.command_line import CommandLine
from local.deployed.dead_letters import dead_letter_of
from local.scenarios import recovery
from local.scenarios.recovery import inconsistencies, shortened, summary, unexpected
from local.verify import Comparison, Difference, SinkComparison
from local.workload.poison import Poison
from local.workload.stories import ItemPoison, ItemStory

if TYPE_CHECKING:
    from local.verify.comparison import Kind

    Sink = str

POISON = {"orders/S=1/S=1", "orders/S=2/S=2"}


def poison(*further: Sink) -> Poison:
    made, refused = Poison(1), frozenset({"aggregation", "search", *further})
    [table] = TABLES
    for item in POISON:
        wrong = ItemPoison("a defect", {}, {}, refused)
        made.items[item] = ItemStory(table, table.entities[0], item, ({},), wrong, poisoned=True)
    return made


def missing(sink: Sink, item: str) -> Difference:
    return Difference(sink, "missing", item, "", "something", None)


def due() -> dict[Sink, list[Difference]]:
    """The differences while two orders are poison."""
    count = Difference("search", "different", "orders/_count", "documents", 10, 8)
    return {
        "aggregation": [missing("aggregation", item) for item in sorted(POISON)],
        "search": [*(missing("search", item) for item in sorted(POISON)), count],
        "audit": [],
    }


def problems(found: dict[Sink, list[Difference]], *further: Sink) -> list[str]:
    sinks = tuple(SinkComparison(sink, 8, "", tuple(each)) for sink, each in found.items())
    return unexpected(Comparison(10, sinks), poison(*further))


def test_poison_missing_in_aggregation_and_search_is_expected() -> None:
    assert problems(due()) == []


def test_poison_of_a_sink_without_a_check_is_not_looked_for() -> None:
    assert problems(due(), "board") == []
    assert poison("board").compared == ["aggregation", "search"]
    assert poison("board").refusing == ["aggregation", "board", "search"]


def test_what_is_missing_is_said_of_compared_sinks_alone() -> None:
    """The sentence counted the items that a further sink alone refuses, and named no sink."""
    made = poison()
    story = made.items["orders/S=1/S=1"]
    further = ItemPoison("a defect", {}, {}, frozenset({"board"}))
    made.items["orders/S=3/S=3"] = replace(story, item="orders/S=3/S=3", poison=further)
    assert recovery.missing(made).startswith(
        "Missing in aggregation and search: exactly the 2 poison items;"
    )
    counted = replace(further, refused_by=frozenset({"aggregation"}))
    made.items["orders/S=4/S=4"] = replace(story, item="orders/S=4/S=4", poison=counted)
    assert recovery.missing(made).startswith(
        "Missing in aggregation and search: exactly the poison items that each refuses, 3 in "
        "aggregation, 2 in search;"
    )
    made.items = {"orders/S=3/S=3": made.items["orders/S=3/S=3"]}
    assert recovery.missing(made).startswith("Nothing differs:")


@pytest.mark.parametrize("sink", ["aggregation", "search"])
def test_poison_that_is_in_a_sink_is_a_problem(sink: Sink) -> None:
    found = due()
    found[sink].pop(0)

    assert problems(found) == [f"{sink}: orders/S=1/S=1 is there"]


@pytest.mark.parametrize(
    ("sink", "kind"),
    [
        ("aggregation", "missing"),
        ("aggregation", "different"),
        ("search", "extra"),
        ("audit", "missing"),
    ],
)
def test_anything_else_is_a_problem(sink: Sink, kind: Kind) -> None:
    found = due()
    found[sink].append(Difference(sink, kind, "orders/S=3/S=3", "total", 1, 2))

    [problem] = problems(found)

    assert problem.startswith(f"{sink}: orders/S=3/S=3")


def test_poison_missing_in_audit_is_a_problem() -> None:
    found = due()
    found["audit"].append(missing("audit", "orders/S=1/S=1"))

    assert len(problems(found)) == 1


def test_poison_that_differs_is_a_problem_as_well() -> None:
    found = due()
    found["aggregation"].append(
        Difference("aggregation", "different", "orders/S=1/S=1", "contribution", {}, {"m": {}})
    )

    assert len(problems(found)) == 1


def test_the_index_may_count_as_many_fewer_and_no_more() -> None:
    found = due()
    found["search"][-1] = Difference("search", "different", "orders/_count", "documents", 10, 7)

    assert problems(found) == ["search: orders/_count: documents should be 10, is 7"]


def stored(**changes: Any) -> bytes:
    image = {"total": {"S": "29.33 USD"}}
    envelope: dict[str, Any] = {
        "dead_letter": {
            "processor": "search",
            "item": "orders/S=1/S=1",
            "reason": "ValidationError",
            "error": "1 validation error for Order",
        },
        "payload": json.dumps({"Records": [{"dynamodb": {"NewImage": image}}]}),
    }
    return json.dumps({**envelope, **changes}).encode()


def test_a_dead_letter_with_payload_and_reason_is_complete() -> None:
    dead_letter = dead_letter_of("orders", "dead-letters/search/a/1.json", stored())

    assert (dead_letter.processor, dead_letter.item) == ("search", "orders/S=1/S=1")
    assert dead_letter.complete


@pytest.mark.parametrize(
    "changes",
    [
        {"dead_letter": {"processor": "search", "reason": "", "error": "why"}},
        {"dead_letter": {"processor": "search", "reason": "ValidationError"}},
        {"dead_letter": {}},
        {"payload": json.dumps({"Records": []})},
        {"payload": json.dumps({"Records": [{"dynamodb": {"Keys": {}}}]})},
    ],
)
def test_a_dead_letter_without_payload_or_reason_is_not(changes: dict[str, Any]) -> None:
    assert not dead_letter_of("orders", "dead-letters/search/a/1.json", stored(**changes)).complete


def test_commands_name_the_stack_also_if_it_is_the_usual_one() -> None:
    """Without it, `cdc` refuses to choose between the stacks of two tables."""
    line = CommandLine("local", {}).on("cdc-local-pipeline")
    assert line.cdc("status") == ["cdc", "status", "--stack", "cdc-local-pipeline"]


def test_long_output_is_shortened_in_the_middle() -> None:
    lines = [f"line {number}" for number in range(20)]

    assert shortened(lines, 6) == [*lines[:3], "... 14 lines more ...", *lines[-3:]]
    assert shortened(lines, 19) == lines
    assert shortened(["x" * 20 + " " * 9, "y" * 21], 5, columns=20) == ["x" * 20, "y" * 19 + "…"]


REDRIVE = {
    "dead_letters": 50,
    **{"archived": 48, "split": 0, "kept": 2, "waiting": 0, "gone": 0, "unreadable": 0},
    "records": 50,
    **{"applied": 0, "stale": 25, "unapplied": 25, "untried": 0, "repaired": 7},
}


def test_the_summary_of_a_redrive_adds_up() -> None:
    assert summary(REDRIVE) == [
        "50 dead letters = 48 archived + 2 kept",
        "50 records = 25 stale + 25 not applied; 7 items repaired",
    ]
    assert inconsistencies(REDRIVE, {"archived": 48, "kept": 2}) == []


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"kept": 1}, "1 dead letters kept, not 2"),
        ({"waiting": 1}, "50 dead letters do not equal the sum of parts, 51"),
        ({"stale": 20}, "50 records do not equal the sum of parts, 45"),
    ],
)
def test_a_redrive_that_does_not_add_up_is_a_problem(changed: dict[str, int], problem: str) -> None:
    assert problem in inconsistencies({**REDRIVE, **changed}, {"kept": 2})
