"""Insert or update, by one statement for many rows, on both databases the product runs on."""

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
    """Insert rows; where one with the same primary key stands, overwrite its `update` columns only.

    With `where`, only if that holds: it is given the columns of the row that would be inserted.
    """
    statement = _insert(connection, table)
    key = [column.name for column in table.primary_key]
    overwrite = {name: statement.excluded[name] for name in update}
    conflict = statement.on_conflict_do_update(
        index_elements=key, set_=overwrite, where=where(statement.excluded) if where else None
    )
    for some in batches(rows):
        connection.execute(conflict, [dict(row) for row in some])


def insert_missing(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows whose primary key isn't there yet; the others stay as they are."""
    statement = _insert(connection, table).on_conflict_do_nothing()
    for some in batches(rows):
        connection.execute(statement, [dict(row) for row in some])


def _insert(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
