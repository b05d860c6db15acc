"""The operator of a simulation: runs the code of `cdc redrive` on functions in virtual time."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from dynamodb_streams_cdc.change import Attributes, Image
from dynamodb_streams_cdc.control.functions import InvocationFailed
from dynamodb_streams_cdc.control.items import FailureReport, ReplayResponse
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.deserializer import deserialize_item, serialize_item
from dynamodb_streams_cdc.esm import Result as BatchResult
from dynamodb_streams_cdc.esm import classify
from dynamodb_streams_cdc.lambda_types import ItemFailure
from dynamodb_streams_cdc.operations.dead_letter_store import DeployedNames
from dynamodb_streams_cdc.operations.redrive import Redrive, Result
from dynamodb_streams_cdc.sinks.base import TablePage
from dynamodb_streams_cdc.sinks.comparison import Place, Segment
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetterStore
from dynamodb_streams_cdc.testing.simulation.delivery import Record
from dynamodb_streams_cdc.testing.simulation.events import Remark, shown
from dynamodb_streams_cdc.testing.simulation.faults import LATENCY_SECONDS
from dynamodb_streams_cdc.testing.simulation.poller import Poller
from dynamodb_streams_cdc.testing.simulation.process import ProcessKilled
from dynamodb_streams_cdc.testing.simulation.table import SimulatedTable
from dynamodb_streams_cdc.testing.simulation.virtual_clock import VirtualClock

LATENCIES = (LATENCY_SECONDS, LATENCY_SECONDS, 0.5)


@dataclass(frozen=True)
class SimulatedSourceTable:
    """`WholeTable` of the simulated table, at times so slow that others overtake its reader."""

    virtual_clock: VirtualClock
    table: SimulatedTable
    rng: random.Random

    def read(self, keys: Attributes) -> Image | None:
        """Return the item with these keys as it was while the read was under way."""
        item: Image = deserialize_item(keys)
        self.virtual_clock.sleep(self.rng.choice(LATENCIES))
        found = self.table.items.get(self.table.key_of(item))
        self.virtual_clock.sleep(self.rng.choice(LATENCIES))
        # A function may alter the item that it is given, and not the table.
        return None if found is None else deserialize_item(serialize_item(found))

    def read_many(
        self, keys: Sequence[Attributes], deadline: Deadline
    ) -> Sequence[Attributes | None]:
        """Return the items with these keys, each as it was while its read was under way."""
        images = [self.read(each) for each in keys]
        return [None if image is None else serialize_item(image) for image in images]

    def scan(
        self,
        segment: Segment,
        place: Place | None,
        most: int,
        deadline: Deadline,
        *,
        consistent: bool,
    ) -> TablePage:
        """Return the next items of a segment; inconsistently, one may be as it was before."""
        deadline.check()
        self.virtual_clock.sleep(self.rng.choice(LATENCIES))
        states = self.table.items if consistent else self._earlier()
        left = sorted(
            key
            for key in states
            if crc32(key.encode()) % segment.of == segment.number and (place is None or key > place)
        )
        items = [serialize_item(states[key]) for key in left[:most]]
        self.virtual_clock.sleep(self.rng.choice(LATENCIES))
        return TablePage(items, left[most - 1] if len(left) > most else None)

    def _earlier(self) -> dict[str, Image]:
        """Return the items, each as it is or as it was before its last change."""
        earlier = {
            key: states[-2] if len(states) > 1 and self.rng.random() < 0.5 else states[-1]
            for key, states in self.table.history.items()
        }
        return {key: image for key, image in earlier.items() if image is not None}


@dataclass
class Operator:
    """Redrives the dead letters of one function.

    Attributes:
        name: name of the function.
        poller: invokes the function.
        box: store of its dead letters, shared with other functions.
        results: result of each redrive of a dead letter.
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
            self.poller.note(Remark(f"redrive of {shown(result.key)}: {result.status}"))
            self.results.append(result)

    def dead_letters(self) -> list[str]:
        """Return the keys of the function's dead letters."""
        return [stored.key for stored in self.box.dead_letters() if self._is_own(stored.key)]

    def _is_own(self, key: str) -> bool:
        document = json.loads(self.box.objects[key])
        arn: str = document["requestContext"]["functionArn"]
        return arn.rpartition(":")[2] == self.name

    def invoke(self, processor: str, event: Mapping[str, Any]) -> Any:
        """Invoke the function, with event and answer converted to JSON and back.

        Raises:
            InvocationFailed: the function raised or its process died.
        """
        try:
            answer = json.loads(json.dumps(self.poller.run(json.loads(json.dumps(event)))))
        except (Exception, ProcessKilled) as error:
            message = f"{processor} did not answer: {error!r}"
            raise InvocationFailed(message) from error
        knows_replay = isinstance(answer, Mapping) and "failures" in answer
        return answer if knows_replay else _as_replay(processor, answer, event["Records"])


def _as_replay(processor: str, answer: object, records: Sequence[Record]) -> ReplayResponse:
    """Return the batch response of a function without `Processor` as the response to a replay.

    The first record that failed is at fault. The records after it are tried again without it.
    """
    numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
    verdict = classify(answer, numbers, report_batch_item_failures=True)
    if verdict.result is BatchResult.REJECTED and len(records) > 1:
        message = f"{processor} failed all {len(records)} records"
        raise InvocationFailed(message)
    succeeded = verdict.result is BatchResult.SUCCESS
    first = len(records) if succeeded else verdict.first_failed
    failures = [
        FailureReport(
            position=position,
            item=None,
            version=None,
            reason="Reported",
            error=f"{processor} reported the record as failed",
            retryable=position > first,
        )
        for position in range(first, len(records))
    ]
    reported = [ItemFailure(itemIdentifier=number) for number in numbers[first:]]
    return ReplayResponse(
        batchItemFailures=reported, applied=first, stale=0, repaired=0, failures=failures
    )
