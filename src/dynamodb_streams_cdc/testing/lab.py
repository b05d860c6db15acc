"""A table, its stream, one event source mapping and your function, in virtual time."""

import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, TypeVar

from dynamodb_streams_cdc.change import ViewType
from dynamodb_streams_cdc.deadline import Clock
from dynamodb_streams_cdc.esm import MappingConfiguration, Policies
from dynamodb_streams_cdc.lambda_types import LambdaContext
from dynamodb_streams_cdc.testing.simulation.delivery import Delivery, DiscardedBatch, Record
from dynamodb_streams_cdc.testing.simulation.events import (
    AnswerIgnored,
    Failed,
    InvokedLate,
    Remark,
    Written,
    change_of,
    listed,
    shown,
)
from dynamodb_streams_cdc.testing.simulation.events import Event as Happening
from dynamodb_streams_cdc.testing.simulation.faults import FaultInjector
from dynamodb_streams_cdc.testing.simulation.faulty import faulty
from dynamodb_streams_cdc.testing.simulation.limits import check_key_alone
from dynamodb_streams_cdc.testing.simulation.poller import Event, Handler, Poller
from dynamodb_streams_cdc.testing.simulation.process import ProcessKilled, current
from dynamodb_streams_cdc.testing.simulation.schedule import FaultKind
from dynamodb_streams_cdc.testing.simulation.stream import SimulatedStream
from dynamodb_streams_cdc.testing.simulation.table import SimulatedTable
from dynamodb_streams_cdc.testing.simulation.timeline import Timeline
from dynamodb_streams_cdc.testing.simulation.virtual_clock import VirtualClock, reproducible

T = TypeVar("T")
H = TypeVar("H", bound=Handler)

TABLE = "lab-table"

LONGEST_TIMEOUT = 900
"""Seconds: https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html."""

LONGEST_RUN_HOURS = 48.0
"""Hours of a run: twice the retention of a stream."""

SETTINGS = frozenset(
    {
        "BatchSize",
        "BisectBatchOnFunctionError",
        "DestinationConfig",
        "FilterCriteria",
        "FunctionArn",
        "FunctionResponseTypes",
        "MaximumBatchingWindowInSeconds",
        "MaximumRecordAgeInSeconds",
        "MaximumRetryAttempts",
        "MetricsConfig",
        "ParallelizationFactor",
        "StartingPosition",
        "TumblingWindowInSeconds",
        "UUID",
    }
)
"""Settings of a mapping that mean something here, by the names of `ListEventSourceMappings`."""

PASSED_OVER = frozenset(
    {
        "EventSourceArn",
        "EventSourceMappingArn",
        "FilterCriteriaError",
        "KMSKeyArn",
        "LastModified",
        "LastProcessingResult",
        "State",
        "StateTransitionReason",
    }
)
"""Other fields of `ListEventSourceMappings`: a real mapping can be tried as it is."""

DEFAULTS: Mapping[str, Any] = {
    "StartingPosition": "TRIM_HORIZON",
    "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:lab",
    "UUID": "00000000-0000-4000-8000-000000000000",
    "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:s3:::dead-letters"}},
}


class UnusedFault(AssertionError):
    """A fault was armed and had no chance to strike, so the test has not tested it."""


class Lab:
    """Table, stream, mapping and function in one process and in virtual time.

    Args:
        handler: the function, `handler(event, context)`; or give it later, with `lab.function`.
        keys: names of the table's key attributes; or their types by name, such as
            `{"customer_id": "S", "number": "N"}`. Without types, those of the first item hold.
        view_type: of the stream.
        partitions: of the table; each has a shard of its own.
        timeout: of the function, in seconds of the lab's clock, up to Lambda's 900.
        policies: choices that AWS does not document.
        virtual_time: whether `time.sleep`, `time.time`, the timers of asyncio and their like take
            and tell the lab's time while the function runs. Say False for a function that needs
            the machine's. What was imported by name before, and `datetime.now`, keep the machine's.
        **settings: of the mapping, under the names and with the defaults of
            `ListEventSourceMappings`; what that returned can be given as it is. The mapping starts
            at TRIM_HORIZON and has a bucket for dead letters, unless you say otherwise.

    Raises:
        ConfigurationError: a setting that AWS refuses.
        TypeError: a setting that there is not.
        ValueError: a timeout, or a number of partitions, that there is not.

    Attributes:
        deliveries: every invocation of the function.
        dead_letters: reports of the mapping to its on-failure destination.
        destination_works: set it to False to let dead letters get lost.
    """

    def __init__(
        self,
        handler: Handler | None = None,
        *,
        keys: Sequence[str] | Mapping[str, str] = ("id",),
        view_type: str = ViewType.NEW_AND_OLD_IMAGES,
        partitions: int = 1,
        timeout: float = 60.0,
        virtual_time: bool = True,
        policies: Policies | None = None,
        **settings: Any,
    ) -> None:
        if unknown := sorted(settings.keys() - SETTINGS - PASSED_OVER):
            message = f"no setting {', '.join(unknown)}; there are {', '.join(sorted(SETTINGS))}"
            raise TypeError(message)
        check_timeout(timeout)
        if partitions < 1:
            message = f"partitions must be 1 or more, got {partitions}"
            raise ValueError(message)
        self._virtual_clock = VirtualClock()
        self._handler = handler
        self._policies = policies or Policies()
        self._timeout = timeout
        self._virtual_time = virtual_time
        self._settings = {**DEFAULTS, **settings}
        self._stream_options = {"view_type": ViewType(view_type), "partitions": partitions}
        self._faults = FaultInjector(self._virtual_clock, self._note, tells=True)
        self._table = _table(keys)
        self.timeline = Timeline()
        self.deliveries: list[Delivery] = []
        self.dead_letters: list[DiscardedBatch] = []
        self._struck_before: dict[FaultKind, int] = {}
        self._lost: list[Record] = []
        self._pollers: list[Poller] = []
        self.replace_stream()

    # The function

    def function(self, handler: H) -> H:
        """Take the function; usable as a decorator."""
        self._handler = handler
        return handler

    @property
    def clock(self) -> Clock:
        """The lab's time, for functions that take a clock. Sleeping lets everything else go on."""
        return self._virtual_clock

    def faulty(self, port: T) -> T:
        """Return a port through which faults strike: give the function this one.

        A fault occurs in the request that is made: a call of a method; for a client or resource of
        boto3 the request to AWS, by the client's method (`put_item`; a batch writer makes
        `batch_write_item`). A boto3 object is returned as it is, and raises botocore's errors. Each
        request takes some milliseconds of the lab's time.

        Raises:
            TypeError: the object makes no requests, or another one makes them for it.
        """
        return faulty(port, self._faults)

    # Writing

    def put(self, *items: Mapping[str, Any]) -> None:
        """Write items, in plain Python; one that changes nothing makes no record.

        Raises:
            WriteRefused: DynamoDB refuses the item: a key that is empty, too long or of another
                type, more than 400 KB, too deep.
            MalformedValue: no table can hold the item, such as one with a float.
        """
        _live()
        for item in items:
            if self._table.put(deepcopy(dict(item)), self._virtual_clock.now()):
                self._say("put", item)

    def delete(self, *keys: Mapping[str, Any]) -> None:
        """Remove the items with these keys; one that is not there makes no record."""
        _live()
        for key in keys:
            check_key_alone(self._table.keys, key)
            if self._table.delete(dict(key), self._virtual_clock.now()):
                self._say("delete", key)

    def expire(self, *keys: Mapping[str, Any]) -> None:
        """Let Time to Live remove the items with these keys."""
        _live()
        for key in keys:
            check_key_alone(self._table.keys, key)
            if self._table.delete(dict(key), self._virtual_clock.now(), expired=True):
                self._say("expire", key)

    # Time

    def run(self, *, hours: float = LONGEST_RUN_HOURS) -> None:
        """Go on until nothing happens any more, up to some hours on the lab's clock.

        A record leaves its stream after 24 hours, so nothing goes on for longer by itself.

        Raises:
            EndlessRun: something still happens.
            UnusedFault: a fault is still armed, or the sink failed or was slow, and no call met it.
            TypeError: the lab has no function.
        """
        self._function()
        with reproducible(0):
            self._virtual_clock.run(hours * 3600, self._what_goes_on)
        if unused := [*self._still_armed(), *self._unmet()]:
            calls = ", ".join(self._faults.called) or "none"
            message = (
                f"armed, and never struck: {', '.join(unused)}. Crashes, timeouts, lost answers, "
                "and sinks that fail or are slow strike in calls of a port that the function got "
                "from lab.faulty(port), a lost answer in one that succeeds; "
                f"there were {calls}"
            )
            raise UnusedFault(message)

    def wait(self, seconds: float) -> None:
        """Let so many seconds pass, with the events that are due in them."""
        self._function()
        if current() is not None:
            message = "lab.wait is for the test: within a function, lab.clock.sleep lets time pass"
            raise RuntimeError(message)
        with reproducible(0):
            self._virtual_clock.sleep(seconds)

    # Results

    @property
    def delivered(self) -> list[list[str]]:
        """The changes of each delivery, such as `[["INSERT 1", "REMOVE 1"], ["INSERT 2"]]`."""
        return [delivery.changes for delivery in self.deliveries]

    @property
    def lost(self) -> list[str]:
        """The changes that are neither done nor among the dead letters, such as `["INSERT 1"]`.

        Records that the stream forgot before they were done, which AWS does not report; and records
        given up where there is no destination, or a broken one.
        """
        return [change_of(record) for record in self._lost]

    @property
    def metrics(self) -> dict[str, float | None]:
        """Counts of the mapping, by the names of CloudWatch."""
        return self._pollers[-1].engine.metrics.as_dict()

    @property
    def checkpoints(self) -> dict[str, str]:
        """Where the mapping would begin after a restart, by shard."""
        return self._pollers[-1].engine.checkpoints

    # Faults that strike once, at the next chance

    def throttle(self, times: int = 1) -> None:
        """Refuse the next invocations: the function is not called, no attempt is counted."""
        self._arm(FaultKind.THROTTLE, times)

    def redeliver(self, times: int = 1) -> None:
        """Deliver the next batches again although they were done."""
        self._arm(FaultKind.DUPLICATE, times)

    def crash_before(self, method: str | None = None) -> None:
        """Kill the function in its next call of a faulty port, or of this method of one.

        Nothing is done by the call: the function dies before it takes effect.
        """
        self._arm(FaultKind.CRASH_BEFORE, method=method)

    def crash_after(self, method: str | None = None) -> None:
        """Kill the function in its next call of a faulty port, or of this method of one.

        The call has done its work: the function dies before it learns of that.
        """
        self._arm(FaultKind.CRASH_AFTER, method=method)

    def lose_answer(self, method: str | None = None) -> None:
        """Let the next call of a faulty port, or method, do its work and raise `RetryableError`."""
        self._arm(FaultKind.LOST_ANSWER, method=method)

    def time_out(self, method: str | None = None) -> None:
        """Let the next call of a faulty port, or method, take until the function's timeout."""
        self._arm(FaultKind.TIMEOUT, method=method)

    # Faults that last, and changes of scene

    def fail_sink(self, seconds: float) -> None:
        """Let every call of a faulty port raise an `RetryableError`, from now on for some time."""
        self._last(FaultKind.FAILING, seconds)

    def slow_sink(self, seconds: float, *, per_call: float) -> None:
        """Let every call of a faulty port take so many seconds, from now on for some time."""
        self._faults.slow = per_call
        self._last(FaultKind.SLOW, seconds)

    def lose_checkpoint(self) -> None:
        """Go back to the checkpoint before the latest, as after the crash of a poller."""
        self._note(Remark("the latest checkpoint is lost"))
        for poller in self._pollers:
            poller.rewind()

    def deliver_again(self, delivery: Delivery) -> None:
        """Invoke the function with an old batch now, as a poller does that was believed dead."""
        again = Delivery(
            self._virtual_clock.now(),
            delivery.event,
            delivery.shard_id,
            delivery.lane,
            delivery.attempt,
        )
        self.deliveries.append(again)
        self._note(InvokedLate(again.records))
        try:
            again.answer = self._pollers[-1].run(again.event)
        except (Exception, ProcessKilled) as error:
            again.error = error
            self._note(Failed(error, retried=False))
        else:
            self._note(AnswerIgnored(shown(again.answer)))

    def split_shards(self) -> None:
        """Continue every shard in two, as a growing table does."""
        self._stream.split()

    def rotate_shards(self) -> None:
        """Continue every shard in another, as DynamoDB does every few hours."""
        self._stream.rotate()

    def replace_stream(self) -> None:
        """Turn the stream off and a new one on, with a mapping of its own; the old one drains."""
        stream = self._table.enable_stream(self._virtual_clock.now(), **self._stream_options)
        mapping = MappingConfiguration.from_description(
            {**self._settings, "EventSourceArn": stream.arn},
            filter_operators=self._policies.filter_operators,
        )
        poller = Poller(
            self._virtual_clock,
            stream,
            self._call,
            self._faults,
            mapping,
            self._note,
            self._policies,
            self._timeout,
            deliveries=self.deliveries,
            dead_letters=self.dead_letters,
            lost=self._lost,
            virtual_time=self._virtual_time,
        )
        self._pollers.append(poller)

    def disable(self) -> None:
        """Disable the mapping."""
        self._pollers[-1].disable()

    def enable(self) -> None:
        """Enable the mapping again; it goes on from its checkpoint."""
        self._pollers[-1].enable()

    @property
    def destination_works(self) -> bool:
        """Whether dead letters arrive."""
        return self._pollers[-1].destination_works

    @destination_works.setter
    def destination_works(self, works: bool) -> None:
        for poller in self._pollers:
            poller.destination_works = works

    @property
    def _stream(self) -> SimulatedStream:
        return self._table.streams[-1]

    def _call(self, event: Event, context: LambdaContext) -> Any:
        """Invoke the function with a copy of the event, which it may change."""
        return self._function()(json.loads(json.dumps(event)), context)

    def _function(self) -> Handler:
        if self._handler is None:
            message = "the lab has no function: Lab(handler), or lab.function(handler)"
            raise TypeError(message)
        return self._handler

    def _what_goes_on(self) -> str:
        if not self.deliveries:
            return ""
        last = self.deliveries[-1]
        came = f"it raised {last.error!r}" if last.error else f"it returned {shown(last.answer)}"
        told = (
            f". Of {len(self.deliveries):,} deliveries the last was {listed(last.records)}; {came}"
        )
        if last.event.get("isFinalInvokeForWindow"):
            told = (
                f". The final invocation of a tumbling window fails, {came}: on AWS the shard is "
                "suspended until it succeeds. The function has to return a state"
            )
        return told

    def _arm(self, kind: FaultKind, times: int = 1, *, method: str | None = None) -> None:
        self._faults.armed += [kind] * times
        self._faults.aims.pop(kind, None)
        if method is not None:
            self._faults.aims[kind] = method

    def _last(self, kind: FaultKind, seconds: float) -> None:
        self._faults.lasting[kind] = self._virtual_clock.now() + seconds
        self._struck_before[kind] = self._faults.struck.get(kind, 0)

    def _still_armed(self) -> list[str]:
        aims = self._faults.aims
        return [f"{kind} in {aims[kind]}" if kind in aims else kind for kind in self._faults.armed]

    def _unmet(self) -> list[str]:
        """Return the faults that lasted since the last run, and struck no call."""
        before, self._struck_before = self._struck_before, {}
        return [kind for kind, times in before.items() if self._faults.struck.get(kind, 0) == times]

    def _note(self, event: Happening) -> None:
        self.timeline.note(self._virtual_clock.now(), "function", event)

    def _say(self, what: str, item: Mapping[str, Any]) -> None:
        values = ", ".join(f"{name}: {value}" for name, value in item.items())
        self.timeline.note(self._virtual_clock.now(), "table", Written(f"{what} {values}"))


def check_timeout(seconds: float) -> None:
    """Refuse a timeout that no function has.

    Raises:
        ValueError: it is not above 0 and up to 900 seconds.
    """
    if not 0 < seconds <= LONGEST_TIMEOUT:
        message = f"timeout must be above 0 and up to {LONGEST_TIMEOUT} seconds, got {seconds}"
        raise ValueError(message)


def _live() -> None:
    """Let a function that is gone write nothing."""
    invocation = current()
    if invocation is not None:
        invocation.live()


def _table(keys: Sequence[str] | Mapping[str, str]) -> SimulatedTable:
    if isinstance(keys, str):
        message = f'keys must be a list of names such as ["id"], or their types; got {keys!r}'
        raise ValueError(message)
    types = dict(keys) if isinstance(keys, Mapping) else {}
    return SimulatedTable(TABLE, tuple(keys), key_types=types)


LabFactory = Callable[..., Lab]
"""Type of the fixture `stream_lab`."""
