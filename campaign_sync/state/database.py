"""Opens the state database, on SQLite or PostgreSQL, and brings its tables up to date."""

from importlib.resources import files
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, OperationalError

VERSION_TABLE = "campaign_sync_version"

_UPGRADE_LOCK = 0x63616D70
"""Key of the advisory lock under which PostgreSQL lets one process migrate at a time."""


class StateError(Exception):
    """The state database can't be used. The message names it (without its password) and the remedy."""


def open_database(url: str) -> Engine:
    """Connect to the state database and migrate its tables to this version.

    Raises:
        StateError: the URL is wrong, the database can't be reached, or a newer version of the product migrated it.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StateError("storage.state_url isn't a database URL, such as sqlite:///.campaign_sync/state.db") from None
    if parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:"):
        Path(parsed.database or "").parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = create_engine(parsed, poolclass=NullPool)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    try:
        with engine.connect() as connection:
            if _revision(connection) != _head():
                _upgrade(connection)
    except OperationalError as error:
        place = parsed.render_as_string(hide_password=True)
        reason = str(error.orig).strip().splitlines()[0]
        raise StateError(f"the state database {place} (storage.state_url) can't be opened: {reason}") from None
    return engine


def _prepare_sqlite(connection: object, _: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA busy_timeout=30000")
    cursor.close()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("campaign_sync.state") / "migrations"))
    return config


def _head() -> str | None:
    return ScriptDirectory.from_config(_config()).get_current_head()


def _revision(connection: Connection) -> str | None:
    revision = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()
    connection.rollback()
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if revision is not None and revision not in known:
        raise StateError(
            f"the state database is at revision {revision}, which this version of campaign-sync doesn't know; "
            "run the newer version that migrated it"
        )
    return revision


def _upgrade(connection: Connection) -> None:
    """Migrate while every other process waits; whoever waited finds nothing left to do."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})")
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    connection.commit()
