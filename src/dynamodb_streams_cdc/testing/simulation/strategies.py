"""Schedules for hypothesis to draw, and to shrink when one of them fails.

@given(schedules())
def test_my_consumer_converges(schedule):
    result = Simulation(schedule, lambda world: [my_consumer(world)]).run()
    assert not result.problems, result
"""

from typing import TypeVar

from hypothesis import strategies as st

from dynamodb_streams_cdc.testing.simulation.schedule import (
    FIRST_SEQUENCE_NUMBERS,
    LASTING,
    SOUND,
    UNASKED,
    Fault,
    Operation,
    Schedule,
)

T = TypeVar("T", Operation, Fault)

LONGEST_MILLISECONDS = 60_000


def schedules(*, writes: int = 20, faults: int = 6) -> st.SearchStrategy[Schedule]:
    """Return a strategy for schedules of so many writes and faults at most."""
    return st.builds(
        Schedule,
        operations=st.lists(_operations(), min_size=1, max_size=writes).map(_by_time),
        faults=st.lists(_faults(), max_size=faults, unique_by=lambda fault: fault.kind).map(
            _by_time
        ),
        partitions=st.integers(1, 3),
        lanes=st.integers(1, 4),
        batch_size=st.sampled_from([10, 1, 3, 100]),
        window=st.integers(0, 1),
        bisect=st.booleans(),
        first_sequence_number=st.sampled_from(FIRST_SEQUENCE_NUMBERS),
    )


def _moments() -> st.SearchStrategy[float]:
    return st.integers(0, LONGEST_MILLISECONDS).map(lambda milliseconds: milliseconds / 1000)


def _operations() -> st.SearchStrategy[Operation]:
    return st.builds(
        Operation,
        at=_moments(),
        write=st.sampled_from(SOUND),
        item=st.integers(0, 5),
        group=st.integers(0, 2),
        amount=st.integers(1, 99),
    )


def _faults() -> st.SearchStrategy[Fault]:
    return st.sampled_from(UNASKED).flatmap(
        lambda kind: st.builds(
            Fault,
            at=_moments(),
            kind=st.just(kind),
            processor=st.integers(0, 2),
            seconds=st.floats(*LASTING.get(kind, (0.0, 0.0))).map(lambda s: round(s, 3)),
        )
    )


def _by_time(events: list[T]) -> tuple[T, ...]:
    return tuple(sorted(events, key=lambda event: event.at))
