"""Opens the state database, on SQLite or PostgreSQL. A new one gets its tables; those of an old one are left alone."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, ExceptionContext, NullPool, create_engine, event
from sqlalchemy.exc import ArgumentError, DatabaseError

from campaign_sync.config.database_url import DatabaseUrlError, place, read_database_url
from campaign_sync.sqlite import PATIENCE_SECONDS, remedy, use_write_ahead_log
from campaign_sync.storage.errors import RevisionError, StateError
from campaign_sync.storage.private_files import create_private_file, is_writable
from campaign_sync.storage.revisions import differences, migrate, revision_of, revisions

READY = "the state database opens"
"""What `probe_database` finds where nothing remains to be done."""

_POSTGRESQL_REMEDIES = {
    "53100": "the disk is full; free space on it, then try again",
    "25006": "the database is read-only; see whether it is a standby, or its disk full",
}
"""By SQLSTATE."""

_LIBPQ = ("postgresql", "postgresql+psycopg2", "postgresql+psycopg")


def open_database(url: str) -> Engine:
    """Connect to the state database; make the tables where there are none of ours yet.

    Raises:
        RevisionError: its tables are those of an older or a newer version of the product. They stay as they are.
        StateError: the URL is wrong, or the database can't be reached.
    """
    engine = _engine(url)
    try:
        with _opening(engine):
            if engine.dialect.name == "sqlite":
                create_private_file(_sqlite_file(engine))
                event.listen(engine, "connect", _prepare_sqlite)
            if not _is_current(engine):
                with engine.connect() as connection:
                    migrate(connection, place(engine.url))
    except Exception:
        engine.dispose()
        raise
    event.listen(engine, "handle_error", _as_state_error)
    return engine


def upgrade_database(url: str) -> tuple[str | None, str]:
    """Bring the tables to this version, or make them, while every other process that would do so waits.

    Returns:
        The revision they were at, None where there were none, and the one they are at now.

    Raises:
        RevisionError: a newer version of the product migrated them.
        StateError: the URL is wrong, or the database can't be reached, or didn't let itself be changed.
    """
    engine = _engine(url)
    with _opening(engine, "upgraded"):
        if engine.dialect.name == "sqlite":
            create_private_file(_sqlite_file(engine))
            event.listen(engine, "connect", _prepare_sqlite)
        with engine.connect() as connection:
            return migrate(connection, place(engine.url)), revisions()[-1]


def examine_database(url: str) -> list[str]:
    """How the tables of a database at this version's revision differ from what that says; empty where they don't.

    Raises:
        StateError: the database can't be reached.
    """
    engine = _engine(url)
    with _opening(engine), engine.connect() as connection:
        return differences(connection)


def probe_database(url: str) -> str:
    """What a run would find: whether there is a state database and whether its tables are of this version.

    Only looks: nothing is created, migrated or written.

    Raises:
        RevisionError: its tables are those of an older or a newer version of the product.
        StateError: the URL is wrong, or the database can't be reached.
    """
    engine = _engine(url)
    with _opening(engine):
        if engine.dialect.name == "sqlite" and not _sqlite_file(engine).exists():
            if not is_writable(_sqlite_file(engine).parent):
                raise StateError(
                    f"the state database {_sqlite_file(engine)} (storage.state_url) can't be created: "
                    "its folder can't be written to; choose another one, or mend its permissions"
                )
            return "the state database will be created by the first run"
        return READY if _is_current(engine) else f"{READY}; the first run will make its tables"


def _is_current(engine: Engine) -> bool:
    """Whether the tables are those of this version; False where there are none of ours."""
    with engine.connect() as connection:
        found, needed = revision_of(connection, place(engine.url)), revisions()[-1]
    if found not in (None, needed):
        raise RevisionError(
            f"the state database {place(engine.url)} (storage.state_url) is at revision {found}, and this version of "
            f"campaign-sync works with revision {needed}; back it up first, then run `campaign-sync db upgrade`"
        )
    return found is not None


def _engine(url: str) -> Engine:
    try:
        parsed = read_database_url(url)
        # A database that doesn't answer must not keep a half-full list waiting.
        patience: dict[str, Any] = {}
        if parsed.drivername in _LIBPQ:
            patience = {"connect_timeout": 10, "tcp_user_timeout": 30_000}
        elif parsed.get_backend_name() == "sqlite":
            patience = {"timeout": PATIENCE_SECONDS}
        # No pool: after every transaction the file of SQLite is whole, so that a copy of it is a backup.
        return create_engine(parsed, poolclass=NullPool, hide_parameters=True, connect_args=patience)
    except DatabaseUrlError as error:
        raise StateError(f"storage.state_url: {error}") from None
    except (ArgumentError, ValueError):
        raise StateError("storage.state_url isn't a database URL, such as sqlite:///.campaign_sync/state.db") from None
    except ImportError as error:
        raise StateError(f"storage.state_url needs a driver that isn't installed: pip install {error.name}") from None


def _as_state_error(context: ExceptionContext) -> None:
    """Whatever a database says while it is used becomes a `StateError`: its own words may quote a row."""
    original = context.original_exception
    code = getattr(original, "pgcode", None) or getattr(original, "sqlite_errorname", None)
    database = f"the state database {place(context.engine.url)}" if context.engine else "the state database"
    helps = (
        remedy(original) or _POSTGRESQL_REMEDIES.get(code or "") or "see that it runs and can be reached, and try again"
    )
    raise StateError(
        f"{database} (storage.state_url) failed: {type(original).__name__}{f' ({code})' if code else ''}; {helps}"
    ) from None


def _sqlite_file(engine: Engine) -> Path:
    return Path(engine.url.database or ":memory:")


@contextmanager
def _opening(engine: Engine, what: str = "opened") -> Iterator[None]:
    """Turn what goes wrong while opening into a `StateError` that names the database."""
    try:
        yield
    except (DatabaseError, OSError) as error:
        said = str(error.orig if isinstance(error, DatabaseError) else error.strerror).strip()
        first_line = next(iter(said.splitlines()), type(error).__name__)
        # What libpq quotes came from the URL or from a row.
        reason = first_line if engine.dialect.name == "sqlite" else re.sub(r'"[^"]*"', "…", first_line)
        database = f"the state database {place(engine.url)} (storage.state_url)"
        helps = remedy(error.orig) if isinstance(error, DatabaseError) else None
        raise StateError(f"{database} can't be {what}: {f'{reason}: {helps}' if helps else reason}") from None


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    use_write_ahead_log(connection)
