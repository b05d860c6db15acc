"""Waiting ends when the sinks are complete, or when nothing changes any more."""

from __future__ import annotations

from local.verify import (
    Comparison,
    Difference,
    Progress,
    SinkComparison,
    settle,
    wait_for_progress,
)


def counts(*each: int) -> Progress:
    names = (("orders", "aggregation"), ("orders", "search"), ("orders", "audit"))
    return dict(zip(names, each, strict=True))


class Clock:
    """Time that passes only by pausing."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


def test_waiting_ends_when_the_counts_are_reached() -> None:
    clock, seen = Clock(), list[Progress]()
    target = counts(3, 3, 8)
    looks = iter([counts(0, 0, 0), counts(3, 1, 8), target])

    reached = wait_for_progress(
        lambda: next(looks),
        target,
        patience=60,
        progress=seen.append,
        pause=clock.pause,
        clock=clock,
    )

    assert reached
    assert seen[-1] == target


def test_waiting_ends_when_nothing_moves() -> None:
    clock = Clock()

    def read() -> Progress:
        return counts(0, 0, min(4, int(clock.now / 5)))

    reached = wait_for_progress(
        read,
        counts(3, 3, 8),
        patience=10,
        progress=lambda progress: None,
        pause=clock.pause,
        clock=clock,
    )

    assert not reached
    assert 30 < clock.now < 32  # the last move came at 20 seconds


def verdict(*differing: str) -> Comparison:
    found = tuple(Difference("aggregation", "extra", each, "", None, {}) for each in differing)
    return Comparison(1, (SinkComparison("aggregation", 1, "1 row", found),))


def test_comparing_is_repeated_while_differences_change() -> None:
    clock = Clock()
    good = verdict()
    reports = iter([verdict("a", "b"), verdict("a", "b"), verdict("b"), verdict("b"), good])

    assert settle(lambda: next(reports), unchanged_for=1, pause=clock.pause, clock=clock) == good


def test_comparing_ends_when_the_same_difference_stays() -> None:
    clock = Clock()

    report = settle(lambda: verdict("a"), unchanged_for=3, pause=clock.pause, clock=clock)

    assert [each.item for each in report.differences] == ["a"]
    assert clock.now == 3


def test_comparing_ends_when_the_differences_never_stay() -> None:
    clock = Clock()

    def compare() -> Comparison:
        return verdict(str(clock.now))  # as of a function that reads the time

    settle(compare, unchanged_for=5, at_most=60, pause=clock.pause, clock=clock)

    assert clock.now == 60
