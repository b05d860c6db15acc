"""A runner of a few lines: shards are lists, time is a number, what happened is kept."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dynamodb_streams_cdc.esm import (
    SHARD_END,
    Command,
    Deliver,
    DescribeStream,
    Engine,
    Invoke,
    Policies,
    ReadShard,
    SaveCheckpoint,
)

START = 1_732_549_660.0
"""2024-11-25T15:47:40Z."""

STREAM = "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/2024-11-25T15:47:00.000"
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:f"
SHARD = "shardId-00000001573689847184-864758bb"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:dead-letters"
TOPIC = "arn:aws:sns:us-east-1:000000000000:dead-letters"
BUCKET = "arn:aws:s3:::dead-letters"

DEAD_LETTERS: dict[str, Any] = {"DestinationConfig": {"OnFailure": {"Destination": QUEUE}}}
BISECT = {"BisectBatchOnFunctionError": True}

Handler = Callable[[dict[str, Any]], Any]


class Throttled(Exception):
    """Raised by a handler to say that the function was not invoked."""


def description(**settings: Any) -> dict[str, Any]:
    """Return a mapping as `ListEventSourceMappings` returns it, with other settings."""
    return {
        "UUID": "14e0db71-5d35-4eb5-b481-8945cf9d10c2",
        "StartingPosition": "TRIM_HORIZON",
        "EventSourceArn": STREAM,
        "FunctionArn": FUNCTION,
        "LastModified": START,
        "LastProcessingResult": "No records processed",
        "State": "Enabled",
        "StateTransitionReason": "User action",
    } | settings


def reporting(**settings: Any) -> dict[str, Any]:
    """Return a mapping that reads `batchItemFailures`."""
    return description(FunctionResponseTypes=["ReportBatchItemFailures"], **settings)


def on_failure(destination: str) -> dict[str, Any]:
    return {"DestinationConfig": {"OnFailure": {"Destination": destination}}}


def filtered_by(*patterns: str) -> dict[str, Any]:
    return {"FilterCriteria": {"Filters": [{"Pattern": pattern} for pattern in patterns]}}


def on(*conditions: Any, kind: str = "S") -> dict[str, Any]:
    """Return a pattern on attribute `k` of the new image."""
    return {"dynamodb": {"NewImage": {"k": {kind: list(conditions)}}}}


def having(**typed: Any) -> dict[str, Any]:
    """Return a record with attribute `k`."""
    return record(1, image={"k": typed})


def record(
    number: int,
    *,
    key: str | None = None,
    time: float = START,
    name: str = "INSERT",
    image: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return record `number` of a shard; by default each is of an item of its own."""
    keys = {"id": {"S": key or f"item-{number}"}}
    return {
        "eventID": f"{number:032x}",
        "eventName": name,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": time,
            "Keys": keys,
            "NewImage": {**keys, **(image or {})},
            "SequenceNumber": sequence(number),
            "SizeBytes": 20,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
        "eventSourceARN": STREAM,
    }


def sequence(number: int) -> str:
    """Return the sequence number of record `number`: 21 digits, 22 from 10 on."""
    return f"{number}00000000003126276362"


def records(count: int, **how: Any) -> list[dict[str, Any]]:
    return [record(number, **how) for number in range(1, count + 1)]


def numbers(event: Mapping[str, Any]) -> list[int]:
    """Return which records an event carries, by the number that `record` gave them."""
    return [int(r["dynamodb"]["SequenceNumber"][:-20]) for r in event["Records"]]


def report(*failed: int) -> dict[str, Any]:
    """Return the response that reports these records."""
    return {"batchItemFailures": [{"itemIdentifier": sequence(number)} for number in failed]}


def failing(*poison: int) -> Handler:
    """Return a handler that reports these records."""
    return lambda event: report(*(number for number in numbers(event) if number in poison))


def raising(*poison: int) -> Handler:
    """Return a handler that raises when one of these records is in the batch; on all by default."""

    def handler(event: dict[str, Any]) -> None:
        if not poison or set(poison) & set(numbers(event)):
            raise RuntimeError

    return handler


def in_turn(*outcomes: Any) -> Handler:
    """Return a handler that raises, calls or returns one of these for each invocation."""
    left = iter(outcomes)

    def handler(event: dict[str, Any]) -> Any:
        outcome = next(left)
        if isinstance(outcome, type):
            raise outcome
        return outcome(event) if callable(outcome) else outcome

    return handler


def ignore(event: dict[str, Any]) -> None:
    """Do nothing, successfully."""


@dataclass
class Driver:
    """Runs an engine in virtual time; a handler may raise, which fails the invocation."""

    engine: Engine
    handler: Handler
    shards: dict[str, list[dict[str, Any]]]
    now: float = START
    closed: set[str] = field(default_factory=set)
    parents: dict[str, str] = field(default_factory=dict)
    destination_works: bool = True

    commands: list[Command] = field(default_factory=list)
    invocations: list[tuple[float, Invoke]] = field(default_factory=list)
    dead_letters: list[Deliver] = field(default_factory=list)
    saved: list[tuple[str, str]] = field(default_factory=list)
    reads: list[tuple[float, ReadShard]] = field(default_factory=list)

    @property
    def batches(self) -> list[list[int]]:
        """The records of each invocation."""
        return [numbers(invoke.event) for _, invoke in self.invocations]

    @property
    def documents(self) -> list[Mapping[str, Any]]:
        return [dead_letter.document for dead_letter in self.dead_letters]

    def deliveries(self, number: int) -> int:
        """How often a record was sent to the function."""
        return sum(batch.count(number) for batch in self.batches)

    def run(self, seconds: float = 600.0, *, until_done: bool = True) -> "Driver":
        """Go on until the time is over, or everything is done."""
        end = self.now + seconds
        while True:
            commands = self.engine.commands(self.now)
            self.commands += commands
            for command in commands:
                self.act(command)
            if commands:
                continue
            wake = self.engine.wake_at(self.now)
            if wake is None or wake > end or (until_done and self.settled()):
                return self
            self.now = wake

    def settled(self) -> bool:
        places = self.engine.checkpoints
        return all(
            places.get(shard) == SHARD_END
            or (not source and shard not in self.closed)
            or (source and places.get(shard) == source[-1]["dynamodb"]["SequenceNumber"])
            for shard, source in self.shards.items()
        )

    def act(self, command: Command) -> None:
        match command:
            case DescribeStream():
                self.engine.shards(self.listing(), self.now)
            case ReadShard():
                self.reads.append((self.now, command))
                self.read(command)
            case Invoke():
                self.invocations.append((self.now, command))
                self.invoke(command)
            case Deliver():
                self.dead_letters.append(command)
                self.engine.delivered(command.token, ok=self.destination_works)
            case SaveCheckpoint():
                self.saved.append((command.shard_id, command.place))

    def listing(self) -> list[dict[str, Any]]:
        return [
            {
                "ShardId": shard,
                "SequenceNumberRange": {"StartingSequenceNumber": sequence(1)}
                | ({"EndingSequenceNumber": sequence(999)} if shard in self.closed else {}),
            }
            | ({"ParentShardId": self.parents[shard]} if shard in self.parents else {})
            for shard in self.shards
        ]

    def read(self, command: ReadShard) -> None:
        source = self.shards[command.shard_id]
        start = command.cursor if isinstance(command.cursor, int) else self.find(command)
        found = source[start : start + command.limit]
        ended = command.shard_id in self.closed and start + len(found) == len(source)
        cursor = None if ended else start + len(found)
        self.engine.records(command.shard_id, found, cursor, self.now)

    def find(self, command: ReadShard) -> int:
        source = self.shards[command.shard_id]
        iterator = command.iterator
        kind = iterator["ShardIteratorType"]
        if kind in ("TRIM_HORIZON", "LATEST"):
            return 0 if kind == "TRIM_HORIZON" else len(source)
        order = [r["dynamodb"]["SequenceNumber"] for r in source]
        return order.index(iterator["SequenceNumber"]) + (kind == "AFTER_SEQUENCE_NUMBER")

    def invoke(self, command: Invoke) -> None:
        event = copy.deepcopy(dict(command.event))
        try:
            response = self.handler(event)
        except Throttled:
            self.engine.not_invoked(command.token, self.now)
        except RuntimeError as error:
            self.engine.failed(command.token, self.now, reason=repr(error))
        else:
            self.engine.answered(command.token, response, self.now)


def spans(run: Driver) -> list[tuple[str, str, int]]:
    """Return the first and last record that each document names, and how many there are."""
    infos = [document["DDBStreamBatchInfo"] for document in run.documents]
    return [(i["startSequenceNumber"], i["endSequenceNumber"], i["batchSize"]) for i in infos]


def drive(
    settings: Mapping[str, Any],
    handler: Handler,
    source: list[dict[str, Any]],
    *,
    now: float = START,
    policies: Policies | None = None,
    checkpoints: Mapping[str, str] | None = None,
    seconds: float = 600.0,
    destination_works: bool = True,
) -> Driver:
    """Run one mapping over one open shard until everything is done."""
    ids = iter(range(1, 1_000_000))
    engine = Engine(
        settings,
        checkpoints=checkpoints,
        policies=policies,
        new_id=lambda: f"00000000-0000-4000-8000-{next(ids):012}",
    )
    driver = Driver(engine, handler, {SHARD: source}, now, destination_works=destination_works)
    return driver.run(seconds)


def opened(engine: Engine, now: float = START) -> ReadShard:
    """Return the first read of an engine that was told of one shard."""
    assert engine.commands(now) == [DescribeStream()]
    engine.shards([{"ShardId": SHARD}], now)
    commands = [c for c in engine.commands(now) if not isinstance(c, SaveCheckpoint)]
    (read,) = commands
    assert isinstance(read, ReadShard)
    return read


def reading(
    source: list[dict[str, Any]],
    *,
    cursor: str | None = "next",
    policies: Policies | None = None,
    **settings: Any,
) -> Engine:
    """Return an engine that has read these records at START; `cursor` None ends the shard."""
    engine = Engine(description(**settings), policies=policies)
    opened(engine)
    engine.records(SHARD, source, cursor, START)
    return engine


def invoked(engine: Engine, now: float = START) -> Invoke:
    (invoke,) = (c for c in engine.commands(now) if isinstance(c, Invoke))
    return invoke
