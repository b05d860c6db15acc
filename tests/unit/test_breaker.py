"""Errors of one image are the record's, errors of most images are the code's."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import ValidationError

from dynamodb_streams_cdc import (
    Aggregation,
    Change,
    Deadline,
    Outcome,
    PermanentError,
    Processor,
    RetryableError,
    Search,
    Sink,
)
from dynamodb_streams_cdc.guards.breaker import LEAST, MANY, WINDOW, Breaker
from dynamodb_streams_cdc.metrics import Counts
from dynamodb_streams_cdc.processor import YOUNG_SECONDS
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters, MemoryIndex, MemoryLedger
from lambdas.example_domain.order import Order, contributions, document
from tests.factories import NOON, SOURCE, FakeContext, ManualClock, order, record

YOUNG = NOON + 60.0
OLD = NOON + YOUNG_SECONDS + 60.0

# https://github.com/pydantic/pydantic-extra-types/issues/404: `astimezone` leaves the calendar.
BEYOND_THE_CALENDAR = ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"]


def placed(number: int, **others: Any) -> dict[str, Any]:
    body = record(number, None, order(f"{number:05}-1", **others), timestamp=NOON)
    assert isinstance(body, dict)
    return body


def sequence(number: int) -> str:
    return f"{number}00000000003126276362"


def malformed(number: int, time: object = float(NOON)) -> dict[str, Any]:
    body = placed(number)
    body["dynamodb"] |= {"Keys": {}, "ApproximateCreationDateTime": time}
    return body


class Picky:
    """Raises for the image of one order after another what `verdict` says of its number."""

    def __init__(self, verdict: Callable[[int], Exception | None]) -> None:
        self.verdict = verdict

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Outcome:
        outcome = Outcome()
        for change in changes:
            error = self.verdict(int(change.keys["customer_id"]))
            if error is None:
                outcome.applied += 1
            else:
                outcome.failures[change] = error
        return outcome


def refusing(numbers: Iterable[int], error: Exception | None = None) -> Picky:
    doomed, raised = set(numbers), error or PermanentError("no such field", "mapping")
    return Picky(lambda number: raised if number in doomed else None)


@dataclass
class Instance:
    """A warm function instance, on a clock moved by hand."""

    sink: Sink
    now: float = YOUNG
    breaker: Breaker = field(default_factory=Breaker)

    def __post_init__(self) -> None:
        self.dead_letters = MemoryDeadLetters()
        self.counts = Counts()
        self.clock = ManualClock()
        self.processor = Processor(
            "search",
            SOURCE,
            self.sink,
            self.dead_letters,
            metrics=self,
            clock=self.clock,
            breaker=self.breaker,
        )

    def emit(self, counts: Counts) -> None:
        self.counts = counts

    def run(self, *records: Any) -> list[str]:
        self.clock.time = self.now
        response = self.processor({"Records": list(records)}, FakeContext(self.clock))
        return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]

    def place(self, numbers: Iterable[int], **others: Any) -> list[str]:
        return self.run(*(placed(number, **others) for number in numbers))

    @property
    def dead(self) -> int:
        return len(self.dead_letters.dead_letters)


class TestErrorsOfAnImage:
    @pytest.mark.parametrize("moment", BEYOND_THE_CALENDAR)
    def test_a_moment_beyond_the_calendar_is_not_an_order(self, moment: str) -> None:
        with pytest.raises(ValidationError, match="outside the years 1 to 9999"):
            Order.of(order(placed_at=moment))

    @pytest.mark.parametrize("error", [OverflowError, KeyError, RecursionError, TypeError])
    @pytest.mark.parametrize("make", ["sums", "documents"])
    def test_what_a_pure_function_raises_is_permanent(
        self, make: str, error: type[Exception]
    ) -> None:
        def picky(image: dict[str, Any]) -> dict[str, Any]:
            if image["customer_id"] <= "00006":
                raise error
            return {"status": {"orders": 1}}

        sinks: dict[str, Sink] = {
            "sums": Aggregation(MemoryLedger(), picky),
            "documents": Search(MemoryIndex(), picky),
        }
        instance = Instance(sinks[make])
        assert instance.place(range(1, 37)) == []
        assert [
            dead_letter.reason for dead_letter in instance.dead_letters.dead_letters.values()
        ] == [error.__name__] * 6
        assert instance.counts.applied == 30

    @pytest.mark.parametrize(
        "sink",
        [
            Aggregation(MemoryLedger(), lambda image: {"month": {"revenue": 0.5}}),  # type: ignore[dict-item]
            Search(MemoryIndex(), lambda image: {"total": object()}),
            Search(MemoryIndex(), lambda image: {"cdc": 1}),
        ],
        ids=["float", "object", "cdc"],
    )
    def test_a_result_that_no_sink_takes_is_permanent(self, sink: Sink) -> None:
        instance = Instance(sink)
        assert instance.place([1]) == []
        assert [
            dead_letter.reason for dead_letter in instance.dead_letters.dead_letters.values()
        ] == ["TypeError"]

    @pytest.mark.parametrize(
        "error", [RetryableError("no network"), MemoryError(), OSError("full")]
    )
    def test_what_is_not_the_images_fault_stays_what_it_is(self, error: Exception) -> None:
        def failing(image: dict[str, Any]) -> dict[str, Any]:
            raise error

        instance = Instance(Search(MemoryIndex(), failing))
        assert instance.place([1]) == [sequence(1)]
        assert instance.dead == 0

    @pytest.mark.parametrize("now", [YOUNG, OLD])
    @pytest.mark.parametrize("make", ["sums", "documents"])
    def test_a_bug_that_was_deployed_stops_the_shard(self, make: str, now: float) -> None:
        def buggy(image: dict[str, Any]) -> dict[str, Any]:
            return {"status": {image["state"]: 1}}

        sinks: dict[str, Sink] = {
            "sums": Aggregation(MemoryLedger(), buggy),
            "documents": Search(MemoryIndex(), buggy),
        }
        instance = Instance(sinks[make], now)
        assert instance.place(range(1, 101)) == [sequence(1)]
        assert instance.dead == 0
        assert instance.counts == Counts(received=100, reported=100, breaker_open=1)

    def test_the_deployment_that_fixes_it_lets_the_shard_go_on(self) -> None:
        ledger = MemoryLedger()
        buggy = Instance(Aggregation(ledger, lambda image: image["state"]))
        assert buggy.place(range(1, 101))
        fixed = Instance(Aggregation(ledger, contributions))
        assert fixed.place(range(1, 101)) == []
        assert ledger.total("status#placed") == {"orders": 100}

    def test_five_such_orders_block_no_other_order(self) -> None:
        instance = Instance(Search(index := MemoryIndex(), document))
        bad = [placed(number, placed_at=BEYOND_THE_CALENDAR[0]) for number in range(1, 7)]
        assert instance.run(*bad, *map(placed, range(7, 37))) == []
        assert (instance.dead, len(index.search())) == (6, 30)


class TestTheBreaker:
    def test_poison_among_healthy_records_passes(self) -> None:
        instance = Instance(refusing([50]))
        assert instance.place(range(1, 101)) == []
        assert (instance.dead, instance.counts.breaker_open) == (1, 0)

    def test_half_of_a_batch_passes_and_more_does_not(self) -> None:
        half = Instance(refusing(range(1, 51)))
        assert half.place(range(1, 101)) == []
        assert half.dead == 50
        more = Instance(refusing(range(1, 52)))
        assert more.place(range(1, 101)) == [sequence(1)]
        assert (more.dead, more.counts.applied) == (0, 49)

    def test_records_that_fail_for_different_reasons_pass(self) -> None:
        instance = Instance(Picky(lambda number: PermanentError("poison", f"reason {number % 3}")))
        assert instance.place(range(1, 31)) == []
        assert instance.dead == 30

    def test_small_batches_open_it_together(self) -> None:
        instance = Instance(refusing(range(1, 100)))
        answers = [instance.place([number]) for number in range(1, LEAST + 3)]
        assert answers == [[]] * (LEAST - 1) + [[sequence(n)] for n in range(LEAST, LEAST + 3)]
        assert instance.dead == LEAST - 1

    def test_a_batch_that_comes_again_counts_once(self) -> None:
        instance = Instance(refusing(range(1, LEAST)))
        for _ in range(10):
            assert instance.place(range(1, LEAST)) == []
        assert instance.breaker.failing("mapping") == (LEAST - 1, LEAST - 1)

    def test_a_held_batch_goes_on_with_a_deployment(self) -> None:
        """Lambda delivers it as it is: no healthy record joins it."""
        held = Instance(refusing(range(1, 31)))
        for _ in range(3):
            assert held.place(range(1, 31)) == [sequence(1)]
        assert Instance(refusing([])).place(range(1, 31)) == []

    def test_a_failing_batch_is_held_after_healthy_ones(self) -> None:
        cold, warm = Instance(refusing(range(1, 31))), Instance(refusing(range(1, 31)))
        assert warm.place(range(101, 201)) == []
        assert cold.place(range(1, 31)) == warm.place(range(1, 31)) == [sequence(1)]
        assert (cold.dead, warm.dead) == (0, 0)

    def test_items_that_are_corrected_in_the_same_batch_close_it(self) -> None:
        sink = Search(index := MemoryIndex(), document)
        instance = Instance(sink)
        bad = [placed(number, status="lost") for number in range(1, 7)]
        assert instance.run(*bad) == [sequence(1)]
        good = [
            record(number + 10, order(f"{number:05}-1", status="lost"), order(f"{number:05}-1"))
            for number in range(1, 7)
        ]
        assert instance.run(*bad, *good) == []
        assert (instance.dead, len(index.search())) == (0, 6)

    def test_a_few_in_a_quiet_table_wait_15_minutes(self) -> None:
        instance = Instance(refusing(range(1, 7)))
        assert instance.place(range(1, 7)) == [sequence(1)]
        instance.now = OLD
        assert instance.place(range(1, 7)) == []
        assert instance.dead == 6

    def test_age_lets_no_more_than_a_few_pass(self) -> None:
        few, many = (Instance(refusing(range(1, n + 1)), OLD) for n in (MANY - 1, MANY))
        assert few.place(range(1, MANY)) == []
        assert many.place(range(1, MANY + 1)) == [sequence(1)]
        assert (few.dead, many.dead) == (MANY - 1, 0)

    def test_old_unexpected_errors_count_as_well(self) -> None:
        """Five at once stop the work; one by one, they are dead letters until it opens."""
        instance = Instance(refusing(range(1, 200), ValueError()), OLD)
        answers = [instance.place([number]) for number in range(1, MANY + 3)]
        assert answers == [[]] * (MANY - 1) + [[sequence(n)] for n in range(MANY, MANY + 3)]

    def test_a_source_whose_records_are_all_unreadable_is_held(self) -> None:
        instance = Instance(refusing([]))
        records = [malformed(number) for number in range(1, 101)]
        assert instance.run(*records) == [sequence(1)]
        assert (instance.dead, instance.counts.breaker_open) == (0, 1)

    def test_one_unreadable_record_among_healthy_ones_passes(self) -> None:
        instance = Instance(refusing([]))
        assert instance.run(*map(placed, range(1, 10)), malformed(10)) == []
        assert instance.dead == 1

    def test_unreadable_records_without_a_time_are_old(self) -> None:
        """How long they have waited is not known, and few must not wait for ever."""
        instance = Instance(refusing([]), OLD)
        assert instance.run(*(malformed(number, None) for number in range(1, 7))) == []
        assert instance.dead == 6

    @pytest.mark.parametrize("time", ["noon", 10**400, NOON * 1000, float("nan")])
    def test_a_malformed_time_of_all_records_is_the_source_s(self, time: object) -> None:
        instance = Instance(refusing([]), OLD)
        assert instance.run(*(malformed(number, time) for number in range(1, 7)))
        assert instance.dead == 0
        assert instance.run(*(malformed(number) for number in range(1, 7))) == []

    def test_a_redrive_is_exempt(self) -> None:
        instance = Instance(refusing(range(1, 51)))
        event = {"operation": "replay", "Records": [placed(number) for number in range(1, 51)]}
        answer: Any = instance.processor(event, FakeContext(instance.clock))
        assert {failure["reason"] for failure in answer["failures"]} == {"mapping"}
        assert instance.breaker.failing("mapping") == (0, 0)

    def test_a_share_of_one_turns_it_off(self) -> None:
        instance = Instance(refusing(range(1, 101)), breaker=Breaker(share=1))
        assert instance.place(range(1, 101)) == []
        assert instance.dead == 100

    @pytest.mark.parametrize("share", [-0.1, 1.1, 50])
    def test_a_share_is_a_part(self, share: float) -> None:
        with pytest.raises(ValueError, match="from 0 to 1"):
            Breaker(share)

    def test_it_remembers_recent_items_only(self) -> None:
        instance = Instance(refusing(range(1001, 2000)))
        instance.place(range(1, 1001))
        assert instance.breaker.failing("mapping") == (0, 1000)
        instance.place([1])
        assert instance.breaker.failing("mapping") == (0, WINDOW)
        for number in range(1001, 1051):
            assert instance.place([number]) == []
        assert instance.place([1051]) == [sequence(1051)]

    def test_it_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        Instance(refusing(range(1, 10))).place(range(1, 11))
        [line] = [r.getMessage() for r in caplog.records if "breaker" in r.getMessage()]
        assert line.startswith("the breaker is open: 9 of the last 10 items fail with mapping.")
