"""What the functions of the examples write to, and what must hold of it in the end."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias, TypeVar

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

P = TypeVar("P")
Event: TypeAlias = Mapping[str, Any]

LARGEST_ORDER = 90
"""The warehouse refuses an order of more, however often it is placed."""

MOST_OFTEN = 20
"""At least once may mean twice, and each fault of a schedule may add one more. An effect that was
repeated more often than this is repeated by the function's own answers."""


def consumer(
    port: P,
    handler: Callable[[P, Event, LambdaContext], Any],
    problems: Callable[[SimulatedTable], Iterable[str]],
) -> Consumer:
    """Return the consumer whose function is `handler(port, event, context)`."""

    def build(_virtual_clock: VirtualClock, faults: FaultInjector) -> Handler:
        return partial(handler, faulty(port, faults))

    return Consumer("function", build, problems)


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

    def differences(self, table: SimulatedTable) -> Iterator[str]:
        """Say which rows are not what the table says."""
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

    def differences(self, table: SimulatedTable) -> Iterator[str]:
        """Say which totals are not what the items add up to."""
        wanted: Counter[str] = Counter()
        for item in table.items.values():
            wanted[f"group {item['group']}"] += int(item["amount"])
        for group in sorted(wanted.keys() | self.totals.keys()):
            if wanted[group] != self.totals[group]:
                yield f"{group}: the items add up to {wanted[group]}, not {self.totals[group]}"


@dataclass
class Mail(MemoryIdempotencyStore):
    """A mail server, and a table of markers for what was sent."""

    sent: list[str] = field(default_factory=list)

    def send(self, item: str, version: str) -> None:
        """Tell the customer of a change."""
        self.sent.append(f"{item} {version}")

    def silences(self, table: SimulatedTable) -> Iterator[str]:
        """Say of which items the customer was not told of every change."""
        told = Counter(message.partition(" ")[0] for message in set(self.sent))
        for states in table.history.values():
            item = identity(table, next(filter(None, states)))
            if told[item] < len(states):
                yield f"{item}: changed {len(states)}x, and the customer was told {told[item]}x"


class Refused(Exception):
    """The warehouse does not take this order, now or later."""


@dataclass
class Warehouse:
    """A partner that ships what is ordered, each time that it is ordered."""

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

    def complaints(self, table: SimulatedTable) -> Iterator[str]:
        """Say which orders were placed again and again, and of which items some never were."""
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
