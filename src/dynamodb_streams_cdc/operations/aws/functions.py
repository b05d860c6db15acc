"""Invoke the deployed functions through the Lambda API."""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import ClientError, ConnectTimeoutError, EndpointConnectionError

from dynamodb_streams_cdc.control.functions import InvocationFailed
from dynamodb_streams_cdc.deadline import Clock, SystemClock, backoff
from dynamodb_streams_cdc.names import FUNCTION_SECONDS
from dynamodb_streams_cdc.operations.aws.access import CREDENTIALS, UNREACHABLE, code_of, permitted

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

CLIENT = Config(
    connect_timeout=5,
    read_timeout=FUNCTION_SECONDS + 30,
    retries={"mode": "standard", "total_max_attempts": 1},
    tcp_keepalive=True,
)
"""Waits longer than a function can run, cold start included. Never repeats an invocation that may
be running: that would take the time of both."""

GLANCE = CLIENT.merge(Config(read_timeout=10))
"""For a look that may end without an answer: `cdc status` shows the rest."""

ATTEMPTS = 4
"""Attempts to start an invocation, after refused connections and throttling."""

FIRST_PAUSE_SECONDS = 0.25

THROTTLED = "TooManyRequestsException"

OF_THE_EVENT = frozenset(
    {
        "InvalidRequestContentException",
        "RequestEntityTooLargeException",
        "RequestTooLargeException",
    }
)
"""Error codes that depend on the event; Lambda would accept another
(https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_Errors)."""


@dataclass(frozen=True)
class LambdaFunctions:
    """`Functions` on Lambda.

    Attributes:
        client: boto3 Lambda client, made with the configuration `CLIENT`.
        names: function names by processor.
    """

    client: "LambdaClient"
    names: Mapping[str, str]
    clock: Clock = field(default_factory=SystemClock)

    def invoke(self, processor: str, event: Mapping[str, Any]) -> Any:
        """Invoke a processor's function and return its parsed response.

        Raises:
            InvocationFailed: there was no response.
            AccessDenied: the credentials may not invoke it.
            ClientError: the credentials are invalid.
        """
        name = self.names[processor]
        text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        payload = text.encode("utf-8", "surrogatepass")
        for attempt in range(ATTEMPTS):
            try:
                return self._invoke(name, payload)
            except InvocationFailed as error:
                if attempt + 1 == ATTEMPTS or not _never_began(error):
                    raise
                self.clock.sleep(backoff(attempt, first=FIRST_PAUSE_SECONDS))
        raise AssertionError

    def _invoke(self, name: str, payload: bytes) -> Any:
        try:
            with permitted("lambda:InvokeFunction", name):
                answer = self.client.invoke(
                    FunctionName=name, InvocationType="RequestResponse", Payload=payload
                )
            with contextlib.closing(answer["Payload"]) as stream:
                found = _parsed(stream.read())
        except ClientError as error:
            if code_of(error) in CREDENTIALS:
                raise
            raise _refused(name, error) from error
        except UNREACHABLE as error:
            message = f"no answer from function {name}: {error}"
            raise InvocationFailed(message, type(error).__name__, outage=True) from error
        if answer.get("FunctionError"):
            kind, text = _error_of(found)
            message = f"function {name} failed: {kind}: {text}"
            raise InvocationFailed(message, kind)
        return found


def _never_began(error: InvocationFailed) -> bool:
    cause = error.__cause__
    return error.reason == THROTTLED or isinstance(
        cause, EndpointConnectionError | ConnectTimeoutError
    )


def _refused(name: str, error: ClientError) -> InvocationFailed:
    code = code_of(error)
    if code == "ResourceNotFoundException":
        message = f"function {name} is gone: deploy the stack again"
    else:
        message = f"function {name} was not invoked: {code}: {error.response['Error']['Message']}"
    return InvocationFailed(message, code, outage=code not in OF_THE_EVENT)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")


def _error_of(body: Any) -> tuple[str, str]:
    if not isinstance(body, Mapping):
        return "Unhandled", str(body)
    return str(body.get("errorType", "Unhandled")), str(body.get("errorMessage", ""))
