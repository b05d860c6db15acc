"""Adding new minus old.

A record carries both images, so their difference looks like all that a sum needs. But a record may
be delivered twice: after a crash, a lost answer, a lost checkpoint, or for no reason at all. Each
time the difference is added again, and the sum is wrong for good.

Right: a ledger that holds the present contribution of each item, and its version, written in the
same transaction as the sums. Then a change adds the difference from the *stored* contribution, and
a redelivery adds nothing. That is `aggregation.Aggregation`.
"""

from collections import Counter

from dynamodb_streams_cdc.examples.mistakes.ports import Event, Sums, changes, consumer
from dynamodb_streams_cdc.lambda_types import LambdaContext
from dynamodb_streams_cdc.processor import Processor
from dynamodb_streams_cdc.sinks.aggregation import Aggregation
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters, MemoryLedger
from dynamodb_streams_cdc.testing.simulation import (
    Consumer,
    FaultInjector,
    PipelineUnderTest,
    VirtualClock,
    faulty,
)
from dynamodb_streams_cdc.testing.simulation.pipeline import SOURCE, contributions
from dynamodb_streams_cdc.testing.simulation.poller import Handler


def add_the_difference(sums: Sums, event: Event, _context: LambdaContext) -> None:
    """Add the difference that each change makes to the totals."""
    for change in changes(event):
        amounts: Counter[str] = Counter()
        if change.new_image:
            amounts[f"group {change.new_image['group']}"] += int(change.new_image["amount"])
        if change.old_image:
            amounts[f"group {change.old_image['group']}"] -= int(change.old_image["amount"])
        sums.add(amounts)


wrong = consumer(Sums, add_the_difference)


def right(virtual_clock: VirtualClock) -> Consumer:
    """Return the function that adds differences from a ledger."""
    ledger = MemoryLedger()

    def build(virtual_clock: VirtualClock, faults: FaultInjector) -> Handler:
        sink = Aggregation(faulty(ledger, faults), contributions)
        return Processor("sums", SOURCE, sink, MemoryDeadLetters(), clock=virtual_clock)

    return Consumer("function", build, PipelineUnderTest(virtual_clock, ledger).wrong_sums)
