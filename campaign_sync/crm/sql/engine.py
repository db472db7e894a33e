"""Connections to a CRM in a SQL database, and the translation of its errors."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from campaign_sync.config.database_url import DatabaseUrlError, location, read_database_url
from campaign_sync.crm.port import CrmError, CrmSetupError
from campaign_sync.sqlite import PATIENCE_SECONDS, remedy, use_write_ahead_log

URL_SETTING = "crm.url"
"""The name of the database's URL in messages: its place in the configuration."""

_BEGIN = "sqlite_begin"
"""Execution option: how a transaction begins on SQLite."""

_WRITING = "BEGIN IMMEDIATE"
"""A writer takes the lock at once. If it read first, another writer could get ahead and SQLite would refuse it."""

_SHOWABLE_SQLSTATES = ("25", "42", "53", "55", "57")
"""PostgreSQL's error classes whose texts are about statements and resources, never about the data in a row."""


_PASSWORD_REFUSED = ("password authentication failed", "no password supplied")
"""PostgreSQL's words for a wrong password. Other logins (LDAP, RADIUS) can fail because their server is down."""

_SYNTAX_ERROR = "42601"
"""PostgreSQL's code. A load can cause the others of its class: missing tables, columns and privileges, other types."""


class UnusableUrlError(CrmSetupError):
    """The URL itself can't be used; no connection was tried."""


def crm_engine(url: str, *, create: bool = False) -> Engine:
    """Return an engine that keeps no connection open and puts no values into its messages.

    Args:
        url: a SQLAlchemy URL. `postgresql://` and `postgres://` without a driver mean psycopg2.
        create: whether a missing SQLite file is created.

    Raises:
        UnusableUrlError: the URL can't be read, or its driver isn't installed.
        CrmError: the SQLite file doesn't exist.
    """
    try:
        parsed = read_database_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg2")
        sqlite = parsed.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"connect_args": {"timeout": PATIENCE_SECONDS}} if sqlite else {}
        if parsed.drivername == "postgresql+psycopg2":
            options = {"client_encoding": "utf8"}
        engine = create_engine(parsed, poolclass=NullPool, hide_parameters=True, **options)
    except ImportError as error:
        raise UnusableUrlError(
            f"{URL_SETTING} asks for a driver that isn't installed; install the driver {error.name} beside this package"
        ) from None
    except DatabaseUrlError as error:
        raise UnusableUrlError(f"{URL_SETTING}: {error}") from None
    except (ArgumentError, ValueError) as error:
        raise UnusableUrlError(
            f"{URL_SETTING} isn't a database URL that can be used here: write it like "
            f"postgresql://user:password@host/name or sqlite:///path/to/file.db ({type(error).__name__})"
        ) from None
    if sqlite:
        if create:
            file = Path(parsed.database or "")
            file.parent.mkdir(parents=True, exist_ok=True)
            if parsed.database not in (None, "", ":memory:"):
                file.touch(mode=0o600, exist_ok=True)  # it will hold personal data
        elif not _sqlite_file_exists(parsed):
            raise CrmError(f"there is no CRM at {location(parsed)}: create it with `campaign-sync crm init --url URL`")
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


@contextmanager
def read_only(engine: Engine) -> Iterator[Connection]:
    """Open a read-only transaction that sees the database as it is now, whatever others write."""
    postgresql = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with engine.connect().execution_options(
        **postgresql if engine.dialect.name == "postgresql" else {_BEGIN: "BEGIN"}
    ) as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA query_only=ON")
            connection.exec_driver_sql("SELECT 1 FROM sqlite_master LIMIT 1")
        else:
            connection.exec_driver_sql("SELECT 1")  # either database freezes its view with the first read
        yield connection


@contextmanager
def crm_errors(engine: Engine, doing: str) -> Iterator[None]:
    """Turn database errors into `CrmError`s with place, problem and remedy, and without personal data."""
    try:
        yield
    except SQLAlchemyError as error:
        # `from None`: the database's own message may quote a row.
        kind = CrmSetupError if _needs_person(error) else CrmError
        raise kind(f"{doing} failed in the CRM at {location(engine.url)}: {_explain(error)}") from None


def _needs_person(error: SQLAlchemyError) -> bool:
    """Return whether a person has to correct the syntax of a statement, or the login.

    In doubt the answer is no: a useless retry costs minutes, a missed replacement a day.
    """
    original = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(original, sqlite3.Error):
        return "syntax error" in str(original)
    state = getattr(original, "pgcode", None)
    if state:
        return bool(state == _SYNTAX_ERROR)
    return any(words in str(original) for words in _PASSWORD_REFUSED)


def _explain(error: SQLAlchemyError) -> str:
    original = error.orig if isinstance(error, DBAPIError) else None
    if original is None:
        return type(error).__name__
    if type(original) in (sqlite3.OperationalError, sqlite3.DatabaseError):  # statements and files, never values
        helps = remedy(original)
        return f"{original}: {helps}" if helps else str(original)
    state = getattr(original, "pgcode", None)
    if state == "22021":
        return "a text isn't UTF-8; the database lets any bytes in (SQL_ASCII), convert it to UTF-8"
    if state and state.startswith(_SHOWABLE_SQLSTATES):
        return f"{original.diag.message_primary} (SQLSTATE {state})"  # type: ignore[attr-defined]
    if state:
        return f"{type(original).__name__} (SQLSTATE {state})"
    text = str(original)
    if "authentication failed" in text or "no password supplied" in text:
        return f"the login was refused; check user and password in {URL_SETTING}"
    if "does not exist" in text:
        return f"there is no such database or user; check {URL_SETTING}"
    return f"it can't be reached; check {URL_SETTING}, and that the database is running ({type(original).__name__})"


def _sqlite_file_exists(url: URL) -> bool:
    database = url.database or ""
    return database.startswith("file:") or (database not in ("", ":memory:") and Path(database).is_file())


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where SQLAlchemy says so, also for reading
    connection.text_factory = _text


def _text(raw: bytes) -> str | bytes:
    """Return a text, or bytes where it isn't UTF-8: sqlite3's own error would print the value."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _begin_sqlite(connection: Connection) -> None:
    begin = connection.get_execution_options().get(_BEGIN, _WRITING)
    if begin == _WRITING:  # a reader leaves the file as it is; a snapshot stays open for long
        use_write_ahead_log(connection.connection.dbapi_connection)  # type: ignore[arg-type]
    connection.exec_driver_sql(begin)
