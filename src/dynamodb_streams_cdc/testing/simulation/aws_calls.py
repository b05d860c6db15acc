"""Faults in requests to AWS: they strike in the calls of a boto3 client, by its own events.

https://docs.aws.amazon.com/boto3/latest/guide/events.html: `before-call` comes before a request is
sent, `after-call` when its answer was read. Nothing here imports boto3 before it is used.
"""

import re
from dataclasses import replace
from typing import Any

from dynamodb_streams_cdc.testing.simulation.events import Called, arguments_of
from dynamodb_streams_cdc.testing.simulation.faults import FaultInjector
from dynamodb_streams_cdc.testing.simulation.process import current

_CALL = "dynamodb_streams_cdc.call"


def is_of_boto3(port: object) -> bool:
    """Whether an object is one of boto3's or botocore's."""
    return any(
        kind.__module__.partition(".")[0] in ("boto3", "botocore") for kind in type(port).__mro__
    )


def follow(port: Any, faults: FaultInjector) -> Any:
    """Let faults strike in the requests of a client or a resource; return it.

    They strike only in requests of a function that runs on the injector's clock: requests of a
    test go through.

    Raises:
        TypeError: the object is neither; the message says where to put `faulty`.
    """
    client = _client_of(port)
    if client is None:
        message = (
            f"{type(port).__name__} makes its requests through a client: give faulty the client "
            "or the resource (a Table, for instance) that it is made with"
        )
        raise TypeError(message)
    for event, handler in _Calls(faults).handlers():
        client.meta.events.register(event, handler, unique_id=_unique_id(event, faults))
    return port


def unfollow(port: Any, faults: FaultInjector) -> None:
    """Let no more faults strike in the requests of a client or a resource."""
    client = _client_of(port)
    for event, _ in _Calls(faults).handlers():
        client.meta.events.unregister(event, unique_id=_unique_id(event, faults))


def _unique_id(event: str, faults: FaultInjector) -> str:
    return f"{_CALL} {event} {id(faults)}"


def _client_of(port: Any) -> Any:
    meta = getattr(port, "meta", None)
    client = port if hasattr(port, "_make_api_call") else getattr(meta, "client", None)
    return client if hasattr(client, "_make_api_call") else None


class _Calls:
    """Handlers of a client's events."""

    def __init__(self, faults: FaultInjector) -> None:
        self._faults = faults

    def handlers(self) -> list[tuple[str, Any]]:
        return [
            ("before-parameter-build", self.given),
            ("before-call", self.begins),
            ("after-call", self.answered),
            ("after-call-error", self.failed),
        ]

    def given(self, params: Any, model: Any, context: dict[str, Any], **_: Any) -> None:
        context[_CALL] = Called(_method(model.name), arguments_of((), params))

    def begins(self, model: Any, **_: Any) -> None:
        if self._should_fail():
            self._faults.arrive(_method(model.name))
            self._faults.before(_method(model.name), _no_connection)

    def answered(
        self, http_response: Any, parsed: Any, model: Any, context: dict[str, Any], **_: Any
    ) -> None:
        if not self._should_fail():
            return
        name, call = _method(model.name), context.get(_CALL, Called(_method(model.name), ""))
        if http_response.status_code >= 300:
            code = parsed.get("Error", {}).get("Code", http_response.status_code)
            self._faults.note(replace(call, error=str(code)))
            return
        self._faults.note(call)
        self._faults.after(name)
        self._faults.leave(name, _no_answer)

    def failed(self, exception: Exception, context: dict[str, Any], **_: Any) -> None:
        if self._should_fail():
            call = context.get(_CALL, Called("a_request", ""))
            self._faults.note(replace(call, error=repr(exception)))

    def _should_fail(self) -> bool:
        invocation = current()
        return invocation is not None and invocation.virtual_clock is self._faults.virtual_clock


def _method(operation: str) -> str:
    """Return the method of an operation: `BatchWriteItem` is `batch_write_item`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", operation).lower()


def _no_connection(message: str) -> Exception:
    from botocore.exceptions import ConnectTimeoutError

    return ConnectTimeoutError(endpoint_url="the sink", error=message)


def _no_answer(message: str) -> Exception:
    from botocore.exceptions import ReadTimeoutError

    return ReadTimeoutError(endpoint_url="the sink", error=message)
