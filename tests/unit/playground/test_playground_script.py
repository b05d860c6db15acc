"""A script is read as it was written, and a wrong line is refused with its number."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamodb_streams_cdc.testing.simulation import FaultKind
from dynamodb_streams_cdc.testing.simulation.schedule import (
    generate,
    generate_dead_letters,
    generate_operations,
)
from playground.lab.errors import Mistaken
from playground.lab.script import read, written

GENERATORS = (generate, generate_dead_letters, generate_operations)


@pytest.mark.parametrize("make", GENERATORS)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_a_schedule_is_read_as_it_was_written(make, seed):  # type: ignore[no-untyped-def]
    text = written(made := make(seed))
    assert read(text).schedule.longest_backoff == made.longest_backoff
    assert written(read(text).schedule) == text


def test_lines_may_be_in_any_order_and_have_comments() -> None:
    schedule = read("2 delete 0  # later\n\n# first:\n0 put 0 group 1 amount 5\n").schedule
    assert [(each.at, each.write) for each in schedule.operations] == [(0, "put"), (2, "delete")]


def test_a_fault_that_lasts_has_its_longest_time() -> None:
    [fault] = read("1 fault slow sink").schedule.faults
    assert (fault.kind, fault.seconds) == (FaultKind.SLOW, 20)


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("put 0", 1, "does not begin with a time"),
        ("0 put 0\n1 putt 0", 2, "is not a write"),
        ("1 fault lightning", 1, "there is no fault"),
        ("1 fault throttle for 3", 1, "happens once"),
        ("0 put 100", 1, "at most 99"),
        ("0 put 0 group 1 amount 99999999", 1, "at most 9999"),
        ("9999999 put 0", 1, "after the end"),
        ("later wait", 1, "how many seconds"),
        ("later wait " + "9" * 400, 1, "at most 7776000"),
        ("later dance 3", 1, "is not a write"),
        ("shards 0", None, "1 or more"),
        ("longest backoff 299", None, "300 or more"),
        ("longest backoff 14401", 1, "at most 14400"),
        ("seed " + "9" * 60, 1, "at most"),
        ("0 put 0\n" * 201, None, "too many"),
    ],
)
def test_a_line_that_says_nothing_is_refused(text: str, line: int | None, told: str) -> None:
    with pytest.raises(Mistaken, match=told) as caught:
        read(text)
    assert (caught.value.part, caught.value.line) == ("schedule", line)
