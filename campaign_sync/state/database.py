"""Opens the state database, on SQLite or PostgreSQL, and brings its tables up to date."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, ExceptionContext, NullPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError

from campaign_sync.state.errors import StateError
from campaign_sync.state.folders import can_be_written, private_file

VERSION_TABLE = "campaign_sync_version"

READY = "the state database opens"
"""What `probe_database` finds where nothing remains to be done."""

_LIBPQ = ("postgresql", "postgresql+psycopg2", "postgresql+psycopg")

_UPGRADE_LOCK = 0x63616D70
"""Key of the advisory lock under which PostgreSQL lets one process migrate at a time."""


def open_database(url: str) -> Engine:
    """Connect to the state database and migrate its tables to this version.

    Raises:
        StateError: the URL is wrong, the database can't be reached, or a newer version of the product migrated it.
    """
    engine = _engine(url)
    with _opening(engine):
        if engine.dialect.name == "sqlite":
            private_file(_sqlite_file(engine))
            event.listen(engine, "connect", _prepare_sqlite)
        with engine.connect() as connection:
            if _revision(connection) != _head():
                _upgrade(connection)
    event.listen(engine, "handle_error", _as_state_error)
    return engine


def probe_database(url: str) -> str:
    """What a run would find: whether there is a state database and whether its tables are of this version.

    Only looks: nothing is created, migrated or written.

    Raises:
        StateError: the URL is wrong, the database can't be reached, or a newer version of the product migrated it.
    """
    engine = _engine(url)
    with _opening(engine):
        if engine.dialect.name == "sqlite" and not _sqlite_file(engine).exists():
            if not can_be_written(_sqlite_file(engine).parent):
                raise StateError(
                    f"the state database {_sqlite_file(engine)} (storage.state_url) can't be created: "
                    "its folder can't be written to; choose another one, or mend its permissions"
                )
            return "the state database will be created by the first run"
        with engine.connect() as connection:
            migrated = _revision(connection) == _head()
    return READY if migrated else f"{READY}; the first run will migrate its tables"


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        # A database that doesn't answer must not keep a half-full list waiting.
        patience = {"connect_timeout": 10, "tcp_user_timeout": 30_000} if parsed.drivername in _LIBPQ else {}
        return create_engine(parsed, poolclass=NullPool, hide_parameters=True, connect_args=patience)
    except (ArgumentError, ValueError):
        raise StateError("storage.state_url isn't a database URL, such as sqlite:///.campaign_sync/state.db") from None
    except ImportError as error:
        raise StateError(f"storage.state_url needs a driver that isn't installed: pip install {error.name}") from None


def _as_state_error(context: ExceptionContext) -> None:
    """Whatever a database says while it is used becomes a `StateError`: its own words may quote a row."""
    original = context.original_exception
    code = getattr(original, "pgcode", None) or getattr(original, "sqlite_errorname", None)
    place = context.engine.url.render_as_string(hide_password=True) if context.engine else "the state database"
    raise StateError(
        f"the state database {place} (storage.state_url) failed: {type(original).__name__}"
        f"{f' ({code})' if code else ''}; see that it runs and can be reached, and try again"
    ) from None


def _sqlite_file(engine: Engine) -> Path:
    return Path(engine.url.database or ":memory:")


@contextmanager
def _opening(engine: Engine) -> Iterator[None]:
    """Turn what goes wrong while opening into a `StateError` that names the database."""
    try:
        yield
    except (DatabaseError, OSError) as error:
        place = engine.url.render_as_string(hide_password=True)
        told = str(error.orig if isinstance(error, DatabaseError) else error.strerror)
        reason = told.strip().splitlines()[0]
        raise StateError(f"the state database {place} (storage.state_url) can't be opened: {reason}") from None


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
