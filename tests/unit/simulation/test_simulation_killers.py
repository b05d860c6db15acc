"""A record that kills the function's process, as one does that takes more memory than there is.

Nothing in the process can catch it, so only the mapping can get past it: with bisecting the killer
is alone in its batch, and after 20 hours it is given up. Every copy is right in the end: what was
given up together with it is redriven.
"""

import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from dynamodb_streams_cdc import Change, LambdaContext, Source
from dynamodb_streams_cdc.testing.simulation import (
    Consumer,
    FaultInjector,
    Operation,
    Schedule,
    SimulatedTable,
    Simulation,
    VirtualClock,
    Write,
    faulty,
)
from dynamodb_streams_cdc.testing.simulation.scene import POISON
from dynamodb_streams_cdc.testing.simulation.virtual_clock import START

KILLER = 3
ITEMS = 8


class Groups:
    """A copy of the items' groups; the newest version of each wins.

    Attributes:
        written: each write, with the time of it in hours.
    """

    def __init__(self) -> None:
        self.rows: dict[str, tuple[str, Any]] = {}
        self.written: list[tuple[float, str]] = []

    def write(self, name: str, version: str, group: Any, now: float) -> None:
        self.written.append(((now - START) / 3600, name))
        self.rows[name] = max(self.rows.get(name, ("", None)), (version, group))

    def wrong(self, table: SimulatedTable) -> Sequence[str]:
        wanted = {item["id"]: item["group"] for item in table.items.values()}
        held = {name: group for name, (_, group) in self.rows.items()}
        return [] if held == wanted else [f"the items say {wanted}, the copy says {held}"]


def run(*, bisect: bool) -> tuple[Simulation, Groups, int]:
    """Write eight items at once, one of them a killer; return the changes and dead letters."""
    copy = Groups()

    def build(virtual_clock: VirtualClock, faults: FaultInjector) -> Any:
        port = faulty(copy, faults)

        def handler(event: Mapping[str, Any], context: LambdaContext) -> None:
            changes = [Change.from_record(record, Source("items")) for record in event["Records"]]
            if any(POISON in (change.new_image or {}) for change in changes):
                os.kill(os.getpid(), signal.SIGKILL)
            for change in changes:
                group = (change.new_image or {}).get("group")
                port.write(change.keys["id"], change.version, group, virtual_clock.now())

        return handler

    operations = tuple(
        Operation(0.0, Write.POISON if item == KILLER else Write.PUT, item, group=item)
        for item in range(ITEMS)
    )
    schedule = Schedule(operations, batch_size=ITEMS, bisect=bisect)
    simulation = Simulation(schedule, lambda virtual_clock: [Consumer("groups", build, copy.wrong)])
    result = simulation.run()
    assert result.problems == (), result
    return simulation, copy, result.dead_letters


def within_an_hour(copy: Groups) -> set[str]:
    return {name for hours, name in copy.written if hours < 1}


def test_with_bisecting_records_before_a_killer_pass_at_once() -> None:
    _, copy, dead_letters = run(bisect=True)
    assert within_an_hour(copy) == {f"item-{item}" for item in range(KILLER)}
    assert dead_letters == 2  # the killer alone, and the half of the batch that waited behind it
    late = [hours for hours, name in copy.written if name not in within_an_hour(copy)]
    assert min(late) == pytest.approx(20, abs=0.5)
    assert {name for _, name in copy.written} == {f"item-{item}" for item in range(ITEMS)}


def test_without_bisecting_a_killer_blocks_its_batch_20_hours() -> None:
    _, copy, dead_letters = run(bisect=False)
    assert within_an_hour(copy) == set()
    assert dead_letters == 1
    assert {name for _, name in copy.written} == {f"item-{item}" for item in range(ITEMS)}
