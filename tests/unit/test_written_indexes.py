"""What the search sink does while there is a second index."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from dynamodb_streams_cdc import Deadline, PermanentError, RetryableError, Search
from dynamodb_streams_cdc.sinks.base import TOMBSTONE_SECONDS, ItemVersion
from dynamodb_streams_cdc.sinks.documents import Pair, Upsert, Upserted
from dynamodb_streams_cdc.sinks.written_indexes import LOOKUP_SECONDS
from dynamodb_streams_cdc.testing.memory import MemoryIndex
from lambdas.example_domain.order import document
from tests.contracts.index import ITEM
from tests.factories import ManualClock, change, deadline, order

PLACED, SHIPPED = order(), order(status="shipped")


class Refusing(MemoryIndex):
    """An index that fails to write, with the error that the test sets."""

    error: Exception = PermanentError("no such amount")

    def upsert(self, upserts: Sequence[Upsert], deadline: Deadline) -> Sequence[Upserted]:
        return [self.error for _ in upserts]

    def replace(self, held: Any, upsert: Upsert, deadline: Deadline) -> bool:
        raise self.error


@dataclass
class Looked(MemoryIndex):
    """An index that counts the looks at its names."""

    looks: int = 0
    second_is: Callable[[dict[str, Any]], MemoryIndex] = MemoryIndex

    def pair(self, deadline: Deadline) -> Pair | None:
        self.looks += 1
        if self.second is None:
            return None
        return Pair(MemoryIndex(self.documents), self.second_is(self.others[self.second]))


@dataclass
class Bench:
    """A sink, at a time that the test moves."""

    index: Looked = field(default_factory=Looked)
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        self.sink = Search(self.index, document)

    @property
    def deadline(self) -> Deadline:
        return Deadline(self.clock)

    def apply(self, sequence: int, image: Any = PLACED) -> Any:
        return self.sink.apply([change(sequence, None, image)], self.deadline)

    @property
    def second(self) -> dict[str, Any]:
        assert self.index.second is not None
        return self.index.others[self.index.second]


def begun() -> Bench:
    bench = Bench()
    bench.apply(1)
    bench.index.begin(deadline())
    bench.clock.time += LOOKUP_SECONDS
    return bench


def test_a_function_looks_once_in_ten_seconds() -> None:
    bench = Bench()
    for sequence in range(5):
        bench.apply(sequence)
        bench.clock.time += LOOKUP_SECONDS / 6
    assert bench.index.looks == 1
    bench.index.begin(deadline())
    bench.apply(6)
    assert bench.second == {}, "not noticed yet"
    bench.clock.time += LOOKUP_SECONDS / 6
    bench.apply(7)
    assert bench.index.looks == 2
    assert list(bench.second) == [ITEM]


def test_a_look_that_fails_fails_the_change() -> None:
    """A function that does not know whether there is a second index must not write one alone."""
    bench = begun()

    def out(deadline: Deadline) -> Pair | None:
        raise RetryableError

    bench.index.pair = out  # type: ignore[method-assign]
    assert [*map(type, bench.apply(2).failures.values())] == [RetryableError]


def test_an_outage_of_the_second_index_fails_the_change() -> None:
    bench = begun()
    bench.index.second_is = Refusing
    Refusing.error, before = RetryableError("out"), Refusing.error
    try:
        assert [*map(type, bench.apply(2).failures.values())] == [RetryableError]
    finally:
        Refusing.error = before
    bench.index.second_is = MemoryIndex
    bench.clock.time += LOOKUP_SECONDS
    assert bench.apply(2).failures == {}
    versions = [each[ITEM]["cdc"]["version"] for each in (bench.second, bench.index.documents)]
    assert versions == [change(2, None, PLACED).version] * 2


def test_a_refusal_by_the_second_index_is_logged_and_no_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = begun()
    bench.index.second_is = Refusing
    with caplog.at_level(logging.WARNING):
        outcome = bench.apply(2, SHIPPED)
        assert (outcome.applied, outcome.failures) == (1, {})
        known = ItemVersion.of(change(3, None, PLACED))
        assert bench.sink.repair(ITEM, lambda: PLACED, bench.deadline, known)
    assert bench.index.documents[ITEM]["status"] == "placed"
    events = [vars(each)["event"] for each in caplog.records]
    assert events == ["refused_by_second", "refused_by_second"]


def test_a_refusal_by_the_live_index_is_a_failure() -> None:
    bench = begun()
    live = Refusing()
    pair = bench.index.pair(deadline())
    assert pair is not None
    bench.index.pair = lambda deadline: Pair(live, pair.second)  # type: ignore[method-assign]
    assert [*map(type, bench.apply(2).failures.values())] == [PermanentError]


def test_a_repair_and_a_purge_are_of_both_indexes() -> None:
    bench = begun()
    assert bench.sink.repair(ITEM, lambda: SHIPPED, bench.deadline)
    assert bench.second[ITEM]["status"] == "shipped"
    assert bench.second[ITEM]["cdc"] == bench.index.documents[ITEM]["cdc"]
    bench.sink.apply([change(2, PLACED, None)], bench.deadline)
    bench.clock.time += TOMBSTONE_SECONDS + 1
    assert bench.sink.purge(TOMBSTONE_SECONDS, bench.deadline) == 1
    assert (bench.index.documents, bench.second) == ({}, {})


def test_a_sink_with_another_index_writes_that_one() -> None:
    bench, other = begun(), MemoryIndex()
    replace(bench.sink, index=other).apply([change(9, None, PLACED)], bench.deadline)
    assert list(other.documents) == [ITEM]
    assert bench.second == {}
