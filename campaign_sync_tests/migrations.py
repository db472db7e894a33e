"""Migrations, ours and Dagster's: their scripts are read once per process, and ours run once for all new databases."""

from collections.abc import Callable
from typing import Any

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from campaign_sync.storage.revisions import migrate


def reading_once() -> Callable[[Config], ScriptDirectory]:
    """Return a `ScriptDirectory.from_config` that reads every folder of scripts once only."""
    read: dict[tuple[str | None, str | None], ScriptDirectory] = {}
    from_config = ScriptDirectory.from_config

    def read_once(config: Config) -> ScriptDirectory:
        place = (config.get_main_option("script_location"), config.get_main_option("version_locations"))
        if place not in read:
            read[place] = from_config(config)
        return read[place]

    return read_once


def making_once() -> Callable[..., str | None]:
    """Return a `migrate` for `open_database` that makes later databases on SQLite by what the first one has become."""
    statements: list[str] = []

    def make(connection: Connection, place: str, **options: Any) -> str | None:
        if connection.dialect.name != "sqlite" or options:
            return migrate(connection, place, **options)
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        is_new = connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar() == 0
        database: Any = connection.connection.dbapi_connection
        if is_new and statements:
            for statement in statements:
                database.execute(statement).close()
            connection.commit()
            return None
        connection.rollback()
        before = migrate(connection, place)
        if is_new:
            statements[:] = list(database.iterdump())[1:-1]  # without the transaction
        return before

    return make
