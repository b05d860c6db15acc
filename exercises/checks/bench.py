"""A learner's function at work, and what is found wrong with it."""

import hashlib
import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from importlib.util import module_from_spec
from types import ModuleType
from typing import Any, Generic, NoReturn, TypeVar

from dynamodb_streams_cdc import Change, Image, LambdaContext, RetryableError, Source
from dynamodb_streams_cdc.testing import Lab
from dynamodb_streams_cdc.testing.simulation import (
    Consumer,
    FaultInjector,
    Schedule,
    SimulatedTable,
    Simulation,
    VirtualClock,
    faulty,
    generate,
)
from dynamodb_streams_cdc.testing.simulation.shrink import shrink
from exercises.checks import reading
from exercises.checks.clock import TooLong

P = TypeVar("P")

ORDERS = Source("orders", actor_attribute="updated_by")
SCHEDULES = 100
ABSENT = object()
LONGEST_STORY = 15
"""Lines of a simulation that are shown."""


class Wrong(AssertionError):
    """What a step found.

    Attributes:
        happened: what was done, and what came of it.
        why: the reason.
        read: where to read on.
        story: lines of a simulation, if one found it.
    """

    def __init__(self, happened: str, why: str, read: str, story: str = "") -> None:
        super().__init__(" ".join(f"{happened} {why}".split()))
        self.happened = happened
        self.why = why
        self.read = read
        self.story = story


class Stopped(Wrong):
    """The learner's code did not come back by itself."""


def wrong(happened: str, why: str, read: str, story: str = "") -> NoReturn:
    """Say what a step found.

    Raises:
        Wrong: always.
    """
    raise Wrong(happened, why, read, story)


def order(order_id: str = "1001", status: str = "placed", by: str = "shop") -> Image:
    """Return an order, as the application writes it."""
    return {
        "order_id": order_id,
        "status": status,
        "total": Decimal("29.33"),
        "updated_by": by,
    }


def item(order_id: str = "1001") -> str:
    """Return the identity of an order."""
    return f"orders/S={order_id}"


@dataclass(frozen=True)
class Raised:
    """An error that came out of the learner's function, and the change that it was called with."""

    change: Change
    error: Exception | SystemExit


class Bench(Generic[P]):
    """A table of orders, its stream, and the learner's function behind it.

    Attributes:
        store: what the function writes to.
        lab: where the orders are written, and things go wrong.
        explain: says what an error means, where there is more to say than that it was raised.
    """

    def __init__(self, function: Callable[[Change, P], object], store: P) -> None:
        self.store = store
        self.lab = Lab(keys=["order_id"], MaximumRetryAttempts=5)
        self.explain: Callable[[Exception], Wrong | None] = lambda error: None
        self._raised: list[Raised] = []
        self._function = function
        self.lab.function(_handler(function, self.lab.faulty(store), ORDERS, self._raised))

    def write(self, *states: Image | None, pause: float = 0.0) -> None:
        """Write the states of order 1001 one after the other; None deletes it."""
        for state in states:
            if state is None:
                self.lab.delete({"order_id": "1001"})
            else:
                self.lab.put(state)
            if pause:
                self.lab.wait(pause)

    def run(self) -> None:
        """Go on until all is quiet.

        Raises:
            Wrong: an error came out of the function.
        """
        self.lab.run()
        self._judge()

    def again(self) -> None:
        """Deliver the first batch again.

        Raises:
            Wrong: an error came out of the function.
        """
        self.lab.deliver_again(self.lab.deliveries[0])
        self._judge()

    def change(self, number: int) -> Change:
        """Return one of the changes that were delivered."""
        return change_of([r for each in self.lab.deliveries for r in each.records][number])

    def _judge(self) -> None:
        if self._raised:
            first = self._raised[0]
            if isinstance(first.error, SystemExit):
                raise first.error
            raise self.explain(first.error) or raised(first.error, self._function, first.change)


def _handler(
    function: Callable[[Change, P], object], store: P, source: Source, errors: list[Raised]
) -> Callable[[Mapping[str, Any], LambdaContext], None]:
    """Return a Lambda function that calls the learner's with each change."""

    def handler(event: Mapping[str, Any], _context: LambdaContext) -> None:
        for record in event["Records"]:
            change = change_of(record, source)
            try:
                function(change, store)
            except RetryableError:
                raise
            except (Exception, SystemExit) as error:
                errors.append(Raised(change, error))
                raise

    return handler


def change_of(record: Mapping[str, Any], source: Source = ORDERS) -> Change:
    """Return the change of a record; its event id means nothing and is in no order, as on AWS."""
    change = Change.from_record(record, source)
    return replace(change, event_id=hashlib.sha256(change.event_id.encode()).hexdigest()[:32])


def raised(error: Exception, subject: Callable[..., object], change: Change | None = None) -> Wrong:
    """Return what to say of an error that came out of the learner's code."""
    change_was = f", with the change {name_of(change)}" if change else ""
    return Wrong(
        f"Your code raised {type(error).__name__}: {error}{_place(error, subject)}{change_was}.",
        "Lambda takes that for a failure of the batch: it is delivered again and again, and what "
        "comes after it waits."
        if change
        else "",
        "the traceback above",
        "".join(traceback.format_exception(error)[-3:]),
    )


def took_too_long(late: TooLong, subject: Callable[..., object], limit: float) -> Stopped:
    """Return what to say of code that was stopped because its time was up."""
    return Stopped(
        f"Your code did not return within {limit:g} s{_place(late, subject)}.",
        "It may wait for something that never happens. Lambda would stop it at its time limit, "
        "and deliver the batch again, with the same result.",
        reading.LIFE,
    )


def left(exit_: SystemExit, subject: Callable[..., object]) -> Stopped:
    """Return what to say of code that ends the process."""
    return Stopped(
        f"Your code ended the process, by sys.exit({exit_.code!r}){_place(exit_, subject)}.",
        "Lambda takes that for a failure of the batch. A function returns when all is done, and "
        "lets an error out when it is not.",
        reading.LIFE,
    )


def remembers() -> Wrong:
    """Return what to say of code that is right as long as it has no memory of other runs."""
    return Wrong(
        "Your code is right here if its file is loaded again for each run, and wrong if not: it "
        "remembers something between runs.",
        "What is kept in the module or in a class, outside of what your code is given, is there in "
        "the next run, which has other orders; and on AWS each instance of a function has its own, "
        "which is gone when the instance is.",
        reading.MARKERS,
    )


def afresh(module: ModuleType, name: str) -> Callable[..., object]:
    """Return what a module has under a name, from a new copy of it for each run.

    A run begins with a store that was not that of the call before, or with a call without one.
    """
    spec = module.__spec__
    assert spec is not None
    assert spec.loader is not None
    loader = spec.loader
    store: Any = None
    subject: Any = None

    def call(*arguments: Any) -> object:
        nonlocal store, subject
        if subject is None or not arguments or arguments[-1] is not store:
            copy = module_from_spec(spec)
            loader.exec_module(copy)
            subject = getattr(copy, name)
            store = arguments[-1] if arguments else None
        return subject(*arguments)

    return call


def _place(error: BaseException, subject: Callable[..., object]) -> str:
    """Return where in the learner's file an error came from."""
    subject = inspect.unwrap(subject)
    while isinstance(subject, partial):
        subject = subject.func
    written = inspect.isroutine(subject) or inspect.isclass(subject)
    file = inspect.getsourcefile(subject if written else type(subject))
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    return f" (line {lines[-1]} of your file)" if lines else ""


def name_of(change: Change) -> str:
    """Return a change in words, such as `MODIFY 1001`."""
    return f"{change.kind} {'/'.join(map(str, change.keys.values()))}"


def short(value: object, other: object) -> str:
    """Return an image in short: the first attribute that another image has otherwise."""
    if not value or not isinstance(value, dict):
        return repr(value)
    if isinstance(other, dict):
        names = (n for n in {**value, **other} if value.get(n, ABSENT) != other.get(n, ABSENT))
        name = next(names, "")
    else:
        name = next(n for n in ("status", "amount", *value) if n in value)
    return f"{{... {name!r}: {value[name]!r} ...}}" if name in value else f"{{... no {name!r} ...}}"


def a_digit_more() -> list[Change]:
    """Return changes of one second whose sequence numbers get one digit more on the way."""
    table = SimulatedTable("orders-1A2B", ("order_id",))
    stream = table.enable_stream(1_714_564_800.0, first_sequence_number=10**21 - 30_000)
    for at, status in enumerate(("placed", "shipped", "refunded", "placed")):
        table.put(order(status=status, by=f"shop {at}"), 1_714_564_800.0)
    [shard] = stream.shards.values()
    changes = [change_of(record) for record in shard.records]
    assert len({len(change.sequence_number) for change in changes}) == 2
    return changes


def faults(
    function: Callable[[Change, P], object],
    make: Callable[[], P],
    problems: Callable[[P, SimulatedTable], Iterator[str]],
    read: str,
) -> None:
    """Try the function in schedules of faults that are drawn at random.

    Raises:
        Wrong: a schedule ends wrong; with its story, cut down to what it takes.
    """

    def consumers(_virtual_clock: VirtualClock) -> list[Consumer]:
        store, errors = make(), list[Raised]()

        def build(_virtual_clock: VirtualClock, faults: FaultInjector) -> Any:
            return _handler(function, faulty(store, faults), Source("items"), errors)

        def found(table: SimulatedTable) -> Iterator[str]:
            for each in errors:
                place = _place(each.error, function)
                yield f"your code raised {each.error!r}{place} with {name_of(each.change)}"
            yield from problems(store, table)

        return [Consumer("function", build, found)]

    def fails(schedule: Schedule) -> bool:
        return bool(Simulation(schedule, consumers).run().problems)

    for seed in range(SCHEDULES):
        if fails(generate(seed)):
            schedule = shrink(generate(seed), fails)
            result = Simulation(schedule, consumers, timeline=True).run()
            lines = str(result.timeline).splitlines()
            if len(lines) > LONGEST_STORY:
                lines[LONGEST_STORY - 5 : -5] = ["   ... and so on ..."]
            problem = result.problems[0].removeprefix("function: ")
            wrong(
                f"In one of {SCHEDULES} runs with faults drawn at random, {problem}.",
                "This is the shortest story of it:",
                read,
                "\n".join(lines),
            )
