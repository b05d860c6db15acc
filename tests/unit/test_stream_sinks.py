"""The change log and the search index: what they add to the contracts of their ports."""

import importlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_streams_cdc import (
    Aggregation,
    Change,
    ChangeLog,
    Contribution,
    Deadline,
    MissingImage,
    Once,
    RetryableError,
    Search,
    Sink,
)
from dynamodb_streams_cdc.applier import SinkApplier
from dynamodb_streams_cdc.change import UNKNOWN_TIME, by_item
from dynamodb_streams_cdc.errors import PermanentError
from dynamodb_streams_cdc.sinks.base import Outcome
from dynamodb_streams_cdc.sinks.change_log import Inserted, replay
from dynamodb_streams_cdc.sinks.documents import LONG, Upsert, Upserted, encoded
from dynamodb_streams_cdc.sinks.ledger import RowUpdate
from dynamodb_streams_cdc.sinks.log_entries import Entry, entry_of
from dynamodb_streams_cdc.testing.memory import (
    MemoryIdempotencyStore,
    MemoryIndex,
    MemoryLedger,
    MemoryLog,
)
from lambdas.example_domain.order import contributions, document
from tests.factories import NOON, change, deadline, order

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


class RefusingIndex(MemoryIndex):
    """An index whose mapping fits no document."""

    def upsert(self, upserts: Sequence[Upsert], deadline: Deadline) -> Sequence[Upserted]:
        return [PermanentError("mapper_parsing_exception")] * len(upserts)


@pytest.mark.parametrize("index", [DeadIndex(), RefusingIndex()])
def test_older_changes_fail_with_the_newest(index: MemoryIndex) -> None:
    """They are not stale: the index has nothing of the item."""
    outcome = Search(index, document).apply(LIFE[:2], deadline())
    assert (set(outcome.failures), outcome.stale) == (set(LIFE[:2]), 0)


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


def test_an_invalid_order_fails_alone() -> None:
    bad = change(7, None, order("00009-1", status="?"))
    index = MemoryIndex()
    outcome = Search(index, document).apply([bad, LIFE[0]], deadline())
    assert (list(outcome.failures), outcome.applied) == ([bad], 1)


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


def test_the_field_of_the_sink_is_its_own() -> None:
    outcome = Search(MemoryIndex(), lambda image: {"cdc": 1}).apply([LIFE[0]], deadline())
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


def test_a_crash_before_the_marker_repeats_the_effect() -> None:
    class Crash(BaseException):
        pass

    class CrashingIdempotencyStore(MemoryIdempotencyStore):
        def mark(self, key: str, keep_seconds: int) -> None:
            raise Crash

    sent: list[str] = []
    with pytest.raises(Crash):
        Once(CrashingIdempotencyStore(), "mail").run(LIFE[0], lambda: sent.append("mail"))
    Once(MemoryIdempotencyStore(), "mail").run(LIFE[0], lambda: sent.append("mail"))
    assert sent == ["mail", "mail"]
