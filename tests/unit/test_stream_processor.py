"""What becomes of a change, by what went wrong with it."""

import logging
import re
from typing import Any

import pytest

from dynamodb_streams_cdc import (
    Aggregation,
    Change,
    ChangeHandlers,
    MalformedRecord,
    MissingImage,
    PermanentError,
    Processor,
    RetryableError,
)
from dynamodb_streams_cdc.change import Image
from dynamodb_streams_cdc.dead_letters import DeadLetter
from dynamodb_streams_cdc.deadline import RESERVE_SECONDS
from dynamodb_streams_cdc.errors import (
    AccessDeniedError,
    BlockedByEarlierFailure,
    DeadlineExceeded,
    MisconfiguredError,
)
from dynamodb_streams_cdc.guards.breaker import Breaker
from dynamodb_streams_cdc.metrics import Counts
from dynamodb_streams_cdc.names import LogEvent
from dynamodb_streams_cdc.processor import EVERYWHERE
from dynamodb_streams_cdc.sinks.contributions import Contribution
from dynamodb_streams_cdc.sinks.log_entries import change_from_log_record, entry_of
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters, MemoryLedger
from tests.factories import (
    NOON,
    SOURCE,
    FakeContext,
    ManualClock,
    Speechless,
    change,
    order,
    record,
)
from tests.unit.bench import OLD, YOUNG, Bench, Picky, raising, sequence


def insert(number: int, item: int | None = None) -> dict[str, Any]:
    """Return the record of an order placed; `item` gives several records one item."""
    item = number if item is None else item
    return record(number, None, order(f"{item:05}-1"), timestamp=NOON)


def test_an_empty_batch_is_fine() -> None:
    assert Bench(Picky()).run() == []


@pytest.mark.parametrize("event", [{}, [], "text", None, {"Records": {}}, {"records": []}])
def test_an_event_without_a_batch_is_refused(event: Any) -> None:
    processor = Processor("audit", SOURCE, Picky(), MemoryDeadLetters())
    with pytest.raises(MalformedRecord, match="a list under Records"):
        processor(event, FakeContext(ManualClock()))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"source": "orders"}, "source of processor 'mail' must be a Source; got str"),
        ({"sink": print}, "sink of processor 'mail' must be a sink"),
        ({"dead_letters": None}, "dead_letters of processor 'mail' must be a store"),
    ],
)
def test_an_argument_of_another_kind_is_refused(given: dict[str, Any], told: str) -> None:
    right: dict[str, Any] = {
        "source": SOURCE,
        "sink": Picky(),
        "dead_letters": MemoryDeadLetters(),
    }
    with pytest.raises(TypeError, match=told):
        Processor("mail", **{**right, **given})


def test_a_permanent_failure_is_a_dead_letter() -> None:
    sink = Picky(raising(PermanentError("no such field", "mapper_parsing_exception"), 3))
    bench = Bench(sink)
    assert bench.run(*map(insert, range(1, 6))) == []
    assert sorted(sink.applied) == [sequence(number) for number in (1, 2, 4, 5)]
    [dead_letter] = bench.dead
    assert dead_letter.reason == "mapper_parsing_exception"
    assert dead_letter.record == insert(3)
    assert bench.counts[0].dead_lettered == 1


class OfItsOwn(PermanentError):
    def __init__(self, order_id: str) -> None:
        self.order_id = order_id


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OfItsOwn("7"), "OfItsOwn"),
        (PermanentError("no", 7), "PermanentError"),  # type: ignore[arg-type]
        (Speechless(7), "Speechless"),
    ],
)
def test_an_error_without_reason_or_text_is_a_dead_letter(error: Exception, reason: str) -> None:
    """The invocation would fail otherwise, and every record of the batch with it."""
    bench = Bench(Picky(raising(error, 2)), now=OLD)
    assert bench.run(*map(insert, range(1, 4))) == []
    [dead_letter] = bench.dead
    part = dead_letter.envelope()["dead_letter"]
    assert part["reason"] == reason
    assert part["error"]


class Refused(Speechless, AccessDeniedError):
    pass


def test_a_refusal_without_a_text_is_reported() -> None:
    """The invocation would fail otherwise, and the alarm that names the cause stay silent."""
    bench = Bench(Picky(raising(Refused(7), 2)))
    assert bench.run(*map(insert, range(1, 4))) == [sequence(1)]
    assert bench.counts[0].access_denied == 1


def test_a_wrong_setup_is_reported_at_once() -> None:
    """Its log line says what a person has to do; repeats would hold it back until the deadline."""
    refused = MisconfiguredError("the index cannot be created: no handler for type [keywrod]")
    bench = Bench(Picky(raising(refused, 2)))
    assert bench.run(*map(insert, range(1, 4))) == [sequence(1)]
    assert bench.clock.slept == []
    assert bench.counts[0].access_denied == 0
    assert bench.dead == []


def test_error_types_of_a_validator_can_be_permanent() -> None:
    bench = Bench(Picky(raising(ZeroDivisionError(), 1)))
    bench.options = {"permanent": (ZeroDivisionError,)}
    assert bench.run(insert(1), insert(2)) == []
    assert [dead_letter.record for dead_letter in bench.dead] == [insert(1)]


@pytest.mark.parametrize("bad", ["text", None, {}, {"dynamodb": {}}, {"eventID": "x"}])
def test_an_unreadable_record_is_a_dead_letter(bad: Any) -> None:
    sink = Picky()
    bench = Bench(sink)
    assert bench.run(insert(1), bad, insert(2)) == []
    assert sink.applied == [sequence(1), sequence(2)]
    [dead_letter] = bench.dead
    assert dead_letter.reason == "MalformedRecord"
    assert dead_letter.name.startswith("unreadable/")
    assert dead_letter.record == (bad if isinstance(bad, dict) else {"unreadable": bad})


def spoilt(number: int, **fields: Any) -> dict[str, Any]:
    """Return a record with other fields; a field that is None is absent."""
    body = insert(number)
    for name, value in fields.items():
        holder = body if name in body else body["dynamodb"]
        holder[name] = value
        if value is None:
            del holder[name]
    return body


SOURCE_FAULTS: list[dict[str, Any]] = [
    {"eventSourceARN": "arn:aws:dynamodb:us-east-1:000000000000:table/orders"},
    {"eventSourceARN": None},
    {"ApproximateCreationDateTime": "2024-05-01T12:00:00Z"},
    {"ApproximateCreationDateTime": NOON * 1000},
    {"StreamViewType": "ALL"},
]


@pytest.mark.parametrize("now", [YOUNG, OLD])
@pytest.mark.parametrize("fields", SOURCE_FAULTS)
def test_a_fault_that_all_records_share_is_the_sources(
    fields: dict[str, Any], now: float, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(Picky(), now=now)
    assert bench.run(*(spoilt(number, **fields) for number in (1, 2, 3))) == [sequence(1)]
    assert bench.dead == []
    assert bench.counts == [Counts(received=3, reported=3)]
    [error] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert f"malformed {next(iter(fields))}" in error.getMessage()


@pytest.mark.parametrize("fields", SOURCE_FAULTS)
def test_one_malformed_record_among_good_ones_is_a_dead_letter(fields: dict[str, Any]) -> None:
    sink = Picky()
    bench = Bench(sink)
    assert bench.run(insert(1), spoilt(2, **fields), insert(3)) == []
    assert sink.applied == [sequence(1), sequence(3)]
    assert bench.reasons == ["MalformedSource"]


@pytest.mark.parametrize("fields", SOURCE_FAULTS)
def test_a_lone_malformed_record_holds_its_shard_while_young(fields: dict[str, Any]) -> None:
    bench = Bench(Picky())
    assert bench.run(spoilt(1, **fields)) == [sequence(1)]
    assert bench.dead == []
    bench = Bench(Picky(), now=OLD)
    assert bench.run(spoilt(1, **fields)) == []
    assert len(bench.dead) == 1


def test_a_lone_record_of_unreadable_age_is_a_dead_letter() -> None:
    bench = Bench(Picky())
    assert bench.run(spoilt(1, ApproximateCreationDateTime="yesterday")) == []
    assert len(bench.dead) == 1


def test_records_with_different_faults_are_dead_letters() -> None:
    bench = Bench(Picky())
    assert bench.run(spoilt(1, eventSourceARN=None), spoilt(2, StreamViewType="ALL")) == []
    assert len(bench.dead) == 2


def test_records_without_a_time_are_applied() -> None:
    sink = Picky()
    bench = Bench(sink)
    assert bench.run(*(spoilt(n, ApproximateCreationDateTime=None) for n in (1, 2))) == []
    assert sink.applied == [sequence(1), sequence(2)]


def test_a_dead_letter_of_unknown_time_tells_no_arrival() -> None:
    bench = Bench(Picky(raising(PermanentError("no"), 1)))
    assert bench.run(spoilt(1, ApproximateCreationDateTime=None)) == []
    [dead_letter] = bench.dead
    assert dead_letter.envelope()["DDBStreamBatchInfo"]["approximateArrivalOfFirstRecord"] is None


def test_an_outage_is_retried_until_the_deadline() -> None:
    sink = Picky(raising(RetryableError("connection refused"), 2))
    bench = Bench(sink, now=OLD)
    assert bench.run(insert(1), insert(2)) == [sequence(1)]
    assert len(sink.calls) > 5
    assert bench.dead == []
    assert bench.clock.now() <= OLD + 60 - RESERVE_SECONDS


def test_an_outage_that_ends_costs_only_time() -> None:
    calls = iter([RetryableError("throttled"), RetryableError("throttled"), None])
    bench = Bench(Picky(lambda change: next(calls, None)))
    assert bench.run(insert(1)) == []
    assert len(bench.clock.slept) == 2


def test_a_sink_of_ones_own_gets_the_item_as_it_was() -> None:
    """A function may alter the keys and the image: a retry, or a half, takes none of that."""
    troubles = iter([RetryableError("throttled"), None, ValueError("two at a time")])
    taken: list[str] = []

    def take(change: Change) -> Exception | None:
        taken.append((change.new_image or {}).pop("status"))
        taken.extend(change.keys)
        change.keys.clear()
        return next(troubles, None)

    bench = Bench(Picky(take))
    assert bench.run(insert(1), insert(2)) == []
    assert taken == [order()["status"], "customer_id", "order_id"] * 5


def test_a_young_unexpected_failure_is_reported() -> None:
    sink = Picky(raising(KeyError("surprise"), 6))
    bench = Bench(sink, now=YOUNG)
    assert bench.run(*map(insert, range(1, 9))) == [sequence(6)]
    assert sorted(sink.applied) == [sequence(number) for number in (1, 2, 3, 4, 5, 7, 8)]
    assert bench.dead == []


def test_an_old_unexpected_failure_is_a_dead_letter() -> None:
    bench = Bench(Picky(raising(KeyError("surprise"), 6)), now=OLD)
    assert bench.run(*map(insert, range(1, 9))) == []
    assert [dead_letter.record for dead_letter in bench.dead] == [insert(6)]


def test_five_items_with_one_error_are_not_dead_letters() -> None:
    sink = Picky(lambda change: KeyError(change.item_id))
    bench = Bench(sink, now=OLD)
    assert bench.run(*map(insert, range(1, 101))) == [sequence(1)]
    assert bench.dead == []
    assert len(sink.calls) < 20


def test_four_items_are_dead_letters_each() -> None:
    bench = Bench(Picky(raising(KeyError("surprise"), 1, 2, 3, 4)), now=OLD)
    assert bench.run(*map(insert, range(1, 20))) == []
    assert len(bench.dead) == 4


def test_without_time_the_first_change_not_taken_up_is_reported() -> None:
    done: list[str] = []
    bench = Bench(handlers := ChangeHandlers(), seconds=18)

    @handlers.on_insert
    def slow(change: Change) -> None:
        done.append(change.sequence_number)
        bench.clock.sleep(3)

    assert bench.run(*map(insert, range(1, 9))) == [sequence(4)]
    assert done == [sequence(1), sequence(2), sequence(3)]
    assert bench.dead == []


class BrokenDeadLetters:
    def write(self, dead_letter: DeadLetter) -> bool:
        message = "the bucket is gone"
        raise RetryableError(message)


def test_an_unwritten_dead_letter_is_reported() -> None:
    sink = Picky(raising(PermanentError("poison"), 3))
    bench = Bench(sink, dead_letters=BrokenDeadLetters())
    assert bench.run(*map(insert, range(1, 6))) == [sequence(3)]
    assert bench.counts[0].dead_lettered == 0


def test_an_unnamed_record_fails_the_whole_batch() -> None:
    bench = Bench(Picky(), dead_letters=BrokenDeadLetters())
    assert bench.run(insert(1), {"no": "number"}, insert(2)) == [""]


def test_the_earliest_failure_is_reported_by_its_number() -> None:
    bench = Bench(Picky(raising(KeyError("surprise"), 4, 2)))
    first = [insert(number) for number in range(1, 6)]
    assert bench.run(*first) == [first[1]["dynamodb"]["SequenceNumber"]]


def test_redelivery_makes_no_second_dead_letter() -> None:
    bench = Bench(Picky(raising(PermanentError("poison"), 1)))
    bench.run(insert(1))
    before = bench.dead
    bench.run(insert(1))
    assert bench.dead == before
    assert [counts.dead_lettered for counts in bench.counts] == [1, 0]


def test_handlers_get_changes_by_kind() -> None:
    handlers = ChangeHandlers()
    seen: list[str] = []
    handlers.on_insert(lambda change: seen.append(f"+{change.keys['order_id']}"))
    handlers.on_remove(lambda change: seen.append(f"-{change.keys['order_id']}"))
    first, second = order("00001-1"), order("00001-1", status="shipped")
    records = [record(1, None, first), record(2, first, second), record(3, second, None)]
    assert Bench(handlers).run(*records) == []
    assert seen == ["+00001-1", "-00001-1"]


def test_a_kind_has_one_handler() -> None:
    handlers = ChangeHandlers()
    handlers.on_insert(print)
    with pytest.raises(ValueError, match="a handler for INSERT already"):
        handlers.on_insert(print)


def blocked_bench(error: Exception) -> tuple[Bench, list[str]]:
    handlers = ChangeHandlers()
    done: list[str] = []

    @handlers.on_insert
    def effect(change: Change) -> None:
        if change.sequence_number == sequence(2):
            raise error
        done.append(change.sequence_number)

    return Bench(handlers), done


def test_a_failed_item_blocks_only_its_later_changes() -> None:
    bench, done = blocked_bench(KeyError("surprise"))
    reported = bench.run(insert(1), insert(2, item=7), insert(3, item=7), insert(4))
    assert reported == [sequence(2)]
    assert done == [sequence(1), sequence(4)]


def test_a_dead_letter_lets_later_changes_of_its_item_go_on() -> None:
    bench, done = blocked_bench(PermanentError("poison"))
    assert bench.run(insert(1), insert(2, item=7), insert(3, item=7), insert(4)) == []
    assert sorted(done) == [sequence(1), sequence(3), sequence(4)]
    assert len(bench.dead) == 1


def test_a_dead_letter_that_failed_keeps_holding_back_its_item() -> None:
    bench, done = blocked_bench(PermanentError("poison"))
    bench.dead_letters = BrokenDeadLetters()
    assert bench.run(insert(1), insert(2, item=7), insert(3, item=7)) == [sequence(2)]
    assert done == [sequence(1)]


def test_a_retried_change_goes_before_those_held_back_behind_it() -> None:
    handlers = ChangeHandlers()
    done: list[str] = []
    troubles = iter([RetryableError("throttled")])

    @handlers.on_insert
    def effect(change: Change) -> None:
        if change.sequence_number == sequence(2) and (trouble := next(troubles, None)):
            raise trouble
        done.append(change.sequence_number)

    assert Bench(handlers).run(insert(1), insert(2, item=7), insert(3, item=7), insert(4)) == []
    assert done == [sequence(number) for number in (1, 4, 2, 3)]


def test_a_report_is_logged_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Bench(Picky(raising(KeyError("surprise"), 2))).run(insert(1), insert(2))
    assert f"1 of 2 records are not done, the first is {sequence(2)}: KeyError" in caplog.text
    assert re.search(r"KeyError at bench\.py:\d+ of orders/S=", caplog.text)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermanentError("failed to parse 'anna'", "mapper_parsing_exception"), "mapper_parsing_"),
        (ValueError("no number: 'anna'"), "ValueError at"),
        (RetryableError("throttled"), "RetryableError('throttled')"),
    ],
)
def test_a_log_quotes_no_value(
    error: Exception, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It outlives the erasure of a person; the dead letter, which has the text, does not."""
    with caplog.at_level(logging.DEBUG):
        for breaker in (None, Breaker(share=0.0, least=1)):
            bench = Bench(Picky(raising(error, 1)))
            bench.options = {} if breaker is None else {"breaker": breaker}
            bench.run(insert(1))
    assert told in caplog.text
    assert "anna" not in caplog.text


def test_a_function_of_an_item_is_named_by_its_line(caplog: pytest.LogCaptureFixture) -> None:
    """Its error quotes the attribute that it cannot read."""

    def contributions(image: Image) -> Contribution:
        return {"all": {"revenue": int(image["status"])}}

    bench = Bench(Aggregation(MemoryLedger(), contributions))
    bench.options = {"breaker": Breaker(share=0.0, least=1)}
    assert bench.run(insert(1)) == [sequence(1)]
    assert re.search(r"ValueError at test_stream_processor\.py:\d+ of orders", caplog.text)
    assert order()["status"] not in caplog.text


def test_patience_is_measured_by_the_record_that_was_delivered() -> None:
    """Behind the change log an old change arrives in a young record."""
    entry = entry_of(change(7, None, order()))
    young = insert(1)
    young["dynamodb"] |= {"NewImage": entry, "ApproximateCreationDateTime": OLD - 1}
    bench = Bench(Picky(lambda change: KeyError("surprise")), now=OLD)
    bench.options = {"read": change_from_log_record}
    assert bench.run(young) == [sequence(1)]
    assert bench.dead == []


def test_a_change_blocked_without_reason_is_reported() -> None:
    sink = Picky(lambda change: BlockedByEarlierFailure("no reason"))
    assert Bench(sink).run(insert(1)) == [sequence(1)]
    assert len(sink.calls) == 1


@pytest.mark.parametrize("records", [1, EVERYWHERE - 1, 10])
def test_a_stream_without_the_image_blocks_its_shard(
    records: int, caplog: pytest.LogCaptureFixture
) -> None:
    sink = Picky(lambda change: MissingImage("KEYS_ONLY"))
    bench = Bench(sink, now=OLD)
    assert bench.run(*map(insert, range(1, records + 1))) == [sequence(1)]
    assert bench.dead == []
    [error] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert "the stream is at fault" in error.getMessage()
    assert vars(error)["event"] == LogEvent.SOURCE_AT_FAULT


def test_who_calls_a_missing_image_permanent_gets_dead_letters(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench(Picky(lambda change: MissingImage("KEYS_ONLY")))
    bench.options = {"permanent": (MissingImage,)}
    assert bench.run(insert(1)) == []
    assert len(bench.dead) == 1
    assert "the stream is at fault" not in caplog.text


@pytest.mark.parametrize("permanent", [(), (Exception,)])
def test_out_of_time_is_never_a_dead_letter(permanent: tuple[type[Exception], ...]) -> None:
    bench = Bench(Picky(raising(DeadlineExceeded("no time"), 1)), now=OLD)
    bench.options = {"permanent": permanent}
    assert bench.run(insert(1), insert(2)) == [sequence(1)]
    assert bench.dead == []
