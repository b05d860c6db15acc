"""Waits until something happens, up to a deadline."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def wait_until(
    happened: Callable[[], object],
    *,
    seconds: float,
    every: float = 0.05,
    pause: Callable[[float], object] = time.sleep,
) -> bool:
    """Return True as soon as `happened()` is true, False if it is not within so many seconds."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            return False
        pause(every)
    return True
