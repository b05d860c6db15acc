"""Every order in which a few actors can take their steps, each step a call of a port.

The actors are the real code. What one does next depends on the answers that it got, and on nothing
else: so it is run from its beginning with these answers, as far as the first call without one. A
state is what the ports hold and where each actor is; one that was met before is not gone through
again. One actor may be killed once, before any of its calls, and then begins again.

All worlds share calls and answers: neither actors nor ports may change what they are given.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from types import SimpleNamespace
from typing import Any, Protocol


class World(Protocol):
    """What the actors share: its attributes are their ports."""

    def state(self) -> str:
        """Return all that the ports hold."""

    def check(self) -> None:
        """Check what holds at any moment."""

    def check_end(self, results: Sequence[Any]) -> None:
        """Check what holds in the end, when the works of the actors have returned these."""


def always(world: Any) -> bool:
    return True


@dataclass(frozen=True)
class Call:
    """A call of a port, which can be made in a world that is `ready`."""

    port: str
    method: str
    arguments: Sequence[Any]
    options: Mapping[str, Any]
    ready: Callable[[Any], bool]

    def make(self, world: World) -> "Answer":
        method = getattr(getattr(world, self.port), self.method)
        try:
            return Answer(method(*self.arguments, **self.options))
        except Exception as error:
            return Answer(error=error)


@dataclass(frozen=True)
class Answer:
    """What a call returned or raised."""

    value: Any = None
    error: Exception | None = None


class Unanswered(BaseException):
    """Ends an actor's code at a call that has no answer yet."""


class Gate:
    """Gives an actor the answers to its calls.

    Attributes:
        call: the first one that has no answer.
    """

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._answers = iter(answers)
        self.call: Call | None = None

    def ask(
        self,
        port: str,
        method: str,
        *arguments: Any,
        ready: Callable[[Any], bool] = always,
        **options: Any,
    ) -> Any:
        """Call a port, once the world is ready."""
        answer = next(self._answers, None)
        if answer is None:
            self.call = self.call or Call(port, method, arguments, options, ready)
            raise Unanswered
        if answer.error is not None:
            raise answer.error.with_traceback(None)
        return answer.value

    def port(self, name: str, of: type) -> Any:
        """Return a port, each call of whose methods is a step."""
        methods = [each for each in dir(of) if not each.startswith("_")]
        return SimpleNamespace(**{each: partial(self.ask, name, each) for each in methods})


@dataclass(eq=False)
class Moment:
    """Where an actor is.

    Attributes:
        answers: that it got so far.
        call: its next; None if its work is done.
        result: what its work returned.
        following: the moments after each answer to the call.
    """

    answers: Sequence[Answer]
    call: Call | None
    result: Any
    following: dict[str, "Moment"] = field(default_factory=dict)


@dataclass
class Actor:
    """One of those that act at the same time.

    Attributes:
        name: for messages.
        work: what it does, given its gate.
        may_crash: whether its process may be killed.
    """

    name: str
    work: Callable[[Gate], Any]
    may_crash: bool = False

    def moment(self, answers: Sequence[Answer] = ()) -> Moment:
        gate, result = Gate(answers), None
        with suppress(Unanswered):
            result = self.work(gate)
        return Moment(answers, gate.call, result)

    def after(self, moment: Moment, answer: Answer) -> Moment:
        text = repr(answer)
        if text not in moment.following:
            moment.following[text] = self.moment((*moment.answers, answer))
        return moment.following[text]


@dataclass(frozen=True)
class Place:
    """Where all actors are, and how they came there.

    Attributes:
        calls: made so far.
        steps: taken so far, in words.
    """

    moments: tuple[Moment, ...]
    crashes_left: int = 1
    calls: tuple[Call, ...] = ()
    steps: tuple[str, ...] = ()

    def moved(self, number: int, moment: Moment, step: str) -> "Place":
        moments = (*self.moments[:number], moment, *self.moments[number + 1 :])
        return replace(self, moments=moments, steps=(*self.steps, step))


Choice = tuple[str, int]
"""`step` or `crash`, and the number of an actor."""


@dataclass
class Exploration:
    """All states of some actors.

    Attributes:
        make: returns the world in which they begin.
        states: number of distinct states.
        ends: how many of them are the end of every actor's work.
    """

    actors: Sequence[Actor]
    make: Callable[[], World]
    states: int = 0
    ends: int = 0
    _met: set[object] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._beginnings = tuple(actor.moment() for actor in self.actors)

    def run(self) -> "Exploration":
        """Go through every state.

        Raises:
            AssertionError: one is wrong; a note says which steps lead to it.
        """
        left: list[tuple[Place, Choice | None]] = [(Place(self._beginnings), None)]
        while left:
            place, choice = left.pop()
            world = self.make()
            for call in place.calls:
                call.make(world)
            try:
                if choice:
                    place = self._after(place, choice, world)
                # This world goes on with the last choice; the others begin again later.
                while choices := self._choices(place, world):
                    left += [(place, each) for each in choices[:-1]]
                    place = self._after(place, choices[-1], world)
            except Exception as error:
                error.add_note(f"after the steps: {', '.join(place.steps)}")
                raise
        return self

    def _choices(self, place: Place, world: World) -> list[Choice]:
        """Check a state; return how it can go on; nowhere if it was met before."""
        state = (place.moments, place.crashes_left, world.state())
        if state in self._met:
            return []
        self._met.add(state)
        self.states += 1
        world.check()
        choices = list(self._able(place, world))
        if not choices:
            assert all(moment.call is None for moment in place.moments), "an actor waits for ever"
            self.ends += 1
            world.check_end([moment.result for moment in place.moments])
        return choices

    def _able(self, place: Place, world: World) -> Iterator[Choice]:
        for number, (actor, moment) in enumerate(zip(self.actors, place.moments, strict=True)):
            if moment.call and moment.call.ready(world):
                yield "step", number
                if actor.may_crash and place.crashes_left:
                    yield "crash", number

    def _after(self, place: Place, choice: Choice, world: World) -> Place:
        what, number = choice
        actor, moment = self.actors[number], place.moments[number]
        if what == "crash":
            crashed = place.moved(number, self._beginnings[number], f"{actor.name} crashes")
            return replace(crashed, crashes_left=place.crashes_left - 1)
        assert moment.call is not None
        moved = place.moved(number, actor.after(moment, moment.call.make(world)), actor.name)
        return replace(moved, calls=(*place.calls, moment.call))
