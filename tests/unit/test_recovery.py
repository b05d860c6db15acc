"""What the demo asserts between poison and equality, on reports and dead letters made by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from local.deployed.dead_letters import dead_letter_of
from local.scenarios.recovery import repaired, shortened, unexpected
from local.verify import Difference, Inserts, Report, SinkReport

if TYPE_CHECKING:
    from local.verify.report import Kind, Sink

POISON = {"orders/S=1/S=1", "orders/S=2/S=2"}


def missing(sink: Sink, item: str) -> Difference:
    return Difference(sink, "missing", item, "", "something", None)


def due() -> dict[Sink, list[Difference]]:
    """What a comparison finds while two orders are poison."""
    count = Difference("search index", "different", "_count", "documents", 10, 8)
    return {
        "aggregates": [missing("aggregates", item) for item in sorted(POISON)],
        "search index": [*(missing("search index", item) for item in sorted(POISON)), count],
        "audit log": [],
    }


def problems(found: dict[Sink, list[Difference]]) -> list[str]:
    sinks = tuple(SinkReport(sink, 8, "", tuple(each)) for sink, each in found.items())
    return unexpected(Report(10, sinks, Inserts()), POISON)


def test_poison_that_is_missing_where_it_has_to_be_is_expected() -> None:
    assert problems(due()) == []


@pytest.mark.parametrize("sink", ["aggregates", "search index"])
def test_poison_that_is_in_a_sink_is_a_problem(sink: Sink) -> None:
    found = due()
    found[sink].pop(0)

    assert problems(found) == [f"{sink}: orders/S=1/S=1 is there"]


@pytest.mark.parametrize(
    ("sink", "kind"),
    [
        ("aggregates", "missing"),
        ("aggregates", "different"),
        ("search index", "extra"),
        ("audit log", "missing"),
    ],
)
def test_anything_else_is_a_problem(sink: Sink, kind: Kind) -> None:
    found = due()
    found[sink].append(Difference(sink, kind, "orders/S=3/S=3", "total", 1, 2))

    [problem] = problems(found)

    assert problem.startswith(f"{sink}: orders/S=3/S=3")


def test_poison_that_the_audit_log_lacks_is_a_problem() -> None:
    found = due()
    found["audit log"].append(missing("audit log", "orders/S=1/S=1"))

    assert len(problems(found)) == 1


def test_poison_that_differs_is_a_problem_as_well() -> None:
    found = due()
    found["aggregates"].append(
        Difference("aggregates", "different", "orders/S=1/S=1", "contribution", {}, {"m": {}})
    )

    assert len(problems(found)) == 1


def test_the_index_may_count_as_many_fewer_and_no_more() -> None:
    found = due()
    found["search index"][-1] = Difference(
        "search index", "different", "_count", "documents", 10, 7
    )

    assert problems(found) == ["search index: _count: documents should be 10, is 7"]


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
    dead_letter = dead_letter_of("dead-letters/search/a/1.json", stored())

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
    assert not dead_letter_of("dead-letters/search/a/1.json", stored(**changes)).complete


def test_long_output_keeps_its_ends_and_long_lines_their_beginning() -> None:
    lines = [f"line {number}" for number in range(20)]

    assert shortened(lines, 6) == [*lines[:3], "... 14 lines more ...", *lines[-3:]]
    assert shortened(lines, 19) == lines
    assert shortened(["x" * 20 + " " * 9, "y" * 21], 5, columns=20) == ["x" * 20, "y" * 19 + "…"]


def test_a_summary_says_how_many_copies_were_repaired() -> None:
    summary = (
        "1,250 dead letters with 1,250 records: 0 applied, 23 stale, 1,227 not applied.\n"
        "Items repaired: 1,012.\nLetters: 1,250 archived.\n"
    )

    assert repaired(summary) == 1012
    assert repaired("No dead letters.") is None
