"""The process of a function in virtual time: its calls take effect while it lives.

Lambda ends a process in the middle of its work, and then nothing of it goes on: no `finally`,
no handler of exceptions, no thread. Here the function runs within this process, so each thing that
it does in virtual time asks first whether its invocation is alive.

Threads that a function starts belong to its invocation. Each has a time of its own, so calls in a
pool overlap; a thread that waits for a result comes to its time.
"""

import asyncio
import threading
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

MOST_READS = 100_000
"""Most reads of the time without a sleep: a function that waits for virtual time waits for ever."""


class ProcessKilled(BaseException):
    """Raised where the process of a function ends in the middle of its work."""


class Agenda(Protocol):
    """The clock of a simulation, with the actions that are due on it."""

    time: float

    def run_until(self, moment: float) -> None:
        """Do all that is due up to a moment."""


@dataclass
class Strand:
    """The time of one thread of a function."""

    now: float


@dataclass(eq=False)
class Invocation:
    """A function at work.

    Attributes:
        virtual_clock: gives the time.
        deadline: when Lambda ends it; later if others take the time that it sleeps.
        virtual: whether `time` tells the world's time to it.
        died: why its process is gone; None while it lives.
        own: how far the function itself has come, where the world has not followed yet.
        reached: how far its threads have come, or where it died.
        workers: when those of each pool are free.
        working: what was handed to pools and is not done.
    """

    virtual_clock: Agenda
    deadline: float
    virtual: bool = True
    died: ProcessKilled | None = None
    own: float = float("-inf")
    reached: float = float("-inf")
    workers: dict[int, list[float]] = field(default_factory=dict)
    working: set[object] = field(default_factory=set)
    _thread: threading.Thread = field(default_factory=threading.current_thread)
    _over: bool = False
    _reads: int = 0

    def read_time(self) -> float:
        """Return the time to the function's own code.

        Raises:
            ProcessKilled: the function reads the time without end, until its timeout.
        """
        self._reads += 1
        if self._reads > MOST_READS and not self._over:
            self.sleep(max(0.0, self.deadline - self.now()))
        return self.now()

    def now(self) -> float:
        """Return the time of the thread that asks, in seconds since 1970."""
        strand = this_thread.strand
        return max(self.virtual_clock.time, self.own) if strand is None else strand.now

    def live(self) -> None:
        """Go on only while the process is there.

        Raises:
            ProcessKilled: it is gone, or it has come to its timeout.
        """
        if self.died is not None:
            raise ProcessKilled(*self.died.args)
        if not self._over and self.now() >= self.deadline:
            self.die("at its timeout")

    def die(self, reason: str) -> NoReturn:
        """End the process here: nothing that it still tries takes effect.

        Raises:
            ProcessKilled: always.
        """
        if self.died is None:
            self.died = ProcessKilled(reason)
            self.reached = self.now()
        raise ProcessKilled(reason)

    def sleep(self, seconds: float) -> None:
        """Let time pass, up to the deadline; others go on meanwhile.

        Within a thread of the function, or an event loop, only the function's own time passes.

        Raises:
            ProcessKilled: the process is gone before that.
        """
        if seconds < 0:
            message = "sleep length must be non-negative"
            raise ValueError(message)
        self._reads = 0
        self.live()
        limit = float("inf") if self._over else self.deadline
        moment = min(self.now() + seconds, limit)
        here = this_thread.strand is None and self._is_own_thread()
        if not here or asyncio._get_running_loop() is not None:
            self.wait_until(moment)
        else:
            self._let_others_go_on(moment)
        self.live()

    def wait_until(self, moment: float) -> None:
        """Take note that the thread that runs has come to a moment; the world follows later."""
        strand = this_thread.strand
        if strand is not None:
            strand.now = max(strand.now, moment)
        else:
            self.own = max(self.own, moment)
        if self.died is None:
            self.reached = max(self.reached, moment)

    def come_to(self, moment: float) -> None:
        """Let the function's own time pass up to a moment, at most to the deadline.

        Raises:
            ProcessKilled: the process is gone, or comes to its timeout.
        """
        self.wait_until(moment if self._over else min(moment, self.deadline))
        self.live()

    def finish(self) -> None:
        """End the invocation: wait for its threads' time, and see whether it survived.

        Raises:
            ProcessKilled: it did not, so its answer counts for nothing.
        """
        self._let_others_go_on(min(self.reached, self.deadline))
        if self.died is None and self.now() >= self.deadline:
            self.died = ProcessKilled("at its timeout")
        self._over = True
        if self.died is not None:
            raise ProcessKilled(*self.died.args)

    def _let_others_go_on(self, moment: float) -> None:
        """Let the world come to a moment.

        Their work is not part of this invocation. What others that began meanwhile take for longer
        is not its time: its deadline comes later by that.
        """
        due = max(moment, self.virtual_clock.time)
        token = current_invocation.set(None)
        strand, this_thread.strand = this_thread.strand, None
        try:
            self.virtual_clock.run_until(moment)
        finally:
            current_invocation.reset(token)
            this_thread.strand = strand
        self.deadline += max(0.0, self.virtual_clock.time - due)

    def _is_own_thread(self) -> bool:
        return threading.current_thread() is self._thread


current_invocation: ContextVar[Invocation | None] = ContextVar("invocation", default=None)


class _Thread(threading.local):
    """The thread that asks; `asyncio.to_thread` gives its own context to what it runs."""

    strand: Strand | None = None


this_thread = _Thread()


def current() -> Invocation | None:
    """Return the invocation that the code which asks belongs to, if any."""
    return current_invocation.get()
