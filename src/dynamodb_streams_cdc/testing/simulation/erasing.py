"""The erasure of a simulation: runs the code of `cdc forget` on a function in virtual time."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dynamodb_streams_cdc.change import Image
from dynamodb_streams_cdc.control.erasure import Erasure
from dynamodb_streams_cdc.control.functions import InvocationFailed
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.deserializer import serialize_item
from dynamodb_streams_cdc.operations.forget import Forget, ForgetReport
from dynamodb_streams_cdc.testing.simulation.emulation import run
from dynamodb_streams_cdc.testing.simulation.process import Invocation, ProcessKilled
from dynamodb_streams_cdc.testing.simulation.table import SimulatedTable
from dynamodb_streams_cdc.testing.simulation.virtual_clock import VirtualClock

DAY = 24 * 3600.0

ROUNDS = 4
"""Erasures in the end: a trace that comes back is erased eight days later."""


@dataclass
class Eraser:
    """Erases items that were deleted.

    Attributes:
        name: logical name of the table.
        erasure: the function that erases.
        timeout: of an invocation, in seconds.
        tell: notes a line in the timeline.
        reports: report of each erasure.
    """

    name: str
    virtual_clock: VirtualClock
    table: SimulatedTable
    erasure: Erasure
    timeout: float
    tell: Callable[[str], None]
    reports: list[ForgetReport] = field(default_factory=list)

    def forget(self, rng: random.Random) -> bool:
        """Erase some of the items that are not in the table; return whether there were any."""
        gone = [key for key in self.table.history if key not in self.table.items]
        chosen = rng.sample(gone, rng.randint(1, len(gone))) if gone else []
        self._forget(chosen)
        return bool(chosen)

    def finish(self, settle: Callable[[], None]) -> Iterator[str]:
        """Erase again until nothing is left of the items; say what is.

        `settle` runs everything else until all is quiet.
        """
        for _ in range(ROUNDS):
            self.virtual_clock.sleep(8 * DAY)
            settle()
            gone = [key for key in self.table.forgotten if key not in self.table.items]
            if not gone:
                break
            self._forget(gone)
        yield from self._unknown_receipts()
        if not gone:
            return
        report = self.reports[-1]
        for result in report.items if not report.complete else ():
            yield f"{result.item} is not erased: {result}, {report.problems}"

    def _unknown_receipts(self) -> Iterator[str]:
        """Say which receipts no report names, neither as written nor as one that may be."""
        results = [result for report in self.reports for result in report.items]
        told = {each.receipt for each in results}
        for name in getattr(self.erasure.records, "receipts", ()):
            if name not in told:
                yield f"the operator does not know receipt {name}"

    def _forget(self, keys: list[str]) -> None:
        if not keys:
            return
        work = Forget(self, self.name, self.virtual_clock)
        items = [next(filter(None, self.table.history[key])) for key in keys]
        report = work.run(map(self._keys, items))
        self.reports.append(report)
        for key in keys:
            # An item that came back meanwhile, and was deleted again, may be erased up to there.
            states = self.table.history[key]
            last = max(number for number, state in enumerate(states, 1) if state is None)
            self.table.forgotten[key] = last
        for result in report.items:
            self.tell(f"erasure of {result.item}: {result.status}")

    def _keys(self, item: Image) -> Mapping[str, Any]:
        return serialize_item({name: item[name] for name in self.table.keys})

    def invoke(self, processor: str, event: Mapping[str, Any]) -> Any:
        """Invoke the function that erases.

        Raises:
            InvocationFailed: the function raised or its process died.
        """
        ends = self.virtual_clock.now() + self.timeout
        respond = partial(self.erasure.respond, event, Deadline(self.virtual_clock, ends))
        try:
            return run(Invocation(self.virtual_clock, ends), respond)
        except (Exception, ProcessKilled) as error:
            message = f"{processor} did not answer: {error!r}"
            raise InvocationFailed(message) from error
