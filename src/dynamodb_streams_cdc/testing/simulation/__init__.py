"""Change data capture in virtual time: a table, its stream, its mappings, and what goes wrong.

    from dynamodb_streams_cdc.testing.simulation import Simulation, generate

    result = Simulation(generate(7), timeline=True).run()
    print(result)

A schedule is plain data. Time is virtual: an outage of 30 hours takes a fraction of a second.
"""

from dynamodb_streams_cdc.testing.simulation.delivery import Delivery, DiscardedBatch
from dynamodb_streams_cdc.testing.simulation.faults import FaultInjector
from dynamodb_streams_cdc.testing.simulation.faulty import faulty
from dynamodb_streams_cdc.testing.simulation.limits import WriteRefused
from dynamodb_streams_cdc.testing.simulation.pipeline import (
    Consumer,
    Consumers,
    PipelineUnderTest,
    pipeline,
)
from dynamodb_streams_cdc.testing.simulation.poller import Poller
from dynamodb_streams_cdc.testing.simulation.process import ProcessKilled
from dynamodb_streams_cdc.testing.simulation.scene import Scene
from dynamodb_streams_cdc.testing.simulation.schedule import (
    Fault,
    FaultKind,
    Later,
    Operation,
    Schedule,
    Step,
    Write,
    generate,
    generate_dead_letters,
    generate_erasures,
    generate_operations,
)
from dynamodb_streams_cdc.testing.simulation.simulation import Result, Simulation
from dynamodb_streams_cdc.testing.simulation.stream import SimulatedStream
from dynamodb_streams_cdc.testing.simulation.table import SimulatedTable
from dynamodb_streams_cdc.testing.simulation.timeline import Timeline
from dynamodb_streams_cdc.testing.simulation.virtual_clock import EndlessRun, VirtualClock

__all__ = [
    "Consumer",
    "Consumers",
    "Delivery",
    "DiscardedBatch",
    "EndlessRun",
    "Fault",
    "FaultInjector",
    "FaultKind",
    "Later",
    "Operation",
    "PipelineUnderTest",
    "Poller",
    "ProcessKilled",
    "Result",
    "Scene",
    "Schedule",
    "SimulatedStream",
    "SimulatedTable",
    "Simulation",
    "Step",
    "Timeline",
    "VirtualClock",
    "Write",
    "WriteRefused",
    "faulty",
    "generate",
    "generate_dead_letters",
    "generate_erasures",
    "generate_operations",
    "pipeline",
]
