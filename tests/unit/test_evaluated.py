"""Errors of the domain's functions: which are the image's, and which are the machine's."""

import errno
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from dynamodb_streams_cdc import Aggregation, ChangeHandlers, Once, RetryableError, Search
from dynamodb_streams_cdc.errors import CdcError, MissingImage, PermanentError
from dynamodb_streams_cdc.sinks.base import evaluated
from dynamodb_streams_cdc.sinks.comparison import Comparable
from dynamodb_streams_cdc.testing.memory import MemoryIdempotencyStore, MemoryIndex, MemoryLedger
from tests.factories import Speechless, change, deadline, order

SECONDS = Decimal(1714564800)
NANOSECONDS = SECONDS * 10**9


def month(image: dict[str, Any]) -> str:
    return f"{datetime.fromtimestamp(int(image['at']), UTC):%Y-%m}"


def raising(error: Exception) -> Callable[[dict[str, Any]], Any]:
    def function(image: dict[str, Any]) -> Any:
        if image["at"] == NANOSECONDS:
            raise error
        return {"month": {"orders": 1}}

    return function


def test_a_time_out_of_range_is_the_images_fault() -> None:
    with pytest.raises(PermanentError):
        evaluated(month, {"at": NANOSECONDS})


@pytest.mark.parametrize("code", [errno.EDOM, errno.EINVAL, errno.EOVERFLOW, errno.ERANGE])
def test_errors_of_arithmetic_are_the_images_fault(code: int) -> None:
    with pytest.raises(PermanentError, match="such") as caught:
        evaluated(raising(OSError(code, "such")), {"at": NANOSECONDS})
    assert caught.value.reason == "OSError"


async def notice(image: Any) -> str:
    return "never sent"


def yielding(image: Any) -> Any:
    yield "never sent"


def elsewhere(image: Any) -> Any:
    return Future[str]()


def lazily(image: Any) -> Any:
    return map(notice, [image])


@pytest.mark.parametrize("function", [notice, yielding, lazily, elsewhere])
def test_a_function_that_did_not_run_is_not_done(function: Callable[[Any], Any]) -> None:
    with pytest.raises(PermanentError, match="without async, yield and map"):
        evaluated(function, {})
    placed, store = change(1, None, order()), MemoryIdempotencyStore()
    with pytest.raises(TypeError):
        Once(store, "mail").run(placed, partial(function, {}))
    assert store.keys == set()
    handlers = ChangeHandlers()
    handlers.on_insert(function)
    assert isinstance(handlers.apply([placed], deadline()).failures[placed], TypeError)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EMFILE, errno.ENOENT, errno.EIO])
def test_other_errors_of_the_system_are_the_machines(code: int) -> None:
    with pytest.raises(OSError, match="such"):
        evaluated(raising(OSError(code, "such")), {"at": NANOSECONDS})


IMAGES = {"1": {"at": SECONDS}, "2": {"at": NANOSECONDS}, "3": {"at": SECONDS}}
ERRORS = [
    OSError(errno.EOVERFLOW, "too large"),
    OSError(errno.ENOENT, "no file"),
    MemoryError(),
    ImportError("no module"),
    MissingImage("none"),
    ValueError("year 54334370 is out of range"),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize(
    ("make", "detail"),
    [(partial(Aggregation, MemoryLedger()), "month"), (partial(Search, MemoryIndex()), "")],
    ids=["aggregation", "search"],
)
def test_an_item_that_fails_leaves_the_page_compared(
    make: Callable[[Any], Comparable], detail: str, error: Exception
) -> None:
    sink = make(raising(error))
    found = [(each.item, each.kind.value, each.detail) for each in sink.compare(IMAGES, deadline())]
    assert found == [
        ("1", "missing", detail),
        ("2", "refused", type(error).__name__),
        ("3", "missing", detail),
    ]


def test_a_comparison_is_retried_where_the_function_says_so() -> None:
    sink = Aggregation(MemoryLedger(), raising(RetryableError("later")))
    with pytest.raises(CdcError, match="later"):
        list(sink.compare(IMAGES, deadline()))


def test_an_error_without_a_text_is_the_images_fault() -> None:
    with pytest.raises(PermanentError, match="Speechless without a text") as caught:
        evaluated(raising(Speechless(7)), {"at": NANOSECONDS})
    assert caught.value.reason == "Speechless"
