"""Whoever redrives dead letters: the code behind `cdc redrive`, on functions in virtual time."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dynamodb_streams_cdc.change import Attributes, Image
from dynamodb_streams_cdc.control import InvocationFailed
from dynamodb_streams_cdc.deserializer import deserialize_item
from dynamodb_streams_cdc.operations.dead_letter_store import DeployedNames
from dynamodb_streams_cdc.operations.redrive import Redrive, Result
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetterStore
from dynamodb_streams_cdc.testing.simulation.faults import LATENCY_SECONDS
from dynamodb_streams_cdc.testing.simulation.poller import Poller
from dynamodb_streams_cdc.testing.simulation.process import ProcessKilled
from dynamodb_streams_cdc.testing.simulation.table import SimulatedTable
from dynamodb_streams_cdc.testing.simulation.virtual_clock import VirtualClock

LATENCIES = (LATENCY_SECONDS, LATENCY_SECONDS, 0.5)


@dataclass(frozen=True)
class SimulatedSourceTable:
    """`SourceTable` of the simulated table, at times so slow that others overtake its reader."""

    virtual_clock: VirtualClock
    table: SimulatedTable
    rng: random.Random

    def read(self, keys: Attributes) -> Image | None:
        """Return the item with these keys as it was while the read was under way."""
        item: Image = deserialize_item(keys)
        self.virtual_clock.sleep(self.rng.choice(LATENCIES))
        found = self.table.items.get(self.table.key_of(item))
        self.virtual_clock.sleep(self.rng.choice(LATENCIES))
        return found


@dataclass
class Operator:
    """Redrives the dead letters of one function.

    Attributes:
        name: of the function.
        poller: invokes it.
        box: where its dead letters are, among those of others.
        results: what became of each dead letter, each time.
    """

    name: str
    poller: Poller
    box: MemoryDeadLetterStore
    results: list[Result] = field(default_factory=list)

    def redrive(self, rng: random.Random) -> None:
        """Redrive all dead letters of the function, in any order."""
        names = DeployedNames({self.name: self.name})
        work = Redrive(self.box, self, names, self.poller.virtual_clock)
        keys = self.dead_letters()
        for result in work.run(rng.sample(keys, len(keys))):
            self.poller.note(f"redrive of {result.key}: {result.status}")
            self.results.append(result)

    def dead_letters(self) -> list[str]:
        """Return the keys of the function's dead letters."""
        return [stored.key for stored in self.box.dead_letters() if self._is_own(stored.key)]

    def _is_own(self, key: str) -> bool:
        document = json.loads(self.box.objects[key])
        arn: str = document["requestContext"]["functionArn"]
        return arn.rpartition(":")[2] == self.name

    def invoke(self, processor: str, event: Mapping[str, Any]) -> Any:
        """Invoke the function, as JSON carries event and answer.

        Raises:
            InvocationFailed: it raised, or died.
        """
        try:
            return json.loads(json.dumps(self.poller.run(json.loads(json.dumps(event)))))
        except (Exception, ProcessKilled) as error:
            message = f"{processor} did not answer: {error!r}"
            raise InvocationFailed(message) from error
