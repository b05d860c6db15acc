"""Waits until the sinks stop changing."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.verify.comparison import Comparison


Progress: TypeAlias = Mapping[tuple[str, str], int]
"""How much each sink has, by table and sink, in counts that are cheap to read."""


def wait_for_progress(
    read: Callable[[], Progress],
    target: Progress,
    *,
    patience: float,
    progress: Callable[[Progress], None],
    pause: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Return True once the counts are the target's, False after `patience` seconds without change.

    A change that alters no count may still be under way then: compare to be sure.
    """
    last, moved = read(), clock()
    while last != target:
        progress(last)
        if clock() - moved > patience:
            return False
        pause(0.25)
        now = read()
        if now != last:
            last, moved = now, clock()
    progress(last)
    return True


def settle(
    compare: Callable[[], Comparison],
    *,
    unchanged_for: float,
    at_most: float = math.inf,
    enough: Callable[[Comparison], bool] = lambda report: report.equal,
    pause: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Comparison:
    """Compare until `enough`, or until the differences stayed the same for so many seconds.

    Those of a function that is not pure differ each time: `at_most` so many seconds it goes on.
    """
    last, since = compare(), clock()
    deadline = since + at_most
    while not enough(last) and clock() - since < unchanged_for and clock() < deadline:
        pause(0.5)
        now = compare()
        if now != last:
            last, since = now, clock()
    return last
