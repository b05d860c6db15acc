"""Waiting until the sinks have stopped moving, by looking at them rather than by the clock."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.verify.report import Report


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the sinks have come, by counts that are cheap to read."""

    aggregated: int
    documents: int
    entries: int


def wait_for_progress(
    read: Callable[[], Progress],
    target: Progress,
    *,
    patience: float,
    report: Callable[[Progress], None],
    pause: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Looks until the counts are the target's: True; False after `patience` seconds of no change.

    Reaching the target says that it is worth comparing now, no more: a change that alters no count
    may still be under way.
    """
    last, moved = read(), clock()
    while last != target:
        report(last)
        if clock() - moved > patience:
            return False
        pause(0.25)
        now = read()
        if now != last:
            last, moved = now, clock()
    report(last)
    return True


def settle(
    compare: Callable[[], Report],
    *,
    unchanged_for: float,
    enough: Callable[[Report], bool] = lambda report: report.equal,
    pause: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Report:
    """Compares until it is `enough`, or what differs stayed the same for so many seconds."""
    last, since = compare(), clock()
    while not enough(last) and clock() - since < unchanged_for:
        pause(0.5)
        now = compare()
        if now != last:
            last, since = now, clock()
    return last
