"""Erasure: what is held of an item, in which order it goes, and what must not go with it."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any
from weakref import ref

import pytest

from dynamodb_streams_cdc import Aggregation, ChangeLog, Search
from dynamodb_streams_cdc.change import Attributes, Change, Image
from dynamodb_streams_cdc.cli.forget import _advice
from dynamodb_streams_cdc.control.erasure import Erasure
from dynamodb_streams_cdc.control.erasure_copies import (
    IndexPlace,
    LedgerPlace,
    LogPlace,
    Marker,
    MarkersPlace,
    item_of_marker,
)
from dynamodb_streams_cdc.control.erasure_objects import (
    DeadLettersPlace,
    ImagesPlace,
    StoredVersion,
)
from dynamodb_streams_cdc.control.functions import InvocationFailed
from dynamodb_streams_cdc.control.notes import OPEN_SECONDS
from dynamodb_streams_cdc.dead_letters import dead_letter_name
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.errors import MalformedRecord, RetryableError
from dynamodb_streams_cdc.idempotency import Once
from dynamodb_streams_cdc.identity import item_id
from dynamodb_streams_cdc.operations.forget import Forget, ForgetReport, ForgetStatus
from dynamodb_streams_cdc.sinks.aggregation import Expiry
from dynamodb_streams_cdc.sinks.base import TOMBSTONE_SECONDS, ItemVersion, TablePage
from dynamodb_streams_cdc.sinks.documents import CDC
from dynamodb_streams_cdc.sinks.log_entries import name_of
from dynamodb_streams_cdc.testing.memory import (
    MemoryErasureRecords,
    MemoryIdempotencyStore,
    MemoryIndex,
    MemoryLedger,
    MemoryLog,
    MemoryMarkers,
    MemoryNotes,
    MemoryObjects,
)
from tests.factories import NOON, TTL_IDENTITY, ManualClock, as_delivered, change, order, record
from tests.fake_pipeline import given_up, lambdas_key

ANNA, BEN = order("00004-0001"), order("00005-0001")
DAY = 24 * 3600.0
ERASED, WAITING, NOTHING, HELD, REFUSED = ForgetStatus


def keys(item: Image) -> Attributes:
    return as_delivered({name: item[name] for name in ("customer_id", "order_id")})


def identity(item: Image) -> str:
    return item_id("orders", {name: item[name] for name in ("customer_id", "order_id")})


def contributions(image: Image) -> Any:
    return {f"customer#{image['customer_id']}": {"revenue": image["total"]}}


@dataclass
class World:
    """A table, its copies in memory, and the function that erases.

    Attributes:
        items: what is in the table, by identity.
        fails: raises in the place of the store with that name.
        before_read: called before the table is read.
    """

    clock: ManualClock = field(default_factory=ManualClock)
    items: dict[str, Image] = field(default_factory=dict)
    log: MemoryLog = field(default_factory=MemoryLog)
    index: MemoryIndex = field(default_factory=MemoryIndex)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    objects: MemoryObjects = field(default_factory=MemoryObjects)
    images: MemoryObjects = field(default_factory=MemoryObjects)
    markers: MemoryMarkers = field(default_factory=MemoryMarkers)
    records: MemoryErasureRecords = field(default_factory=MemoryErasureRecords)
    notes: MemoryNotes = field(default_factory=MemoryNotes)
    expiry: Expiry = Expiry.DROP
    before_read: Callable[[], None] = lambda: None
    outages: int = 0
    asked: list[Mapping[str, Any]] = field(default_factory=list)

    def read(self, keys: Attributes) -> Image | None:
        raise AssertionError

    def read_many(
        self, keys: Sequence[Attributes], deadline: Deadline
    ) -> Sequence[Attributes | None]:
        self.before_read()
        names = [item_id("orders", {n: str(v["S"]) for n, v in each.items()}) for each in keys]
        return [{} if name in self.items else None for name in names]

    def scan(self, *_: Any, **__: Any) -> TablePage:
        raise AssertionError

    @property
    def erasure(self) -> Erasure:
        def dead_letters(prefix: str) -> DeadLettersPlace:
            waits = prefix != "archive/"
            own = {"warehouse": "warehouse-1A2B"} if waits else {}
            return DeadLettersPlace(self.objects, prefix, "orders", may_move=waits, own=own)

        return Erasure(
            "orders",
            self,
            places={
                "given-up": dead_letters("aws/"),
                "dead-letters": dead_letters("dead-letters/"),
                "archive": dead_letters("archive/"),
                "change-log": LogPlace(self.log),
                "large-images": ImagesPlace(self.images),
                "markers": MarkersPlace(self.markers),
            },
            copies={
                "search": IndexPlace(self.index.every),
                "aggregation": LedgerPlace(self.ledger),
            },
            records=self.records,
            notes=self.notes,
        )

    def invoke(self, processor: str, event: Mapping[str, Any]) -> Any:
        assert processor == "erasure"
        self.asked.append(event)
        if self.outages:
            self.outages -= 1
            message = "the function is out"
            raise InvocationFailed(message, outage=True)
        deadline = Deadline(self.clock, self.clock.now() + 60)
        answer = self.erasure.respond(json.loads(json.dumps(event)), deadline)
        return json.loads(json.dumps(answer, allow_nan=False))

    def apply(self, *changes: Change) -> None:
        """Apply changes to the three copies."""
        deadline = Deadline(self.clock)
        sums = Aggregation(self.ledger, contributions, self.expiry)
        for sink in (sums, ChangeLog(self.log), Search(self.index, dict)):
            outcome = sink.apply(list(changes), deadline)
            assert not outcome.failures

    def delete(self, item: Image, *sequences: int, **others: Any) -> None:
        """Let an item be inserted, and deleted again."""
        first, last = sequences or (1, 2)
        self.apply(change(first, None, item), change(last, item, None, **others))

    def put(self, key: str, document: object) -> None:
        self.objects.objects[key] = json.dumps(document).encode()
        self.objects.written[key] = self.clock.now()

    def forget(self, *items: Image, erases: bool = True) -> ForgetReport:
        work = Forget(self, "orders", self.clock)
        return work.run(map(keys, items), erases=erases)

    def pass_days(self, days: float) -> None:
        self.clock.time += days * DAY

    def held(self) -> str:
        """Return everything that the stores hold, in one text."""
        stores = [self.log.entries, self.index.documents, self.index.others, self.ledger.rows]
        stores += [self.objects.objects, self.images.objects, self.markers.keys]
        return repr(stores) + repr(self.records)


@pytest.fixture
def world() -> World:
    return World()


def only(report: ForgetReport) -> Any:
    (result,) = report.items
    return result


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


class TestDeadLetters:
    @pytest.mark.parametrize("given_up_by", ["warehouse", "lambda"])
    def test_one_of_an_unknown_sink_is_redriven_first(self, world: World, given_up_by: str) -> None:
        """It may be the delete that the sink's copy lacks, and nothing else has it."""
        world.delete(ANNA)
        world.pass_days(30)
        removed = change(2, ANNA, None)
        key = f"dead-letters/warehouse/{dead_letter_name(removed.item_id, removed.version, {})}"
        if given_up_by == "lambda":
            key = lambdas_key("batch")
        batch = given_up([record(2, ANNA, None)])
        arn = "arn:aws:lambda:us-east-1:1:function:warehouse-1A2B:live"
        world.put(key, {**batch, "requestContext": {"functionArn": arn}})
        result = only(world.forget(ANNA))
        assert result.status is REFUSED
        assert result.why.startswith("warehouse has a dead letter")
        assert "cdc redrive" in result.why
        assert key in world.objects.objects
        assert len(list(world.log.read(identity(ANNA)))) == 2
        world.objects.objects[f"archive/{key}"] = world.objects.objects.pop(key)
        assert only(world.forget(ANNA)).status is ERASED
        assert not world.objects.objects

    def test_a_processors_own_goes_by_its_key(self, world: World) -> None:
        for number, each in enumerate((ANNA, BEN)):
            found = change(number + 1, None, each)
            name = dead_letter_name(found.item_id, found.version, {})
            world.put(f"dead-letters/search/{name}", {"payload": "{}"})
            world.put(f"archive/dead-letters/search/{name}", {"payload": "{}"})
        assert only(world.forget(ANNA)).found == {"dead-letters": 1, "archive": 1}
        assert len(world.objects.objects) == 2

    def test_a_batch_keeps_the_records_of_others(self, world: World) -> None:
        mine, other = record(1, None, ANNA), record(2, None, BEN)
        for key in (lambdas_key("batch"), f"archive/{lambdas_key('batch')}"):
            world.put(key, given_up([mine, other, record(3, ANNA, None)]))
        assert only(world.forget(ANNA)).found == {"given-up": 1, "archive": 1}
        for content in world.objects.objects.values():
            document = json.loads(content)
            assert json.loads(document["payload"])["Records"] == [other]
            assert document["DDBStreamBatchInfo"]["batchSize"] == 1
            assert b"00004" not in content

    def test_a_batch_of_one_item_goes_whole(self, world: World) -> None:
        world.put(lambdas_key("batch"), given_up([record(1, None, ANNA)]))
        world.forget(ANNA)
        assert not world.objects.objects

    def test_records_of_the_change_log_are_known(self, world: World) -> None:
        entry = {"item": {"S": identity(ANNA)}, "version": {"S": "1"}}
        world.put(lambdas_key("batch"), given_up([{"dynamodb": {"Keys": entry}}]))
        world.forget(ANNA)
        assert not world.objects.objects

    def test_a_table_may_have_the_key_names_of_the_change_log(self, world: World) -> None:
        place = DeadLettersPlace(world.objects, "", "docs", may_move=True)
        made = [{"item": {"S": name}, "version": {"S": "1"}} for name in ("Anna", "Ben")]
        records = [{"dynamodb": {"Keys": each}} for each in made]
        world.put(lambdas_key("batch"), given_up(records))
        (trace,) = place.find({"docs/S=Anna/S=1": made[0]}, None, Deadline(world.clock)).traces
        trace.erase(trace.items, Deadline(world.clock))
        (content,) = world.objects.objects.values()
        assert json.loads(json.loads(content)["payload"])["Records"] == records[1:]

    def test_one_that_waits_holds_the_tombstones(self, world: World) -> None:
        """A redrive may have read it: what it brings back is erased by the next run."""
        world.delete(ANNA)
        world.pass_days(30)
        world.put(lambdas_key("batch"), given_up([record(1, None, ANNA)]))
        world.objects.written.clear()
        result = only(world.forget(ANNA))
        assert (result.status, result.due) == (WAITING, "2024-06-07T12:16:40Z")
        world.apply(change(1, None, ANNA))  # the redrive
        world.pass_days(7)
        again = only(world.forget(ANNA))
        assert (again.status, again.found) == (WAITING, {"change-log": 1})
        world.pass_days(7)
        assert only(world.forget(ANNA)).status is ERASED
        assert "00004" not in world.held()

    def test_one_that_cannot_be_read_is_named(self, world: World) -> None:
        world.delete(ANNA)
        world.pass_days(30)
        batch = json.dumps(given_up([record(1, None, ANNA)]))[:-40]
        world.objects.objects[lambdas_key("truncated")] = batch.encode()
        report = world.forget(ANNA)
        assert report.unclear == [lambdas_key("truncated")]
        assert not report.complete
        assert only(report).status is HELD
        assert world.forget(BEN).complete

    def test_one_that_cannot_be_read_holds_its_own_request(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A file of a thousand items is many requests."""
        monkeypatch.setattr("dynamodb_streams_cdc.operations.forget.AT_ONCE", 1)
        for each in (ANNA, BEN):
            world.delete(each)
        world.pass_days(30)
        batch = json.dumps(given_up([record(1, None, ANNA)]))[:-40]
        world.objects.objects[lambdas_key("truncated")] = batch.encode()
        report = world.forget(ANNA, BEN)
        assert [each.status for each in report.items] == [HELD, ERASED]
        assert not report.complete

    @pytest.mark.parametrize(
        ("number", "written"),
        [("100.0", "100"), ("1E2", "100"), ("100", "100"), (f"{'7' * 38}.0", "7" * 38)],
    )
    def test_a_number_is_found_in_any_form(self, world: World, number: str, written: str) -> None:
        place = DeadLettersPlace(world.objects, "", "orders", may_move=True)
        body = f'{{"payload": {{"Keys": {{"id": {{"N": "{written}"}}}}'
        world.objects.objects["truncated"] = body.encode()
        asked = {"orders/N=1E2": {"id": {"N": number}}}
        assert place.find(asked, None, Deadline(world.clock)).unclear == ["truncated"]

    def test_one_whose_record_has_no_key_is_named(self, world: World) -> None:
        key = "dead-letters/search/unreadable/1.json"
        broken = record(1, None, ANNA)
        del broken["dynamodb"]["Keys"]
        world.put(key, given_up([broken]))
        assert world.forget(ANNA).unclear == [key]
        assert world.forget(BEN).complete

    def test_an_object_under_any_key_is_read(self, world: World) -> None:
        """Every object of the on-failure bucket counts as a dead letter."""
        world.put("aws/copied-by-hand.json", given_up([record(1, None, ANNA)]))
        assert only(world.forget(ANNA)).found == {"given-up": 1}

    def test_old_versions_go_whole(self, world: World) -> None:
        """The current version has the records of the other items."""
        batch = given_up([record(1, None, ANNA), record(2, None, BEN)])
        place = DeadLettersPlace(world.objects, "", "orders", may_move=True)
        world.put(lambdas_key("old"), batch)
        old = StoredVersion(lambdas_key("old"), "v1", NOON, is_latest=False)
        page: Callable[..., Any] = lambda *_: ([old], None)  # noqa: E731
        world.objects.page = page  # type: ignore[method-assign]
        (trace,) = place.find({identity(ANNA): keys(ANNA)}, None, Deadline(world.clock)).traces
        assert trace.since == NOON
        trace.erase(trace.items, Deadline(world.clock))
        assert not world.objects.objects

    def test_a_bucket_is_read_in_parts(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("dynamodb_streams_cdc.control.erasure_objects.PAGE", 3)
        for number in range(10):
            records = [record(1, None, ANNA), record(2, None, BEN)]
            world.put(lambdas_key(f"batch-{number}"), given_up(records))
        assert only(world.forget(ANNA)).found == {"given-up": 10}
        assert all(b"00004" not in content for content in world.objects.objects.values())


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


def test_an_entry_that_another_writer_altered_goes_too(world: World) -> None:
    """It does not say when it was written: the key stays as if that was now."""
    world.delete(ANNA)
    world.log.entries[identity(ANNA), "mine"] = {
        "item": {"S": identity(ANNA)},
        "version": {"S": "mine"},
    }
    world.pass_days(30)
    result = only(world.forget(ANNA))
    assert (result.status, result.found) == (WAITING, {"change-log": 3})
    assert not world.log.entries
    world.pass_days(7)
    assert only(world.forget(ANNA)).status is ERASED


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
    world.delete(ANNA)
    key = max(key for key in world.log.entries if key[0] == identity(ANNA))
    entry = {n: v for n, v in world.log.entries[key].items() if n in ("item", "version")}
    world.log.entries[key] = {**entry, **strange}
    world.pass_days(30)
    assert only(world.forget(ANNA)).status is not REFUSED
    assert list(world.log.read(identity(ANNA))) == []


def test_every_index_of_a_rebuild_is_read(world: World) -> None:
    world.delete(ANNA)
    tombstone = world.index.documents[identity(ANNA)]
    world.index.second, world.index.others = 2, {2: {identity(ANNA): tombstone}, 7: {}}
    world.index.others[7][identity(ANNA)] = tombstone
    world.pass_days(8)
    assert only(world.forget(ANNA)).status is ERASED
    assert "00004" not in repr(world.index)


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


class TestReceipts:
    """One run erases two items of long ago; the writing of their receipts is disturbed."""

    @pytest.fixture
    def world(self) -> World:
        world = World()
        for each in (ANNA, BEN):
            world.delete(each)
        world.pass_days(30)
        return world

    def refuse(self, world: World, calls: int, *, item: Image = ANNA, late: bool = False) -> None:
        """Let the first requests to write the receipt of an item fail, before or after it."""
        complete = world.records.complete
        left = [calls]

        def refused(name: str, record: Any, deadline: Deadline) -> bool:
            if name != identity(item) or not left[0]:
                return complete(name, record, deadline)
            left[0] -= 1
            if late:
                complete(name, record, deadline)
            message = "TransactionConflict"
            raise RetryableError(message)

        world.records.complete = refused  # type: ignore[assignment,method-assign]

    @pytest.mark.parametrize("late", [False, True])
    def test_one_that_is_refused_is_written_later(self, world: World, late: bool) -> None:
        self.refuse(world, 1, late=late)
        report = world.forget(ANNA, BEN)
        assert report.complete
        assert {each.receipt for each in report.items} == set(world.records.receipts)
        assert [(each.status, each.why) for each in report.items] == [(ERASED, ""), (ERASED, "")]

    def test_one_that_is_refused_for_long_leaves_the_others(self, world: World) -> None:
        self.refuse(world, 100)
        report = world.forget(ANNA, BEN)
        assert report.problems == ["receipts cannot be written: TransactionConflict"]
        refused, erased = report.items
        receipt = world.records.records[identity(ANNA)].receipt
        assert (refused.status, refused.receipt) == (HELD, receipt)
        assert (erased.status, [erased.receipt]) == (ERASED, list(world.records.receipts))
        assert _advice(refused, check=False).endswith(
            f"run it again; if nothing is held then, its receipt is {receipt}"
        )

    def test_those_before_the_deadline_are_told(self, world: World) -> None:
        complete = world.records.complete

        def slow(*arguments: Any) -> bool:
            done = complete(*arguments)
            world.clock.sleep(61)
            return done

        world.records.complete = slow  # type: ignore[assignment,method-assign]
        report = world.forget(ANNA, BEN)
        assert report.complete
        assert {each.receipt for each in report.items} == set(world.records.receipts)

    @pytest.mark.parametrize("lost", [1, 100])
    def test_a_lost_answer_is_given_again(self, world: World, lost: int) -> None:
        answer = world.invoke
        left = [lost]

        def losing(processor: str, event: Mapping[str, Any]) -> Any:
            found = answer(processor, event)
            if event["operation"] == "complete" and left[0]:
                left[0] -= 1
                message = "the connection is closed"
                raise InvocationFailed(message, outage=True)
            return found

        world.invoke = losing  # type: ignore[method-assign]
        report = world.forget(ANNA, BEN)
        assert report.complete == (lost == 1)
        named = {each.receipt for each in report.items}
        assert named == set(world.records.receipts)
        assert [each.status for each in world.forget(ANNA, BEN).items] == [NOTHING, NOTHING]

    def test_an_erasure_that_began_since_is_another_one(self, world: World) -> None:
        world.records.receipts["earlier"] = {}
        world.records.note(identity(ANNA), 7.0, Deadline(world.clock))
        record = world.records.records[identity(ANNA)]
        asked = {"Keys": keys(ANNA), "revision": record.revision, "receipt": "earlier"}
        event = {"operation": "complete", "Records": [asked]}
        assert world.invoke("erasure", event) == {"receipts": {}, "problem": ""}
        assert world.records.records == {identity(ANNA): record}

    def test_a_function_of_an_earlier_version_names_none(self, world: World) -> None:
        answer = world.invoke

        def earlier(processor: str, event: Mapping[str, Any]) -> Any:
            assert not any("receipt" in each for each in event["Records"])
            found = answer(processor, event)
            del found["problem" if event["operation"] == "complete" else "receipts"]
            return found

        world.invoke = earlier  # type: ignore[method-assign]
        assert world.forget(ANNA, BEN).complete


def test_nothing_is_completed_before_it_is_due(world: World) -> None:
    world.delete(ANNA)
    world.forget(ANNA)
    known = {"Keys": keys(ANNA), "revision": world.records.records[identity(ANNA)].revision}
    event = {"operation": "complete", "Records": [known]}
    assert world.invoke("erasure", event) == {"receipts": {}, "problem": ""}
    world.pass_days(8)
    assert list(world.invoke("erasure", event)["receipts"]) == [identity(ANNA)]


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
