"""`cdc repair --from` heals what it can, and names what it leaves."""

from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import pytest

from dynamodb_streams_cdc.control.functions import InvocationFailed
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.errors import RetryableError
from dynamodb_streams_cdc.operations.redrive import PATIENCE
from dynamodb_streams_cdc.operations.repair_differences import AGAIN
from dynamodb_streams_cdc.testing.simulation.operator import SimulatedSourceTable
from tests.unit.damage import ITEMS, Damage, forgotten_history, lose_the_document, stale_row
from tests.unit.operated import Operated


def test_a_repair_leaves_no_fill_open(filled: Operated) -> None:
    """A purge would wait for one that no command ends."""
    forgotten_history(filled, 0)
    work = filled.verify()
    work.run()
    filled.repair(work.differences())
    filled_by = [event.get("fill") for _, event in filled.invocations if event.get("fill")]
    assert filled_by[-1] == "repair"
    assert filled.invocations[-1][1]["erase"] == ["fill/repair"]


def throttled(entries: Sequence[Any], deadline: Deadline) -> list[Exception]:
    return [RetryableError("throttled") for _ in entries]


def test_what_a_throttled_log_did_not_take_is_left(filled: Operated) -> None:
    for number in range(3):
        forgotten_history(filled, number)
    work = filled.verify()
    work.run()
    filled.seconds = 60.0
    with patch.object(filled.copies.log, "insert", throttled):
        report = filled.repair(work.differences())
    assert not report.complete
    assert (report.repaired["audit"], report.moved["audit"]) == (0, 0)
    assert [each.item for each in report.unrepaired] == [filled.id(number) for number in range(3)]
    assert report.unrepaired[0].why == f"RetryableError: throttled: {AGAIN}"
    again = filled.repair(work.differences())
    assert (again.complete, again.repaired["audit"]) == (True, 3)


def test_items_to_fill_are_read_a_few_at_one_time(
    filled: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred of the largest would be more than a function can hold."""
    read_many = SimulatedSourceTable.read_many
    asked: list[int] = []

    def counted(self: SimulatedSourceTable, keys: Sequence[Any], deadline: Deadline) -> Any:
        asked.append(len(keys))
        return read_many(self, keys, deadline)

    for number in range(ITEMS):
        forgotten_history(filled, number)
        item = {**filled.item(number), "text": "x" * 390_000}
        filled.table.items[filled.table.key_of(item)] = item
    keys = [{"Keys": {"id": {"S": f"item-{number}"}}} for number in range(ITEMS)]
    event = {"operation": "backfill", "streamArn": filled.arn, "keys": {"id": "S"}}
    monkeypatch.setattr(SimulatedSourceTable, "read_many", counted)
    answer = filled.invoke("audit", {**event, "Records": keys})
    assert (answer["applied"], answer["read"], answer["done"]) == (ITEMS, ITEMS, True)
    assert asked == [3, 6, 10, 10, 10, 10, 10, 1]


OUT_OF_MEMORY = InvocationFailed("out of memory", "Runtime.ExitError")


@pytest.mark.parametrize("damage", [lose_the_document, stale_row, forgotten_history])
def test_a_function_that_dies_is_asked_for_fewer(filled: Operated, damage: Damage) -> None:
    """Down to the items that it dies of alone."""
    for number in range(20):
        damage(filled, number)
    work = filled.verify()
    work.run()

    def die(processor: str, event: Any) -> None:
        names = [each["Keys"]["id"]["S"] for each in event["Records"]]
        if len(names) > 3 or "item-7" in names:
            raise OUT_OF_MEMORY

    filled.before = die
    report = filled.repair(work.differences())
    assert report.repaired.total() == 19
    [left] = report.unrepaired
    assert (left.item, left.why) == (filled.id(7), "Runtime.ExitError: out of memory")


def test_an_outage_is_not_asked_about_in_halves(filled: Operated) -> None:
    for number in range(20):
        lose_the_document(filled, number)
    work = filled.verify()
    work.run()
    filled.invocations.clear()
    filled.fails.add("search")
    assert len(filled.repair(work.differences()).unrepaired) == 20
    assert len(filled.invocations) == 1


def test_a_sink_that_stays_out_is_left_alone() -> None:
    """Each of the 500 requests for 50,000 differences could wait for 90 seconds."""
    out = Operated(0)
    out.fails.add("search")
    told = {"store": 0, "token": "", "version": None, "detail": ""}
    found = (
        {"processor": p, "kind": "missing", "item": f"{n}", "keys": {"id": {"S": f"{n}"}}, **told}
        for n in range(1000)
        for p in ("search", "aggregation")
    )
    report = out.repair(found)
    assert [p for p, _ in out.invocations].count("search") == PATIENCE
    assert (len(report.unrepaired), report.repaired) == (1000, {"aggregation": 1000})
    assert report.unrepaired[-1].why.startswith("not tried: ")


def test_a_slow_log_is_asked_to_the_end(filled: Operated) -> None:
    """Each request begins some histories, and has no time for the others."""
    told = {"keys": {"id": {"S": "1"}}, "store": 0, "token": "", "version": None, "detail": ""}
    found = [{"processor": "audit", "kind": "missing", "item": "1", **told}] * 500
    answer = {"applied": 60, "failures": [], "problem": "DeadlineExceeded: ", "done": False}
    with patch.object(filled, "invoke", lambda sink, event: {"notes": {}, **answer}):
        report = filled.repair(found)
    assert report.repaired == {"audit": 300}


def test_a_sink_that_repairs_nothing_is_not_done(filled: Operated) -> None:
    lose_the_document(filled, 5)
    work = filled.verify()
    work.run()
    answer = {"repaired": 0, "repairable": False, "gone": 0, "failures": []}
    with patch.object(filled, "invoke", lambda sink, event: answer):
        report = filled.repair(work.differences())
    assert (report.complete, report.moved["search"]) == (False, 0)
    assert "keeps no copies that a repair" in report.unrepaired[0].why


def test_an_answer_that_is_none_of_a_fill_is_not_done(filled: Operated) -> None:
    forgotten_history(filled, 5)
    work = filled.verify()
    work.run()
    with patch.object(filled, "invoke", lambda sink, event: {"notes": {}, "applied": 0}):
        report = filled.repair(work.differences())
    assert "does not know the operation backfill" in report.unrepaired[0].why
