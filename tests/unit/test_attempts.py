"""A record that kills the function becomes a dead letter, and its shard goes on."""

from collections.abc import Sequence
from typing import Any

import pytest

from dynamodb_streams_cdc import Change, Deadline, Outcome, Processor, RetryableError, Source
from dynamodb_streams_cdc.guards.attempts import (
    END_SECONDS,
    MOST_DEATHS,
    MOST_IN_AN_HOUR,
    Attempts,
    hour_of,
)
from dynamodb_streams_cdc.lambda_types import sequence_number
from dynamodb_streams_cdc.testing import Lab
from dynamodb_streams_cdc.testing.memory import MemoryAttempts, MemoryDeadLetters
from dynamodb_streams_cdc.testing.simulation import ProcessKilled
from tests.factories import SOURCE, FakeContext, ManualClock
from tests.unit.bench import OLD, Bench, Picky, placed

NUMBER = "100000000003126276362"
NAME = f"orders/{NUMBER}"


class Deadly:
    """A sink whose process dies of some items, by memory for instance."""

    def __init__(self, *deadly: str, error: BaseException | None = None) -> None:
        self.deadly = deadly
        self.error = error or ProcessKilled("out of memory")
        self.applied: list[str] = []

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Outcome:
        for change in changes:
            if next(iter(change.keys.values())) in self.deadly:
                raise self.error
        self.applied += [str(next(iter(change.keys.values()))) for change in changes]
        return Outcome(applied=len(changes))


def deliver(
    sink: Deadly,
    attempts: Attempts | None,
    dead_letters: Any,
    *numbers: int,
    now: float = OLD,
) -> list[str]:
    """Deliver to a new process: what it remembers is gone with it."""
    bench = Bench(sink, now, dead_letters=dead_letters, options={"attempts": attempts})
    return bench.place(numbers or (1,))


def die(
    sink: Deadly, attempts: Attempts | None, dead_letters: Any, *numbers: int, **at: Any
) -> None:
    with pytest.raises(ProcessKilled):
        deliver(sink, attempts, dead_letters, *numbers, **at)


def test_the_third_death_is_the_last() -> None:
    attempts, dead_letters, sink = MemoryAttempts(), MemoryDeadLetters(), Deadly("00001")
    for _ in range(MOST_DEATHS):
        die(sink, attempts, dead_letters)
    assert dead_letters.dead_letters == {}
    assert deliver(sink, attempts, dead_letters) == []
    [dead_letter] = dead_letters.dead_letters.values()
    assert dead_letter.reason == "FunctionDied"
    assert dead_letter.change is not None
    assert dead_letter.change.item_id == "orders/S=00001/S=00001-1"
    assert set(attempts.begun) == {hour_of("orders", OLD)}


@pytest.mark.parametrize(
    ("numbers", "now"), [((1,), OLD - 120), ((1, 2), OLD)], ids=["young", "two records"]
)
def test_a_record_without_suspicion_is_not_counted(numbers: tuple[int, ...], now: float) -> None:
    attempts, dead_letters, sink = MemoryAttempts(), MemoryDeadLetters(), Deadly("00001")
    for _ in range(MOST_DEATHS + 2):
        die(sink, attempts, dead_letters, *numbers, now=now)
    assert (attempts.begun, dead_letters.dead_letters) == ({}, {})


@pytest.mark.parametrize("error", [RetryableError("down"), KeyError("surprise")])
def test_a_failure_that_is_survived_is_not_a_death(error: Exception) -> None:
    attempts, dead_letters = MemoryAttempts(), MemoryDeadLetters()
    sink = Deadly("00001", error=error)
    die(Deadly("00001"), attempts, dead_letters)
    die(Deadly("00001"), attempts, dead_letters)
    deliver(sink, attempts, dead_letters)
    assert attempts.begun == {}
    assert "FunctionDied" not in {each.reason for each in dead_letters.dead_letters.values()}


def test_without_attempts_nothing_is_counted() -> None:
    dead_letters, sink = MemoryDeadLetters(), Deadly("00001")
    for _ in range(MOST_DEATHS + 2):
        die(sink, None, dead_letters)
    assert dead_letters.dead_letters == {}


class Broken:
    """A table that cannot be reached."""

    def begin(self, name: str, now: float) -> int:
        raise RetryableError(name)

    def end(self, name: str, now: float) -> None:
        raise RetryableError(name)

    def read(self, name: str, now: float) -> int:
        raise RetryableError(name)


def test_a_count_that_fails_holds_nothing_up(caplog: pytest.LogCaptureFixture) -> None:
    sink = Deadly()
    assert deliver(sink, Broken(), MemoryDeadLetters()) == []
    assert sink.applied == ["00001"]
    assert caplog.text.count("an attempt could not be counted: RetryableError") == 2


class Unread(MemoryAttempts):
    """A table that is throttled where it is read."""

    def read(self, name: str, now: float) -> int:
        raise RetryableError(name)


def test_an_unknown_hour_opens_no_breaker(caplog: pytest.LogCaptureFixture) -> None:
    """The record is tried again: nothing says that the function dies on others."""
    bench = Bench(Deadly(), OLD)
    bench.options = {"attempts": Unread({NAME: MOST_DEATHS})}
    assert bench.place([1]) == []
    assert [counts.breaker_open for counts in bench.counts] == [0]
    assert "the breaker is open" not in caplog.text


class NotEnding(MemoryAttempts):
    """A table that takes the beginning of an attempt, and is throttled at its end."""

    throttled = True

    def end(self, name: str, now: float) -> None:
        if self.throttled:
            raise RetryableError(name)
        super().end(name, now)


def test_an_end_that_cannot_be_written_is_not_a_death() -> None:
    """The same outage stops the sink and the count: no healthy record may pay for it."""
    attempts, dead_letters, clock = NotEnding(), MemoryDeadLetters(), ManualClock(OLD)
    sink = Deadly("00001", error=RetryableError("throttled"))
    processor = Processor("search", SOURCE, sink, dead_letters, clock=clock, attempts=attempts)
    for _ in range(MOST_DEATHS + 3):
        answer = processor({"Records": [placed(1)]}, FakeContext(clock))
        assert answer["batchItemFailures"], "reported, and nothing given up"
    attempts.throttled = False
    processor({"Records": [placed(1)]}, FakeContext(clock))
    assert (dead_letters.dead_letters, attempts.begun) == ({}, {})


def test_without_time_the_end_is_left_to_the_next_invocation() -> None:
    attempts, dead_letters, clock = MemoryAttempts(), MemoryDeadLetters(), ManualClock(OLD)
    sink = Picky(lambda change: clock.sleep(60 - END_SECONDS + 1))
    processor = Processor("search", SOURCE, sink, dead_letters, clock=clock, attempts=attempts)
    processor({"Records": [placed(1)]}, FakeContext(clock, seconds=60))
    assert list(attempts.begun.values()) == [1]
    sink.verdict = lambda change: None
    processor({"Records": [placed(2)]}, FakeContext(clock))
    assert attempts.begun == {}


def test_a_short_invocation_has_time_for_its_end() -> None:
    """In an outage each environment would count as a death, and a healthy record paid for it."""
    attempts, dead_letters = MemoryAttempts(), MemoryDeadLetters()
    sink = Deadly("00001", error=RetryableError("throttled"))
    for _ in range(MOST_DEATHS + 1):
        bench = Bench(sink, OLD, 3.0, dead_letters, {"attempts": attempts})
        assert bench.place([1]), "reported, and nothing given up"
    assert (dead_letters.dead_letters, attempts.begun) == ({}, {})


def test_a_function_that_dies_of_everything_goes_on_once_fixed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A deployed bug that kills it on each record makes ten dead letters an hour, and an alarm."""
    attempts, dead_letters = MemoryAttempts(), MemoryDeadLetters()
    numbers = range(1, 41)
    killed = []
    for number in numbers:
        attempts.begun[f"orders/{sequence_number(placed(number))}"] = MOST_DEATHS
        bug = Bench(Deadly(f"{number:05}"), OLD, dead_letters=dead_letters)
        bug.options = {"attempts": attempts}
        try:
            assert bug.place([number]) == []
        except ProcessKilled:
            killed.append(number)
            assert [counts.breaker_open for counts in bug.counts] == [1]
    assert len(dead_letters.dead_letters) == MOST_IN_AN_HOUR
    assert killed == [*numbers][MOST_IN_AN_HOUR:]
    assert caplog.text.count("the breaker is open") == len(killed)
    fixed = Deadly()
    for number in killed:
        assert deliver(fixed, attempts, dead_letters, number) == []
    assert fixed.applied == [f"{number:05}" for number in killed]
    assert attempts.begun == {hour_of("orders", OLD): MOST_IN_AN_HOUR}
    assert len(dead_letters.dead_letters) == MOST_IN_AN_HOUR


def test_a_hold_ends_though_the_sink_is_down_at_first() -> None:
    """The attempt is survived, with any result: the record is no longer a suspect."""
    full = {NAME: MOST_DEATHS, hour_of("orders", OLD): MOST_IN_AN_HOUR}
    attempts, dead_letters = MemoryAttempts(full), MemoryDeadLetters()
    down = Deadly("00001", error=RetryableError("down"))
    assert deliver(down, attempts, dead_letters) == [NUMBER]
    assert (NAME in attempts.begun, dead_letters.dead_letters) == (False, {})


class NoBucket(MemoryDeadLetters):
    """Dead letters that cannot be written for a while."""

    is_out = True

    def write(self, dead_letter: Any) -> bool:
        if self.is_out:
            raise RetryableError
        return super().write(dead_letter)


def test_a_dead_letter_that_is_not_written_keeps_the_count() -> None:
    """Nor does it count for the hour, at each delivery: the record alone would open the breaker."""
    attempts, sink, dead_letters = MemoryAttempts({NAME: MOST_DEATHS}), Deadly("00001"), NoBucket()
    for _ in range(MOST_IN_AN_HOUR + 2):
        assert deliver(sink, attempts, dead_letters) == [NUMBER]
    assert attempts.begun.keys() == {NAME}
    dead_letters.is_out = False
    assert deliver(sink, attempts, dead_letters) == []
    assert len(dead_letters.dead_letters) == 1
    assert attempts.begun == {hour_of("orders", OLD): 1}


def test_a_shard_goes_on_behind_the_record_that_kills() -> None:
    lab = Lab(
        BisectBatchOnFunctionError=True,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        MaximumRecordAgeInSeconds=20 * 3600,
    )
    sink, dead_letters, attempts = Deadly("7"), MemoryDeadLetters(), MemoryAttempts()
    began = lab.clock.now()

    def handler(event: Any, context: Any) -> Any:
        processor = Processor(
            "search", Source("lab"), sink, dead_letters, clock=lab.clock, attempts=attempts
        )
        return processor(event, context)

    lab.function(handler)
    lab.put(*({"id": str(number)} for number in range(20)))
    lab.run()
    assert set(sink.applied) == {str(number) for number in range(20)} - {"7"}
    assert [each.reason for each in dead_letters.dead_letters.values()] == ["FunctionDied"]
    assert lab.clock.now() - began < 3600
