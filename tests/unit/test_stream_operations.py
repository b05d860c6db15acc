"""Replaying dead letters, looking into a sink, and repairing what arrives late."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from dynamodb_streams_cdc import (
    Aggregation,
    Change,
    ChangeHandlers,
    ChangeKind,
    ChangeLog,
    Contribution,
    Deadline,
    Expiry,
    Image,
    MalformedRecord,
    MissingImage,
    RetryableError,
    Search,
    Sink,
)
from dynamodb_streams_cdc.applier import SinkApplier
from dynamodb_streams_cdc.change import Attributes
from dynamodb_streams_cdc.control.parts import whole_table
from dynamodb_streams_cdc.processor import EVERYWHERE
from dynamodb_streams_cdc.sinks.base import LATE_SECONDS, TOMBSTONE_SECONDS
from dynamodb_streams_cdc.sinks.log_entries import NoImageStore, change_from_entry
from dynamodb_streams_cdc.testing.memory import (
    MemoryImageStore,
    MemoryIndex,
    MemoryLedger,
    MemoryLog,
)
from tests.factories import (
    LABEL,
    NOON,
    STREAM,
    TTL_IDENTITY,
    ManualClock,
    as_delivered,
    change,
    order,
    record,
)
from tests.fake_pipeline import Table
from tests.unit.bench import Bench

ITEM = "orders/S=00004/S=00004-0001"
PLACED, SHIPPED, REFUNDED = order(), order(status="shipped"), order(status="refunded")
POISON = order(status="lost")
STATUSES = ("placed", "shipped", "refunded")


def contributions(image: Image) -> Contribution:
    if image["status"] not in STATUSES:
        message = f"status {image['status']}"
        raise ValueError(message)
    return {f"status#{image['status']}": {"orders": 1}}


def document(image: Image) -> dict[str, Any]:
    contributions(image)
    return {"status": image["status"]}


class RepairBench(Bench):
    """A processor that repairs from a table; each answer is what JSON can hold."""

    def __init__(self, sink: Sink, table: Table | None) -> None:
        super().__init__(sink, NOON + 100.0)
        self.table = table
        self.options = {"permanent": (ValueError,), "source_table": table}

    def ask(self, operation: str, records: Sequence[Any], **others: Any) -> Any:
        answer = self.invoke({"operation": operation, "Records": list(records), **others})
        assert json.loads(json.dumps(answer)) == answer
        return answer

    def replay(self, *records: Any) -> Any:
        answer = self.ask("replay", records)
        assert self.dead == []
        return answer

    def inspect(self, *records: Any) -> Any:
        return self.ask("inspect", records)["held"]

    def repair(self, *keys: Any, stream: str = STREAM, counts: bool = True) -> Any:
        asked = [{"Keys": as_delivered(each)} for each in keys]
        return self.ask("repair", asked, streamArn=stream, countMissing=counts)


def sums(
    table: Table | None = None, expiry: Expiry = Expiry.DROP
) -> tuple[RepairBench, MemoryLedger]:
    ledger = MemoryLedger()
    return RepairBench(Aggregation(ledger, contributions, expiry), table or Table()), ledger


def documents(table: Table | None = None) -> tuple[RepairBench, MemoryIndex]:
    index = MemoryIndex()
    return RepairBench(Search(index, document), table or Table()), index


def test_a_replay_applies_and_repairs_to_what_the_table_says() -> None:
    bench, ledger = sums(Table({ITEM: REFUNDED}))
    answer = bench.replay(record(1, None, PLACED), record(2, PLACED, SHIPPED))
    assert (answer["applied"], answer["stale"], answer["repaired"]) == (1, 1, 1)
    assert (answer["batchItemFailures"], answer["failures"]) == ([], [])
    assert ledger.total("status#refunded") == {"orders": Decimal(1)}
    assert ledger.total("status#shipped") == {}
    again = bench.replay(record(1, None, PLACED), record(2, PLACED, SHIPPED))
    assert (again["applied"], again["stale"], again["repaired"]) == (0, 2, 0)


@pytest.mark.parametrize("make", [sums, documents])
def test_a_dead_letter_is_done_once_its_item_is_fixed(make: Any) -> None:
    """Its payload can never be applied; what the table says now can."""
    table = Table({ITEM: POISON})
    bench, _ = make(table)
    [failure] = bench.replay(record(1, None, POISON))["failures"]
    assert failure == {
        "position": 0,
        "item": ITEM,
        "version": change(1, None, POISON).version,
        "reason": "ValueError",
        "error": "status lost",
        "retryable": False,
    }
    table.items[ITEM] = SHIPPED
    assert bench.replay(record(1, None, POISON))["failures"] == []
    [holding] = bench.inspect(record(1, None, POISON))
    assert holding["version"] == holding["offered"] == change(1, None, POISON).version


@pytest.mark.parametrize("make", [sums, documents])
def test_a_replay_of_a_deleted_item_leaves_a_tombstone(make: Any) -> None:
    """Without one, an older change that is still under way would bring the item back."""
    bench, copy = make()
    assert bench.replay(record(5, PLACED, POISON))["failures"] == []
    bench.run(record(4, None, PLACED))
    assert (copy.total("status#placed") if isinstance(copy, MemoryLedger) else copy.search()) == {}


def test_each_failed_record_is_reported_with_its_reason() -> None:
    bench, _ = documents(Table({ITEM: PLACED}))
    unreadable = {"dynamodb": {"SequenceNumber": "77"}}
    answer = bench.replay(
        record(1, None, PLACED), unreadable, record(3, None, order("00005-1", status="lost")), 17
    )
    # The third one's order is not in the table: its dead letter leaves a tombstone and is done.
    assert [f["itemIdentifier"] for f in answer["batchItemFailures"]] == ["77", ""]
    assert [(f["position"], f["item"], f["reason"]) for f in answer["failures"]] == [
        (1, None, "MalformedRecord"),
        (3, None, "MalformedRecord"),
    ]


def test_a_replay_does_not_stop_at_five_items_with_one_error() -> None:
    numbers = range(1, EVERYWHERE + 4)
    poison = {n: order(f"{n:05}-1", status="lost") for n in numbers}
    table = Table({f"orders/S={n:05}/S={n:05}-1": item for n, item in poison.items()})
    bench, _ = sums(table)
    sound = record(99, None, PLACED)
    table.items[ITEM] = PLACED
    answer = bench.replay(*[record(n, None, poison[n]) for n in numbers], sound)
    assert answer["applied"] == 1
    assert len(answer["failures"]) == len(poison)


def test_a_replay_retries_an_outage_then_reports_it() -> None:
    class Down(MemoryIndex):
        calls = 0

        def upsert(self, *_: Any) -> Any:
            self.calls += 1
            message = "the cluster is down"
            raise RetryableError(message)

    index, table = Down(), Table({ITEM: PLACED})
    bench = RepairBench(Search(index, document), table)
    [failure] = bench.replay(record(1, None, PLACED))["failures"]
    assert (failure["reason"], failure["retryable"]) == ("RetryableError", True)
    assert index.calls == 4
    assert table.reads == 0


def test_an_expiry_that_cannot_be_applied_is_not_repaired_away() -> None:
    """What a retained contribution is made of is nowhere but in the dead letter."""
    bench, ledger = sums(expiry=Expiry.KEEP)
    expiry = record(2, POISON, None, userIdentity=TTL_IDENTITY)
    [failure] = bench.replay(expiry)["failures"]
    assert failure["reason"] == "ValueError"
    assert ledger.rows == {}
    sound = record(2, SHIPPED, None, userIdentity=TTL_IDENTITY)
    for dead_letter in (sound, record(1, None, PLACED)):
        assert bench.replay(dead_letter)["failures"] == []
    assert ledger.total("status#shipped") == {"orders": Decimal(1)}
    assert ledger.total("status#placed") == {}


def test_a_sink_that_cannot_be_repaired_is_replayed() -> None:
    log = MemoryLog()
    bench = RepairBench(ChangeLog(log), Table())
    answer = bench.replay(record(1, None, PLACED), record(1, None, PLACED), {})
    assert (answer["applied"], answer["stale"], answer["repaired"]) == (1, 1, 0)
    assert [failure["position"] for failure in answer["failures"]] == [2]
    [holding] = bench.inspect(record(1, None, PLACED))
    assert (holding["state"], holding["state_unknown"]) == (None, True)


def test_handlers_hold_later_changes_back_in_a_replay_too() -> None:
    handlers, seen = ChangeHandlers(), []

    @handlers.on_insert
    def fail(change: Change) -> None:
        raise ValueError

    @handlers.on_modify
    def note(change: Change) -> None:
        seen.append(change)

    answer = RepairBench(handlers, Table()).replay(
        record(1, None, PLACED), record(2, PLACED, SHIPPED)
    )
    assert [failure["reason"] for failure in answer["failures"]] == [
        "ValueError",
        "BlockedByEarlierFailure",
    ]
    assert not seen


@pytest.mark.parametrize("outages", [1, 10])
def test_a_change_held_back_by_one_that_waits_waits_too(outages: int) -> None:
    handlers, seen = ChangeHandlers(), list[ChangeKind]()
    left = iter([RetryableError("throttled")] * outages)

    @handlers.on_insert
    @handlers.on_modify
    def note(change: Change) -> None:
        for error in left:
            raise error
        seen.append(change.kind)

    records = [record(1, None, PLACED), record(2, PLACED, SHIPPED)]
    failures = RepairBench(handlers, Table()).replay(*records)["failures"]
    assert [each["retryable"] for each in failures] == ([] if outages == 1 else [True, True])
    assert seen == (["INSERT", "MODIFY"] if outages == 1 else [])


def test_a_look_changes_nothing() -> None:
    bench, ledger = sums(Table({ITEM: REFUNDED}))
    assert bench.inspect(record(1, None, PLACED)) == [
        {
            "position": 0,
            "item": ITEM,
            "offered": change(1, None, PLACED).version,
            "version": None,
            "state": None,
        }
    ]
    bench.run(record(2, PLACED, SHIPPED))
    held = dict(ledger.rows)
    holding, unreadable = bench.inspect(record(1, None, PLACED), {})
    assert holding["version"] == change(2, PLACED, SHIPPED).version
    assert holding["state"]["contribution"] == {"status#shipped": {"orders": "1"}}
    assert unreadable["item"] is None
    assert ledger.rows == held


def test_a_function_without_a_table_says_how_to_give_one() -> None:
    applier = SinkApplier(Search(MemoryIndex(), dict), Deadline(), bool, 5)
    with pytest.raises(MalformedRecord, match="give its Processor a `source_table`"):
        whole_table(applier)


def test_an_unknown_operation_is_refused() -> None:
    bench, ledger = sums()
    with pytest.raises(MalformedRecord, match=r"one of replay, inspect, .*, got 'erase'"):
        bench.invoke({"operation": "erase", "Records": [record(1, None, PLACED)]})
    assert ledger.rows == {}


def test_what_is_young_is_not_looked_up() -> None:
    bench, _ = documents()
    assert bench.table is not None
    bench.now = NOON + LATE_SECONDS
    bench.run(record(1, None, PLACED))
    assert bench.table.reads == 0
    bench.now += 5
    bench.run(record(1, None, PLACED))
    assert bench.table.reads == 1


def test_a_late_change_whose_item_cannot_be_read_is_reported() -> None:
    class Gone(Table):
        def read(self, keys: Attributes) -> Image | None:
            message = "the table cannot be read"
            raise RetryableError(message)

    bench, _ = documents(Gone())
    bench.now = NOON + 2 * LATE_SECONDS
    late = record(1, None, PLACED)
    assert bench.run(late) == [late["dynamodb"]["SequenceNumber"]]


@pytest.mark.parametrize("make", [sums, documents])
def test_tombstones_are_not_purged_before_their_time(make: Any) -> None:
    bench, _ = make()
    with pytest.raises(ValueError, match="604,800 seconds at least"):
        bench.sink.purge(TOMBSTONE_SECONDS - 1, deadline_at(bench.now))


def deadline_at(now: float) -> Deadline:
    return Deadline(ManualClock(now))


KEYS = {"customer_id": "00004", "order_id": "00004-0001"}
NOWHERE = {"customer_id": "2", "order_id": "2"}


@pytest.mark.parametrize("make", [sums, documents])
def test_a_repair_writes_below_the_streams_changes(make: Any) -> None:
    bench, _ = make(Table({ITEM: PLACED}))
    assert bench.repair(KEYS)["repaired"] == 1
    assert bench.repair(KEYS)["repaired"] == 0
    [holding] = bench.inspect(record(1, PLACED, SHIPPED))
    assert holding["version"] == f"0001/{LABEL}/{0:040}"
    bench.run(record(1, PLACED, SHIPPED))
    [holding] = bench.inspect(record(1, PLACED, SHIPPED))
    assert holding["version"] == holding["offered"]


@pytest.mark.parametrize("make", [sums, documents])
def test_a_copy_that_is_wrong_keeps_a_version_above_the_floor(make: Any) -> None:
    bench, _ = make(Table({ITEM: REFUNDED}))
    bench.run(record(1, None, PLACED))
    assert bench.repair(KEYS)["repaired"] == 1
    [holding] = bench.inspect(record(1, None, PLACED))
    assert holding["version"] == change(1, None, PLACED).version
    assert "refunded" in json.dumps(holding["state"])


@pytest.mark.parametrize("make", [sums, documents])
@pytest.mark.parametrize("now", [None, REFUNDED, PLACED])
def test_an_earlier_streams_backlog_does_not_undo_a_repair(make: Any, now: Any) -> None:
    """The item changed while no stream was on, or there and back; the next stream is on by now."""
    bench, _ = make(Table({ITEM: now} if now else {}))
    bench.run(record(1, None, PLACED))
    bench.repair(KEYS, stream=STREAM.replace("2024-05-01", "2024-05-02"))
    [before] = bench.inspect(record(2, PLACED, SHIPPED))
    bench.run(record(2, PLACED, SHIPPED))
    assert bench.inspect(record(2, PLACED, SHIPPED)) == [before]


@pytest.mark.parametrize("make", [sums, documents])
def test_an_older_change_does_not_undo_a_redrive(make: Any) -> None:
    bench, _ = make(Table({ITEM: REFUNDED}))
    bench.run(record(1, None, PLACED))
    assert bench.replay(record(3, SHIPPED, POISON))["failures"] == []
    bench.run(record(2, PLACED, SHIPPED))
    [holding] = bench.inspect(record(2, PLACED, SHIPPED))
    assert "refunded" in json.dumps(holding["state"])


def test_a_retained_row_is_repaired_when_its_item_returns() -> None:
    table = Table()
    bench, ledger = sums(table, Expiry.KEEP)
    bench.run(record(1, None, PLACED), record(2, PLACED, None, userIdentity=TTL_IDENTITY))
    table.items[ITEM] = POISON
    assert bench.replay(record(3, None, POISON))["failures"][0]["reason"] == "ValueError"
    table.items[ITEM] = SHIPPED
    assert bench.replay(record(3, None, POISON))["failures"] == []
    assert ledger.total("status#shipped") == {"orders": Decimal(1)}
    assert ledger.total("status#placed") == {}


@pytest.mark.parametrize("held", [[record(1, None, PLACED)], []], ids=["a row", "no row"])
def test_an_expiry_of_the_stream_before_counts_after_a_repair(held: list[Any]) -> None:
    """It waits as a dead letter while the stream is replaced, and the item is repaired."""
    table = Table({ITEM: PLACED})
    bench, ledger = sums(table, Expiry.KEEP)
    bench.run(*held)
    table.items.clear()
    later = STREAM.replace("2024-05-01", "2024-05-02")
    assert bench.repair(KEYS, stream=later)["failures"] == []
    assert ledger.total("status#placed") == {}
    expiry = record(2, PLACED, None, userIdentity=TTL_IDENTITY)
    assert bench.replay(expiry)["applied"] == 1
    assert ledger.total("status#placed") == {"orders": Decimal(1)}


def test_a_ledger_that_keeps_what_expired_is_not_purged() -> None:
    bench, _ = sums(expiry=Expiry.KEEP)
    sink: Any = bench.sink
    with pytest.raises(ValueError, match="KEEP"):
        sink.purge(TOMBSTONE_SECONDS, deadline_at(bench.now))


def test_a_large_repair_takes_two_transactions() -> None:
    def many(image: Image) -> Contribution:
        return {f"{image['status']}#{number}": {"orders": 1} for number in range(60)}

    ledger = MemoryLedger()
    bench = RepairBench(Aggregation(ledger, many), Table({ITEM: SHIPPED}))
    bench.run(record(1, None, PLACED))
    answer = bench.repair(KEYS)
    assert (answer["failures"], answer["repaired"]) == ([], 1)
    assert ledger.total("placed#0") == {}
    assert ledger.total("shipped#59") == {"orders": Decimal(1)}


def test_a_foreign_document_is_replaced() -> None:
    bench, index = documents(Table({ITEM: PLACED}))
    index.documents[ITEM] = {"title": "by hand"}
    assert bench.inspect(record(1, None, PLACED))[0]["version"] is None
    assert bench.repair(KEYS)["repaired"] == 1
    assert index.search() == {ITEM: {"status": "placed"}}


def test_one_mistake_in_all_late_repairs_makes_no_dead_letters() -> None:
    class Wrong(Table):
        def read(self, keys: Attributes) -> Image | None:
            message = "the key does not match the schema"
            raise RuntimeError(message)

    bench, _ = documents(Wrong())
    bench.now = NOON + 2 * LATE_SECONDS
    numbers = range(1, EVERYWHERE + 15)
    assert bench.run(*[record(n, None, order(f"{n:05}-1")) for n in numbers])
    assert bench.dead == []


def from_log(changed: Change, image_store: MemoryImageStore) -> Change:
    log = MemoryLog()
    ChangeLog(log, image_store).apply([changed], deadline_at(NOON))
    [entry] = log.entries.values()
    return change_from_entry(entry, image_store)


def test_without_an_image_store_the_stream_is_not_at_fault() -> None:
    """The processor lacks a setting: an old record becomes a dead letter, the shard goes on."""
    log = MemoryLog()
    large = change(1, None, order(notes="x" * 200_000))
    ChangeLog(log, MemoryImageStore()).apply([large], deadline_at(NOON))
    [entry] = log.entries.values()
    with pytest.raises(NoImageStore, match="say where to read it"):
        change_from_entry(entry).images  # noqa: B018
    assert not issubclass(NoImageStore, MissingImage)


def test_a_delete_needs_no_image() -> None:
    image_store, index = MemoryImageStore(), MemoryIndex()
    large = order(notes="x" * 200_000)
    placed = from_log(change(1, None, large), image_store)
    removed = from_log(change(2, large, None), image_store)
    sink = Search(index, document)
    assert sink.apply([placed], deadline_at(NOON)).applied == 1
    image_store.objects.clear()
    assert sink.apply([removed], deadline_at(NOON)).applied == 1
    assert index.search() == {}
    assert placed.old_image is None


@pytest.mark.parametrize(
    ("before", "after", "text", "message"),
    [
        (PLACED, SHIPPED, '{"before": {}, "after": null}', "after: expected an image, as a MODIFY"),
        (PLACED, SHIPPED, '{"before": null, "after": {}}', "before: expected an image, as a MODIF"),
        (PLACED, None, '{"before": {}, "after": {}}', "after: expected no image, as a REMOVE has"),
        (None, PLACED, '{"before": {}, "after": {}}', "before: expected no image, as a INSERT has"),
        (None, PLACED, '{"before": null, "after": "x"}', "after: expected an image, as a INSERT"),
    ],
)
def test_stored_images_match_the_kind_of_their_entry(
    before: Any, after: Any, text: str, message: str
) -> None:
    """A document would be deleted for want of the image after the change."""
    image_store = MemoryImageStore()
    large = [image and {**image, "notes": "x" * 200_000} for image in (before, after)]
    changed = from_log(change(1, *large), image_store)
    image_store.objects = dict.fromkeys(image_store.objects, text)
    with pytest.raises(MalformedRecord, match=message):
        _ = changed.images


def test_a_verification_ends_between_large_images() -> None:
    """Each takes a request to S3; the function would be killed after a page of them."""

    class Slow(MemoryImageStore):
        def read(self, name: str) -> str:
            bench.clock.sleep(5.0)
            return super().read(name)

    log, image_store = MemoryLog(), Slow()
    sink = ChangeLog(log, image_store)
    items = [order(f"{number:05}-1", notes="x" * 110_000) for number in range(20)]
    placed = [change(number, None, item) for number, item in enumerate(items)]
    sink.apply(placed, Deadline())
    bench = RepairBench(sink, Table({c.item_id: c.new_image for c in placed}))
    types = {"customer_id": "S", "order_id": "S"}
    answer = bench.ask("verify", [], of="table", keys=types)
    assert "DeadlineExceeded" in answer["problem"]
    assert bench.clock.now() - bench.now < bench.seconds


def test_an_item_that_cannot_be_repaired_is_named() -> None:
    bench, _ = sums(Table({ITEM: POISON, "orders/S=1/S=1": PLACED}))
    answer = bench.repair(KEYS, {"customer_id": "1", "order_id": "1"}, NOWHERE)
    assert (answer["repaired"], answer["gone"]) == (2, 1)
    [failure] = answer["failures"]
    assert (failure["position"], failure["item"], failure["reason"]) == (0, ITEM, "ValueError")


def test_an_item_without_a_row_is_not_counted_unless_asked_for() -> None:
    bench, ledger = sums(Table({ITEM: PLACED}))
    [failure] = bench.repair(KEYS, counts=False)["failures"]
    assert (failure["item"], failure["reason"], failure["retryable"]) == (ITEM, "RowMissing", False)
    assert (ledger.rows, ledger.totals) == ({}, {})
    assert bench.repair(NOWHERE, counts=False)["failures"] == []
    bench.run(record(1, None, PLACED))
    assert bench.repair(KEYS, counts=False)["failures"] == []


@pytest.mark.parametrize("counts", [True, False])
def test_a_repair_without_time_names_what_is_left(counts: bool) -> None:
    bench, _ = sums()
    bench.run(record(1, None, PLACED))

    def read_slowly(keys: Attributes) -> Image:
        bench.clock.sleep(60.0)
        return SHIPPED

    vars(bench.table)["read"] = read_slowly
    [first, second] = bench.repair(KEYS, NOWHERE, counts=counts)["failures"]
    assert {each["reason"] for each in (first, second)} == {"DeadlineExceeded"}


@pytest.mark.parametrize(
    ("event", "problem"),
    [
        ({"Records": [{}]}, "under Keys, got an object"),
        ({"Records": [{"Keys": as_delivered(KEYS)}, {"Keys": {"id": {"S": 1}}}]}, "id"),
        ({"Records": [{"Keys": as_delivered(KEYS)}], "streamArn": "table/orders"}, "/stream/"),
    ],
)
def test_a_repair_that_is_asked_for_wrongly_does_nothing(
    event: dict[str, Any], problem: str
) -> None:
    bench, ledger = sums(Table({ITEM: PLACED}))
    with pytest.raises(MalformedRecord, match=problem):
        bench.invoke({"operation": "repair", "streamArn": STREAM, **event})
    assert ledger.rows == {}


@pytest.mark.parametrize(
    "bench",
    [
        RepairBench(ChangeLog(MemoryLog()), Table()),
        RepairBench(Search(MemoryIndex(), document), None),
    ],
)
def test_what_cannot_be_repaired_says_so(bench: RepairBench) -> None:
    answer = bench.repair(KEYS)
    assert (answer["repairable"], answer["repaired"], answer["failures"]) == (False, 0, [])
