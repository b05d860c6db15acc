"""A walk consumes no more capacity than it may, of small items and of large ones."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from dynamodb_streams_cdc.control.functions import InvocationFailed
from dynamodb_streams_cdc.operations.jobs import Job
from dynamodb_streams_cdc.operations.walk import CapacityLimit, Walk, WalkedPart
from dynamodb_streams_cdc.testing.simulation import VirtualClock

ITEMS = 1_000
RATE = 500.0


@dataclass
class Function:
    """Reads what it is asked for, at once, from segments of items of a size."""

    units_of_an_item: float
    requests: list[float] = field(default_factory=list)

    def invoke(self, processor: str, event: Mapping[str, Any]) -> Any:
        at = int(event["place"] or 0)
        read = min(event["limit"], ITEMS - at)
        self.requests.append(read * self.units_of_an_item)
        done = at + read >= ITEMS
        return {
            "read": read,
            "units": self.requests[-1],
            "place": None if done else at + read,
            "done": done,
            "problem": "",
        }


@pytest.mark.parametrize("units_of_an_item", [0.5, 4.0, 100.0])
def test_the_rate_holds_for_items_of_any_cost(units_of_an_item: float) -> None:
    clock = VirtualClock()
    begin = clock.now()
    function = Function(units_of_an_item)
    walk = Walk(
        function,
        Job("walk", {}),
        lambda part, answer: {},
        CapacityLimit(RATE, clock),
        1,
        clock=clock,
    )
    walk.run([WalkedPart(f"{n}", "search", {"operation": "backfill"}) for n in range(4)])
    total = 4 * ITEMS * units_of_an_item
    assert sum(function.requests) == total
    assert max(function.requests) <= RATE
    # The last request of all is not waited for.
    assert total / RATE - 2 <= clock.now() - begin <= 1.2 * total / RATE + 2


def test_without_a_limit_nothing_is_waited_for() -> None:
    clock = VirtualClock()
    begin = clock.now()
    function = Function(100.0)
    walk = Walk(function, Job("walk", {}), lambda part, answer: {}, workers=1, clock=clock)
    walk.run([WalkedPart("0", "search", {"operation": "backfill"})])
    assert (len(function.requests), clock.now() - begin) == (1, 0)


def test_a_request_that_fails_is_made_for_fewer_items() -> None:
    """A function that needs 0.25 s for an item never comes to the end of a page of 200."""
    clock = VirtualClock()
    asked: list[int] = []

    class Slow(Function):
        def invoke(self, processor: str, event: Mapping[str, Any]) -> Any:
            asked.append(event["limit"])
            if event["limit"] > 100:
                message = "Task timed out after 60.00 seconds"
                raise InvocationFailed(message)
            return super().invoke(processor, event)

    told: list[str] = []
    walk = Walk(Slow(1.0), Job("walk", {}), lambda part, answer: {}, workers=1, clock=clock)
    walk.progress = lambda: told.append(walk.trouble)
    walk.run([WalkedPart("0", "search", {"operation": "backfill"})])
    assert (walk.problems, walk.read) == ({}, ITEMS)
    assert asked[:6] == [2000, 500, 125, 31, 62, 124]
    timed_out = "search brought nothing on (Task timed out after 60.00 seconds)"
    assert told[:5] == [timed_out] * 3 + ["", ""]
