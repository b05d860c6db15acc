"""`cdc rebuild aggregation`: sums are made again, verified, switched, and the old ones removed."""

import tracemalloc
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, cast
from unittest.mock import patch

import pytest

from dynamodb_streams_cdc import Aggregation, Expiry, Processor
from dynamodb_streams_cdc.control.functions import InvocationFailed
from dynamodb_streams_cdc.entities import Entity, Table, starts_with
from dynamodb_streams_cdc.errors import MalformedRecord, PermanentError
from dynamodb_streams_cdc.operations.errors import OperationError
from dynamodb_streams_cdc.operations.jobs import Job
from dynamodb_streams_cdc.operations.rebuild_aggregation import RebuildAggregation, SumOff
from dynamodb_streams_cdc.sinks.by_entity import ByEntity
from dynamodb_streams_cdc.sinks.contributions import MAX_ADDITIONS, MAX_AGGREGATES
from dynamodb_streams_cdc.sinks.generations import WAIT_SECONDS, Generations, WrongGeneration
from dynamodb_streams_cdc.sinks.ledger import RowUpdate
from dynamodb_streams_cdc.testing.memory import MemoryLedger
from dynamodb_streams_cdc.testing.simulation import VirtualClock
from dynamodb_streams_cdc.testing.simulation.pipeline import contributions
from tests.factories import deadline
from tests.unit.damage import ITEMS
from tests.unit.operated import Operated
from tests.unit.test_verify_sums import ByNumber


def rebuild(o: Operated) -> RebuildAggregation:
    return RebuildAggregation(
        o, "aggregation", o.arn, {"id": "S"}, segments=3, workers=1, clock=o.clock
    )


def job(generation: int) -> Job:
    return Job(f"rebuild-{generation}", {})


def ask(o: Operated, step: str, **others: Any) -> Any:
    return o.invoke(
        "aggregation", {"operation": "rebuild-sums", "step": step, "Records": [], **others}
    )


def lose_rows(o: Operated, *numbers: int) -> None:
    """Lose ledger rows, and count their items a second time, as the next change does."""
    for number in numbers:
        row = o.copies.ledger.rows.pop(o.id(number))
        o.copies.ledger.commit([RowUpdate(None, row)], row.contribution)
        del o.copies.ledger.rows[o.id(number)]


def test_items_that_are_counted_twice_are_counted_once(filled: Operated) -> None:
    lose_rows(filled, 3, 17)
    assert filled.wrong()
    report = rebuild(filled).run(job)
    assert report.complete
    assert (report.generation, report.live, report.kept) == (1, 1, 0)
    assert (report.moved, report.corrected, report.off, report.moving) == (ITEMS, 2, [], 0)
    assert filled.wrong() == []
    assert filled.id(3) in filled.copies.ledger.rows


@pytest.mark.parametrize("known", [False, True])
def test_an_item_that_no_store_takes_is_refused_alone(
    filled: Operated, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """It counts as its row says, if it has one; while changes are processed it is a dead letter."""
    commit, name = filled.copies.ledger.commit, filled.id(7)
    if not known:
        row = filled.copies.ledger.rows.pop(name)
        filled.copies.ledger.commit(
            [], {a: {m: -n for m, n in of.items()} for a, of in row.contribution.items()}
        )
    else:
        filled.copies.ledger.rows[name] = replace(filled.copies.ledger.rows[name], contribution={})

    def refuses(updates: Any, deltas: Any) -> None:
        if any(update.after.item_id == name and update.after.contribution for update in updates):
            message = "One or more parameter values were invalid: hashkey has exceeded"
            raise PermanentError(message, "KeyTooLong")
        commit(updates, deltas)

    monkeypatch.setattr(filled.copies.ledger, "commit", refuses)
    report = rebuild(filled).run(job)
    assert report.problems == []
    assert report.refused > 0
    assert report.moved == ITEMS - 1 + known


def test_sums_of_several_ledgers_are_not_rebuilt(filled: Operated) -> None:
    """The items of one would be counted in the sums of the other as well."""
    processor, live = filled.handlers["aggregation"], filled.copies.ledger.live()
    assert isinstance(processor, Processor)
    both = [Aggregation(each, contributions) for each in (filled.copies.ledger, MemoryLedger())]

    filled.handlers["aggregation"] = replace(processor, sink=ByNumber(*both))
    with pytest.raises(OperationError, match="several ledgers"):
        rebuild(filled).run(job)
    assert filled.copies.ledger.live() == live


def test_a_sum_that_is_off_is_right_again(filled: Operated) -> None:
    filled.copies.ledger.totals["group#3"]["amount"] += Decimal("0.01")
    filled.copies.ledger.totals["group#never"] = {"amount": Decimal(7)}
    assert len(filled.wrong()) == 2
    assert rebuild(filled).run(job).complete
    assert filled.wrong() == []


@pytest.mark.parametrize("lacks", ["contribution", "written_at"])
def test_a_damaged_row_is_made_again(filled: Operated, lacks: str) -> None:
    """Also that of an item that is gone. The live sums counted it, and count it once."""
    rows = filled.copies.ledger.rows
    for number in (3, 17):
        row = rows[filled.id(number)]
        contribution = {} if lacks == "contribution" else row.contribution
        rows[filled.id(number)] = replace(row, contribution=contribution, lacks=(lacks,))
    live = filled.copies.ledger.live()
    report = rebuild(filled).run(job)
    assert (report.complete, report.moved) == (True, ITEMS)
    assert not any(row.lacks for row in rows.values())
    assert filled.wrong() == []
    assert filled.copies.ledger.sums_of(0) == live


def test_rollback_and_finish_keep_what_readers_read(filled: Operated) -> None:
    before = filled.copies.ledger.live()
    rebuild(filled).run(job)
    assert rebuild(filled).roll_back().live == 0
    assert filled.copies.ledger.live() == before
    assert rebuild(filled).run(job).live == 1
    report = rebuild(filled).finish(1, job)
    assert (report.live, report.kept, report.dropped) == (1, None, 7)
    assert filled.copies.ledger.live() == before
    assert filled.copies.ledger.sums_of(0) == {}
    with pytest.raises(OperationError, match="no generation to go back to"):
        rebuild(filled).roll_back()


def test_a_rebuild_is_given_up_by_finish(filled: Operated) -> None:
    """Rows that carry its number count in the live sums alone from then on."""
    ask(filled, "begin")
    filled.clock.sleep(WAIT_SECONDS)
    moved = ask(
        filled,
        "move",
        generation=1,
        of="table",
        keys={"id": "S"},
        streamArn=filled.arn,
        segment=0,
        segments=2,
    )
    assert 0 < moved["moved"] < ITEMS
    assert rebuild(filled).finish(0, job).complete
    assert filled.copies.ledger.sums_of(1) == {}
    filled.table.put({"id": "item-1", "group": 5, "amount": 50}, filled.clock.now())
    assert filled.wrong()
    answer = filled.invoke(
        "aggregation",
        {
            "operation": "repair",
            "streamArn": filled.arn,
            "Records": [{"Keys": {"id": {"S": f"item-{n}"}}} for n in range(ITEMS)],
        },
    )
    assert answer["repaired"] == 1
    assert list(filled.copies.wrong_sums(filled.table)) == []
    assert filled.copies.ledger.sums_of(1) == {}
    assert rebuild(filled).run(job).generation == 2


def test_a_rebuild_goes_on_where_it_was_interrupted(filled: Operated) -> None:
    def interrupt(processor: str, event: Mapping[str, Any]) -> None:
        if event.get("step") == "move" and event["segment"] == 1:
            raise KeyboardInterrupt

    with patch.object(filled, "before", interrupt), pytest.raises(KeyboardInterrupt):
        rebuild(filled).run(job)
    assert filled.copies.ledger.state.live == 0
    filled.invocations.clear()
    assert rebuild(filled).run(job).complete
    moves = [e for _, e in filled.invocations if e.get("step") == "move" and e["of"] == "table"]
    assert [event["segment"] for event in moves] == [1, 2]
    assert filled.wrong() == []


def test_a_function_that_does_not_answer_is_asked_again(filled: Operated) -> None:
    failures = iter(range(4))

    def throttle(processor: str, event: Mapping[str, Any]) -> None:
        if next(failures, None) is not None:
            message = "throttled"
            raise InvocationFailed(message, outage=True)

    filled.before = throttle
    assert rebuild(filled).run(job).complete
    filled.fails.add("aggregation")
    with pytest.raises(OperationError, match="did not do the step 'state': aggregation is out"):
        rebuild(filled).state()


def test_a_row_that_comes_back_is_moved_by_the_next_run(filled: Operated) -> None:
    """Such as by a restore of the ledger, after its part was moved."""

    def interrupt(processor: str, event: Mapping[str, Any]) -> None:
        if event.get("step") == "check":
            raise KeyboardInterrupt

    with patch.object(filled, "before", interrupt), pytest.raises(KeyboardInterrupt):
        rebuild(filled).run(job)
    rows = filled.copies.ledger.rows
    rows[filled.id(3)] = replace(rows[filled.id(3)], generation=0)
    report = rebuild(filled).run(job)
    assert (report.read, report.behind, report.complete) == (2 * ITEMS, 1, False)
    again = rebuild(filled).run(job)
    assert (again.read, again.behind, again.moved) == (2 * ITEMS, 0, 1)
    assert again.off, "it was counted before: the next way is --finish"


def test_sums_that_are_off_are_named_and_not_switched_to(filled: Operated) -> None:
    def meddle(processor: str, event: Mapping[str, Any]) -> None:
        if event.get("step") == "check" and event.get("side") == "before":
            filled.copies.ledger.totals["group#3"]["g1_amount"] = Decimal(1)

    filled.before = meddle
    report = rebuild(filled).run(job)
    wanted = filled.copies.ledger.sums_of(0)["group#3"]["amount"]
    assert report.off == [SumOff("group#3", "amount", str(1 - wanted))]
    assert not report.complete
    assert filled.copies.ledger.state.live == 0


def test_sums_that_move_all_the_time_are_counted(filled: Operated) -> None:
    def move(processor: str, event: Mapping[str, Any]) -> None:
        if event.get("step") == "check" and event["of"] == "copies":
            ledger = filled.copies.ledger
            ledger.moved["group#3"] = ledger.moved.get("group#3", 0) + 1

    filled.before = move
    report = rebuild(filled).run(job)
    assert (report.sums, report.moving, report.live, report.complete) == (6, 1, 0, False)
    [problem] = report.problems
    assert problem.startswith("1 of 7 aggregates moved each time")
    again = rebuild(filled)
    again.accept_moving = 1
    report = again.run(job)
    assert (report.sums, report.moving, report.live, report.complete) == (6, 1, 1, True)


def test_the_names_of_sums_are_not_held_in_memory() -> None:
    """There may be a sum for each customer."""
    sums, page = 2_000, 100

    class Customers:
        def invoke(self, processor: str, event: Mapping[str, Any]) -> Any:
            at = event["place"] or 0
            names = [f"customer#{number:030}" for number in range(at, at + page)]
            counted = ("moved", "corrected", "unchecked", "refused", "behind", "dropped")
            return {
                **dict.fromkeys(counted, 0),
                "read": page,
                "place": at + page,
                "done": at + page == sums,
                "sums": {name: {"amount": "1"} for name in names},
                "revisions": dict.fromkeys(names, 1),
                "problem": "",
            }

    work = RebuildAggregation(Customers(), "aggregation", "arn", {"id": "S"}, segments=1)
    kept = job(1)
    tracemalloc.start()
    try:
        work._verify(kept)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (work.report.sums, work.report.off, work.report.moving) == (sums, [], 0)
    assert most < 130 * sums


def test_an_item_that_cannot_be_counted_counts_as_before(filled: Operated) -> None:
    item = filled.item(3)
    filled.table.put({**item, "poison": "hopeless"}, filled.clock.now())
    report = rebuild(filled).run(job)
    assert (report.refused, report.moved, report.live) == (1, ITEMS, 1)
    assert filled.copies.ledger.live() == filled.copies.ledger.sums_of(0)


def test_rows_whose_identity_is_a_digest_are_moved_as_they_are(filled: Operated) -> None:
    ledger = filled.copies.ledger
    [row] = ledger.read([filled.id(3)], deadline()).values()
    digest = replace(row, item_id="#" + "0a" * 32, deleted=True, retained=True)
    ledger.commit([RowUpdate(None, digest)], digest.contribution)
    report = rebuild(filled).run(job)
    assert (report.unchecked, report.moved, report.live) == (1, ITEMS + 1, 1)
    assert ledger.live() == ledger.sums_of(0)


def test_what_an_earlier_declaration_kept_goes(filled: Operated) -> None:
    """The sums dropped nothing that expired then, and drop it today."""
    ledger = filled.copies.ledger
    [row] = ledger.read([filled.id(3)], deadline()).values()
    expired = replace(row, item_id=filled.id(9000), deleted=True, retained=True)
    ledger.commit([RowUpdate(None, expired)], expired.contribution)
    assert len(filled.wrong()) == 1
    assert rebuild(filled).run(job).live == 1
    assert filled.wrong() == []
    assert not ledger.rows[expired.item_id].contribution


@pytest.mark.parametrize("first", [Expiry.KEEP, Expiry.DROP])
def test_what_expired_of_no_entity_goes(filled: Operated, first: Expiry) -> None:
    """The entity is no more, and no other one says what is kept of it."""
    handler, ledger = filled.handlers["aggregation"], filled.copies.ledger
    assert isinstance(handler, Processor)
    sink = cast("Aggregation", handler.sink)
    entities = tuple(Entity(name, {"id": starts_with(f"{name}-")}) for name in ("kept", "item"))
    sinks = {"kept": replace(sink, expiry=first), "item": sink}
    choice = ByEntity(Table("items", keys={"id": "S"}, entities=entities), sinks)
    filled.handlers["aggregation"] = replace(handler, sink=choice)
    [row] = ledger.read([filled.id(3)], deadline()).values()
    name = filled.id(3).replace("item-", "former-")
    expired = replace(row, item_id=name, deleted=True, retained=True)
    ledger.commit([RowUpdate(None, expired)], expired.contribution)
    assert rebuild(filled).run(job).live == 1
    assert not ledger.rows[name].contribution
    assert filled.wrong() == []


@pytest.mark.parametrize("of", ["aggregates", "measures"])
def test_a_row_of_more_than_fits_is_emptied_first(filled: Operated, of: str) -> None:
    ledger = filled.copies.ledger
    [row] = ledger.read([filled.id(3)], deadline()).values()
    many = {f"other#{number}": {"count": 1} for number in range(MAX_AGGREGATES)}
    if of == "measures":
        many = {next(iter(row.contribution)): {f"m{n}": 1 for n in range(MAX_ADDITIONS)}}
    ledger.commit([RowUpdate(row, replace(row, revision=2, contribution={}))], {})
    held = replace(row, revision=3, contribution=many)
    ledger.commit([RowUpdate(replace(row, revision=2), held)], many)
    report = rebuild(filled).run(job)
    assert report.complete
    assert filled.copies.ledger.rows[filled.id(3)].contribution == row.contribution
    assert filled.wrong() == []


def test_rows_are_moved_only_when_every_invocation_knows(filled: Operated) -> None:
    begun = ask(filled, "begin")
    assert WAIT_SECONDS - 5 < begun["wait"] <= WAIT_SECONDS
    event = {"generation": 1, "of": "table", "keys": {"id": "S"}, "streamArn": filled.arn}
    early = ask(filled, "move", **event)
    assert "seconds some invocations may not know of generation 1" in early["problem"]
    assert (early["read"], early["moved"], early["done"]) == (0, 0, False)
    filled.clock.sleep(begun["wait"])
    late = ask(filled, "move", **event)
    assert (late["problem"], late["moved"], late["done"]) == ("", ITEMS, True)
    assert ask(filled, "move", **event)["moved"] == 0


def test_two_operators_build_one_generation(filled: Operated) -> None:
    assert ask(filled, "begin")["generations"]["built"] == 1
    assert ask(filled, "begin")["generations"]["built"] == 1
    ask(filled, "switch", generation=1)
    assert "finish it, or roll it back, first" in ask(filled, "begin")["refusal"]
    assert "readers read generation 1" in ask(filled, "finish", generation=0)["refusal"]
    assert ask(filled, "finish", generation=1)["generations"]["dropped"] == 0
    assert "are not all removed" in ask(filled, "begin")["refusal"]
    assert "generation 0 is not kept" in ask(filled, "switch", generation=0)["refusal"]
    late = ask(filled, "move", generation=1, of="table", keys={"id": "S"}, streamArn=filled.arn)
    assert "another operator has ended it" in late["refusal"]


def test_a_sink_without_sums_is_not_rebuilt(filled: Operated) -> None:
    event = {"operation": "rebuild-sums", "step": "state", "Records": []}
    assert filled.invoke("audit", event)["rebuildable"] is False
    work = RebuildAggregation(filled, "audit", filled.arn, {"id": "S"}, clock=filled.clock)
    with pytest.raises(OperationError, match="audit has no sums"):
        work.state()


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"step": "erase"}, "step: expected one of state, begin"),
        ({"step": "switch"}, "generation: expected a number, got nothing"),
        ({"step": "switch", "generation": -1}, "generation: expected a number"),
        ({"step": "move", "generation": 1, "streamArn": "x", "of": "table"}, "eventSourceARN"),
    ],
)
def test_a_step_of_another_form_is_refused(
    filled: Operated, event: Mapping[str, Any], message: str
) -> None:
    ask(filled, "begin")
    filled.clock.sleep(WAIT_SECONDS)
    with pytest.raises(MalformedRecord, match=message):
        ask(filled, **event)


def test_readers_read_one_set_of_measures() -> None:
    ledger = MemoryLedger(totals={"a": {"orders": Decimal(2), "g3_orders": Decimal(3)}})
    assert ledger.total("a") == {"orders": 2}
    ledger.state = replace(ledger.state, built=3, live=3, last=3)
    assert ledger.total("a") == {"orders": 3}


class TestGenerations:
    def test_a_row_counts_where_its_generation_says(self) -> None:
        clock = VirtualClock()
        idle = Generations()
        assert (idle.new, idle.counting(0)) == (0, (0,))
        assert idle.counting(1) == (0, 1), "begun after this was looked up"
        building = idle.begun(clock.now())
        assert (building.new, building.counting(0), building.counting(1)) == (1, (0,), (0, 1))
        given_up = building.finished(clock.now())
        assert (given_up.new, given_up.counting(1), given_up.dropped) == (0, (0,), 1)
        kept = building.switched(1).finished(clock.now())
        assert (kept.new, kept.counting(1), kept.dropped) == (1, (1,), 0)
        again = kept.cleaned().begun(clock.now())
        assert (again.built, again.counting(1), again.counting(2)) == (2, (1,), (1, 2))

    def test_nothing_begins_before_the_last_one_is_finished(self) -> None:
        built = Generations().begun(0.0)
        assert built.begun(9.0) == built
        with pytest.raises(WrongGeneration, match="finish it, or roll it back"):
            built.switched(1).begun(9.0)
        with pytest.raises(WrongGeneration, match="not all removed"):
            built.finished(9.0).begun(9.0)

    def test_the_wait_is_for_what_writers_know_not_readers(self) -> None:
        built = Generations().begun(100.0)
        assert built.wait(100.0) == WAIT_SECONDS
        assert built.switched(1).wait(100.0 + WAIT_SECONDS) == 0.0
        assert built.finished(200.0).wait(200.0) == WAIT_SECONDS
