"""The state database on SQLite or PostgreSQL: opening, upgrading and examining it."""

import os
import re
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    ExceptionContext,
    NullPool,
    QueuePool,
    column,
    create_engine,
    event,
    select,
    table,
)
from sqlalchemy.exc import ArgumentError, DatabaseError

from campaign_sync.config.database_url import PSYCOPG2_OPTIONS, DatabaseUrlError, location, read_database_url
from campaign_sync.sqlite import PATIENCE_SECONDS, remedy
from campaign_sync.storage.errors import RevisionError, StateError
from campaign_sync.storage.private_files import create_private_file, is_writable
from campaign_sync.storage.revisions import VERSION_TABLE, differences, migrate, require_known, revision_of, revisions
from campaign_sync.storage.run_heartbeats import require_no_run
from campaign_sync.storage.sqlite_file import SqliteFile, prepare_file

READY = "the state database opens"
"""What `probe_database` returns where nothing remains to be done."""

_POSTGRESQL_REMEDIES = {
    "53100": "the disk is full; free space on it, then try again",
    "25006": "the database is read-only; check whether it is a standby, or its disk is full",
}
"""What to do, by SQLSTATE."""

_REVISION = str(select(column("version_num")).select_from(table(VERSION_TABLE)))
"""As text, since every transaction begins with it: SQLAlchemy takes as long again to look up a compiled statement."""

_ONE_MOMENT: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}

_IS_OPENING: ContextVar[bool] = ContextVar("is_opening", default=False)
"""Whether the database is being opened: the engines of a URL share what happens to errors."""

_LIBPQ = ("postgresql", "postgresql+psycopg2", "postgresql+psycopg")


def open_database(url: str) -> Engine:
    """Connect to the state database, and create its tables where it has none.

    All who open it in this process share an engine: its connections, and the statements that it has compiled. Every
    transaction begins by reading the revision, which `migrate` doesn't change before the transaction has ended: so
    nothing is written to tables that another version has upgraded meanwhile.

    Raises:
        RevisionError: its tables belong to an older or a newer version of the product. They stay as they are.
        StateError: the URL is wrong, or the database can't be reached.
    """
    shared = _shared_engine(url)
    engine = shared.bare
    with _opening(engine):
        if engine.dialect.name == "sqlite":
            create_private_file(_sqlite_file(engine))
        if not _is_current(engine):
            with engine.connect() as connection:
                migrate(connection, location(engine.url))
    return shared.guarded


def kept_open(url: str) -> AbstractContextManager[None]:
    """Return a context within which the file of a SQLite database stays open. Connections to a server always do."""
    file = _shared_engine(url).file
    return file.kept_open() if file else nullcontext()


@dataclass(frozen=True)
class _SharedEngine:
    """The engine of a URL in this process."""

    bare: Engine
    guarded: Engine
    """The same, with the errors and the guard of an opened database."""
    file: SqliteFile | None


@lru_cache(maxsize=16)
def _shared_engine(url: str) -> _SharedEngine:
    engine = state_engine(url, keeps_connections=True)
    file = SqliteFile(engine) if engine.dialect.name == "sqlite" else None
    _renew_after_fork(engine)
    guarded = engine.execution_options()  # with the same connections
    event.listen(guarded, "handle_error", _as_state_error)
    event.listen(guarded, "begin", _require_revision)
    return _SharedEngine(engine, guarded, file)


def _renew_after_fork(engine: Engine) -> None:
    """Let a forked process begin without connections: those that it inherits are its parent's."""
    reference = weakref.ref(engine)

    def renew() -> None:
        if inherited := reference():
            inherited.dispose(close=False)

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=renew)


def _require_revision(connection: Connection) -> None:
    _refuse_others(connection.exec_driver_sql(_REVISION).scalar(), connection.engine)


def upgrade_database(url: str) -> tuple[str | None, str]:
    """Upgrade the tables to this version, or create them, while every other process that would do so waits.

    Returns:
        The revision they were at (None where there were none) and the one they are at now.

    Raises:
        RevisionError: a newer version of the product migrated them.
        StateError: the URL is wrong, the database can't be reached or changed, or a run is under way.
    """
    engine = state_engine(url)
    with _opening(engine, "upgraded"):
        if engine.dialect.name == "sqlite":
            create_private_file(_sqlite_file(engine))
            event.listen(engine, "connect", prepare_file)
        with engine.connect() as connection:
            return migrate(connection, location(engine.url), before_changes=require_no_run), revisions()[-1]


def examine_database(url: str) -> list[str]:
    """Return how the tables differ from those of this version's revision, in words; empty where they don't.

    Raises:
        StateError: the database can't be reached.
    """
    engine = state_engine(url)
    with _opening(engine), engine.connect() as connection:
        return differences(connection)


def probe_database(url: str) -> str:
    """Return what a run will do with the state database: use it, or create it or its tables. Changes nothing.

    Raises:
        RevisionError: its tables belong to an older or a newer version of the product.
        StateError: the URL is wrong, or the database can't be reached.
    """
    engine = state_engine(url)
    with _opening(engine):
        if engine.dialect.name == "sqlite" and not _sqlite_file(engine).exists():
            if not is_writable(_sqlite_file(engine).parent):
                raise StateError(
                    f"the state database {_sqlite_file(engine)} (storage.state_url) can't be created: "
                    "its folder can't be written to; choose another one, or correct its permissions"
                )
            return "the state database will be created by the first run"
        return READY if _is_current(engine) else f"{READY}; the first run will create its tables"


def _is_current(engine: Engine) -> bool:
    """Return whether the tables belong to this version; False where there are none of ours."""
    with engine.connect() as connection:
        current = revision_of(connection, location(engine.url))
    if current is not None:
        _refuse_others(current, engine)
    return current is not None


def _refuse_others(revision: str | None, engine: Engine) -> None:
    """Raise RevisionError unless this is the revision that this version of the product works with."""
    needed = revisions()[-1]
    if revision == needed:
        return
    require_known(revision, location(engine.url))
    raise RevisionError(
        f"the state database {location(engine.url)} (storage.state_url) is at revision {revision}, and this "
        f"version of campaign-sync works with revision {needed}; back it up first, "
        "then run `campaign-sync db upgrade`"
    )


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Yield a connection for reading whose statements all see the database as it was at the first of them."""
    options = {} if engine.dialect.name == "sqlite" else _ONE_MOMENT
    with engine.connect().execution_options(**options) as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")  # without it each statement sees what others have written meanwhile
        yield connection


def state_engine(url: str, *, keeps_connections: bool = False) -> Engine:
    """Return an engine for the state database, whose errors contain no parameters.

    Args:
        url: of the database.
        keeps_connections: whether connections are used again; then the engine must be disposed of.

    Raises:
        StateError: the URL can't be used.
    """
    try:
        parsed = read_database_url(url)
        # A database that doesn't answer must not delay the end of a replacement.
        patience: dict[str, Any] = {}
        if parsed.drivername in _LIBPQ:
            patience = {"connect_timeout": 10, "tcp_user_timeout": 30_000}
        elif parsed.get_backend_name() == "sqlite":
            patience = {"timeout": PATIENCE_SECONDS}
        options: dict[str, Any] = {"hide_parameters": True, "connect_args": patience}
        if parsed.get_driver_name() == "psycopg2":
            options |= PSYCOPG2_OPTIONS
        if keeps_connections:
            # As many as threads ask for, so that none waits for another; one is kept when they are done.
            options |= {"poolclass": QueuePool, "pool_size": 1, "max_overflow": -1}
            return create_engine(parsed, pool_pre_ping=parsed.get_backend_name() != "sqlite", **options)
        return create_engine(parsed, poolclass=NullPool, **options)
    except DatabaseUrlError as error:
        raise StateError(f"storage.state_url: {error}") from None
    except (ArgumentError, ValueError):
        raise StateError("storage.state_url isn't a database URL, such as sqlite:///.campaign_sync/state.db") from None
    except ImportError as error:
        raise StateError(f"storage.state_url needs a driver that isn't installed: pip install {error.name}") from None


def _as_state_error(context: ExceptionContext) -> None:
    """Raise a `StateError` for any database error. The database's own message may quote a row, so it is left out."""
    if context.is_pre_ping:  # a connection that was lost since it was used is replaced
        return
    if _IS_OPENING.get():  # which says more of what is wrong
        return
    original = context.original_exception
    code = getattr(original, "pgcode", None) or getattr(original, "sqlite_errorname", None)
    database = f"the state database {location(context.engine.url)}" if context.engine else "the state database"
    what_to_do = (
        remedy(original)
        or _POSTGRESQL_REMEDIES.get(code or "")
        or "make sure that it runs and can be reached, then try again"
    )
    raise StateError(
        f"{database} (storage.state_url) failed: {type(original).__name__}{f' ({code})' if code else ''}; {what_to_do}"
    ) from None


def _sqlite_file(engine: Engine) -> Path:
    return Path(engine.url.database or ":memory:")


@contextmanager
def _opening(engine: Engine, action: str = "opened") -> Iterator[None]:
    """Turn errors while opening into a `StateError` that names the database."""
    opening = _IS_OPENING.set(True)
    try:
        yield
    except (DatabaseError, OSError) as error:
        message = str(error.orig if isinstance(error, DatabaseError) else error.strerror).strip()
        first_line = next(iter(message.splitlines()), type(error).__name__)
        # What libpq quotes comes from the URL or from a row.
        reason = first_line if engine.dialect.name == "sqlite" else re.sub(r'"[^"]*"', "…", first_line)
        database = f"the state database {location(engine.url)} (storage.state_url)"
        what_to_do = remedy(error.orig) if isinstance(error, DatabaseError) else None
        raise StateError(
            f"{database} can't be {action}: {f'{reason}: {what_to_do}' if what_to_do else reason}"
        ) from None
    finally:
        _IS_OPENING.reset(opening)
