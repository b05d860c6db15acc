"""Faults of the calls of a function's ports: slow, failing or lost calls, and crashes.

`dynamodb_streams_cdc.testing.simulation.faulty` puts an object behind a `FaultInjector`.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, TypeVar

from dynamodb_streams_cdc.dead_letters import DeadLetter
from dynamodb_streams_cdc.errors import RetryableError
from dynamodb_streams_cdc.sinks.base import SourceTable
from dynamodb_streams_cdc.testing.simulation.events import (
    AnswerLost,
    Called,
    Unanswered,
    arguments_of,
)
from dynamodb_streams_cdc.testing.simulation.process import ProcessKilled, current
from dynamodb_streams_cdc.testing.simulation.schedule import FaultKind
from dynamodb_streams_cdc.testing.simulation.timeline import Note
from dynamodb_streams_cdc.testing.simulation.virtual_clock import VirtualClock

T = TypeVar("T")

LATENCY_SECONDS = 0.004
"""How long a call takes when nothing is wrong; others go on meanwhile."""

HANG_SECONDS = 3.0
"""How long a call hangs before it fails, while the sink is out."""

LONGEST_TURN_SECONDS = 1.0
"""How long a call waits, in the machine's time, for those of other threads."""


def name_of(method: object) -> str:
    """Return the name by which faults are aimed at a method."""
    return getattr(method, "__name__", type(method).__name__)


@dataclass
class FaultInjector:
    """Faults of one processor.

    Attributes:
        armed: faults that strike once, at the next chance.
        aims: the method whose call is that chance, for faults that do not strike just anywhere.
        lasting: until when those last that do.
        slow: how long a call takes while the sink is slow, in seconds.
        struck: how often each fault did strike.
        called: how often each method was called.
        tells: whether calls go to the timeline.
        source_table: the table that the processor follows, for its sink to be repaired by.
    """

    virtual_clock: VirtualClock
    note: Note
    armed: list[FaultKind] = field(default_factory=list)
    aims: dict[FaultKind, str] = field(default_factory=dict)
    lasting: dict[FaultKind, float] = field(default_factory=dict)
    slow: float = 0.7
    struck: dict[FaultKind, int] = field(default_factory=dict)
    called: dict[str, int] = field(default_factory=dict)
    tells: bool = False
    source_table: SourceTable | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def should_fail(self, kind: FaultKind, method: str | None = None) -> bool:
        """Return whether a fault occurs now in a call of `method`: an armed one is used up."""
        if self.lasting and self.lasting.get(kind, 0.0) > self.virtual_clock.now():
            return self._count(kind)
        if kind in self.armed and self.aims.get(kind, method) == method:
            self.armed.remove(kind)
            return self._count(kind)
        return False

    def call(self, method: Callable[..., T], *args: Any, **options: Any) -> T:
        """Call a method of a port with its faults; see `before` and `after`."""
        return self.call_as(name_of(method), method, *args, **options)

    def call_as(self, name: str, method: Callable[..., T], *args: Any, **options: Any) -> T:
        """Call a method under another name than its own.

        Raises:
            ProcessKilled: the function is gone, before or after the effect.
            RetryableError: the sink does not answer; after the effect, if the answer was lost.
        """
        self.arrive(name)
        invocation = current()
        # Once a call of another thread has ended the process, none that waits here takes effect.
        mine = self._lock.acquire(timeout=LONGEST_TURN_SECONDS)
        try:
            if invocation is not None:
                invocation.live()
            self.before(name)
            result = self._told(name, method, args, options)
            self.after(name)
        finally:
            if mine:
                self._lock.release()
        self.leave(name)
        return result

    def arrive(self, name: str) -> None:
        """Take the time that a call takes.

        Raises:
            ProcessKilled: the function is gone.
        """
        self.called[name] = self.called.get(name, 0) + 1
        self.virtual_clock.sleep(self.slow if self.should_fail(FaultKind.SLOW) else LATENCY_SECONDS)

    def before(self, name: str, outage: Callable[[str], Exception] = RetryableError) -> None:
        """Let faults strike that keep a call from its effect.

        Raises:
            ProcessKilled: the function is gone.
            RetryableError: the sink does not answer, or the error that `outage` makes of that.
        """
        if self.should_fail(FaultKind.CRASH_BEFORE, name):
            self._die(f"in {name}, before it took effect")
        if self.should_fail(FaultKind.FAILING) or self._hangs():
            self.note(Unanswered(name))
            message = "the sink does not answer"
            raise outage(message)

    def after(self, name: str) -> None:
        """Let a crash strike that comes after the effect.

        Raises:
            ProcessKilled: the function is gone.
        """
        if self.should_fail(FaultKind.CRASH_AFTER, name):
            self._die(f"in {name}, after it took effect")

    def leave(self, name: str, outage: Callable[[str], Exception] = RetryableError) -> None:
        """Let faults strike on the way back of a call that took effect.

        Raises:
            ProcessKilled: the function is gone.
            RetryableError: the answer is lost, or the error that `outage` makes of that.
        """
        invocation = current()
        if invocation is not None and self.should_fail(FaultKind.TIMEOUT, name):
            invocation.sleep(max(0.0, invocation.deadline - invocation.now()))
        if invocation is not None:
            invocation.live()
        if self.should_fail(FaultKind.LOST_ANSWER, name):
            self.note(AnswerLost())
            message = "the answer was lost"
            raise outage(message)

    def _told(
        self, name: str, method: Callable[..., T], args: Sequence[Any], options: Mapping[str, Any]
    ) -> T:
        """Call a method, with a line in the timeline for the call and its result."""
        if not self.tells:
            return method(*args, **options)
        call = Called(
            name,
            arguments_of(args, options),
            dead_letter=any(isinstance(each, DeadLetter) for each in args),
        )
        try:
            result = method(*args, **options)
        except Exception as error:
            self.note(replace(call, error=repr(error)))
            raise
        self.note(call)
        return result

    def _hangs(self) -> bool:
        if not self.should_fail(FaultKind.OUTAGE):
            return False
        self.virtual_clock.sleep(HANG_SECONDS)
        return True

    def _die(self, when: str) -> NoReturn:
        invocation = current()
        if invocation is not None:
            invocation.die(when)
        raise ProcessKilled(when)

    def _count(self, kind: FaultKind) -> bool:
        self.struck[kind] = self.struck.get(kind, 0) + 1
        return True
