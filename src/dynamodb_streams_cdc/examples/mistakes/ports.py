"""Destinations of the examples' functions, and the state that each must have in the end."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar

from dynamodb_streams_cdc.change import Change, Image
from dynamodb_streams_cdc.lambda_types import LambdaContext
from dynamodb_streams_cdc.testing.memory import MemoryIdempotencyStore
from dynamodb_streams_cdc.testing.simulation import (
    Consumer,
    FaultInjector,
    SimulatedTable,
    VirtualClock,
    faulty,
)
from dynamodb_streams_cdc.testing.simulation.pipeline import SOURCE, identity
from dynamodb_streams_cdc.testing.simulation.poller import Handler

Event: TypeAlias = Mapping[str, Any]

LARGEST_ORDER = 90
"""The warehouse refuses an order of more, however often it is placed."""

MOST_OFTEN = 20
"""At least once may mean twice, and each fault of a schedule may add one more. An effect that was
repeated more often than this is repeated by the function's own answers."""


class Port(Protocol):
    """A destination of a function's writes."""

    def problems(self, table: SimulatedTable) -> Iterable[str]:
        """Return the differences from the state that the table demands, a sentence each."""


P = TypeVar("P", bound=Port)


def consumer(
    port_of: Callable[[], P], handler: Callable[[P, Event, LambdaContext], Any]
) -> Callable[[VirtualClock], Consumer]:
    """Return the factory of a consumer whose function is `handler(port, event, context)`."""

    def consumer_of(_virtual_clock: VirtualClock) -> Consumer:
        port = port_of()

        def build(_virtual_clock: VirtualClock, faults: FaultInjector) -> Handler:
            return partial(handler, faulty(port, faults))

        return Consumer("function", build, port.problems)

    return consumer_of


def changes(event: Event) -> Iterator[Change]:
    """Yield the changes of an event."""
    for record in event["Records"]:
        yield Change.from_record(record, SOURCE)


@dataclass
class Rows:
    """A copy of the table, in which each row remembers the version that it shows."""

    rows: dict[str, tuple[str, Image | None]] = field(default_factory=dict)

    def write(self, item: str, version: str, image: Image | None) -> None:
        """Write a row, or a tombstone if there is no image, unless the version held is as great."""
        held = self.rows.get(item)
        if held is None or held[0] < version:
            self.rows[item] = (version, image)

    def delete(self, item: str) -> None:
        """Remove a row, with all that it remembers."""
        self.rows.pop(item, None)

    def problems(self, table: SimulatedTable) -> Iterator[str]:
        """Return the rows that differ from the table."""
        wanted = {identity(table, item): item for item in table.items.values()}
        held = {item: image for item, (_, image) in self.rows.items() if image is not None}
        for item in sorted(wanted.keys() | held.keys()):
            want, got = _amount(wanted.get(item)), _amount(held.get(item))
            if wanted.get(item) != held.get(item):
                yield f"{item}: the table says {want}, the copy says {got}"


def _amount(image: Image | None) -> str:
    return "nothing" if image is None else f"group {image['group']}, amount {image['amount']}"


@dataclass
class Sums:
    """Running totals by group; an amount is added as often as a caller says so."""

    totals: Counter[str] = field(default_factory=Counter)

    def add(self, amounts: Mapping[str, int]) -> None:
        """Add all of the amounts, or none of them."""
        for group, amount in amounts.items():
            self.totals[group] += amount

    def problems(self, table: SimulatedTable) -> Iterator[str]:
        """Return the totals that differ from the sums of the items."""
        wanted: Counter[str] = Counter()
        for item in table.items.values():
            wanted[f"group {item['group']}"] += int(item["amount"])
        for group in sorted(wanted.keys() | self.totals.keys()):
            if wanted[group] != self.totals[group]:
                yield f"{group}: the items add up to {wanted[group]}, not {self.totals[group]}"


@dataclass
class Mail(MemoryIdempotencyStore):
    """A mail server, and a table of markers of the mails that were sent."""

    sent: list[str] = field(default_factory=list)

    def send(self, item: str, version: str) -> None:
        """Tell the customer of a change."""
        self.sent.append(f"{item} {version}")

    def problems(self, table: SimulatedTable) -> Iterator[str]:
        """Return the items with a change that the customer was not told of."""
        told = Counter(message.partition(" ")[0] for message in set(self.sent))
        for states in table.history.values():
            item = identity(table, next(filter(None, states)))
            if told[item] < len(states):
                yield f"{item}: changed {len(states)}x, and the customer was told {told[item]}x"


class Refused(Exception):
    """The warehouse does not take this order, now or later."""


@dataclass
class Warehouse:
    """A partner that ships each order, also one that is placed twice."""

    orders: Counter[str] = field(default_factory=Counter)

    def order(self, item: str, amount: int, version: str) -> None:
        """Order so many pieces.

        Raises:
            Refused: that are more than the warehouse has room for.
        """
        if amount > LARGEST_ORDER:
            message = f"{amount} are too many"
            raise Refused(message)
        self.orders[f"{item} {version}"] += 1

    def problems(self, table: SimulatedTable) -> Iterator[str]:
        """Return the orders that were placed too often, and the items with one that never was."""
        for order, times in sorted(self.orders.items()):
            if times > MOST_OFTEN:
                item, _, version = order.partition(" ")
                yield f"{item} (..{version[-6:]}) was ordered {times} times"
        placed = Counter(order.partition(" ")[0] for order in self.orders)
        for states in table.history.values():
            item = identity(table, next(filter(None, states)))
            wanted = sum(1 for image in states if _pieces(image) <= LARGEST_ORDER)
            if placed[item] < wanted:
                yield f"{item}: of {wanted} orders that can be placed {placed[item]} were"


def pieces(change: Change) -> int:
    """Return how many pieces a change asks for; none if it removes the item."""
    return _pieces(change.new_image)


def _pieces(image: Image | None) -> int:
    return 0 if image is None else int(image["amount"])
