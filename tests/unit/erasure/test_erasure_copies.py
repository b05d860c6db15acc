"""What each copy holds of an item, and what of it goes."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any
from weakref import ref

import pytest

from dynamodb_streams_cdc import ChangeLog
from dynamodb_streams_cdc.change import Attributes
from dynamodb_streams_cdc.cli.forget import _advice
from dynamodb_streams_cdc.control.erasure_copies import (
    LogPlace,
    Marker,
    item_of_marker,
)
from dynamodb_streams_cdc.control.notes import OPEN_SECONDS
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.idempotency import Once
from dynamodb_streams_cdc.sinks.aggregation import Expiry
from dynamodb_streams_cdc.sinks.documents import CDC
from dynamodb_streams_cdc.sinks.log_entries import name_of
from dynamodb_streams_cdc.testing.memory import (
    MemoryIdempotencyStore,
    MemoryLog,
    MemoryMarkers,
)
from tests.factories import TTL_IDENTITY, change
from tests.unit.erasure.world import (
    ANNA,
    BEN,
    ERASED,
    HELD,
    REFUSED,
    WAITING,
    World,
    identity,
    keys,
    only,
)


def test_all_entries_of_a_long_history_go(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynamodb_streams_cdc.control.erasure_copies.ENTRIES", 3)
    world.apply(change(1, None, ANNA), *(change(n, ANNA, ANNA) for n in range(2, 8)))
    world.apply(change(8, ANNA, None))
    world.pass_days(30)
    result = only(world.forget(ANNA))
    assert (result.status, result.found) == (ERASED, {"change-log": 8})
    assert not world.log.entries


def test_a_long_history_is_read_an_entry_at_a_time() -> None:
    """Five hundred entries with their images take more memory than the function has."""

    class Read(dict[str, Any]):
        """An entry that a weak reference can watch."""

    class Watched(MemoryLog):
        def read(self, item_id: str) -> Iterator[Attributes]:
            for entry in super().read(item_id):
                read = Read(entry)
                seen.append(ref(read))
                yield read
                assert sum(each() is not None for each in seen) <= 2

    seen: list[ref[Read]] = []
    log = Watched()
    life = [change(number, ANNA, ANNA) for number in range(1, 10)]
    ChangeLog(log).apply(life, Deadline())
    [trace] = LogPlace(log).find({identity(ANNA): keys(ANNA)}, None, Deadline()).traces
    assert trace.number == len(seen) == len(life)


def test_a_delete_that_is_not_logged_yet_is_waited_for(world: World) -> None:
    """Its entry will have the last state of the item."""
    ChangeLog(world.log).apply([change(1, None, ANNA)], Deadline(world.clock))
    world.pass_days(30)
    assert only(world.forget(ANNA)).status is WAITING
    ChangeLog(world.log).apply([change(2, ANNA, None)], Deadline(world.clock))
    world.pass_days(7)
    assert only(world.forget(ANNA)).status is ERASED
    assert not world.log.entries


def test_images_go_with_their_entries(world: World) -> None:
    for each in (ANNA, BEN):
        found = change(1, None, each)
        world.images.objects[name_of(found.item_id, found.version)] = b"large"
    assert only(world.forget(ANNA)).found == {"large-images": 1}
    assert len(world.images.objects) == 1


@pytest.mark.parametrize("effect", ["mail", "mail/welcome"])
def test_markers_go_by_the_item_in_their_key(world: World, effect: str) -> None:
    for each in (ANNA, BEN):
        store = MemoryIdempotencyStore(world.markers.keys)
        Once(store, effect).run(change(1, None, each), lambda: None)
    assert only(world.forget(ANNA)).status is ERASED
    [left] = world.markers.keys
    assert item_of_marker(left, {identity(ANNA), identity(BEN)}) == identity(BEN)


def test_a_marker_waits_as_a_tombstone_does(world: World) -> None:
    """The batch of a change is retried for another item's sake: its mail was sent."""
    once = Once(MemoryIdempotencyStore(world.markers.keys), "mail")
    sent: list[str] = []
    once.run(change(2, ANNA, None), lambda: sent.append("mail"))
    world.markers.written_at = dict.fromkeys(world.markers.keys, world.clock.now())
    result = only(world.forget(ANNA))
    assert (result.status, result.tombstones) == (WAITING, {"markers": 1})
    once.run(change(2, ANNA, None), lambda: sent.append("mail"))
    assert len(sent) == 1
    world.pass_days(7)
    assert only(world.forget(ANNA)).status is ERASED
    assert not world.markers.keys


def test_one_request_reads_many_pages_without_markers(world: World) -> None:
    """The idempotency table has a row for each item that was ever counted."""

    class Pages(MemoryMarkers):
        def walk(self, start: Any, deadline: Deadline) -> Any:
            page = start or 0
            found = [Marker(f"once/mail/{identity(ANNA)}/1/1/1", 0.0)] if page == 500 else []
            return found, page + 1 if page < 999 else None

    world.markers = Pages()
    world.forget(ANNA)
    assert len(world.asked) < 30


def test_what_the_sums_retain_of_the_expired_goes(world: World) -> None:
    world.expiry = Expiry.KEEP
    world.delete(ANNA, userIdentity=TTL_IDENTITY)
    assert world.ledger.live() == {"customer#00004": {"revenue": Decimal("29.33")}}
    assert only(world.forget(ANNA)).found["aggregation"] == 1
    assert world.ledger.live() == {}
    assert world.ledger.rows[identity(ANNA)].deleted


def test_tombstones_stay_while_a_fill_is_open(world: World) -> None:
    """It may hold the item, which was read before it was deleted."""
    world.delete(ANNA)
    world.forget(ANNA)
    world.pass_days(7)
    note = {"operation": "backfill", "since": world.clock.now(), "at": world.clock.now()}
    world.notes.notes["fill/orders"] = note
    before = world.held()
    result = only(world.forget(ANNA))
    assert (result.status, result.due) == (WAITING, "")
    assert result.why.startswith("the backfill of job orders is open")
    assert world.held() == before
    assert _advice(result, check=False).startswith(
        "run it again later: the key stays while the backfill"
    )
    world.clock.time += OPEN_SECONDS
    assert only(world.forget(ANNA)).status is ERASED


def test_what_expired_long_ago_takes_one_run(world: World) -> None:
    world.expiry = Expiry.KEEP
    world.delete(ANNA, userIdentity=TTL_IDENTITY)
    world.pass_days(30)
    assert only(world.forget(ANNA)).status is ERASED
    assert "00004" not in world.held()


def test_a_damaged_row_is_refused(world: World) -> None:
    """The sums may count the item: an erased row would not tell any more."""
    world.delete(ANNA)
    world.pass_days(30)
    row = world.ledger.rows[identity(ANNA)]
    world.ledger.rows[identity(ANNA)] = replace(row, lacks=("contribution",), contribution={})
    result = only(world.forget(ANNA))
    assert result.status is REFUSED
    assert "cdc rebuild aggregation" in result.why


@pytest.mark.parametrize("written_at", [None, [1.0], "then"])
def test_a_tombstone_without_its_time_is_refused(world: World, written_at: object) -> None:
    """It ended the request in an error, and nothing of the other items was erased."""
    world.delete(ANNA)
    world.delete(BEN)
    world.pass_days(8)
    held = world.index.documents[identity(ANNA)]
    damaged = {**held, CDC: {**held[CDC], "written_at": written_at}}
    world.index.documents[identity(ANNA)] = damaged
    assert world.forget(ANNA, erases=False).items[0].status is HELD
    refused, erased = world.forget(ANNA, BEN).items
    assert (refused.status, erased.status) == (REFUSED, ERASED)
    assert "search has a tombstone without its time (delete it there)" in refused.why


@pytest.mark.parametrize("strange", [{}, {"changed_at": {"S": "then"}}, {"changed_at": {"N": "1"}}])
def test_an_entry_of_another_writer_goes(world: World, strange: Any) -> None:
    """It does not say when it was written: the key stays as if that was now."""
    world.delete(ANNA)
    key = max(key for key in world.log.entries if key[0] == identity(ANNA))
    entry = {n: v for n, v in world.log.entries[key].items() if n in ("item", "version")}
    world.log.entries[key] = {**entry, **strange}
    world.pass_days(30)
    assert only(world.forget(ANNA)).status is WAITING
    assert list(world.log.read(identity(ANNA))) == []
    world.pass_days(7)
    assert only(world.forget(ANNA)).status is ERASED


def test_every_index_of_a_rebuild_is_read(world: World) -> None:
    world.delete(ANNA)
    tombstone = world.index.documents[identity(ANNA)]
    world.index.second, world.index.others = 2, {2: {identity(ANNA): tombstone}, 7: {}}
    world.index.others[7][identity(ANNA)] = tombstone
    world.pass_days(8)
    assert only(world.forget(ANNA)).status is ERASED
    assert "00004" not in repr(world.index)
