"""Invoke a function for an event source mapping: through the Lambda API, or in this process.

The difference that matters is whether the function has failed or was not invoked at all: only a
failure counts as an attempt, and only a failure may end with records being given up.
"""

import contextlib
import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from dynamodb_streams_cdc.esm import FunctionContext, Invoke

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

logger = logging.getLogger(__name__)

GRACE_SECONDS = 30.0
"""How much longer than the function's own timeout an answer is waited for, cold start included."""

CONCURRENT_INVOCATIONS = 64


@dataclass(frozen=True, slots=True)
class FunctionReturned:
    """The function returned a value."""

    response: object
    request_id: str | None = None
    executed_version: str = "$LATEST"


@dataclass(frozen=True, slots=True)
class FunctionFailed:
    """The function raised, timed out, ran out of memory or died: Lambda's `FunctionError`."""

    reason: str
    error: str = "Unhandled"
    request_id: str | None = None
    executed_version: str = "$LATEST"


@dataclass(frozen=True, slots=True)
class NotInvoked:
    """Throttled, or the service failed: no attempt, and nothing is given up for it."""

    reason: str


@dataclass(frozen=True, slots=True)
class ConnectionLost:
    """The connection was lost after the function's work: the batch is delivered again."""


InvocationOutcome: TypeAlias = FunctionReturned | FunctionFailed | NotInvoked | ConnectionLost
"""Outcome of an invocation."""

Function: TypeAlias = Callable[[Invoke], InvocationOutcome]
"""Function that a runner invokes. It is called by several threads at once and raises nothing."""

Handler: TypeAlias = Callable[[Any, Any], object]

_STARTED = time.time()


def payload_of(event: Mapping[str, Any]) -> bytes:
    """Return an event as the bytes whose number the engine keeps below 6 MB."""
    text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class LambdaFunction:
    """A function behind the Lambda API, invoked with `RequestResponse`; a `Function`.

    The client must not retry, because every retry is a delivery, and must wait longer than the
    function may run: `of` makes such a client.
    """

    client: "LambdaClient"
    arn: str

    @classmethod
    def of(cls, session: boto3.Session, arn: str) -> Self:
        """Return the function with a client made for its timeout.

        Raises:
            ClientError: there is no such function, or the Lambda API refuses to say.
        """
        asking = session.client("lambda")
        with contextlib.closing(asking):
            timeout = asking.get_function_configuration(FunctionName=arn)["Timeout"]
        config = Config(
            read_timeout=timeout + GRACE_SECONDS,
            retries={"total_max_attempts": 1},
            max_pool_connections=CONCURRENT_INVOCATIONS,
            tcp_keepalive=True,
        )
        return cls(session.client("lambda", config=config), arn)

    def __call__(self, command: Invoke) -> InvocationOutcome:
        """Invoke the function once.

        An answer that does not come counts as not invoked: whether the function ran is unknown, so
        the batch is delivered again, and a lost connection never gives records up.
        """
        try:
            response = self.client.invoke(
                FunctionName=self.arn,
                InvocationType="RequestResponse",
                Payload=payload_of(command.event),
            )
            with contextlib.closing(response["Payload"]) as stream:
                body = stream.read()
        except (ClientError, BotoCoreError) as error:
            return NotInvoked(str(error))
        request_id = response["ResponseMetadata"].get("RequestId")
        version = response.get("ExecutedVersion", "$LATEST")
        found = _parsed(body)
        kind = response.get("FunctionError")
        if kind:
            return FunctionFailed(_message(found), kind, request_id, version)
        return FunctionReturned(found, request_id, version)


def _parsed(body: bytes) -> object:
    if not body:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")


def _message(body: object) -> str:
    if isinstance(body, Mapping):
        kind, message = body.get("errorType"), body.get("errorMessage")
        return ": ".join(str(part) for part in (kind, message) if part) or str(body)
    return str(body)


@dataclass(frozen=True)
class HandlerFunction:
    """A handler called in this process, where there is no Lambda API; a `Function`.

    Attributes:
        handler: `handler(event, context)`; it gets an event of its own. Calls overlap if the
            mapping has several lanes or shards.
        arn: the ARN of the function in the context.
        timeout: seconds that the context grants. Nothing ends a handler that takes longer.
    """

    handler: Handler
    arn: str
    timeout: float = 60.0

    def __call__(self, command: Invoke) -> InvocationOutcome:
        """Call the handler once; any exception is the function's failure."""
        deadline = time.monotonic() + self.timeout
        context = FunctionContext(
            str(uuid.uuid4()), self.arn, lambda: deadline - time.monotonic(), _STARTED
        )
        event = json.loads(payload_of(command.event))
        try:
            response = self.handler(event, context)
        except BaseException as error:  # as of a task that was cancelled; a thread gets no Ctrl-C
            logger.exception("the handler of %s failed", self.arn)
            return FunctionFailed(
                f"{type(error).__name__}: {error}", request_id=context.aws_request_id
            )
        return FunctionReturned(response, context.aws_request_id)
