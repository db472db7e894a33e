"""Inserting or updating many rows by one statement, on both databases that the product supports."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

from campaign_sync.storage.id_batches import batches


def upsert(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    update: Sequence[str],
    where: Callable[[Any], ColumnElement[bool]] | None = None,
) -> None:
    """Insert rows. Of a row whose primary key exists, overwrite the `update` columns.

    With `where`, only where that holds: it is called with the columns of the row that would be inserted.
    """
    statement = _insert(connection, table)
    key = [column.name for column in table.primary_key]
    overwrite = {name: statement.excluded[name] for name in update}
    conflict = statement.on_conflict_do_update(
        index_elements=key, set_=overwrite, where=where(statement.excluded) if where else None
    )
    for batch in batches(rows):
        connection.execute(conflict, [dict(row) for row in batch])


def insert_missing(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows whose primary key doesn't exist; the others stay as they are."""
    statement = _insert(connection, table).on_conflict_do_nothing()
    for batch in batches(rows):
        connection.execute(statement, [dict(row) for row in batch])


def _insert(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
