"""A record of a simulation: events, invocations, and table and copy after each event."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dynamodb_streams_cdc.lambda_types import LambdaContext
from dynamodb_streams_cdc.testing.simulation.events import (
    Answered,
    AnswerIgnored,
    Event,
    Failed,
    GivenUp,
    Invoked,
    Lost,
    Repeated,
    Throttled,
)
from dynamodb_streams_cdc.testing.simulation.poller import Poller
from dynamodb_streams_cdc.testing.simulation.simulation import Actor, Simulation
from dynamodb_streams_cdc.testing.simulation.timeline import Timeline

MOST_INVOCATIONS = 400
"""Invocations that are drawn; the others are counted."""

ENDS = (Answered, AnswerIgnored, Failed, Repeated)

UNCHANGING = (*ENDS, Invoked, Throttled, GivenUp, Lost)
"""Events that change neither table nor copy."""


@dataclass
class Call:
    """One invocation of a function, by the mapping or by anybody else.

    Attributes:
        entry: how many events were there when it began.
        last: how many there were when it ended.
        end: what the mapping made of it; None for an invocation that is not the mapping's.
    """

    who: str
    event: Mapping[str, Any]
    begins: float
    entry: int
    ends: float = 0.0
    last: int = 0
    answer: Any = None
    error: BaseException | None = None
    end: Event | None = None
    poller: Poller | None = None
    delivery: int | None = None


@dataclass
class State:
    """Table, copy and differences from an event on."""

    entry: int
    value: Any


@dataclass
class Recorder(Timeline):
    """A timeline that looks at table and copy after each event.

    Attributes:
        look: returns table and copy in words.
        function: name of the only function, if there is one.
        written: for each write the number of its event, its time and its sequence number.
    """

    look: Callable[[], Any] = lambda: None
    function: str | None = None
    calls: list[Call] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    written: list[tuple[int, float, str]] = field(default_factory=list)
    uncalled: int = 0
    _simulation: Simulation | None = None
    _latest: str | None = None
    _open: dict[str, list[Call]] = field(default_factory=dict)

    def watch(self, simulation: Simulation) -> None:
        """Take the place of a simulation's timeline, and follow its functions."""
        self._simulation = simulation
        simulation.timeline = self
        for actor in simulation.actors:
            actor.faults.tells = True
            actor.handler = self._followed(actor)

    def note(self, now: float, who: str, event: Event) -> None:
        """Add an event, and the state after it."""
        super().note(now, who, event)
        if isinstance(event, ENDS) and self._open.get(who):
            self._open[who].pop().end = event
        if not isinstance(event, UNCHANGING):
            self._look(now)

    def name_of(self, actor: Actor) -> str:
        """Return the name by which an actor's events go."""
        return self.function or actor.consumer.name

    def _look(self, now: float) -> None:
        assert self._simulation is not None
        streams = self._simulation.table.streams
        latest = streams[-1].latest if streams else None
        if latest is not None and latest != self._latest:
            self._latest = latest
            self.written.append((len(self.entries) - 1, now, latest))
        state = self.look()
        if state is not None and (not self.states or self.states[-1].value != state):
            self.states.append(State(len(self.entries) - 1, state))

    def _followed(self, actor: Actor) -> Any:
        invoke, clock, name = actor.handler, actor.faults.virtual_clock, self.name_of(actor)

        def handle(event: Mapping[str, Any], context: LambdaContext) -> Any:
            call = Call(name, event, clock.now(), len(self.entries))
            call.poller, call.delivery = _delivery_of(event, actor, self.calls)
            if len(self.calls) < MOST_INVOCATIONS:
                self.calls.append(call)
            else:
                self.uncalled += 1
            try:
                call.answer = invoke(event, context)
            except BaseException as error:
                call.error = error
                raise
            finally:
                call.ends, call.last = clock.now(), len(self.entries)
                if call.delivery is not None:
                    self._open.setdefault(name, []).append(call)
                self._look(call.ends)
            return call.answer

        return handle


def _delivery_of(
    event: Mapping[str, Any], actor: Actor, calls: list[Call]
) -> tuple[Poller | None, int | None]:
    """Return the poller that makes this invocation, and the number of its delivery."""
    for poller in actor.pollers:
        last = len(poller.deliveries) - 1
        known = any(call.poller is poller and call.delivery == last for call in calls[-40:])
        if last >= 0 and poller.deliveries[last].event is event and not known:
            return poller, last
    return None, None
