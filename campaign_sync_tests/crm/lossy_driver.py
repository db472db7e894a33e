"""Real drivers of databases that lose rows between the server and us."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from psycopg2 import extensions  # type: ignore[import-untyped]
from pymysql.cursors import SSCursor  # type: ignore[import-untyped]
from sqlalchemy import Engine, create_engine, event


class _Loss:
    """Which part of which query is lost."""

    def __init__(self, query: str, part: int) -> None:
        self.query, self.part = query, part
        self.lost = 0

    def after(self, cursor: Any, rows: list[Any]) -> list[Any]:
        """Return the rows of a part as they arrive."""
        cursor.parts = getattr(cursor, "parts", 0) + 1
        if self.query not in cursor.statement or "count(*)" in cursor.statement or cursor.parts != self.part:
            return rows
        self.lost += len(rows)
        return []


@contextmanager
def losing(query: str, *, part: int = 1) -> Iterator[_Loss]:
    """Let every new connection lose a part of each result of a query that contains a text, but not of counts."""
    loss = _Loss(query, part)

    class SqliteCursor(sqlite3.Cursor):
        statement = ""

        def execute(self, statement: str, *arguments: Any) -> Any:
            self.statement = statement
            return super().execute(statement, *arguments)

        def fetchmany(self, *arguments: Any) -> list[Any]:
            rows = super().fetchmany(*arguments)
            return loss.after(self, rows) or (super().fetchmany(*arguments) if rows else [])

    class SqliteConnection(sqlite3.Connection):
        def cursor(self, *_: Any) -> Any:
            return super().cursor(SqliteCursor)

    class PostgresqlCursor(extensions.cursor):  # type: ignore[misc]
        statement = ""

        def execute(self, statement: Any, *arguments: Any) -> Any:
            self.statement = statement if isinstance(statement, str) else statement.decode()
            return super().execute(statement, *arguments)

        def fetchmany(self, *arguments: Any) -> list[Any]:
            rows = super().fetchmany(*arguments)
            return loss.after(self, rows) or (super().fetchmany(*arguments) if rows else [])

    with _connecting_with(SqliteConnection, PostgresqlCursor), _losing_of_mariadb(loss):
        yield loss


@contextmanager
def _losing_of_mariadb(loss: _Loss) -> Iterator[None]:
    execute, fetchmany = SSCursor.execute, SSCursor.fetchmany

    def executed(cursor: Any, query: str, args: Any = None) -> Any:
        cursor.statement, cursor.parts = query, 0
        return execute(cursor, query, args)

    def fetched(cursor: Any, size: int | None = None) -> list[Any]:
        rows = fetchmany(cursor, size)
        return loss.after(cursor, rows) or (fetchmany(cursor, size) if rows else [])

    with mock.patch.object(SSCursor, "execute", executed), mock.patch.object(SSCursor, "fetchmany", fetched):
        yield


@contextmanager
def cutting(query: str, url: str) -> Iterator[None]:
    """Let PostgreSQL cut every new connection once the first part of a query that contains a text has arrived."""

    class Cursor(extensions.cursor):  # type: ignore[misc]
        statement, parts = "", 0

        def execute(self, statement: Any, *arguments: Any) -> Any:
            self.statement = statement if isinstance(statement, str) else statement.decode()
            return super().execute(statement, *arguments)

        def fetchmany(self, *arguments: Any) -> list[Any]:
            rows: list[Any] = super().fetchmany(*arguments)
            self.parts += 1
            if query in self.statement and self.parts == 1:
                with create_engine(url).begin() as other:
                    process_id = self.connection.get_backend_pid()
                    other.exec_driver_sql(f"SELECT pg_terminate_backend({process_id}, 60000)")
            return rows

    with _connecting_with(None, Cursor):
        yield


@contextmanager
def _connecting_with(sqlite_connection: Any, postgresql_cursor: Any) -> Iterator[None]:
    def connect(dialect: Any, _record: object, _arguments: object, parameters: dict[str, Any]) -> None:
        if dialect.name == "sqlite" and sqlite_connection:
            parameters["factory"] = sqlite_connection
        elif dialect.name == "postgresql":
            parameters["cursor_factory"] = postgresql_cursor

    event.listen(Engine, "do_connect", connect)
    try:
        yield
    finally:
        event.remove(Engine, "do_connect", connect)
