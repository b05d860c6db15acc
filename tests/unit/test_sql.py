"""The SQL sink on SQLite: its contract, and the schedules of the simulation."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from dynamodb_streams_cdc import Image, Processor
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.examples.sql import SqlTable
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetterStore
from dynamodb_streams_cdc.testing.simulation import (
    Consumer,
    FaultInjector,
    SimulatedTable,
    Simulation,
    VirtualClock,
    generate,
    generate_dead_letters,
)
from dynamodb_streams_cdc.testing.simulation.pipeline import SOURCE, document, identity
from dynamodb_streams_cdc.testing.simulation.poller import Handler
from tests.contracts.sql import SCHEMA, Database, SqlContract
from tests.schedules import schedules

DATABASES = count()


class TestSqlite(SqlContract):
    @pytest.fixture
    def database(self, tmp_path: Path) -> Database:
        def connect() -> sqlite3.Connection:
            connection = sqlite3.connect(tmp_path / "copies.db", timeout=5)
            connection.execute("PRAGMA synchronous = OFF")
            return connection

        made = Database(sqlite3, connect)
        made.run(SCHEMA.format(collation=""))
        return made


class Connection:
    """A connection, or a cursor, whose statements and commits are subject to faults."""

    def __init__(self, inner: Any, faults: FaultInjector) -> None:
        self._inner, self._faults = inner, faults

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        match name:
            case "cursor":
                return lambda: Connection(found(), self._faults)
            case "execute" | "commit":
                return partial(self._faults.call, found)
        return found


class Copy:
    """A consumer that keeps the items of a table in a database in memory."""

    def __init__(self, sink: type[SqlTable] = SqlTable) -> None:
        self.sink = sink
        self.dead_letters = MemoryDeadLetterStore()
        self.name = f"file:copy-{next(DATABASES)}?mode=memory&cache=shared"
        self.kept = self.connect()
        self.kept.execute(
            "CREATE TABLE items (item TEXT PRIMARY KEY, version TEXT, changed_at REAL, "
            'written_at REAL, deleted BOOLEAN, revision BIGINT, "group" TEXT, amount TEXT)'
        )

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.name, uri=True, timeout=0, check_same_thread=False)

    def consumers(self, virtual_clock: VirtualClock) -> Sequence[Consumer]:
        def table(faults: FaultInjector) -> SqlTable:
            return self.sink(sqlite3, lambda: Connection(self.connect(), faults), "items", row)

        def soon() -> Deadline:
            return Deadline(virtual_clock, virtual_clock.now() + 10)

        def build(virtual_clock: VirtualClock, faults: FaultInjector) -> Handler:
            return Processor(
                "sql",
                SOURCE,
                table(faults),
                self.dead_letters,
                clock=virtual_clock,
                source_table=faults.source_table,
            )

        def repair(
            item_id: str, read_item: Callable[[], Image | None], faults: FaultInjector
        ) -> object:
            return table(faults).repair(item_id, read_item, soon())

        def purge(faults: FaultInjector) -> int:
            return table(faults).purge(7 * 24 * 3600, soon())

        return [
            Consumer(
                "sql",
                build,
                self.problems,
                repair=repair,
                dead_letters=self.dead_letters,
                purge=purge,
            )
        ]

    def problems(self, table: SimulatedTable) -> Iterable[str]:
        want = {identity(table, item): tuple(row(item).values()) for item in table.items.values()}
        rows = self.kept.execute('SELECT item, "group", amount FROM items WHERE NOT deleted')
        found = {item: (group, amount) for item, group, amount in rows}
        if found != want:
            yield f"the items say {want}, the rows show {found}"


def row(image: Image) -> dict[str, str]:
    return {name: str(value) for name, value in document(image).items()}


def failing(number: int, sink: type[SqlTable] = SqlTable) -> Iterator[int]:
    """Yield the seeds, of so many, after whose schedule the rows differ from the items."""
    for seed in range(number):
        for make in (generate, generate_dead_letters):
            copy = Copy(sink)
            if Simulation(make(seed), copy.consumers).run().problems:
                yield seed
            copy.kept.close()


def test_for_every_schedule_the_rows_equal_the_items(
    record_property: Callable[[str, object], None],
) -> None:
    number = schedules(96)
    record_property("schedules", 2 * number)
    assert list(failing(number)) == []


class LastToArrive(SqlTable):
    """Replaces a row without comparing versions."""

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        with super()._transaction() as cursor:
            yield Uncompared(cursor)


class Uncompared:
    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def execute(self, statement: str, *values: Any) -> Any:
        compared = "WHERE excluded.version > items.version"
        return self._cursor.execute(statement.replace(compared, ""), *values)


def test_the_schedules_find_a_sink_that_compares_no_versions() -> None:
    assert any(True for _ in failing(40, LastToArrive))
