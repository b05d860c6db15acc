"""Errors of one image are the record's, errors of most images are the code's."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from dynamodb_streams_cdc import (
    Aggregation,
    Change,
    Deadline,
    Outcome,
    PermanentError,
    RetryableError,
    Search,
    Sink,
)
from dynamodb_streams_cdc.guards.breaker import LEAST, MANY, WINDOW, Breaker
from dynamodb_streams_cdc.metrics import Counts
from dynamodb_streams_cdc.testing.memory import MemoryIndex, MemoryLedger
from lambdas.example_domain.order import Order, contributions, document
from tests.factories import NOON, order, record
from tests.unit.bench import OLD, YOUNG, Bench, placed, sequence

# https://github.com/pydantic/pydantic-extra-types/issues/404: `astimezone` leaves the calendar.
BEYOND_THE_CALENDAR = ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"]


def malformed(number: int, time: object = float(NOON)) -> dict[str, Any]:
    body = placed(number)
    body["dynamodb"] |= {"Keys": {}, "ApproximateCreationDateTime": time}
    return body


class Picky:
    """Lets each change fail as `verdict` says of its number, and applies the others."""

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


def sinks(function: Callable[[Any], Any]) -> list[Sink]:
    """Return the two sinks that call a function with an image."""
    return [Aggregation(MemoryLedger(), function), Search(MemoryIndex(), function)]


class Instance(Bench):
    """A warm function instance: its breaker remembers the invocations before."""

    def __init__(self, sink: Sink, now: float = YOUNG, breaker: Breaker | None = None) -> None:
        super().__init__(sink, now)
        self.breaker = breaker or Breaker()
        self.options = {"breaker": self.breaker}


class TestErrorsOfAnImage:
    @pytest.mark.parametrize("moment", BEYOND_THE_CALENDAR)
    def test_a_moment_beyond_the_calendar_is_not_an_order(self, moment: str) -> None:
        with pytest.raises(ValidationError, match="outside the years 1 to 9999"):
            Order.of(order(placed_at=moment))

    @pytest.mark.parametrize("error", [OverflowError, KeyError, RecursionError, TypeError])
    def test_what_a_pure_function_raises_is_permanent(self, error: type[Exception]) -> None:
        def picky(image: dict[str, Any]) -> dict[str, Any]:
            if image["customer_id"] <= "00006":
                raise error
            return {"status": {"orders": 1}}

        for sink in sinks(picky):
            instance = Instance(sink)
            assert instance.place(range(1, 37)) == []
            assert instance.reasons == [error.__name__] * 6
            assert instance.counts[-1].applied == 30

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
        assert instance.reasons == ["TypeError"]

    @pytest.mark.parametrize(
        "error", [RetryableError("no network"), MemoryError(), OSError("full")]
    )
    def test_what_is_not_the_images_fault_stays_what_it_is(self, error: Exception) -> None:
        def failing(image: dict[str, Any]) -> dict[str, Any]:
            raise error

        instance = Instance(Search(MemoryIndex(), failing))
        assert instance.place([1]) == [sequence(1)]
        assert len(instance.dead) == 0

    @pytest.mark.parametrize("now", [YOUNG, OLD])
    def test_a_bug_that_was_deployed_stops_the_shard(self, now: float) -> None:
        for sink in sinks(lambda image: {"status": {image["state"]: 1}}):
            instance = Instance(sink, now)
            assert instance.place(range(1, 101)) == [sequence(1)]
            assert instance.dead == []
            assert instance.counts == [Counts(received=100, reported=100, breaker_open=1)]

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
        assert (len(instance.dead), len(index.search())) == (6, 30)


class TestTheBreaker:
    def test_poison_among_healthy_records_passes(self) -> None:
        instance = Instance(refusing([50]))
        assert instance.place(range(1, 101)) == []
        assert (len(instance.dead), instance.counts[-1].breaker_open) == (1, 0)

    def test_half_of_a_batch_passes_and_more_does_not(self) -> None:
        half = Instance(refusing(range(1, 51)))
        assert half.place(range(1, 101)) == []
        assert len(half.dead) == 50
        more = Instance(refusing(range(1, 52)))
        assert more.place(range(1, 101)) == [sequence(1)]
        assert (len(more.dead), more.counts[-1].applied) == (0, 49)

    def test_records_that_fail_for_different_reasons_pass(self) -> None:
        instance = Instance(Picky(lambda number: PermanentError("poison", f"reason {number % 3}")))
        assert instance.place(range(1, 31)) == []
        assert len(instance.dead) == 30

    def test_small_batches_open_it_together(self) -> None:
        instance = Instance(refusing(range(1, 100)))
        answers = [instance.place([number]) for number in range(1, LEAST + 3)]
        assert answers == [[]] * (LEAST - 1) + [[sequence(n)] for n in range(LEAST, LEAST + 3)]
        assert len(instance.dead) == LEAST - 1

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
        assert (len(cold.dead), len(warm.dead)) == (0, 0)

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
        assert (len(instance.dead), len(index.search())) == (0, 6)

    def test_a_few_in_a_quiet_table_wait_15_minutes(self) -> None:
        instance = Instance(refusing(range(1, 7)))
        assert instance.place(range(1, 7)) == [sequence(1)]
        instance.now = OLD
        assert instance.place(range(1, 7)) == []
        assert len(instance.dead) == 6

    def test_age_lets_no_more_than_a_few_pass(self) -> None:
        few, many = (Instance(refusing(range(1, n + 1)), OLD) for n in (MANY - 1, MANY))
        assert few.place(range(1, MANY)) == []
        assert many.place(range(1, MANY + 1)) == [sequence(1)]
        assert (len(few.dead), len(many.dead)) == (MANY - 1, 0)

    def test_old_unexpected_errors_count_as_well(self) -> None:
        """Five at once stop the work; one by one, they are dead letters until it opens."""
        instance = Instance(refusing(range(1, 200), ValueError()), OLD)
        answers = [instance.place([number]) for number in range(1, MANY + 3)]
        assert answers == [[]] * (MANY - 1) + [[sequence(n)] for n in range(MANY, MANY + 3)]

    def test_a_source_whose_records_are_all_unreadable_is_held(self) -> None:
        instance = Instance(refusing([]))
        records = [malformed(number) for number in range(1, 101)]
        assert instance.run(*records) == [sequence(1)]
        assert (len(instance.dead), instance.counts[-1].breaker_open) == (0, 1)

    def test_one_unreadable_record_among_healthy_ones_passes(self) -> None:
        instance = Instance(refusing([]))
        assert instance.run(*map(placed, range(1, 10)), malformed(10)) == []
        assert len(instance.dead) == 1

    def test_unreadable_records_without_a_time_are_old(self) -> None:
        """How long they have waited is not known, and few must not wait for ever."""
        instance = Instance(refusing([]), OLD)
        assert instance.run(*(malformed(number, None) for number in range(1, 7))) == []
        assert len(instance.dead) == 6

    @pytest.mark.parametrize("time", ["noon", 10**400, NOON * 1000, float("nan")])
    def test_a_malformed_time_of_all_records_is_the_source_s(self, time: object) -> None:
        instance = Instance(refusing([]), OLD)
        assert instance.run(*(malformed(number, time) for number in range(1, 7)))
        assert len(instance.dead) == 0
        assert instance.run(*(malformed(number) for number in range(1, 7))) == []

    def test_a_redrive_is_exempt(self) -> None:
        instance = Instance(refusing(range(1, 51)))
        answer = instance.invoke({"operation": "replay", "Records": [*map(placed, range(1, 51))]})
        assert {failure["reason"] for failure in answer["failures"]} == {"mapping"}
        assert instance.breaker.failing("mapping") == (0, 0)

    def test_a_share_of_one_turns_it_off(self) -> None:
        instance = Instance(refusing(range(1, 101)), breaker=Breaker(share=1))
        assert instance.place(range(1, 101)) == []
        assert len(instance.dead) == 100

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
