"""Run event source mappings against real endpoints, as Lambda does.

A mapping is read through the streams API, its function is invoked through the Lambda API or in this
process, records that it gives up go to its on-failure destination, and its checkpoints outlive the
process. Any endpoint will do: the emulator, whose own poller `take_over` retires, or DynamoDB Local
with handlers in process.

    mappings = take_over(session.client("lambda"), folder)
    with running([runner_of(mapping, session, folder) for mapping in mappings]) as runners:
        ...

Delivery is at least once, across a kill at any moment: a checkpoint is saved after the answer of
the function to everything before it, and every record after it is delivered again.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, assert_never

import boto3

from dynamodb_streams_cdc.deadline import backoff
from dynamodb_streams_cdc.esm import (
    Command,
    ConfigurationError,
    Deliver,
    DescribeStream,
    Engine,
    Invoke,
    MappingConfiguration,
    Metrics,
    Policies,
    ReadShard,
    SaveCheckpoint,
)
from dynamodb_streams_cdc.esm.function_context import function_name
from dynamodb_streams_cdc.esm.poller.checkpoints import CheckpointError, CheckpointFile
from dynamodb_streams_cdc.esm.poller.invocation import (
    CONCURRENT_INVOCATIONS,
    ConnectionLost,
    Function,
    FunctionFailed,
    FunctionReturned,
    Handler,
    HandlerFunction,
    InvocationOutcome,
    LambdaFunction,
    NotInvoked,
)
from dynamodb_streams_cdc.esm.poller.on_failure import OnFailure, without_destination
from dynamodb_streams_cdc.esm.poller.streams import Page, StreamReader, Trouble, lambda_record
from dynamodb_streams_cdc.esm.poller.takeover import checkpoint_file, take_over

__all__ = [
    "CheckpointError",
    "CheckpointFile",
    "ConnectionLost",
    "FunctionFailed",
    "FunctionReturned",
    "HandlerFunction",
    "InvocationOutcome",
    "LambdaFunction",
    "MappingRunner",
    "NotInvoked",
    "OnFailure",
    "StreamReader",
    "lambda_record",
    "runner_of",
    "running",
    "take_over",
]

logger = logging.getLogger(__name__)

CONCURRENT_READS = 8
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0

Tell: TypeAlias = Callable[[], object]
"""A report to the engine, made in the engine's own thread."""


class MappingRunner:
    """One mapping: an engine in a thread of its own, and threads that wait for others.

    `deliver` writes a document to the destination and says whether that worked. Start it once; stop
    it once.
    """

    def __init__(
        self,
        mapping: MappingConfiguration | Mapping[str, Any],
        *,
        reader: StreamReader,
        function: Function,
        checkpoints: CheckpointFile,
        deliver: Callable[[Deliver], bool] = without_destination,
        policies: Policies | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = Engine(mapping, checkpoints=checkpoints.load(), policies=policies)
        self._reader = reader
        self._function = function
        self._checkpoints = checkpoints
        self._deliver = deliver
        self._clock = clock
        self._inbox: queue.SimpleQueue[Tell] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._failures = 0
        self._listed: set[str] = set()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._guarded, name=f"mapping {self.uuid}")
        self._reads: Executor
        self._calls: Executor

    @property
    def uuid(self) -> str:
        """The mapping's UUID."""
        return self._engine.configuration.uuid

    @property
    def metrics(self) -> Metrics:
        """Counts of the mapping since it was started here."""
        return self._engine.metrics

    def start(self) -> None:
        """Begin, or go on from the checkpoints."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Send nothing new to the function from now on; return at once."""
        self._stopping.set()
        self._inbox.put(self._engine.disable)

    def stop(self) -> None:
        """Send nothing new, wait for the invocations under way, and end every thread.

        That takes as long as the function does, at most its timeout. Records that were read and not
        sent are left for the next start.

        Raises:
            Exception: the error that ended the mapping's thread early.
        """
        self.ask_to_stop()
        self.join()
        self.check()

    def join(self) -> None:
        """Return when every thread of the mapping has ended."""
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether the mapping's thread runs."""
        return self._thread.is_alive()

    def check(self) -> None:
        """Return if all is well.

        Raises:
            Exception: the error that ended the mapping's thread.
        """
        if self._error is not None:
            raise self._error

    def rewind(self) -> None:
        """Lose the latest checkpoint: records after the one before it are delivered again."""
        self._inbox.put(self._rewind)

    def _rewind(self) -> None:
        for shard_id in self._engine.checkpoints.keys() & self._listed:
            self._engine.rewind(shard_id)

    # The engine's thread

    def _guarded(self) -> None:
        try:
            with (
                ThreadPoolExecutor(CONCURRENT_READS, "read") as self._reads,
                ThreadPoolExecutor(CONCURRENT_INVOCATIONS, "invoke") as self._calls,
            ):
                self._run()
        except Exception as error:
            logger.exception("the mapping %s has ended", self.uuid)
            self._error = error

    def _run(self) -> None:
        while True:
            now = self._clock()
            for command in self._engine.commands(now):
                self._do(command)
            for loss in self._engine.losses():
                logger.error("%d records: %s", len(loss.records), loss.reason)
            if self._engine.state == "Disabled":
                return
            self._listen(self._engine.wake_at(now))

    def _do(self, command: Command) -> None:
        match command:
            case DescribeStream():
                self._reads.submit(self._work, self._describe)
            case ReadShard():
                self._reads.submit(self._work, self._read, command)
            case Invoke():
                self._calls.submit(self._work, self._invoke, command)
            case Deliver():
                self._calls.submit(self._work, self._report, command)
            case SaveCheckpoint():
                self._checkpoints.save(self._engine.checkpoints)
            case _:
                assert_never(command)

    def _listen(self, wake_at: float | None) -> None:
        """Tell the engine all that there is to tell; wait for something until it is due."""
        timeout = None if wake_at is None else max(0.0, wake_at - self._clock())
        try:
            self._inbox.get(timeout=timeout)()
            while True:
                self._inbox.get_nowait()()
        except queue.Empty:
            return

    # Other threads: each job returns its report to the engine

    def _work(self, job: Callable[..., Tell], *arguments: Any) -> None:
        try:
            tell = job(*arguments)
        except Exception as error:
            tell = partial(_raise, error)
        self._inbox.put(tell)

    def _describe(self) -> Tell:
        shards = self._reader.shards()
        if shards is None:
            self._pause()
            return lambda: self._engine.describe_failed(self._clock())
        self._failures = 0
        return lambda: self._list(shards)

    def _list(self, shards: Sequence[Mapping[str, Any]]) -> None:
        self._listed = {shard["ShardId"] for shard in shards}
        self._engine.shards(shards, self._clock())

    def _read(self, command: ReadShard) -> Tell:
        shard_id = command.shard_id
        found = self._reader.read(command)
        if found is Trouble.NOT_FOUND and self._is_gone(shard_id):
            logger.warning("shard %s is gone, with every record that it held", shard_id)
            found = Page([], None)
        if isinstance(found, Page):
            page = found
            self._failures = 0
            return lambda: self._engine.records(shard_id, page.records, page.cursor, self._clock())
        if found is Trouble.EXPIRED:
            return lambda: self._engine.iterator_expired(shard_id)
        if found is Trouble.TRIMMED:
            return lambda: self._engine.trimmed(shard_id)
        self._pause()
        return lambda: self._engine.read_failed(shard_id)

    def _is_gone(self, shard_id: str) -> bool:
        shards = self._reader.shards()
        return shards is not None and all(shard["ShardId"] != shard_id for shard in shards)

    def _pause(self) -> None:
        """Wait longer after each failure in a row; at most ten seconds, or until the stop."""
        seconds = backoff(self._failures, first=FIRST_PAUSE_SECONDS, longest=LONGEST_PAUSE_SECONDS)
        self._failures += 1
        self._stopping.wait(seconds)

    def _invoke(self, command: Invoke) -> Tell:
        answer = self._function(command)
        return lambda: self._settle(command.token, answer)

    def _settle(self, token: int, answer: InvocationOutcome) -> None:
        engine, now = self._engine, self._clock()
        match answer:
            case FunctionReturned(response, request_id, version):
                verdict = engine.answered(
                    token, response, now, request_id=request_id, executed_version=version
                )
                if verdict is not None and verdict.reason:
                    logger.warning("%s: %s, %s", self.uuid, verdict.result, verdict.reason)
            case FunctionFailed(reason, error, request_id, version):
                logger.warning("%s: the function failed: %s", self.uuid, reason)
                engine.failed(
                    token,
                    now,
                    reason=reason,
                    error=error,
                    request_id=request_id,
                    executed_version=version,
                )
            case NotInvoked(reason):
                logger.warning("%s: the function was not invoked: %s", self.uuid, reason)
                engine.not_invoked(token, now)
            case ConnectionLost():
                engine.redeliver(token)

    def _report(self, command: Deliver) -> Tell:
        ok = self._deliver(command)
        return lambda: self._engine.delivered(command.token, ok=ok)


def _raise(error: Exception) -> None:
    raise error


def runner_of(
    mapping: Mapping[str, Any],
    session: boto3.Session,
    folder: Path,
    *,
    handlers: Mapping[str, Handler] | None = None,
    policies: Policies | None = None,
    around: Callable[[Function], Function] = lambda function: function,
) -> MappingRunner:
    """Return the runner of a mapping as `ListEventSourceMappings` describes it.

    A function in `handlers`, by its name, is called in this process; every other one is invoked
    through the Lambda API. Checkpoints go to a file in `folder`. `around` may wrap the function: to
    watch it, or to make it fail.

    Raises:
        ConfigurationError: a setting that AWS refuses, or no stream.
        CheckpointError: the file in `folder` is something else.
        ClientError: the Lambda API does not know the function.
    """
    operators = (policies or Policies()).filter_operators
    configuration = MappingConfiguration.from_description(mapping, filter_operators=operators)
    if configuration.stream_arn is None:
        parameter, expected = "EventSourceArn", "a runner needs the stream that it is to read"
        raise ConfigurationError(parameter, None, expected)
    arn = configuration.function_arn
    handler = (handlers or {}).get(function_name(arn))
    function: Function
    function = HandlerFunction(handler, arn) if handler else LambdaFunction.of(session, arn)
    deliver: Callable[[Deliver], bool] = without_destination
    if configuration.destination is not None:
        deliver = OnFailure.of(session, configuration.destination)
    return MappingRunner(
        configuration,
        reader=StreamReader(session.client("dynamodbstreams"), configuration.stream_arn),
        function=around(function),
        checkpoints=checkpoint_file(folder, configuration.uuid),
        deliver=deliver,
        policies=policies,
    )


@contextmanager
def running(runners: Iterable[MappingRunner]) -> Iterator[list[MappingRunner]]:
    """Start runners on entry and stop them, side by side, on exit.

    Raises:
        Exception: on exit, the error that ended a mapping's thread before its time.
    """
    started: list[MappingRunner] = []
    try:
        for runner in runners:
            runner.start()
            started.append(runner)
        yield started
    finally:
        for runner in started:
            runner.ask_to_stop()
        for runner in started:
            runner.join()
    for runner in started:
        runner.check()
