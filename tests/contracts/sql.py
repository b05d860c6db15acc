"""What the SQL sink must do; run on SQLite and on PostgreSQL."""

import itertools
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from dynamodb_streams_cdc import Change, Deadline, Image, Processor, RetryableError
from dynamodb_streams_cdc.examples import sql
from dynamodb_streams_cdc.examples.sql import Row, SqlTable
from dynamodb_streams_cdc.sinks.base import TOMBSTONE_SECONDS, ItemVersion, Repairable
from dynamodb_streams_cdc.sinks.by_entity import ByEntity
from dynamodb_streams_cdc.testing.memory import MemoryDeadLetters
from lambdas import example_domain
from tests.factories import (
    NOON,
    SOURCE,
    FakeContext,
    ManualClock,
    change,
    customer,
    deadline,
    order,
    record,
)

ITEM = "orders/S=00004/S=00004-0001"
PLACED, SHIPPED, REFUNDED = order(), order(status="shipped"), order(status="refunded")
LIFE: list[tuple[Image | None, Image | None]] = [
    (None, PLACED),
    (PLACED, SHIPPED),
    (SHIPPED, None),
    (None, REFUNDED),
]

SCHEMA = """CREATE TABLE orders (
    item TEXT PRIMARY KEY, version TEXT {collation} NOT NULL, changed_at DOUBLE PRECISION NOT NULL,
    written_at DOUBLE PRECISION NOT NULL, deleted BOOLEAN NOT NULL, revision BIGINT NOT NULL,
    status TEXT CHECK (status <> 'lost'), total NUMERIC(15, 2), updated_by TEXT
)"""


@dataclass(frozen=True)
class Database:
    """A database with an empty table `orders`.

    Attributes:
        driver: module of the DB-API 2.0.
        connect: opens a connection.
    """

    driver: Any
    connect: Callable[[], Any]

    def sink(self, row: Callable[[Image], Row | None] | None = None, **others: Any) -> SqlTable:
        made = {"driver": self.driver, "connect": self.connect, **others}
        return SqlTable(**made, table="orders", row=row or row_of)

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        connection = self.connect()
        try:
            cursor = connection.cursor()
            cursor.execute(statement)
            found = cursor.fetchall() if cursor.description else []
            connection.commit()
        finally:
            connection.close()
        return [tuple(row) for row in found]

    def shown(self) -> dict[str, tuple[str, str]]:
        """Return what readers see, by item."""
        rows = self.run("SELECT item, status, total FROM orders WHERE NOT deleted")
        return {item: (status, f"{total:.2f}") for item, status, total in rows}


def row_of(order: Image) -> Mapping[str, Any] | None:
    return {"status": order["status"], "total": str(order["total"])}


def life() -> list[Change]:
    return [change(number, *images) for number, images in enumerate(LIFE, 1)]


class Interrupted:
    """A driver's connection whose commit fails, or is done and not answered."""

    def __init__(self, connection: Any, *, commits: bool) -> None:
        self._connection, self._commits = connection, commits

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def commit(self) -> None:
        if self._commits:
            self._connection.commit()
        raise KeyboardInterrupt


class SqlContract:
    @pytest.fixture
    def database(self) -> Database:
        raise NotImplementedError

    def test_it_can_be_repaired(self, database: Database) -> None:
        assert isinstance(database.sink(), Repairable)

    def test_a_change_that_comes_again_is_stale(self, database: Database) -> None:
        sink, batch = database.sink(), [change(1, None, PLACED), change(2, None, order("00005-1"))]
        first, again = sink.apply(batch, deadline()), sink.apply(batch, deadline())
        assert (first.applied, first.stale) == (2, 0)
        assert (again.applied, again.stale, again.failures) == (0, 2, {})
        assert database.shown()[ITEM] == ("placed", "29.33")

    @pytest.mark.parametrize("together", [1, 2, 4])
    def test_every_order_of_changes_ends_alike(self, database: Database, together: int) -> None:
        for changes in itertools.permutations(life()):
            database.run("DELETE FROM orders")
            sink = database.sink()
            for at in range(0, len(changes), together):
                sink.apply(changes[at : at + together], deadline())
            assert database.shown() == {ITEM: ("refunded", "29.33")}

    def test_a_slow_function_leaves_time_to_write(self, database: Database) -> None:
        clock = ManualClock()

        def slow(order: Image) -> Row | None:
            clock.time += 0.5
            return row_of(order)

        changes = [change(number, None, order(f"{number:05}-1")) for number in range(1, 101)]
        outcome = database.sink(slow).apply(changes, Deadline(clock, clock.now() + 48))
        assert 45 <= outcome.applied == len(database.shown()) <= 50
        assert list(outcome.failures) == changes[outcome.applied :]

    def test_a_late_change_brings_no_deleted_item_back(self, database: Database) -> None:
        placed, shipped, removed, _ = life()
        sink = database.sink()
        sink.apply([removed], deadline())
        assert sink.apply([placed, shipped], deadline()).stale == 2
        assert database.shown() == {}
        assert database.run("SELECT deleted, status, total FROM orders") == [(True, None, None)]

    @pytest.mark.parametrize("commits", [False, True])
    def test_a_crash_at_the_commit_does_no_harm(self, database: Database, commits: bool) -> None:
        placed, shipped, *_ = life()
        database.sink().apply([placed], deadline())
        dying = database.sink(connect=lambda: Interrupted(database.connect(), commits=commits))
        batch = [shipped, change(5, None, order("00005-1"))]
        with pytest.raises(KeyboardInterrupt):
            dying.apply(batch, deadline())
        assert len(database.shown()) == (2 if commits else 1)
        again = database.sink().apply(batch, deadline())
        assert (again.applied, again.stale) == ((0, 2) if commits else (2, 0))
        assert database.shown()[ITEM] == ("shipped", "29.33")

    def test_concurrent_writers_end_at_the_newest(self, database: Database) -> None:
        items = [f"{number:05}-1" for number in range(20)]
        batches = [
            [change(number, None, order(item, total=str(number))) for item in items]
            for number in range(1, 13)
        ]

        def write(batches: Sequence[Sequence[Change]], step: int) -> None:
            sink = database.sink()
            for batch in batches:
                while True:
                    try:
                        sink.apply(batch[::step], deadline())
                        break
                    except RetryableError:
                        continue

        writers = [
            threading.Thread(target=write, args=(batches[start::4], 1 if start % 2 else -1))
            for start in range(4)
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert {total for _, total in database.shown().values()} == {"12.00"}
        assert len(database.shown()) == 20

    @pytest.mark.parametrize(
        ("held", "offered"),
        [
            ("0001/2024-05-01T12:00:00.000/{:040}", "0001/2024-05-01T12:00:00.0001/{:040}"),
            ("0001/2024-05-01T12:00:00.000/{:040}", "0001/2024-05-02T12:00:00.000/{:040}"),
            ("0001/2024-05-02T12:00:00.000/{:040}", "0002/2024-05-01T12:00:00.000/{:040}"),
            ("0001/2024-05-01T12:00:00.000123/{:040}", "0001/2024-05-01T12:00:00.0002/{:040}"),
            ("0001/2024-05-01T12:00:00.000/{:040}", "0001/2024-05-01T12:00:00.000/{:039}9"),
        ],
    )
    def test_versions_compare_as_bytes(self, database: Database, held: str, offered: str) -> None:
        older, newer = held.format(7), offered.format(0)
        assert older < newer
        for first, second in ((older, newer), (newer, older)):
            database.run("DELETE FROM orders")
            sink = database.sink()
            sink.apply([replace(change(1, None, PLACED), version=first)], deadline())
            sink.apply([replace(change(2, PLACED, SHIPPED), version=second)], deadline())
            assert database.run("SELECT version FROM orders") == [(newer,)]

    def test_stale_but_younger_is_counted(self, database: Database) -> None:
        sink = database.sink()
        sink.apply([change(2, PLACED, SHIPPED, timestamp=NOON)], deadline())
        late = sink.apply([change(1, None, PLACED, timestamp=NOON + 5)], deadline())
        assert (late.stale, late.version_order_violations) == (1, 1)

    def test_no_statement_has_too_many_values(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sql, "MOST_VALUES", 20)
        batch = [change(1, None, order(f"{number:05}-1")) for number in range(7)]
        assert database.sink().apply(batch, deadline()).applied == 7
        assert database.sink().apply(batch, deadline()).stale == 7
        assert len(database.shown()) == 7

    def test_a_row_that_cannot_be_made_leaves_the_one_before(self, database: Database) -> None:
        broken = change(2, PLACED, {name: v for name, v in PLACED.items() if name != "total"})
        outcome = database.sink().apply([change(1, None, PLACED), broken], deadline())
        assert outcome.applied == 1
        assert list(outcome.failures) == [broken]
        assert database.shown() == {ITEM: ("placed", "29.33")}

    def test_an_item_without_a_row_is_not_shown(self, database: Database) -> None:
        placed, shipped, *_ = life()
        sink = database.sink(lambda order: row_of(order) if order["status"] == "placed" else None)
        sink.apply([placed], deadline())
        assert ITEM in database.shown()
        sink.apply([shipped], deadline())
        assert database.shown() == {}

    def test_a_value_that_does_not_fit_is_one_dead_letter(self, database: Database) -> None:
        dead_letters, clock = MemoryDeadLetters(), ManualClock()
        processor = Processor("sql", SOURCE, database.sink(), dead_letters, clock=clock)
        lost = order("00005-1", status="lost", updated_by="a secret")
        records = [record(1, None, PLACED), record(2, None, lost), record(3, PLACED, SHIPPED)]
        event: Any = {"Records": records}
        assert processor(event, FakeContext(clock)) == {"batchItemFailures": []}
        assert database.shown() == {ITEM: ("shipped", "29.33")}
        [dead_letter] = dead_letters.dead_letters.values()
        assert "does not fit the table orders" in str(dead_letter.error)
        assert "secret" not in str(dead_letter.error)

    @pytest.mark.parametrize("status", [{"a": 1}, {"a", "b"}])
    def test_a_type_that_no_column_takes_is_one_dead_letter(
        self, database: Database, status: Any
    ) -> None:
        lost = order("00005-1", status=status, updated_by="a secret")
        [error] = self.refused(database, lost, lambda order: {"status": order["status"]})
        assert "does not fit the table orders" in str(error)
        assert "secret" not in str(error)

    def test_a_number_that_no_column_takes_is_one_dead_letter(self, database: Database) -> None:
        lost = order("00005-1", total=str(10**20))
        [error] = self.refused(database, lost, lambda order: {"total": int(order["total"])})
        assert "does not fit the table orders" in str(error)

    def refused(
        self, database: Database, lost: Image, row: Callable[[Image], Row]
    ) -> Sequence[Exception | None]:
        """Return the errors of the dead letters of a batch with an item that does not fit."""
        dead_letters, clock = MemoryDeadLetters(), ManualClock()
        processor = Processor("sql", SOURCE, database.sink(row), dead_letters, clock=clock)
        event: Any = {"Records": [record(1, None, PLACED), record(2, None, lost)]}
        assert processor(event, FakeContext(clock)) == {"batchItemFailures": []}
        assert database.run("SELECT item FROM orders") == [(ITEM,)]
        return [each.error for each in dead_letters.dead_letters.values()]

    def test_a_column_that_is_added_is_used(self, database: Database) -> None:
        sink = database.sink(lambda order: {"status": order["status"], "city": "Berlin"})
        sink.held(ITEM, deadline())
        with pytest.raises(LookupError, match="no column city"):
            sink.apply([change(1, None, PLACED)], deadline())
        database.run("ALTER TABLE orders ADD COLUMN city TEXT")
        assert sink.apply([change(1, None, PLACED)], deadline()).applied == 1
        assert database.run("SELECT city FROM orders") == [("Berlin",)]

    def test_an_item_of_another_entity_leaves_no_row(self, database: Database) -> None:
        (table,) = example_domain.TABLES
        sink, clock = ByEntity(table, {"order": database.sink()}), ManualClock()
        processor = Processor("sql", SOURCE, sink, MemoryDeadLetters(), clock=clock)
        records = [record(1, None, customer()), record(2, customer(), None)]
        event: Any = {"Records": [*records, record(3, None, PLACED)]}
        assert processor(event, FakeContext(clock)) == {"batchItemFailures": []}
        assert database.run("SELECT item FROM orders") == [(ITEM,)]

    def test_a_row_with_an_unknown_column_is_refused(self, database: Database) -> None:
        sink = database.sink(lambda order: {"colour": "red"})
        with pytest.raises(LookupError, match="orders has no column colour"):
            sink.apply([change(1, None, PLACED)], deadline())

    def test_after_an_outage_it_connects_again(self, database: Database) -> None:
        outages = iter([True, False])

        def connect() -> Any:
            if next(outages):
                raise database.driver.OperationalError
            return database.connect()

        sink = database.sink(connect=connect)
        with pytest.raises(RetryableError):
            sink.apply([change(1, None, PLACED)], deadline())
        assert sink.apply([change(1, None, PLACED)], deadline()).applied == 1

    def test_a_lost_connection_is_an_outage(self, database: Database) -> None:
        """Some drivers tell of the network once more where the connection is closed."""

        def lost() -> None:
            raise database.driver.InterfaceError

        connection = SimpleNamespace(cursor=lost, rollback=lost, close=lost)
        with pytest.raises(RetryableError):
            database.sink(connect=lambda: connection).apply(life(), deadline())

    def test_held_is_the_row_as_json(self, database: Database) -> None:
        sink = database.sink()
        assert sink.held(ITEM, deadline()) is None
        placed = change(1, None, PLACED)
        sink.apply([placed], deadline())
        held = json.loads(json.dumps(sink.held(ITEM, deadline())))
        assert (held["version"], held["status"]) == (placed.version, "placed")
        assert float(held["total"]) == 29.33

    def test_repair_shows_the_item_and_keeps_the_version(self, database: Database) -> None:
        sink, placed = database.sink(), change(1, None, PLACED)
        sink.apply([placed], deadline())
        assert not sink.repair(ITEM, lambda: PLACED, deadline())
        database.run("UPDATE orders SET status = 'damaged'")
        assert sink.repair(ITEM, lambda: PLACED, deadline())
        assert database.shown() == {ITEM: ("placed", "29.33")}
        assert sink.apply([placed], deadline()).stale == 1
        assert sink.apply([change(2, PLACED, SHIPPED)], deadline()).applied == 1

    def test_repair_needs_a_version_to_write_at(self, database: Database) -> None:
        sink, removed = database.sink(), change(3, SHIPPED, None)
        assert not sink.repair(ITEM, lambda: PLACED, deadline())
        assert database.run("SELECT item FROM orders") == []
        known = ItemVersion.of(removed)
        assert sink.repair(ITEM, lambda: PLACED, deadline(), known)
        assert database.shown() == {ITEM: ("placed", "29.33")}
        assert sink.apply([change(2, PLACED, SHIPPED)], deadline()).stale == 1
        assert sink.repair(ITEM, lambda: None, deadline(), known)
        assert not sink.repair(ITEM, lambda: None, deadline(), known)
        assert database.shown() == {}

    def test_repair_raises_the_version_of_an_equal_row(self, database: Database) -> None:
        sink, shipped = database.sink(), change(2, PLACED, SHIPPED)
        sink.apply([change(1, None, SHIPPED)], deadline())
        assert not sink.repair(ITEM, lambda: SHIPPED, deadline(), ItemVersion.of(shipped))
        assert database.run("SELECT version FROM orders") == [(shipped.version,)]

    def test_repair_of_a_gone_item_leaves_a_tombstone(self, database: Database) -> None:
        sink, removed = database.sink(), change(3, SHIPPED, None)
        assert not sink.repair(ITEM, lambda: None, deadline(), ItemVersion.of(removed))
        assert sink.apply([change(1, None, PLACED)], deadline()).stale == 1
        assert database.shown() == {}

    @pytest.mark.parametrize("is_held", [False, True])
    def test_a_change_during_a_repair_wins(self, database: Database, is_held: bool) -> None:
        sink, other = database.sink(), database.sink()
        placed, shipped, *_ = life()
        if is_held:
            sink.apply([placed], deadline())
        reads: list[Image] = []

        def read() -> Image:
            if not reads:
                other.apply([shipped], deadline())
            reads.append(PLACED if not reads else SHIPPED)
            return reads[-1]

        sink.repair(ITEM, read, deadline(), ItemVersion.of(placed))
        assert reads == [PLACED, SHIPPED]
        assert database.shown() == {ITEM: ("shipped", "29.33")}
        assert database.run("SELECT version FROM orders") == [(shipped.version,)]

    def test_a_repair_during_a_repair_wins(self, database: Database) -> None:
        """Both write at one version: only the revision tells the first that the row moved."""
        sink, other = database.sink(), database.sink()
        sink.apply([change(1, None, PLACED)], deadline())
        states = iter([SHIPPED, REFUNDED])

        def read() -> Image:
            state = next(states)
            if state is SHIPPED:
                other.repair(ITEM, lambda: REFUNDED, deadline())
            return state

        sink.repair(ITEM, read, deadline())
        assert database.shown() == {ITEM: ("refunded", "29.33")}

    def test_purge_forgets_old_tombstones_alone(self, database: Database) -> None:
        sink, now = database.sink(), deadline()
        sink.apply([change(1, None, order("00005-1")), change(3, SHIPPED, None)], now)
        purge = partial(sink.purge, TOMBSTONE_SECONDS)
        assert purge(now) == 0
        clock = ManualClock(NOON + 2 * TOMBSTONE_SECONDS)
        assert purge(replace(now, clock=clock, deadline=clock.now() + 60)) == 1
        assert len(database.run("SELECT item FROM orders")) == 1
        with pytest.raises(ValueError, match="tombstones are kept"):
            sink.purge(1, now)
