"""A limit to the time that the learner's code may take, so that one that never ends is told so."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

LIMIT = 10.0
"""Seconds of the processor for one check. The longest takes one or two."""

BUSY = 3
"""How many times as long the clock may take: a machine does other work as well, and code that
waits for ever takes no time of the processor."""

# As they are: within a function of a lab, `time` tells the lab's.
_monotonic, _process_time = time.monotonic, time.process_time

AGAIN = 0.25
"""Seconds between two attempts to stop code that goes on."""


class TooLong(BaseException):
    """The time is up. No `Exception`: code that catches those would go on for ever."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise TooLong inside of the block when the time is up; on Windows there is no limit."""
    if (
        not hasattr(signal, "setitimer")
        or threading.current_thread() is not threading.main_thread()
    ):
        yield
        return

    until, worked = _monotonic() + BUSY * seconds, _process_time() + seconds

    def stop(_signal: int, _frame: FrameType | None) -> None:
        if _process_time() >= worked or _monotonic() >= until:
            raise TooLong

    handler = signal.signal(signal.SIGALRM, stop)
    # Again and again: an exception that is raised in a destructor is lost.
    timer = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *timer)
