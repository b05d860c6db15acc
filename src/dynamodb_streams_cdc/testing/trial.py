"""One run of a check: the surroundings of a function, and the table in the end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dynamodb_streams_cdc.change import Image
from dynamodb_streams_cdc.deadline import Clock
from dynamodb_streams_cdc.sinks.base import SourceTable
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetterStore
from dynamodb_streams_cdc.testing.simulation.aws_calls import is_of_boto3, unfollow
from dynamodb_streams_cdc.testing.simulation.faults import FaultInjector
from dynamodb_streams_cdc.testing.simulation.faulty import faulty, wrapped
from dynamodb_streams_cdc.testing.simulation.poller import Handler
from dynamodb_streams_cdc.testing.simulation.table import SimulatedTable

T = TypeVar("T")


class Items(list[Image]):
    """The items of the table in the end.

    Attributes:
        history: every state that each item ever had, by key; None for a deleted one.
    """

    def __init__(self, table: SimulatedTable) -> None:
        super().__init__(dict(item) for item in table.items.values())
        self._names = table.keys
        self.history: dict[Any, list[Image | None]] = {
            self.key(next(filter(None, states))): list(states) for states in table.history.values()
        }

    def key(self, item: Image) -> Any:
        """Return the value of the item's key attribute; of two key attributes, a tuple."""
        values = tuple(item[name] for name in self._names)
        return values if len(values) > 1 else values[0]

    def by_key(self) -> dict[Any, Image]:
        """Return the items by key."""
        return {self.key(item): item for item in self}


@dataclass
class Trial:
    """Clock, faults and stores for the function in one run of one schedule.

    Attributes:
        clock: time of the run, for functions that take a clock.
        source_table: the table, for sinks that read it.
        faults: injector of the faults in calls of ports.
        store: the dead letters, once the function has asked for `dead_letters`.
        followed: clients and resources of boto3.
        has_port: whether `faulty` was asked for a port.
    """

    clock: Clock
    source_table: SourceTable
    faults: FaultInjector
    store: MemoryDeadLetterStore | None = None
    followed: list[Any] = field(default_factory=list)
    has_port: bool = False

    def faulty(self, port: T) -> T:
        """Return the port, with faults in its requests: give the function this one.

        A port is an object of your own, a dictionary, or a client or resource of boto3, which is
        returned as it is. Faults occur while the function runs.

        Raises:
            TypeError: the object makes no requests.
        """
        self.has_port = True
        if type(port) is dict:
            return wrapped(port, self.faults)
        if is_of_boto3(port):
            self.followed.append(port)
        return faulty(port, self.faults)

    @property
    def dead_letters(self) -> MemoryDeadLetterStore:
        """Store of dead letters, for a `Processor`.

        The check redrives them, and fails if one is left. A processor inside a function of your
        own needs the name `function`.
        """
        if self.store is None:
            self.store = MemoryDeadLetterStore()
        return self.store

    def close(self) -> None:
        """Leave the clients of boto3 as they were."""
        for port in self.followed:
            unfollow(port, self.faults)


Made = tuple[Handler, Callable[[], Any]]
"""The function, and a function that reads its copy."""
