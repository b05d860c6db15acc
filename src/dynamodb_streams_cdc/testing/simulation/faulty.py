"""Put an object behind a fault injector: each call of it may be slow, fail, or crash.

    ledger = faulty(MemoryLedger(), faults)

A fault occurs in the request that is made. For an object of one's own that is a call of a method,
of the object itself, or one step of what a method yields. For a client or resource of boto3 it is
the request to AWS, from any caller: a table, a batch writer, a paginator, a waiter.
"""

import contextlib
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NoReturn, TypeVar, cast

from dynamodb_streams_cdc.testing.simulation.aws_calls import follow, is_of_boto3
from dynamodb_streams_cdc.testing.simulation.faults import FaultInjector, name_of

T = TypeVar("T")

_SPECIAL = (
    "__contains__",
    "__delitem__",
    "__getitem__",
    "__len__",
    "__next__",
    "__setitem__",
)
"""Methods that Python looks up in the class: forwarded as requests if the port has them."""


def faulty(port: T, faults: FaultInjector) -> T:
    """Return the port, with every request that it makes subject to faults.

    Of boto3, give a client or a resource: it is returned as it is, and faults strike in its
    requests while a function runs.

    Raises:
        TypeError: the object makes no requests; the message says where to put `faulty`.
    """
    if is_of_boto3(port):
        return cast("T", follow(port, faults))
    if isinstance(port, type):
        problem = f"{port.__name__} is a class: give faulty an object of it"
    elif _makes_no_requests(port):
        problem = (
            f"a {type(port).__name__} makes no requests: give faulty the object whose methods "
            "make them"
        )
    else:
        return wrapped(port, faults)
    raise TypeError(problem)


def _makes_no_requests(port: object) -> bool:
    """Whether an object is a plain value or container of Python's own."""
    plain = type(port).__module__ in ("builtins", "collections", "decimal")
    return plain and not callable(port)


def wrapped(port: T, faults: FaultInjector) -> T:
    """Return an object with every call of its methods subject to faults."""
    special = {name: _forward(name) for name in _SPECIAL if hasattr(type(port), name)}
    if callable(port):
        special["__call__"] = _forward("__call__")
    if hasattr(type(port), "__iter__"):
        special["__iter__"] = _iterate
    if hasattr(type(port), "__enter__"):
        special |= {"__enter__": _enter, "__exit__": _leave}
    return cast("T", type("_Faulty", (_Faulty,), special)(port, faults))


class _Faulty:
    _port: object
    _faults: FaultInjector

    def __init__(self, port: object, faults: FaultInjector) -> None:
        object.__setattr__(self, "_port", port)
        object.__setattr__(self, "_faults", faults)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._port, name)
        if not callable(attribute) or isinstance(attribute, type):
            return attribute
        return _method(name, attribute, self._faults)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        _refuse_assignment(self._port, name)

    def __delattr__(self, name: str) -> NoReturn:
        _refuse_assignment(self._port, name)


def _refuse_assignment(port: object, name: str) -> NoReturn:
    message = (
        f"the function assigns {name} of a {type(port).__name__} through a faulty port, and an "
        f"assignment makes no request: give {type(port).__name__} a method that does it"
    )
    raise TypeError(message)


def _method(name: str, method: Callable[..., Any], faults: FaultInjector) -> Callable[..., Any]:
    """Return a method whose requests are subject to faults, made when they are made."""
    if inspect.isgeneratorfunction(method):
        return lambda *args, **options: _steps(name, method(*args, **options), faults)
    if inspect.isasyncgenfunction(method):
        return lambda *args, **options: _async_steps(name, method(*args, **options), faults)
    if inspect.iscoroutinefunction(method):

        async def awaited(*args: Any, **options: Any) -> Any:
            faults.arrive(name)
            faults.before(name)
            result = await method(*args, **options)
            faults.after(name)
            faults.leave(name)
            return result

        return awaited

    def called(*args: Any, **options: Any) -> Any:
        result = faults.call_as(name, method, *args, **options)
        if _makes_requests(result):
            return wrapped(result, faults)
        if hasattr(type(result), "__next__"):
            return _steps(name, result, faults)
        return result

    return called


def _makes_requests(result: object) -> bool:
    """Whether what a method returned makes requests in its turn, as a database's cursor does."""
    kind = type(result)
    if isinstance(result, contextlib._GeneratorContextManager) or hasattr(kind, "execute"):
        return True
    rows = hasattr(kind, "__next__") and kind.__module__ != "builtins"
    return rows and any(not name.startswith("_") for name in dir(kind))


_END = object()


def _steps(name: str, steps: Iterator[Any], faults: FaultInjector) -> Iterator[Any]:
    while (step := faults.call_as(name, lambda: next(steps, _END))) is not _END:
        yield step


async def _async_steps(
    name: str, steps: AsyncIterator[Any], faults: FaultInjector
) -> AsyncIterator[Any]:
    while True:
        faults.arrive(name)
        faults.before(name)
        try:
            step = await anext(steps)
        except StopAsyncIteration:
            return
        faults.after(name)
        faults.leave(name)
        yield step


def _forward(name: str) -> Callable[..., Any]:
    def forward(self: _Faulty, *args: Any, **options: Any) -> Any:
        method = getattr(self._port, name)
        aimed = name_of(self._port) if name == "__call__" else name
        return _method(aimed, method, self._faults)(*args, **options)

    return functools.wraps(forward, assigned=())(forward)


def _iterate(self: _Faulty) -> Iterator[Any]:
    return _steps("__iter__", iter(cast("Any", self._port)), self._faults)


def _enter(self: _Faulty) -> Any:
    inner = cast("Any", self._port).__enter__()
    if inner is self._port:
        return self
    return inner if _makes_no_requests(inner) else faulty(inner, self._faults)


def _leave(self: _Faulty, *error: Any) -> Any:
    return self._faults.call_as("__exit__", cast("Any", self._port).__exit__, *error)
