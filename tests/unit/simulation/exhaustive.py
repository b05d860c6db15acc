"""Every order in which a few actors can take their steps, each step a call of a port.

The actors are the real code, each in a greenlet of its own that waits before each call. A state is
what the ports hold and what each actor has seen so far; one that was met before is not gone through
again. One actor may be killed once, before any of its calls, and then begins again.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]

from dynamodb_streams_cdc.testing.simulation.process import ProcessKilled

Choice = tuple[str, int]
"""`step` or `crash`, and the number of an actor."""


def always() -> bool:
    return True


@dataclass
class Actor:
    """One of those that act at the same time.

    Attributes:
        name: for messages.
        work: what it does, given its gate.
        may_crash: whether its process may be killed.
    """

    name: str
    work: Callable[["Gate"], None]
    may_crash: bool = False


class Gate:
    """Stops an actor before each of its calls, until it is told to go on."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.ready: Callable[[], bool] = always
        self.done = False
        self.error: BaseException | None = None
        self._killed = False

    def pass_(self, ready: Callable[[], bool] = always) -> None:
        """Wait for the next turn, which comes once `ready`."""
        self.ready = ready
        explorer = getcurrent().parent
        assert explorer is not None
        explorer.switch()
        if self._killed:
            message = "killed"
            raise ProcessKilled(message)
        self.seen.append("went on")

    def port(self, port: Any) -> Any:
        """Return a port whose every call is a step."""
        return _Port(self, port)

    def begin(self, work: Callable[["Gate"], None]) -> None:
        """Run an actor up to its first call."""

        def run() -> None:
            try:
                work(self)
            except ProcessKilled:
                pass
            except BaseException as error:
                self.error = error
            finally:
                self.done = True

        self._actor = greenlet(run)
        self._switch()

    def go_on(self, *, kill: bool = False) -> None:
        """Let the actor take a step, or kill it instead."""
        self._killed = kill
        self._switch()

    def _switch(self) -> None:
        self._actor.switch()
        if self.error is not None:
            raise self.error

    def end(self) -> None:
        """Kill the actor, which would wait for ever."""
        while not self.done:
            self.go_on(kill=True)


class _Port:
    def __init__(self, gate: Gate, port: Any) -> None:
        self._gate, self._port = gate, port

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)

        def call(*arguments: Any, **options: Any) -> Any:
            self._gate.pass_()
            try:
                result = method(*arguments, **options)
            except Exception as error:
                self._gate.seen.append(f"{name} raised {error!r}")
                raise
            self._gate.seen.append(f"{name}: {result!r}")
            return result

        return call


@dataclass
class World:
    """What the actors share.

    Attributes:
        actors: those that act.
        state: returns all that the ports hold, as text.
        problems: returns what is wrong in the end.
    """

    actors: Sequence[Actor]
    state: Callable[[], str]
    problems: Callable[[], Sequence[str]]


@dataclass
class Run:
    """A world in which some choices were made."""

    world: World
    crashes_left: int = 1
    gates: list[Gate] = field(default_factory=list)

    def __post_init__(self) -> None:
        for actor in self.world.actors:
            self.gates.append(self._begun(actor))

    def _begun(self, actor: Actor) -> Gate:
        gate = Gate()
        gate.begin(actor.work)
        return gate

    def make(self, choice: Choice) -> None:
        what, number = choice
        gate = self.gates[number]
        gate.go_on(kill=what == "crash")
        if what == "crash":
            self.crashes_left -= 1
            self.gates[number] = self._begun(self.world.actors[number])

    def choices(self) -> Iterator[Choice]:
        for number, (actor, gate) in enumerate(zip(self.world.actors, self.gates, strict=True)):
            if not gate.done and gate.ready():
                yield "step", number
                if actor.may_crash and self.crashes_left:
                    yield "crash", number

    def key(self) -> str:
        seen = "|".join("\n".join([*gate.seen, str(gate.done)]) for gate in self.gates)
        return f"{self.crashes_left}\n{self.world.state()}\n{seen}"

    def end(self) -> None:
        for gate in self.gates:
            gate.end()


@dataclass
class Explored:
    """What an exploration met.

    Attributes:
        states: number of distinct states.
        ends: how many of them are the end of every actor's work.
        wrong: the choices that lead to the first end that is wrong, in words, and its problems.
    """

    states: int = 0
    ends: int = 0
    wrong: str = ""


def explore(make: Callable[[], World]) -> Explored:
    """Go through every state, until an end is wrong."""
    found = Explored()
    met: set[str] = set()
    left: list[tuple[Choice, ...]] = [()]
    while left:
        choices = left.pop()
        run = Run(make())
        try:
            for choice in choices:
                run.make(choice)
            while (key := run.key()) not in met:
                met.add(key)
                found.states += 1
                if further := list(run.choices()):
                    # This run goes on with the last; the others begin again later.
                    left += [(*choices, each) for each in further[:-1]]
                    choices = (*choices, further[-1])
                    run.make(further[-1])
                    continue
                assert all(gate.done for gate in run.gates), "an actor waits for ever"
                found.ends += 1
                if problems := run.world.problems():
                    names = [actor.name for actor in run.world.actors]
                    steps = ", ".join(
                        f"{names[n]}{' crashes' if what == 'crash' else ''}" for what, n in choices
                    )
                    found.wrong = f"{steps}: {'; '.join(problems)}"
                    return found
        finally:
            run.end()
    return found
