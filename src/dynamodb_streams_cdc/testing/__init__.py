"""Tests of stream consumers against what Lambda really does, in virtual time.

    from dynamodb_streams_cdc.testing import Lab

    lab = Lab(handler, BatchSize=3, FunctionResponseTypes=["ReportBatchItemFailures"])
    lab.put({"id": "1", "status": "placed"})
    lab.delete({"id": "1"})
    lab.run()
    assert lab.delivered == [["INSERT 1", "REMOVE 1"]]
    assert lab.dead_letters == []

No server, no network, no waiting. `dynamodb_streams_cdc.testing.fixtures` has the pytest fixture;
docs/how-to/test-your-function.md shows both at work. `check_convergence` draws the writes and the
faults itself, and compares a copy with the table: docs/how-to/check-your-consumer.md.
"""

from dynamodb_streams_cdc.testing.check import Report
from dynamodb_streams_cdc.testing.convergence import Diverged, check_convergence
from dynamodb_streams_cdc.testing.lab import Lab, LabFactory, UnusedFault
from dynamodb_streams_cdc.testing.samples import (
    UnreadableEvent,
    check_event,
    invoke,
    sample_event,
    sample_record,
)
from dynamodb_streams_cdc.testing.simulation import (
    Delivery,
    DiscardedBatch,
    EndlessRun,
    FaultKind,
    ProcessKilled,
    WriteRefused,
)
from dynamodb_streams_cdc.testing.trial import Items, Trial

__all__ = [
    "Delivery",
    "DiscardedBatch",
    "Diverged",
    "EndlessRun",
    "FaultKind",
    "Items",
    "Lab",
    "LabFactory",
    "ProcessKilled",
    "Report",
    "Trial",
    "UnreadableEvent",
    "UnusedFault",
    "WriteRefused",
    "check_convergence",
    "check_event",
    "invoke",
    "sample_event",
    "sample_record",
]
