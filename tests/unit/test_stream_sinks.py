"""The change log and the search index: what they add to the contracts of their ports."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    MissingImage,
    RetryableError,
    Search,
    Sink,
    serialize_item,
)
from dynamodb_streams_cdc.applier import SinkApplier
from dynamodb_streams_cdc.change import UNKNOWN_TIME, by_item
from dynamodb_streams_cdc.errors import DeadlineExceeded, PermanentError
from dynamodb_streams_cdc.identity import floor_of, stream_label
from dynamodb_streams_cdc.sinks.base import Outcome
from dynamodb_streams_cdc.sinks.change_log import Inserted, replay
from dynamodb_streams_cdc.sinks.comparison import DifferenceKind
from dynamodb_streams_cdc.sinks.documents import LONG, Upsert, Upserted, encoded
from dynamodb_streams_cdc.sinks.ledger import RowUpdate
from dynamodb_streams_cdc.sinks.log_entries import (
    ENTRY_CHARACTERS,
    Entry,
    change_from_entry,
    entry_of,
)
from dynamodb_streams_cdc.testing.memory import (
    MemoryImageStore,
    MemoryIndex,
    MemoryLedger,
    MemoryLog,
)
from lambdas.example_domain.order import contributions, document
from tests.factories import NOON, STREAM, TTL_IDENTITY, ManualClock, change, deadline, order

PLACED, SHIPPED = order(), order(status="shipped")
ITEM = "orders/S=00004/S=00004-0001"
LIFE = [change(1, None, PLACED), change(2, PLACED, SHIPPED), change(3, SHIPPED, None)]


@given(st.permutations(LIFE * 2))
def test_any_order_of_deliveries_gives_the_same_history(deliveries: list[Change]) -> None:
    log = ChangeLog(MemoryLog())
    for delivered in deliveries:
        log.apply([delivered], deadline())
    assert [c.version for c in log.history(ITEM)] == [c.version for c in LIFE]


@given(st.permutations(LIFE * 2))
def test_a_deleted_item_stays_out_in_any_order(deliveries: list[Change]) -> None:
    sink = Search(index := MemoryIndex(), document)
    for delivered in deliveries:
        sink.apply([delivered], deadline())
    assert index.search() == {}


def test_the_same_record_twice_in_a_batch_is_one_entry() -> None:
    log = MemoryLog()
    outcome = ChangeLog(log).apply([LIFE[0], LIFE[0], LIFE[1]], deadline())
    assert (outcome.applied, outcome.stale, len(log.entries)) == (2, 1, 2)


def test_time_travel() -> None:
    log = ChangeLog(MemoryLog())
    log.apply(LIFE, deadline())
    noon = datetime.fromtimestamp(NOON, UTC)
    states = [log.state_at(ITEM, noon + timedelta(seconds=second)) for second in range(4)]
    assert states == [None, PLACED, SHIPPED, None]
    assert replay([]) is None
    with pytest.raises(ValueError, match="must have a time zone"):
        log.state_at(ITEM, noon.replace(tzinfo=None))


def test_time_travel_past_a_change_of_unknown_time() -> None:
    log = ChangeLog(MemoryLog())
    log.apply([LIFE[0], replace(LIFE[1], timestamp=UNKNOWN_TIME)], deadline())
    noon = datetime.fromtimestamp(NOON, UTC)
    states = [log.state_at(ITEM, noon + timedelta(seconds=second)) for second in range(3)]
    assert states == [None, SHIPPED, SHIPPED]


def test_an_entry_says_what_changed() -> None:
    entry = entry_of(LIFE[1])
    assert entry["changed"] == {"L": [{"S": "status"}]}
    assert "changed" not in entry_of(LIFE[0])
    assert "after" not in entry_of(LIFE[2])


def test_a_stream_without_both_images_cannot_be_audited() -> None:
    half = change(2, PLACED, SHIPPED, view_type="NEW_IMAGE")
    outcome = ChangeLog(MemoryLog()).apply([half, LIFE[0]], deadline())
    assert isinstance(outcome.failures[half], MissingImage)
    assert outcome.applied == 1


class DeadLog(MemoryLog):
    def insert(self, entries: Sequence[Entry], deadline: Deadline) -> Sequence[Inserted]:
        raise RetryableError(self.__class__.__name__)


class DeadIndex(MemoryIndex):
    def upsert(self, upserts: Sequence[Upsert], deadline: Deadline) -> Sequence[Upserted]:
        raise RetryableError(self.__class__.__name__)


class DeadLedger(MemoryLedger):
    def commit(self, updates: Sequence[RowUpdate], deltas: Contribution) -> None:
        raise RetryableError(self.__class__.__name__)


def test_an_outage_fails_every_change_and_drops_none() -> None:
    changes = [LIFE[0], change(9, None, order("00005-1"))]
    for sink in (ChangeLog(DeadLog()), Search(DeadIndex(), document)):
        outcome = sink.apply(changes, deadline())
        assert list(outcome.failures) == changes
        assert all(isinstance(error, RetryableError) for error in outcome.failures.values())


def taken(image: Image) -> dict[str, Any]:
    """Return a document, or a contribution, and alter the image."""
    return {"all": {"total": image.pop("total")}}


def test_a_retry_takes_the_item_as_it_was() -> None:
    """A function may alter the image that it is given: nothing of that is in the next attempt."""
    ledger, index, placed = MemoryLedger(), MemoryIndex(), change(1, None, PLACED)
    Aggregation(DeadLedger(), taken).apply([placed], deadline())
    assert Aggregation(ledger, taken).apply([placed], deadline()).applied == 1
    Search(DeadIndex(), taken).apply([placed], deadline())
    assert Search(index, taken).apply([placed], deadline()).applied == 1
    assert ledger.total("all") == {"total": PLACED["total"]}
    assert index.search()[ITEM]["all"] == {"total": str(PLACED["total"])}


@pytest.mark.parametrize(
    "sink", [Search(MemoryIndex(), document), Aggregation(MemoryLedger(), contributions)]
)
def test_a_change_without_an_outcome_is_not_stale(
    sink: Sink, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The sink drops an item's changes: they are neither applied, nor stale, nor failures."""
    module = importlib.import_module(type(sink).__module__)
    monkeypatch.setattr(module, "by_item", lambda changes: by_item(changes)[1:])
    lost, kept = LIFE[0], change(9, None, order("00005-0001"))
    outcome = sink.apply([lost, kept], deadline())
    assert (outcome.applied, outcome.stale, outcome.failures) == (1, 0, {})
    applied = SinkApplier(sink, deadline(), lambda _: True, 5).apply([lost, kept])
    assert "returned 1 outcomes for 2 changes" in caplog.text
    assert (applied.applied + applied.stale, applied.failures) == (1, {})


def test_a_sink_that_reports_failures_alone_is_applied_once() -> None:
    """Its code is wrong, not the records: nothing is repeated and nothing is a dead letter."""
    calls: list[int] = []

    class Silent:
        def apply(self, changes: Sequence[Change], deadline: Deadline) -> Outcome:
            calls.append(len(changes))
            return Outcome()

    outcome = SinkApplier(Silent(), deadline(), lambda _: True, 5).apply(LIFE)
    assert (calls, outcome.failures) == ([len(LIFE)], {})


def test_a_sink_that_uses_up_its_list_loses_no_change() -> None:
    """A change that it took from the list, and then failed on, would be neither done nor failed."""

    class Taking:
        def apply(self, changes: Sequence[Change], deadline: Deadline) -> Outcome:
            outcome = Outcome()
            while changes:
                change = cast("list[Change]", changes).pop(0)
                if change is LIFE[1]:
                    raise ValueError
                outcome.applied += 1
            return outcome

    given = list(LIFE)
    outcome = SinkApplier(Taking(), deadline(), lambda _: True, 5).apply(given)
    assert (outcome.applied, list(outcome.failures)) == (len(LIFE) - 1, [LIFE[1]])


def test_a_failure_of_a_copy_of_a_change_is_the_changes() -> None:
    """As of a sink that hides attributes from another one: the record that failed is reported."""

    class Hiding:
        def apply(self, changes: Sequence[Change], deadline: Deadline) -> Outcome:
            return Outcome(failures={replace(each): PermanentError("no") for each in changes})

    outcome = SinkApplier(Hiding(), deadline(), lambda _: True, 5).apply(LIFE)
    assert outcome.failures.keys() == set(LIFE)
    assert all("no copies of them" in str(error) for error in outcome.failures.values())


class RefusingIndex(MemoryIndex):
    """An index whose mapping fits no document."""

    def upsert(self, upserts: Sequence[Upsert], deadline: Deadline) -> Sequence[Upserted]:
        return [PermanentError("mapper_parsing_exception")] * len(upserts)


@pytest.mark.parametrize("index", [DeadIndex(), RefusingIndex()])
def test_older_changes_fail_with_the_newest(index: MemoryIndex) -> None:
    """They are not stale: the index has nothing of the item."""
    outcome = Search(index, document).apply(LIFE[:2], deadline())
    assert (set(outcome.failures), outcome.stale) == (set(LIFE[:2]), 0)


def test_an_older_change_is_written_if_the_newest_is_refused() -> None:
    """As if each had come in a batch of its own."""

    class Index(MemoryIndex):
        def upsert(self, upserts: Sequence[Upsert], deadline: Deadline) -> Sequence[Upserted]:
            return [
                PermanentError("mapper_parsing_exception")
                if each.source.get("status") == "shipped"
                else super(Index, self).upsert([each], deadline)[0]
                for each in upserts
            ]

    index = Index()
    other = change(4, None, order("00009-1"))
    outcome = Search(index, document).apply([*LIFE[:2], other], deadline())
    assert (list(outcome.failures), outcome.applied, outcome.stale) == ([LIFE[1]], 2, 0)
    assert index.search()[ITEM]["status"] == "placed"


IMAGES = {"_large_images", "old_image", "new_image"}
"""Where a change keeps images that were read from elsewhere."""


class SlowFunction:
    """A function of the domain that takes half a second, or refuses after it."""

    def __init__(self, result: Any) -> None:
        self.result = result
        self.clock = ManualClock()
        self.deadline = Deadline(self.clock, self.clock.now() + 48)

    def __call__(self, image: Image) -> Any:
        self.clock.time += 0.5
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


SLOW: dict[str, Callable[[SlowFunction], Sink]] = {
    "aggregation": lambda function: Aggregation(MemoryLedger(), function),
    "search": lambda function: Search(MemoryIndex(), function),
}


@pytest.mark.parametrize("sink", SLOW)
@pytest.mark.parametrize("result", [{"day": {"orders": 1}}, PermanentError("no total")])
def test_a_slow_function_leaves_time_to_write(sink: str, result: Any) -> None:
    """The next delivery begins with the first change that is left, or the shard stands still."""
    function = SlowFunction(result)
    changes = [*map(small, range(1, 101))]
    outcome = SLOW[sink](function).apply(changes, function.deadline)
    left = [c for c, error in outcome.failures.items() if isinstance(error, DeadlineExceeded)]
    assert 50 <= len(left) <= 55
    assert left == changes[-len(left) :]
    assert outcome.applied == (0 if isinstance(result, Exception) else 100 - len(left))
    assert function.deadline.remaining() >= 20


@pytest.mark.parametrize("sink", SLOW)
def test_a_change_takes_more_than_half_of_the_time(sink: str) -> None:
    function = SlowFunction({"day": {"orders": 1}})
    function.deadline = Deadline(function.clock, function.clock.now() + 0.6)
    outcome = SLOW[sink](function).apply([small(1), small(2)], function.deadline)
    assert (outcome.applied, len(outcome.failures)) == (1, 1)


@pytest.mark.parametrize("sink", SLOW)
def test_refused_changes_of_an_item_take_all_of_the_time(sink: str) -> None:
    """Each delivery begins with the newest: the oldest would never be tried."""
    function = SlowFunction(PermanentError("no total"))
    same = order("00001-1")
    changes = [change(number, same, same) for number in range(1, 81)]
    outcome = SLOW[sink](function).apply(changes, function.deadline)
    assert set(map(type, outcome.failures.values())) == {PermanentError}


@dataclass
class SlowStore(MemoryImageStore):
    """An image store whose requests take seconds."""

    clock: ManualClock = field(default_factory=ManualClock)
    seconds: float = 0.0
    requests: int = 0
    is_out: bool = False

    def wait(self) -> None:
        self.requests += 1
        self.clock.time += self.seconds
        if self.is_out:
            message = "the store is out"
            raise RetryableError(message)

    def read(self, name: str) -> str:
        self.wait()
        return super().read(name)

    def keep(self, name: str, text: str) -> None:
        self.wait()
        super().keep(name, text)

    @property
    def deadline(self) -> Deadline:
        return Deadline(self.clock, self.clock.now() + 48)


def large(number: int) -> Change:
    return change(number, None, order(f"{number:05}-1", note="x" * ENTRY_CHARACTERS))


def small(number: int) -> Change:
    return change(number, None, order(f"{number:05}-1"))


def test_what_was_kept_is_written_while_the_store_is_slow() -> None:
    """Half of the time is for it: the next delivery begins with the first that is left."""
    log, store = MemoryLog(), SlowStore(seconds=1.0)
    changes = [*map(large, range(1, 41)), small(50)]
    outcome = ChangeLog(log, store).apply(changes, store.deadline)
    left = [each for each in changes if each in outcome.failures]
    assert (outcome.applied, left) == (len(log.entries), changes[outcome.applied - 1 : -1])
    assert 20 <= outcome.applied <= 30
    assert {type(each) for each in outcome.failures.values()} == {DeadlineExceeded}


def test_small_changes_are_written_while_the_store_is_out() -> None:
    log, store = MemoryLog(), SlowStore(seconds=5.0, is_out=True)
    changes = [large(1), small(2), large(3), small(4)]
    outcome = ChangeLog(log, store).apply(changes, store.deadline)
    assert list(outcome.failures) == [changes[0], changes[2]]
    assert (len(log.entries), store.requests) == (2, 1)


def filled(note: str) -> Change:
    """Return a large item as a backfill reads it."""
    item = serialize_item(order(note=note * ENTRY_CHARACTERS))
    inserted = large(1)
    return replace(
        inserted,
        kind=ChangeKind.BACKFILL,
        version=floor_of("0001", stream_label(STREAM)),
        raw_keys={name: item[name] for name in inserted.keys},
        raw_new=item,
    )


def test_a_repeated_backfill_keeps_what_it_read() -> None:
    """The first one ended between the object and its entry, and the item changed since."""
    log, store = MemoryLog(), MemoryImageStore()
    first, again = filled("x"), filled("y")
    assert ChangeLog(DeadLog(), store).apply([first], deadline()).failures
    assert ChangeLog(log, store).apply([again], deadline()).applied == 1
    (entry,) = ChangeLog(log, store).history(again.item_id)
    assert entry.new_image == again.new_image


def in_the_log(store: SlowStore, changes: Sequence[Change]) -> list[Change]:
    """Return changes as a reader of the change log gets them."""
    log = MemoryLog()
    ChangeLog(log, store).apply(changes, deadline())
    return [change_from_entry(entry, store) for entry in log.entries.values()]


READERS: dict[str, Callable[[], Sink]] = {
    "aggregation": lambda: Aggregation(MemoryLedger(), contributions),
    "search": lambda: Search(MemoryIndex(), document),
}


@pytest.mark.parametrize("sink", READERS)
def test_what_was_read_is_written_while_the_store_is_slow(sink: str) -> None:
    store = SlowStore()
    changes = in_the_log(store, [*map(large, range(1, 41)), small(50)])
    store.seconds = 1.0
    outcome = READERS[sink]().apply(changes, store.deadline)
    assert 20 <= outcome.applied <= 30
    assert list(outcome.failures) == changes[outcome.applied :]


@pytest.mark.parametrize("sink", READERS)
def test_a_store_that_is_out_is_asked_once(sink: str) -> None:
    """A batch of 100 would ask for ten minutes. The older change of an item waits as well."""
    store, noted = SlowStore(), order("00002-1", note="x" * ENTRY_CHARACTERS)
    newer = change(4, order("00002-1"), noted)
    changes = in_the_log(store, [large(1), small(2), small(3), newer])
    store.seconds, store.is_out, store.requests = 5.0, True, 0
    outcome = READERS[sink]().apply(changes, store.deadline)
    assert (outcome.applied, store.requests) == (1, 1)
    assert outcome.failures.keys() == {changes[0], changes[1], changes[3]}


def test_large_images_are_held_one_at_a_time() -> None:
    store = SlowStore()
    changes = in_the_log(store, [large(1), large(2)])
    store.requests = 0
    handlers, seen = ChangeHandlers(), []
    handlers.on_insert(lambda change: seen.append(change.new_image))
    for sink in (*(make() for make in READERS.values()), handlers):
        assert sink.apply(changes, deadline()).applied == 2
        assert not [n for each in changes for n in vars(each) if n in IMAGES]
    assert (store.requests, len(seen)) == (6, 2)
    assert changes[0].new_image == large(1).new_image, "it is read again"


def test_the_image_of_a_kept_expiry_is_read_once() -> None:
    store, ledger = SlowStore(), MemoryLedger()
    noted = order(note="x" * ENTRY_CHARACTERS)
    [expired] = in_the_log(store, [change(2, noted, None, userIdentity=TTL_IDENTITY)])
    store.requests = 0
    sink = Aggregation(ledger, contributions, Expiry.KEEP)
    assert sink.apply([expired], deadline()).applied == 1
    assert ledger.rows[expired.item_id].retained
    assert store.requests == 1
    assert not IMAGES & vars(expired).keys()


def test_one_and_true_are_two_values() -> None:
    """Python takes them for equal, and so would a comparison with the table."""
    one, true = order(paid=Decimal(1)), order(paid=True)
    log, index = ChangeLog(MemoryLog()), MemoryIndex()
    shown = Search(index, lambda image: {"paid": image["paid"], "all": [{"a": image["paid"]}]})
    changes = [change(1, None, one)]
    for sink in (log, shown):
        sink.apply(changes, deadline())
        assert list(sink.compare({ITEM: one}, deadline())) == []
        [found] = sink.compare({ITEM: true}, deadline())
        assert (found.kind, "paid" in found.detail) == (DifferenceKind.WRONG, True)
    assert shown.repair(ITEM, lambda: true, deadline())
    assert index.search()[ITEM] == {"paid": True, "all": [{"a": True}]}
    assert index.search()[ITEM]["paid"] is True


def test_two_entries_of_one_key_fail_together() -> None:
    changes = [change(1, None, PLACED), change(1, None, PLACED)]
    outcome = ChangeLog(DeadLog()).apply(changes, deadline())
    assert (list(outcome.failures), outcome.stale) == (changes, 0)


def test_older_changes_wait_for_the_ledger_too() -> None:
    """A batch that the ledger does not take leaves nothing done, and nothing stale."""
    outcome = Aggregation(DeadLedger(), contributions).apply(LIFE[:2], deadline())
    assert (set(outcome.failures), outcome.stale) == (set(LIFE[:2]), 0)


def test_only_the_newest_change_of_an_item_is_sent_to_the_index() -> None:
    index = MemoryIndex()
    outcome = Search(index, document).apply(LIFE[:2], deadline())
    assert (outcome.applied, outcome.stale) == (1, 1)
    assert index.search()[ITEM]["status"] == "shipped"


def test_an_item_may_be_kept_out_of_the_index() -> None:
    index = MemoryIndex()
    sink = Search(index, lambda image: None if image["status"] == "shipped" else {"a": 1})
    sink.apply([LIFE[0]], deadline())
    assert index.search() == {ITEM: {"a": 1}}
    sink.apply([LIFE[1]], deadline())
    assert index.search() == {}
    assert index.documents[ITEM]["cdc"]["deleted"]


def test_the_result_does_not_depend_on_the_batches() -> None:
    poison = change(2, PLACED, order(status="?"))
    for batches in ([[LIFE[0], poison]], [[LIFE[0]], [poison]], [[poison], [LIFE[0]]]):
        index, ledger = MemoryIndex(), MemoryLedger()
        for batch in batches:
            for sink in (Search(index, document), Aggregation(ledger, contributions)):
                outcome = sink.apply(batch, deadline())
                failed = list(outcome.failures)
                assert failed == ([poison] if poison in batch else [])
                assert outcome.applied + outcome.stale + len(failed) == len(batch)
        assert index.search()[ITEM]["status"] == "placed"
        assert ledger.total("status#placed") == {"orders": 1}


@pytest.mark.parametrize("returned", ["x", "", [], [1], 5])
def test_a_document_of_another_form_is_poison(returned: Any) -> None:
    """Text raised an unexpected error, so the shard waited. An empty list became a document."""
    outcome = Search(MemoryIndex(), lambda image: returned).apply([LIFE[0]], deadline())
    failure = outcome.failures[LIFE[0]]
    assert isinstance(failure, PermanentError)
    assert "`document` must return {field: value}, or None; got" in str(failure)


def test_a_field_that_no_document_holds_is_named() -> None:
    fields = {"name": "a", "size": {"weight": 1.5}}
    outcome = Search(MemoryIndex(), lambda image: fields).apply([LIFE[0]], deadline())
    failure = str(outcome.failures[LIFE[0]])
    assert failure == "field 'size': a document cannot hold a float, use Decimal"


@pytest.mark.parametrize("name", ["cdc", "cdc.deleted", "cdc.written_at"])
def test_the_field_of_the_sink_is_its_own(name: str) -> None:
    """OpenSearch reads a dot as the way into an object."""
    outcome = Search(MemoryIndex(), lambda image: {name: 1}).apply([LIFE[0]], deadline())
    assert "belongs to the sink" in str(outcome.failures[LIFE[0]])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal("29.30"), "29.30"),
        (Decimal("12345678901234567890.123456789"), "12345678901234567890.123456789"),
        (Decimal("1E+3"), 1000),
        (Decimal("1E-7"), "0.0000001"),
        (Decimal(2**63), str(2**63)),
        (LONG - 1, LONG - 1),
        (-LONG, -LONG),
        (LONG, str(LONG)),
        (True, True),
        (b"\x00\xff", "AP8="),
        ({"b", "a"}, ["a", "b"]),
        ((1, None), [1, None]),
        ({"a": {"b": Decimal("0.5")}}, {"a": {"b": "0.5"}}),
    ],
)
def test_documents_are_encoded_without_loss(value: Any, expected: Any) -> None:
    assert encoded(value) == expected
    assert type(encoded(value)) is type(expected)


@pytest.mark.parametrize("value", [1.5, object()])
def test_what_no_item_holds_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="a document cannot hold a"):
        encoded(value)
