"""The scheduled upkeep: each run takes the next part of the copies, and purges."""

from collections.abc import Mapping
from typing import Any

import pytest

from dynamodb_streams_cdc.control.functions import InvocationFailed
from dynamodb_streams_cdc.operations.maintenance import ROTATION, ROUND, Maintenance
from dynamodb_streams_cdc.sinks.base import TOMBSTONE_SECONDS
from tests.unit.operated import SINKS, Operated
from tests.unit.test_purge import delete, tombstones

ITEMS = 50


@pytest.fixture
def filled() -> Operated:
    made = Operated(ITEMS)
    made.backfill().run()
    return made


def upkeep(o: Operated, seconds: float = 900.0, functions: Any = None) -> Maintenance:
    return Maintenance(
        functions or o, SINKS, {"id": "S"}, seconds=seconds, workers=1, clock=o.clock
    )


def segments(o: Operated) -> set[int]:
    asked = {event["segment"] for _, event in o.invocations if event.get("of") == "table"}
    o.invocations.clear()
    return asked


def test_runs_cover_everything_in_turn(filled: Operated) -> None:
    filled.invocations.clear()
    seen: list[set[int]] = []
    for _ in range(4):
        assert upkeep(filled).verify(0.25).problems == []
        seen.append(segments(filled))
    assert [len(each) for each in seen] == [5] * 4
    assert set().union(*seen) == set(range(20))
    upkeep(filled).verify(0.25)
    assert segments(filled) == seen[0]


def test_another_share_begins_a_rotation_of_its_own(filled: Operated) -> None:
    upkeep(filled).verify(0.25)
    filled.invocations.clear()
    upkeep(filled).verify(0.001)
    assert segments(filled) == {0, 1, 2, 3, 4}
    assert filled.copies.notes.notes[ROTATION]["of"] == 5_000


def test_a_difference_is_found_once_its_segment_is_read(filled: Operated) -> None:
    del filled.copies.index.documents[filled.id(11)]
    counted = [upkeep(filled).verify(0.5).differences for _ in range(2)]
    assert sorted(each["search"] for each in counted) == [0, 1]
    assert all(each["aggregation"] == each["audit"] == 0 for each in counted)


def test_all_of_it_includes_the_sums(filled: Operated) -> None:
    filled.copies.ledger.totals["group#3"]["amount"] += 1
    assert upkeep(filled).verify(1.0).differences == {"aggregation": 1, "audit": 0, "search": 0}
    note = filled.copies.notes.notes["verify/aggregation"]
    assert (note["differences"], note["complete"], note["scheduled"]) == (1, True, True)


def test_a_run_that_is_short_of_time_says_so_and_is_repeated(filled: Operated) -> None:
    verified = upkeep(filled, seconds=100).verify(0.25)
    assert all("the time of this run is up" in each for each in verified.problems)
    assert verified.problems
    assert ROTATION not in filled.copies.notes.notes
    assert filled.copies.notes.notes["verify/search"]["complete"] is False


def test_differences_found_before_time_is_up_are_told(filled: Operated) -> None:
    """More of them than there is time to look at again: the run says so, and ends."""
    del filled.copies.index.documents[filled.id(11)]
    del filled.copies.ledger.rows[filled.id(12)]
    filled.copies.log.entries.clear()

    def take_long(processor: str, event: Mapping[str, Any]) -> None:
        if event.get("of") == "items" and event["Records"]:
            filled.clock.sleep(500)

    begun, filled.before = filled.clock.now(), take_long
    verified = upkeep(filled).verify(1.0)
    assert filled.clock.now() - begun < 20 + 2 * 500 + 60
    assert sum(map(bool, verified.differences.values())) == 2
    assert any("the time of this run is up" in each for each in verified.problems)
    assert "verify/search" in filled.copies.notes.notes


def test_a_function_that_is_out_is_a_problem(filled: Operated) -> None:
    filled.fails.add("search")
    verified = upkeep(filled).verify(0.25)
    assert any("search is out" in each for each in verified.problems)


def test_a_function_that_hangs_leaves_time_for_the_others(filled: Operated) -> None:
    def hang(processor: str, event: Mapping[str, Any]) -> None:
        if processor == "search":
            filled.clock.sleep(60)
            message = "Task timed out after 60.00 seconds"
            raise InvocationFailed(message)

    filled.before = hang
    verified = upkeep(filled, seconds=500).verify(0.25)
    assert verified.differences == {"aggregation": 0, "audit": 0}


def test_a_function_that_is_out_is_not_counted_as_right(filled: Operated) -> None:
    """Its alarm would be over, and the note of the last difference replaced by one of none."""
    filled.fails.add("search")
    assert upkeep(filled).verify(1.0).differences == {"aggregation": 0, "audit": 0}
    notes = filled.copies.notes.notes
    complete = {name: notes[f"verify/{name}"]["complete"] for name in SINKS}
    assert complete == {"aggregation": True, "audit": True, "search": False}


def test_a_sink_that_cannot_be_compared_is_not_noted(filled: Operated) -> None:
    def refuse(processor: str, event: Mapping[str, Any], answer: Any) -> Any:
        return {**answer, "comparable": False} if processor == "search" else answer

    filled.after = refuse
    assert upkeep(filled).verify(1.0).differences.keys() == {"aggregation", "audit"}
    assert "verify/search" not in filled.copies.notes.notes


def test_purges_what_is_old_and_waits_for_a_fill(filled: Operated) -> None:
    filled.table.delete({"id": "item-1"}, filled.clock.now())
    gone = [{"Keys": {"id": {"S": "item-1"}}}]
    filled.invoke("search", {"operation": "repair", "streamArn": filled.arn, "Records": gone})
    filled.clock.sleep(TOMBSTONE_SECONDS + 1)
    filling: dict[str, Any] = {"operation": "backfill", "keys": {"id": "S"}, "Records": []}
    filled.invoke("search", {**filling, "streamArn": filled.arn, "fill": "night"})
    assert upkeep(filled).purge().problems == []
    assert filled.id(1) in filled.copies.index.documents
    filled.invoke("search", {"operation": "notes", "erase": ["fill/night"], "Records": []})
    assert upkeep(filled).purge().problems == []
    assert filled.id(1) not in filled.copies.index.documents


class Slow:
    """Functions whose every part of a purge takes a minute."""

    def __init__(self, operated: Operated) -> None:
        self.operated = operated

    def invoke(self, processor: str, event: Mapping[str, Any]) -> Any:
        if event["operation"] == "purge":
            self.operated.clock.sleep(60)
            event = {**event, "limit": 3}
        return self.operated.invoke(processor, event)


def test_a_purge_goes_on_where_its_time_was_up(filled: Operated) -> None:
    """A run of 15 minutes does not read a ledger of millions of rows."""
    delete(filled, range(ITEMS))
    filled.clock.sleep(TOMBSTONE_SECONDS + 1)
    left: list[int] = []
    while not left or left[-1]:
        assert upkeep(filled, seconds=500.0, functions=Slow(filled)).purge().problems == []
        left.append(sum(tombstones(filled)))
        assert len(left) < 20
    assert len(left) > 3
    assert left == sorted(left, reverse=True)
    assert filled.copies.notes.notes[ROUND]["parts"] == []
    note = filled.copies.notes.notes["purge/aggregation"]
    assert (note["tombstones"], note["purged"]) == (0, ITEMS)


def test_a_purge_that_brings_nothing_on_is_a_problem(filled: Operated) -> None:
    assert upkeep(filled, seconds=100.0).purge().problems
