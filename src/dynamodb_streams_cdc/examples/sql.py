"""A sink of one's own: the last state of each item, in a table of a SQL database.

It is a last-writer-wins map from item to row. One statement writes the newest change of each item
of a batch, and the database compares versions before it replaces a row:

    INSERT INTO orders (...) VALUES (...), (...)
    ON CONFLICT (item) DO UPDATE SET ... WHERE excluded.version > orders.version

A deleted item leaves a tombstone, a row with `deleted` set and the columns of yours empty: without
it, a change that is delivered again would bring the item back. Readers select `WHERE NOT deleted`.

The table has these columns, in addition to yours:

    item        TEXT PRIMARY KEY                identity of the item
    version     TEXT COLLATE "C" NOT NULL       of the change that the row shows
    changed_at  DOUBLE PRECISION NOT NULL       when DynamoDB recorded it, seconds since 1970
    written_at  DOUBLE PRECISION NOT NULL       when the sink wrote, seconds since 1970
    deleted     BOOLEAN NOT NULL                whether the row is a tombstone
    revision    BIGINT NOT NULL                 counts the writes of the row

Versions compare as bytes. In PostgreSQL that takes the collation "C": the rules of a language pass
over punctuation (https://www.postgresql.org/docs/current/collation.html). SQLite compares bytes.

The statements are those of PostgreSQL and SQLite from 3.39 on, by any driver of the DB-API 2.0
(https://peps.python.org/pep-0249/). Copy the file into your function's folder and change it:
docs/how-to/add-a-sink.md.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from dynamodb_streams_cdc.change import Change, Image, by_item
from dynamodb_streams_cdc.deadline import Deadline
from dynamodb_streams_cdc.errors import (
    CdcError,
    DeadlineExceeded,
    PermanentError,
    RetryableError,
)
from dynamodb_streams_cdc.guards.preparation import Preparation
from dynamodb_streams_cdc.sinks.base import ItemVersion, Outcome, ReadItem, evaluated, purge_horizon

Row = Mapping[str, Any]
"""Values by column; a column that is left out is NULL."""

OWN = ("item", "version", "changed_at", "written_at", "deleted")
"""Columns that the sink writes, besides `revision`."""

MARKS = {"qmark": "?", "format": "%s", "pyformat": "%s"}
"""The mark of a value in a statement, by the driver's `paramstyle`."""

OF_A_VALUE = frozenset({None, "42804", "42846", "42883", "42P18"})
"""The `sqlstate` of a ProgrammingError that a value causes: a type that does not fit its column, or
has no operator with it (https://www.postgresql.org/docs/current/errcodes-appendix.html); None if
the driver itself cannot pass the value on. The others say that the table or a permission is wrong.
"""

TOO_LONG = "54000"
"""The `sqlstate` of an OperationalError that a value causes: it is too long for an index."""

OF_A_TRANSACTION = "25"
"""Class of the `sqlstate` of an InternalError that no value causes: after a failover, an old
connection reaches a server that only reads."""

MOST_VALUES = 30_000
"""In one statement: PostgreSQL takes 65,535, SQLite 32,766
(https://www.postgresql.org/docs/current/limits.html, https://sqlite.org/limits.html)."""


@dataclass
class SqlTable:
    """The sink.

    Attributes:
        driver: a module of the DB-API 2.0, such as `psycopg` or `sqlite3`.
        connect: opens a connection of it that does not commit by itself. Let it give up connecting,
            each statement, and a host that is silent within ten seconds: the processor reserves
            twelve for its report.
        table: name of the table.
        row: returns the row of an item; pure. `None` keeps the item out of the table.
    """

    driver: Any
    connect: Callable[[], Any]
    table: str
    row: Callable[[Image], Row | None]
    _connection: Any = field(default=None, init=False, repr=False)
    _columns: tuple[str, ...] = field(default=(), init=False)

    def apply(self, changes: Sequence[Change], deadline: Deadline) -> Outcome:
        """Write the newest change of each item, or the newest on which `row` does not fail."""
        outcome = Outcome()
        writes: list[tuple[Change, Sequence[Change], Row | None]] = []
        preparation = Preparation(deadline)
        for group in by_item(changes):
            for position, change in enumerate(group):
                try:
                    preparation.begin(older=position > 0)
                    row = self._row(preparation.new_image(change))
                    writes.append((change, group[position + 1 :], row))
                    break
                except (RetryableError, DeadlineExceeded) as error:
                    # No time is left for it, or its large image cannot be read for now.
                    outcome.failures |= dict.fromkeys(group[position:], error)
                    break
                except CdcError as error:
                    outcome.failures[change] = error
                finally:
                    change.release_images()
        deadline.check()
        held = self._upsert([(change, row) for change, _, row in writes], deadline.now())
        for change, older, _ in writes:
            outcome.stale += len(older)
            if change.item_id in held:
                outcome.refused(change, held[change.item_id])
            else:
                outcome.applied += 1
        return outcome

    def _row(self, image: Image | None) -> Row | None:
        return None if image is None else evaluated(self.row, image)

    def _upsert(
        self, writes: Sequence[tuple[Change, Row | None]], written_at: float
    ) -> dict[str, float]:
        """Write rows in one transaction; return the `changed_at` held of those refused as stale.

        Rows are written in the order of their items: of two writers that lock rows, neither waits
        for the other.
        """
        rows = {
            change.item_id: (change.item_id, change.version, change.timestamp, written_at, row)
            for change, row in sorted(writes, key=lambda write: write[0].item_id)
        }
        refused: dict[str, float] = {}
        with self._transaction() as cursor:
            names = self._names
            most = MOST_VALUES // len(names)
            values = [(*own, row is None, *self._values(row)) for *own, row in rows.values()]
            for part in (values[at : at + most] for at in range(0, len(values), most)):
                cursor.execute(
                    f"INSERT INTO {self.table} ({', '.join(names)}, revision) "
                    f"VALUES {', '.join([f'({self._marks(names)}, 1)'] * len(part))} "
                    "ON CONFLICT (item) DO UPDATE SET "
                    f"{', '.join(f'{name} = excluded.{name}' for name in names[1:])}, "
                    f"revision = {self.table}.revision + 1 "
                    f"WHERE excluded.version > {self.table}.version RETURNING item",
                    [value for each in part for value in each],
                )
                written = {item for (item,) in cursor.fetchall()}
                if stale := [each[0] for each in part if each[0] not in written]:
                    cursor.execute(
                        f"SELECT item, changed_at FROM {self.table} "
                        f"WHERE item IN ({self._marks(stale)})",
                        stale,
                    )
                    refused |= dict(cursor.fetchall())
        return refused

    retains = False
    """The row of an expired item is a tombstone; nothing else of it is kept."""

    def repair(
        self,
        item_id: str,
        read_item: ReadItem,
        deadline: Deadline,
        known: ItemVersion | None = None,
    ) -> bool:
        """Repair the row of an item from the table; return whether it differed.

        See `Repairable`. The row is read first and the item second, and the row is written if its
        version and its revision are those that were read.
        """
        while True:
            deadline.check()
            row = self._read(item_id)
            shown = None if row is None else ItemVersion(item_id, row["version"], row["changed_at"])
            target = known if shown is None or (known and known.version > shown.version) else shown
            if target is None:
                return False
            values = self._row(read_item())
            differs = self._replace(row, target, values, deadline.now())
            if differs is not None:
                return differs

    def _replace(
        self, held: Row | None, target: ItemVersion, row: Row | None, written_at: float
    ) -> bool | None:
        """Write a row in the place of the one that was read, or of none.

        Returns:
            Whether they differ; None if the row has moved, and nothing was written.
        """
        with self._transaction() as cursor:
            values = self._values(row)
            same = " AND ".join(
                f"{name} IS NOT DISTINCT FROM {self._mark}" for name in self._names[len(OWN) - 1 :]
            )
            cursor.execute(
                f"SELECT 1 FROM {self.table} WHERE item = {self._mark} AND {same}",
                [target.item_id, row is None, *values],
            )
            # Readers see no item in a row that is missing, nor in a tombstone.
            differs = cursor.fetchone() is None and not (held is None and row is None)
            if held is not None and not differs and held["version"] == target.version:
                return False
            names = self._names
            new = [*target, written_at, row is None, *values]
            if held is None:
                cursor.execute(
                    f"INSERT INTO {self.table} ({', '.join(names)}, revision) "
                    f"VALUES ({self._marks(names)}, 1) ON CONFLICT (item) DO NOTHING",
                    new,
                )
            else:
                cursor.execute(
                    f"UPDATE {self.table} SET {', '.join(f'{n} = {self._mark}' for n in names)}, "
                    f"revision = revision + 1 WHERE item = {self._mark} "
                    f"AND version = {self._mark} AND revision = {self._mark}",
                    [*new, target.item_id, held["version"], held["revision"]],
                )
            return differs if cursor.rowcount == 1 else None

    def held(self, item_id: str, deadline: Deadline) -> Mapping[str, Any] | None:
        """Return the row of an item, as JSON can carry it; `None` if it has none."""
        deadline.check()
        row = self._read(item_id)
        plain = (str, int, float, bool, type(None))
        return row and {
            name: value if isinstance(value, plain) else str(value) for name, value in row.items()
        }

    def purge(self, older_than: float, deadline: Deadline) -> int:
        """Delete the tombstones written more than so many seconds ago; return how many.

        Raises:
            ValueError: `older_than` is less than `TOMBSTONE_SECONDS`.
        """
        horizon = purge_horizon(older_than, deadline)
        with self._transaction() as cursor:
            statement = f"DELETE FROM {self.table} WHERE deleted AND written_at < {self._mark}"
            cursor.execute(statement, [horizon])
            return int(cursor.rowcount)

    def _read(self, item_id: str) -> Row | None:
        with self._transaction() as cursor:
            cursor.execute(f"SELECT * FROM {self.table} WHERE item = {self._mark}", [item_id])
            names = [name for name, *_ in cursor.description]
            row = cursor.fetchone()
            return None if row is None else dict(zip(names, row, strict=True))

    @property
    def _names(self) -> list[str]:
        """The columns that are written, `deleted` and yours last; yours may be reserved words."""
        return [*OWN, *(f'"{name}"' for name in self._columns)]

    @property
    def _mark(self) -> str:
        return MARKS[self.driver.paramstyle]

    def _marks(self, values: Sequence[object]) -> str:
        return ", ".join([self._mark] * len(values))

    def _values(self, row: Row | None) -> list[Any]:
        """Return the values of the columns of yours, in the table's order."""
        row = row or {}
        if strangers := row.keys() - {*self._columns}:
            message = f"the table {self.table} has no column {', '.join(sorted(strangers))}"
            raise LookupError(message)
        return [row.get(name) for name in self._columns]

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        """Do all that is in the block, or nothing of it.

        The connection is opened again after an error, because it may be the connection's, and the
        columns are read again, because one may have been added. A commit that was done, and whose
        answer was lost, does no harm: the same versions are then stale.

        Raises:
            RetryableError: the database is not reached, or refuses this transaction for now.
            PermanentError: a value does not fit its column.
        """
        committed = False
        try:
            if self._connection is None:
                self._connection = self.connect()
            with closing(self._connection.cursor()) as cursor:
                if not self._columns:
                    cursor.execute(f"SELECT * FROM {self.table} WHERE 1 = 0")
                    names = (name for name, *_ in cursor.description)
                    self._columns = tuple(n for n in names if n not in (*OWN, "revision"))
                yield cursor
            self._connection.commit()
            committed = True
        except (self.driver.OperationalError, self.driver.InterfaceError) as error:
            if getattr(error, "sqlstate", None) == TOO_LONG:
                raise self._misfit(error) from error
            raise RetryableError(str(error)) from error
        except self.driver.InternalError as error:
            if str(getattr(error, "sqlstate", None)).startswith(OF_A_TRANSACTION):
                raise RetryableError(str(error)) from error
            raise
        except (
            self.driver.DataError,
            self.driver.IntegrityError,
            self.driver.ProgrammingError,
            OverflowError,  # of sqlite3: an integer of more than 64 bits
        ) as error:
            if isinstance(error, self.driver.ProgrammingError) and not _is_of_a_value(error):
                raise
            raise self._misfit(error) from error
        finally:
            if not committed:
                self._disconnect()

    def _misfit(self, error: Exception) -> PermanentError:
        # Its text may show values, and errors go into logs.
        message = f"a value does not fit the table {self.table}"
        return PermanentError(message, type(error).__name__)

    def _disconnect(self) -> None:
        connection, self._connection, self._columns = self._connection, None, ()
        for end in () if connection is None else (connection.rollback, connection.close):
            with suppress(self.driver.Error):  # of a connection that is lost
                end()


def _is_of_a_value(error: Exception) -> bool:
    """Return whether a value is at fault for a ProgrammingError, as `psycopg` tells it."""
    return getattr(error, "sqlstate", None) in OF_A_VALUE
