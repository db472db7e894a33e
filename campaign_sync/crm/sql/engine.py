"""Connections to a CRM in a SQL database, and the translation of its errors."""

import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from campaign_sync.config.database_url import PSYCOPG2_OPTIONS, DatabaseUrlError, location, read_database_url
from campaign_sync.crm.port import CrmError, CrmSetupError
from campaign_sync.crm.sql.database_errors import (
    URL_SETTING,
    explain,
    explain_of_driver,
    is_of_driver,
    lacks_package,
    needs_person,
)
from campaign_sync.extras import how_to_install
from campaign_sync.sqlite import PATIENCE_SECONDS, use_write_ahead_log
from campaign_sync.storage.private_files import create_private_file

MYSQL = ("mysql", "mariadb")
"""The names of SQLAlchemy's dialects for MariaDB and MySQL."""

_MYSQL_SESSION = (
    "SET SESSION time_zone = '+00:00', net_write_timeout = 600, innodb_lock_wait_timeout = 10, "
    "sql_mode = CONCAT(@@sql_mode, ',STRICT_TRANS_TABLES')"
)
"""Times in UTC, patience while a stream's rows are processed, and errors instead of values that were cut."""

_LOST_ROWS = "Previous unbuffered result was left incomplete"
"""PyMySQL's warning that another statement was sent before a stream was read to its end."""

_OTHER_DATABASES = {"mssql": "SQL Server", "oracle": "Oracle", "db2": "Db2", "ibm_db_sa": "Db2", "hana": "SAP HANA"}

_BEGIN = "sqlite_begin"
"""Execution option: how a transaction begins on SQLite."""

_WRITING = "BEGIN IMMEDIATE"
"""A writer takes the lock at once. If it read first, another writer could get ahead and SQLite would refuse it."""


class UnusableUrlError(CrmSetupError):
    """The URL itself can't be used; no connection was tried."""


def crm_engine(url: str, *, create: bool = False) -> Engine:
    """Return an engine that keeps no connection open and puts no values into its messages.

    Args:
        url: a SQLAlchemy URL. `postgresql://` and `postgres://` without a driver mean psycopg2, `mariadb://` and
            `mysql://` PyMySQL.
        create: whether a missing SQLite file is created.

    Raises:
        UnusableUrlError: the URL can't be read, its driver isn't installed, or it names another kind of database.
        CrmError: the SQLite file doesn't exist.
    """
    try:
        parsed = _with_driver(read_database_url(url))
        backend = parsed.get_backend_name()
        options: dict[str, Any] = {"connect_args": {"timeout": PATIENCE_SECONDS}} if backend == "sqlite" else {}
        if parsed.drivername == "postgresql+psycopg2":
            options = {"client_encoding": "utf8", **PSYCOPG2_OPTIONS}
        elif backend in MYSQL:
            options = {"connect_args": {"charset": "utf8mb4", "init_command": _MYSQL_SESSION}}
        engine = create_engine(parsed, poolclass=NullPool, hide_parameters=True, **options)
    except ImportError as error:
        remedy = how_to_install("mysql") if error.name == "pymysql" else "install it beside this package"
        raise UnusableUrlError(
            f"{URL_SETTING} asks for a driver that isn't installed; {remedy} ({error.name})"
        ) from None
    except DatabaseUrlError as error:
        raise UnusableUrlError(f"{URL_SETTING}: {error}") from None
    except (ArgumentError, ValueError) as error:
        raise UnusableUrlError(
            f"{URL_SETTING} isn't a database URL that can be used here: write it like "
            f"postgresql://user:password@host/name or sqlite:///path/to/file.db ({type(error).__name__})"
        ) from None
    if backend == "sqlite":
        _use_sqlite(engine, parsed, create=create)
    elif backend == "postgresql":
        event.listen(engine, "begin", _use_utc)
    elif backend in MYSQL:
        # Process-wide, but only for this text: it means that rows were lost.
        warnings.filterwarnings("error", message=_LOST_ROWS, category=UserWarning)
    return engine


def _with_driver(url: URL) -> URL:
    """Return the URL with the driver that we ship; raise UnusableUrlError for other kinds of databases."""
    backend = url.get_backend_name()
    if url.drivername in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg2")
    if backend in MYSQL:
        if url.drivername not in (backend, f"{backend}+pymysql"):
            raise UnusableUrlError(
                f"{URL_SETTING} asks for the driver {url.drivername.partition('+')[2]}, with which nothing was tried; "
                f"write {backend}:// and install campaign-sync[mysql]"
            )
        return url.set(drivername=f"{backend}+pymysql").difference_update_query(["charset"])
    if backend not in ("postgresql", "sqlite"):
        raise UnusableUrlError(
            f"campaign_sync reads PostgreSQL, SQLite, MariaDB and MySQL; {URL_SETTING} names "
            f"{_OTHER_DATABASES.get(backend, backend)}. Deliver its tables as files, or load them into one of these"
        )
    return url


def _use_utc(connection: Connection) -> None:
    """Let the server take times for UTC, whatever its own zone. Poolers refuse it as an option of the connection."""
    connection.exec_driver_sql("SET LOCAL TIME ZONE 'UTC'")


@contextmanager
def read_only(engine: Engine) -> Iterator[Connection]:
    """Open a read-only transaction that sees the database as it is now, whatever others write."""
    options: dict[str, Any] = {_BEGIN: "BEGIN"}
    if engine.dialect.name == "postgresql":
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    elif engine.dialect.name in MYSQL:
        options = {"isolation_level": "REPEATABLE READ"}
    with engine.connect().execution_options(**options) as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA query_only=ON")
            connection.exec_driver_sql("SELECT 1 FROM sqlite_master LIMIT 1")
        elif engine.dialect.name in MYSQL:
            connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        else:
            connection.exec_driver_sql("SELECT 1")  # PostgreSQL and SQLite freeze their view with the first read
        yield connection


@contextmanager
def crm_errors(engine: Engine, doing: str) -> Iterator[None]:
    """Turn database errors into `CrmError`s with place, problem and remedy, and without personal data."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as failure:
        error = DBAPIError(None, None, failure) if isinstance(failure, sqlite3.Error) else failure
        # `from None`: the database's own message may quote a row.
        kind = CrmSetupError if needs_person(error) else CrmError
        raise kind(f"{doing} failed in the CRM at {location(engine.url)}: {explain(error)}") from None
    except UserWarning as warning:
        if _LOST_ROWS not in str(warning):
            raise
        raise CrmError(
            f"{doing} failed in the CRM at {location(engine.url)}: rows were lost on the way; try again"
        ) from None
    except (UnicodeError, ValueError, OverflowError):
        raise  # about a value; the caller knows its place
    except Exception as error:
        if not is_of_driver(error):
            raise
        kind = CrmSetupError if lacks_package(error) else CrmError
        problem = explain_of_driver(error)
        raise kind(f"{doing} failed in the CRM at {location(engine.url)}: {problem}") from None


def _use_sqlite(engine: Engine, url: URL, *, create: bool) -> None:
    if create:
        file = Path(url.database or "")
        if url.database not in (None, "", ":memory:"):
            create_private_file(file)  # it will hold personal data
    elif not _sqlite_file_exists(url):
        raise CrmError(f"there is no CRM at {location(url)}: create it with `campaign-sync crm init`")
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)


def _sqlite_file_exists(url: URL) -> bool:
    database = url.database or ""
    return database.startswith("file:") or (database not in ("", ":memory:") and Path(database).is_file())


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where SQLAlchemy says so, also for reading
    connection.text_factory = stored_text


def stored_text(raw: bytes) -> str | bytes:
    """Return a text of SQLite, or bytes where it isn't UTF-8: sqlite3's own error would print the value."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _begin_sqlite(connection: Connection) -> None:
    begin = connection.get_execution_options().get(_BEGIN, _WRITING)
    if begin == _WRITING:  # a reader leaves the file as it is; a snapshot stays open for long
        use_write_ahead_log(connection.connection.dbapi_connection)  # type: ignore[arg-type]
    connection.exec_driver_sql(begin)
