"""Sinks' ports with faults: whatever is called through them may be slow, fail, or crash.

    ledger = faulty(MemoryLedger(), weather)

A crash is no `Exception`: nothing in a function can catch it, as nothing can outlive its process.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from dynamodb_streams_cdc.errors import OutageError
from dynamodb_streams_cdc.simulation.schedule import FaultKind
from dynamodb_streams_cdc.simulation.timeline import shown
from dynamodb_streams_cdc.simulation.world import World
from dynamodb_streams_cdc.sink import Items

T = TypeVar("T")

LATENCY_SECONDS = 0.004
"""How long a call takes when nothing is wrong; others go on meanwhile."""

HANG_SECONDS = 3.0
"""How long a call hangs before it fails, while the sink is out."""


class Killed(BaseException):
    """The process of a function is gone, in the middle of what it did."""


@dataclass
class Invocation:
    """A function at work.

    Attributes:
        deadline: when Lambda ends it.
    """

    deadline: float


@dataclass
class Weather:
    """What goes wrong for one processor.

    Attributes:
        armed: faults that strike once, at the next chance.
        aims: the method whose call is that chance, for faults that do not strike just anywhere.
        lasting: until when those last that do.
        slow: how long a call takes while the sink is slow, in seconds.
        struck: how often each fault did strike.
        running: invocations under way, the innermost last.
        tells: whether calls go to the timeline.
        items: the table that the processor follows, for its sink to be repaired by.
    """

    world: World
    note: Callable[[str], None]
    armed: list[FaultKind] = field(default_factory=list)
    aims: dict[FaultKind, str] = field(default_factory=dict)
    lasting: dict[FaultKind, float] = field(default_factory=dict)
    slow: float = 0.7
    struck: dict[FaultKind, int] = field(default_factory=dict)
    running: list[Invocation] = field(default_factory=list)
    tells: bool = False
    items: Items | None = None

    def strikes(self, kind: FaultKind, method: str | None = None) -> bool:
        """Whether a fault strikes now, in a call of `method`: one that is armed is used up."""
        if self.lasting and self.lasting.get(kind, 0.0) > self.world.now():
            return self._count(kind)
        if kind in self.armed and self.aims.get(kind, method) == method:
            self.armed.remove(kind)
            return self._count(kind)
        return False

    def call(self, method: Callable[..., T], *args: Any, **options: Any) -> T:
        """Call a method of a port through the weather.

        Raises:
            Killed: the function is gone, before or after the effect.
            OutageError: the sink does not answer; after the effect, if the answer was lost.
        """
        name = method.__name__
        self._wait()
        if self.strikes(FaultKind.CRASH_BEFORE, name):
            self._die(f"in {name}, before it took effect")
        if self.strikes(FaultKind.FAILING) or self._hangs():
            self.note(f"    {name} is not answered: the sink is out")
            message = "the sink does not answer"
            raise OutageError(message)
        result = self._told(method, *args, **options) if self.tells else method(*args, **options)
        if self.strikes(FaultKind.CRASH_AFTER, name):
            self._die(f"in {name}, after it took effect")
        if self.strikes(FaultKind.TIMEOUT, name):
            self.world.sleep(max(0.0, self._deadline() - self.world.now()))
        self._live()
        if self.strikes(FaultKind.LOST_ANSWER, name):
            self.note("    the answer is lost, after it took effect")
            message = "the answer was lost"
            raise OutageError(message)
        return result

    def _told(self, method: Callable[..., T], *args: Any, **options: Any) -> T:
        """Call a method, with a line in the timeline: what it was, and whether it raised."""
        call = f"    {method.__name__}({', '.join(map(shown, args))})"
        try:
            result = method(*args, **options)
        except Exception as error:
            self.note(f"{call} raises {error!r}")
            raise
        self.note(call)
        return result

    def _wait(self) -> None:
        self.world.sleep(self.slow if self.strikes(FaultKind.SLOW) else LATENCY_SECONDS)
        self._live()

    def _hangs(self) -> bool:
        if not self.strikes(FaultKind.OUTAGE):
            return False
        self.world.sleep(HANG_SECONDS)
        self._live()
        return True

    def _live(self) -> None:
        if self.world.now() >= self._deadline():
            self._die("at its timeout")

    def _deadline(self) -> float:
        return self.running[-1].deadline if self.running else float("inf")

    def _die(self, when: str) -> None:
        raise Killed(when)

    def _count(self, kind: FaultKind) -> bool:
        self.struck[kind] = self.struck.get(kind, 0) + 1
        return True


class _Faulty:
    def __init__(self, port: object, weather: Weather) -> None:
        self._port = port
        self._weather = weather

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._port, name)
        if not callable(attribute):
            return attribute
        return lambda *args, **options: self._weather.call(attribute, *args, **options)


def faulty(port: T, weather: Weather) -> T:
    """Return the port, with every call of a method going through the weather."""
    return cast("T", _Faulty(port, weather))
