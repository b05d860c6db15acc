"""A pipeline in memory: two processors, their functions, their dead letters, and the table.

Orders with status `poison` cannot be indexed until their status in the table changes.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ParamSpec, TypeVar

from dynamodb_streams_cdc import (
    Change,
    Deadline,
    Image,
    Processor,
    RetryableError,
    Search,
    Sink,
    deserialize_item,
    serialize_item,
)
from dynamodb_streams_cdc.change import Attributes
from dynamodb_streams_cdc.control.functions import InvocationFailed
from dynamodb_streams_cdc.identity import item_id
from dynamodb_streams_cdc.operations.dead_letter_store import DeployedNames, StoredDeadLetter
from dynamodb_streams_cdc.sinks.base import TablePage
from dynamodb_streams_cdc.sinks.change_log import ChangeLog
from dynamodb_streams_cdc.sinks.comparison import Segment
from dynamodb_streams_cdc.sinks.documents import Upsert, Upserted
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetterStore, MemoryIndex, MemoryLog
from tests.factories import SOURCE, FakeContext, ManualClock, order, record

P = ParamSpec("P")
T = TypeVar("T")

UUID = "11111111-2222-3333-4444-555555555555"
SHARD = "shardId-00000001573689847184-864758bb"
POISON = "poison"
BUCKET, ON_FAILURE = "dead-letters-1a2b", "given-up-5e6f"

ARNS = {
    name: f"arn:aws:lambda:us-east-1:000000000000:function:cdc-sandbox-{name}"
    for name in ("search", "audit")
}
NAMES = DeployedNames(
    processors={f"cdc-sandbox-{name}": name for name in ARNS}, tables={"orders-1A2B": "orders"}
)


def number(customer: int) -> str:
    return f"{customer:05}-0001"


def item(customer: int) -> str:
    return f"orders/S={customer:05}/S={number(customer)}"


def placed(sequence: int, customer: int, status: str = "placed", **others: Any) -> dict[str, Any]:
    return record(sequence, None, order(number(customer), status=status), **others)


def given_up(
    records: Sequence[Mapping[str, Any]], processor: str = "search", **others: Any
) -> dict[str, Any]:
    """Return the on-failure document of Lambda, as AWS documents it."""
    return {
        "requestContext": {
            "requestId": "316aa6d0-8154-xmpl-9af7-85d5f4a6bc81",
            "functionArn": f"{ARNS.get(processor, processor)}",
            "condition": "RecordAgeExceeded",
            "approximateInvokeCount": 1,
        },
        "responseContext": {
            "statusCode": 200,
            "executedVersion": "$LATEST",
            "functionError": "Unhandled",
        },
        "version": "1.0",
        "timestamp": "2019-11-14T18:16:05.568Z",
        "DDBStreamBatchInfo": {
            "shardId": SHARD,
            "startSequenceNumber": "800000000003126276362",
            "endSequenceNumber": "800000000003126276362",
            "approximateArrivalOfFirstRecord": "2019-11-14T00:13:19Z",
            "approximateArrivalOfLastRecord": "2019-11-14T00:13:19Z",
            "batchSize": len(records),
            "streamArn": "arn:aws:dynamodb:us-east-1:000000000000:table/orders-1A2B/stream/x",
        },
        "payload": json.dumps({"Records": list(records)}),
        **others,
    }


def lambdas_key(name: str) -> str:
    return f"aws/lambda/{UUID}/{SHARD}/2019/11/14/2019-11-14T18.16.05-{name}"


def bucket_of(key: str) -> str:
    """Return the bucket that a dead letter is in, by its key."""
    return ON_FAILURE if key.startswith("aws/") else BUCKET


def pointer(key: str, bucket: str | None = None) -> str:
    """Return a notification: an event of EventBridge, as AWS documents it."""
    bucket = bucket or bucket_of(key)
    return json.dumps(
        {
            "version": "0",
            "id": "17793124-05d4-b198-2fde-7ededc63b103",
            "detail-type": "Object Created",
            "source": "aws.s3",
            "account": "111122223333",
            "time": "2021-11-12T00:00:00Z",
            "region": "ca-central-1",
            "resources": [f"arn:aws:s3:::{bucket}"],
            "detail": {
                "version": "0",
                "bucket": {"name": bucket},
                "object": {"key": key, "size": 5, "etag": "b57f9512698f4b09e608f4f2a65852e5"},
                "request-id": "N4N7GDK58NMKJ12R",
                "requester": "123456789012",
                "reason": "PutObject",
            },
        }
    )


class UnreliableIndex(MemoryIndex):
    out = False

    def upsert(self, upserts: Sequence[Upsert], deadline: Deadline) -> Sequence[Upserted]:
        if self.out:
            message = "the index is out"
            raise RetryableError(message)
        return super().upsert(upserts, deadline)


def document(image: Image) -> dict[str, Any]:
    """Return the search document of an order.

    Raises:
        ValueError: the order is poison.
    """
    if image["status"] == POISON:
        message = "poison cannot be indexed"
        raise ValueError(message)
    return {"status": image["status"]}


@dataclass
class Table:
    """The orders in their current state, by item id; `reads` counts what was asked."""

    items: dict[str, Image | None] = field(default_factory=dict)
    reads: int = 0

    def read(self, keys: Attributes) -> Image | None:
        self.reads += 1
        decoded: dict[str, Any] = deserialize_item(keys)
        return self.items.get(item_id("orders", decoded))

    def read_many(
        self, keys: Sequence[Attributes], deadline: Deadline
    ) -> Sequence[Attributes | None]:
        found = map(self.read, keys)
        return [None if image is None else serialize_item(image) for image in found]

    def scan(
        self, segment: Segment, place: Any, most: int, deadline: Deadline, *, consistent: bool
    ) -> TablePage:
        """Return all items in the first segment."""
        images = self.items.values() if segment.number == 0 else ()
        return TablePage([serialize_item(each) for each in images if each is not None], None)


@dataclass
class FakePipeline:
    """Store, functions and table; implements `Functions`.

    Attributes:
        invocations: the events of each invocation, with the processor.
        answers: responses that replace those of the processors; an exception is raised.
    """

    store: MemoryDeadLetterStore = field(default_factory=MemoryDeadLetterStore)
    index: UnreliableIndex = field(default_factory=UnreliableIndex)
    log: MemoryLog = field(default_factory=MemoryLog)
    table: Table = field(default_factory=Table)
    clock: ManualClock = field(default_factory=ManualClock)
    invocations: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)

    def invoke(self, processor: str, event: Mapping[str, Any]) -> Any:
        """Invoke a function, with JSON in between as there is."""
        self.invocations.append((processor, event))
        if processor in self.answers:
            answer = self.answers[processor]
            answer = answer(event) if callable(answer) else answer
            if isinstance(answer, InvocationFailed):
                raise answer
            return answer
        answer = self.processor(processor)(json.loads(json.dumps(event)), self.context(processor))
        return json.loads(json.dumps(answer))

    def processor(self, name: str) -> Processor:
        sinks: dict[str, Sink] = {
            "search": Search(self.index, document),
            "audit": ChangeLog(self.log),
        }
        return Processor(
            name,
            SOURCE,
            sinks[name],
            self.store,
            permanent=(ValueError,),
            clock=self.clock,
            source_table=self.table,
        )

    def context(self, processor: str) -> FakeContext:
        return FakeContext(self.clock, invoked_function_arn=ARNS[processor])

    def deliver(self, *records: Mapping[str, Any], processor: str = "search") -> None:
        """Let the mapping invoke a function: records that fail become dead letters."""
        event = {"Records": json.loads(json.dumps(records))}
        self.processor(processor)(event, self.context(processor))

    def write(self, customer: int, status: str | None) -> None:
        """Write an order to the table, or delete it."""
        state = None if status is None else order(number(customer), status=status)
        self.table.items[item(customer)] = state

    @property
    def waiting(self) -> list[str]:
        """The keys of the dead letters that are not archived."""
        return [stored.key for stored in self.store.dead_letters()]

    @property
    def sequences_waiting(self) -> set[str]:
        """The sequence numbers of the records that dead letters hold."""
        return {
            number for key in self.waiting for number in sequence_numbers(self.store.objects[key])
        }

    def indexed(self) -> dict[str, Any]:
        """Return the statuses that readers find, by item."""
        return {found: source["status"] for found, source in self.index.search().items()}


@cache
def sequence_numbers(dead_letter: bytes) -> list[str]:
    """Return the sequence numbers of the records that a dead letter holds, if any."""
    payload = json.loads(dead_letter)["payload"]
    records = json.loads(payload)["Records"] if payload else []
    return [each["dynamodb"]["SequenceNumber"] for each in records]


class Ports:
    """Store and functions of a pipeline; `at` is called before and after each call."""

    def __init__(self, pipeline: FakePipeline, at: Callable[[str], None]) -> None:
        self.pipeline = pipeline
        self.at = at

    def _call(self, name: str, method: Callable[P, T], *arguments: P.args, **_: P.kwargs) -> T:
        self.at(f"before {name}")
        result = method(*arguments, **_)
        self.at(f"after {name}")
        return result

    def dead_letters(self) -> Iterable[StoredDeadLetter]:
        return self.pipeline.store.dead_letters()

    def read(self, key: str) -> bytes | None:
        return self._call("read", self.pipeline.store.read, key)

    def holds(self, key: str) -> bool:
        return self._call("holds", self.pipeline.store.holds, key)

    def keep(self, key: str, document: Mapping[str, Any]) -> bool:
        return self._call("keep", self.pipeline.store.keep, key, document)

    def archive(self, key: str) -> bool:
        return self._call("archive", self.pipeline.store.archive, key)

    def invoke(self, processor: str, event: Mapping[str, Any]) -> Any:
        return self._call("invoke", self.pipeline.invoke, processor, event)


def change_of(each: Mapping[str, Any]) -> Change:
    return Change.from_record(each, SOURCE)
