"""Erasure: in which order it goes on, and what must not go with an item."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from dynamodb_streams_cdc import ChangeLog
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.errors import MalformedRecord, RetryableError
from dynamodb_streams_cdc.sinks.base import TOMBSTONE_SECONDS, ItemVersion
from tests.factories import NOON, change, record
from tests.fake_pipeline import given_up, lambdas_key
from tests.unit.erasure.world import (
    ANNA,
    BEN,
    DAY,
    ERASED,
    HELD,
    NOTHING,
    REFUSED,
    WAITING,
    World,
    identity,
    keys,
    only,
)


def test_at_first_all_goes_but_the_key(world: World) -> None:
    world.delete(ANNA)
    world.delete(BEN)
    result = only(world.forget(ANNA))
    assert result.status is WAITING
    assert result.found == {"change-log": 2}
    assert result.tombstones == {"search": 1, "aggregation": 1}
    assert "29.33" not in repr(world.index.documents[identity(ANNA)])
    assert not list(world.log.read(identity(ANNA)))
    assert len(list(world.log.read(identity(BEN)))) == 2


def test_after_the_horizon_the_key_goes_too(world: World) -> None:
    world.delete(ANNA)
    assert only(world.forget(ANNA)).due == "2024-05-08T12:16:40Z"
    world.pass_days(7)
    report = world.forget(ANNA)
    assert report.complete
    assert only(report).status is ERASED
    assert "00004" not in world.held()
    assert only(world.forget(ANNA)).status is NOTHING


def test_the_receipt_says_when_and_not_what(world: World) -> None:
    world.delete(ANNA)
    world.forget(ANNA)
    world.pass_days(8)
    name = only(world.forget(ANNA)).receipt
    assert world.records.receipts == {
        name: {"began_at": NOON + 1000.0, "erased_at": NOON + 1000.0 + 8 * DAY}
    }
    assert "00004" not in name


def test_an_item_in_the_table_is_refused(world: World) -> None:
    world.delete(ANNA)
    world.items[identity(ANNA)] = ANNA
    before = world.held()
    result = only(world.forget(ANNA))
    assert result.status is REFUSED
    assert result.why == "the item is in the table: delete it there"
    assert world.held() == before


@pytest.mark.parametrize("copy", ["search", "aggregation"])
def test_an_item_that_a_copy_shows_is_refused(world: World, copy: str) -> None:
    world.delete(ANNA)
    if copy == "search":
        held = world.index.documents[identity(ANNA)]
        world.index.documents[identity(ANNA)] = {**held, "cdc": {**held["cdc"], "deleted": False}}
    else:
        row = world.ledger.rows[identity(ANNA)]
        world.ledger.rows[identity(ANNA)] = replace(row, deleted=False)
    before = world.held()
    result = only(world.forget(ANNA))
    assert result.status is REFUSED
    assert copy in result.why
    assert "cdc repair" in result.why
    assert world.held() == before


def test_others_of_one_request_go_on(world: World) -> None:
    world.delete(ANNA)
    world.delete(BEN)
    world.items[identity(ANNA)] = ANNA
    world.pass_days(8)
    refused, erased = world.forget(ANNA, BEN).items
    assert (refused.status, erased.status) == (REFUSED, ERASED)
    assert len(list(world.log.read(identity(ANNA)))) == 2


def test_an_entry_of_an_item_that_comes_back_stays(world: World) -> None:
    """The item is put between the reading of its entries and that of the table."""
    world.delete(ANNA)

    def come_back() -> None:
        world.before_read = lambda: None
        world.items[identity(ANNA)] = ANNA
        world.apply(change(3, None, ANNA))

    for place in ("change-log", "search"):
        world.before_read = come_back
        event = {"operation": "erase", "at": [place, None], "Records": [{"Keys": keys(ANNA)}]}
        assert world.invoke("erasure", event)["present"] == [identity(ANNA)]
    assert [c.kind for c in ChangeLog(world.log).history(identity(ANNA))][-1] == "INSERT"
    assert world.index.search()


def test_a_look_reads_no_item_of_the_table(world: World) -> None:
    """Only an erasure has to know that an item is back: large items cost 100 read units each."""
    world.delete(ANNA)
    reads: list[None] = []
    world.before_read = lambda: reads.append(None)
    for operation, expected in (("find", []), ("erase", [None])):
        event = {"operation": operation, "at": ["search", None], "Records": [{"Keys": keys(ANNA)}]}
        world.invoke("erasure", event)
        assert reads == expected


def test_an_entry_logged_after_the_table_was_read_stays(world: World) -> None:
    """What was read goes, not what has the item's name."""
    world.delete(ANNA)
    world.pass_days(8)
    asked: list[int] = []

    def come_back_later() -> None:
        asked.append(1)
        if len(asked) == 1:
            note, world.records.note = world.records.note, lambda *_: again()  # type: ignore[method-assign]

            def again() -> None:
                world.records.note = note  # type: ignore[method-assign]
                world.apply(change(3, None, ANNA))

    for at in (["change-log", None], ["search", None], ["aggregation", None]):
        asked.clear()
        world.before_read = come_back_later
        world.invoke("erasure", {"operation": "erase", "at": at, "Records": [{"Keys": keys(ANNA)}]})
    assert [c.kind for c in ChangeLog(world.log).history(identity(ANNA))] == ["INSERT"]
    assert world.index.search()
    assert not world.ledger.rows[identity(ANNA)].deleted


def test_an_item_comes_back_after_its_erasure_began(world: World) -> None:
    world.delete(ANNA)
    world.forget(ANNA)
    world.items[identity(ANNA)] = ANNA
    world.apply(change(3, None, ANNA))
    world.pass_days(8)
    assert only(world.forget(ANNA)).status is REFUSED
    assert world.index.search()


def test_check_writes_nothing(world: World) -> None:
    world.delete(ANNA)
    world.pass_days(8)
    before = world.held()
    report = world.forget(ANNA, erases=False)
    assert only(report).status is HELD
    assert only(report).left == {"change-log": 2}
    assert not report.complete
    assert world.held() == before


def test_nothing_is_held_of_an_item_that_never_was(world: World) -> None:
    world.delete(BEN)
    report = world.forget(ANNA)
    assert (only(report).status, report.complete) == (NOTHING, True)
    assert not world.records.receipts


def places(world: World) -> Iterator[str]:
    yield from [*world.erasure.places, *world.erasure.copies]


@pytest.mark.parametrize("method", ["note", "complete"])
def test_a_crash_leaves_nothing_half_done_as_done(world: World, method: str) -> None:
    """Each write fails once, before or after its effect; the run after that goes on."""
    for late in (False, True):
        world = World()
        world.delete(ANNA)
        world.put(lambdas_key("batch"), given_up([record(1, None, ANNA), record(2, None, BEN)]))
        world.forget(ANNA)
        world.pass_days(8)
        whole = getattr(world.records, method)

        def crash(*arguments: Any, whole: Any = whole, late: bool = late) -> Any:
            setattr(world.records, method, whole)  # noqa: B023
            if late:
                whole(*arguments)
            message = "down"
            raise RuntimeError(message)

        setattr(world.records, method, crash)
        with pytest.raises(RuntimeError):
            world.forget(ANNA)
        last = only(world.forget(ANNA))
        assert last.status in (ERASED, NOTHING)
        assert len(world.records.receipts) == 1
        assert "00004" not in world.held()


def test_a_record_that_moved_is_not_completed(world: World) -> None:
    """Another operator has found something since this one has looked."""
    world.delete(ANNA)
    world.forget(ANNA)
    world.pass_days(8)
    stale = {"Keys": keys(ANNA), "revision": world.records.records[identity(ANNA)].revision - 1}
    answer = world.invoke("erasure", {"operation": "complete", "Records": [stale]})
    assert answer == {"receipts": {}, "problem": ""}


def test_a_store_that_is_out_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.delete(ANNA)
    world.outages = 2
    assert only(world.forget(ANNA)).status is WAITING

    def out(*_: Any) -> Any:
        message = "OpenSearch is down"
        raise RetryableError(message)

    monkeypatch.setattr(world.index, "read_many", out)
    report = world.forget(ANNA)
    assert report.problems == [
        "given-up cannot be read or erased: OpenSearch is down",
    ]
    assert not report.complete


def test_a_function_that_is_out_ends_the_work(world: World) -> None:
    world.delete(ANNA)
    world.outages = 100
    report = world.forget(ANNA)
    assert report.problems == ["the function is out"]
    assert only(report).status is HELD


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"operation": "erase"}, "Records"),
        ({"operation": "erase", "Records": [{}] * 101}, "at most 100"),
        ({"operation": "erase", "Records": [{"Keys": 1}]}, "Keys"),
        ({"operation": "burn", "Records": []}, "find, erase, complete"),
        ({"operation": "find", "at": ["attic", None], "Records": []}, "change-log"),
    ],
)
def test_a_request_of_another_form_is_refused(
    world: World, event: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(MalformedRecord, match=message):
        world.erasure.respond(event, Deadline(world.clock))


def test_the_horizon_is_the_life_of_a_tombstone(world: World) -> None:
    """A late change is refused by the tombstone, or its item is repaired after it."""
    world.delete(ANNA)
    world.forget(ANNA)
    world.clock.time += TOMBSTONE_SECONDS - 1001
    assert only(world.forget(ANNA)).status is WAITING
    late = change(1, None, ANNA)
    world.apply(late)
    assert not world.index.search()
    assert ItemVersion.of(late).timestamp < world.clock.now()
